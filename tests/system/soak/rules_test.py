"""Every rule of the soak lets what is right pass, and names what is wrong: a check that cannot fail checks nothing."""
import unittest

import schedule
from report import median, quarters, ratio, slope, steps, table
from rules import ENDS, Answers, Floor, Numbers, Progress, Served, Steady, Violation, judge_end, judge_growth

GOOD, OTHER, WORSE = "a" * 64, "b" * 64, "c" * 64


class Rules(unittest.TestCase):
    def broken(self, text, function, *arguments, **more):
        with self.assertRaises(Violation) as caught:
            function(*arguments, **more)
        self.assertIn(text, str(caught.exception))

    def served(self):
        served = Served()
        served.good |= {GOOD, OTHER}
        served.bad[WORSE] = "worse"
        served.seen(None, "at first")
        served.candidate = GOOD
        served.seen(GOOD, "while it ran")
        served.candidate = None
        return served

    def test_who_may_serve(self):
        served = self.served()
        served.seen(GOOD, "after a kill -9")
        self.broken("after a kill -9: no model is served", served.seen, None, "after a kill -9")
        self.broken("a package of kind worse", served.seen, WORSE, "while it ran")
        self.broken("is served; right were", served.seen, OTHER, "while it ran")
        served.undo_target = OTHER
        served.seen(OTHER, "while it ran")
        self.assertEqual((served.champion, served.previous), (OTHER, GOOD))
        served.undo_target = None
        self.broken("is served; right were", served.seen, GOOD, "after a kill -9")

    def test_a_package_that_nobody_published(self):
        served = Served()
        self.broken("nobody published", served.seen, "d" * 64, "at the start")

    def test_who_may_answer(self):
        served = self.served()
        served.answered("a" * 12)
        self.broken("a package of kind worse", served.answered, "c" * 12)
        self.broken("serves nowhere", served.answered, "d" * 12)

    def test_each_sample_is_answered_once_and_in_order(self):
        answers = Answers()
        for number in range(1, 8):
            answers.sent(number, 10.0 + number)
        self.assertEqual(answers.came(3), 13.0)  # the first model has come after two samples
        self.assertEqual(answers.came(4), 14.0)
        answers.judge()
        answers.ended()
        self.assertEqual((answers.before, answers.cut_off), (2, 3))
        answers.sent(8, 20.0)
        answers.came(8)
        answers.judge()
        answers.came(8)
        self.broken("sample 8 came twice", answers.judge)

    def test_a_sample_without_an_answer(self):
        answers = Answers()
        for number in range(1, 6):
            answers.sent(number, 0.0)
        answers.came(1)
        answers.came(4)
        self.broken("sample 4 was answered, and 2 before it were not, the first of them 2", answers.judge)

    def test_what_may_be_denied(self):
        served = self.served()
        served.denied([WORSE])
        self.broken("is denied", served.denied, [WORSE, GOOD])

    def test_the_mark(self):
        served = self.served()
        slot = {"slot": "A", "holds": "champion", "package": {"digest": GOOD}, "mark": {"digest": GOOD}}
        served.marked([slot, {"slot": "B", "holds": "unconfirmed", "package": {"digest": WORSE}}])
        for mark in ({}, {"mark": {"digest": OTHER}}):
            self.broken("without its confirm mark", served.marked, [{**{k: slot[k] for k in ("slot", "holds", "package")}, **mark}])

    def test_the_floor(self):
        floor = Floor()
        for version in ((0, 1), (0, 3), (0, 3), (1, 0)):
            floor.seen(*version)
        self.broken("the floor fell from (1, 0) to (0, 9)", floor.seen, 0, 9)

    def test_progress(self):
        progress = Progress(6.0, 2.0)
        for second in range(20):
            progress.seen(100.0 + second, GOOD, 100 * second)
        progress.back(GOOD, 1300, "after a kill -9")
        self.broken("learning was lost", progress.back, GOOD, 1299, "after a kill -9")
        progress.stopped(119.0)
        progress.back(GOOD, 1700, "after a planned stop")
        self.broken("begins again with 1699 samples", progress.back, GOOD, 1699, "after a planned stop")
        progress.back(OTHER, 0, "after an undo")

    def test_progress_with_a_full_disk(self):
        progress = Progress(6.0, 2.0)
        for second in range(20):
            progress.seen(100.0 + second, GOOD, 100 * second, durable=second < 5)
        progress.stopped(119.0)
        progress.back(GOOD, 0, "after a kill -9")

    def numbers(self, told=0, missing=(7, 8), count=60, well=True):
        numbers = Numbers()
        for number in range(1, count + 1):
            if number not in missing:
                numbers.heard(1000.0 + number, "one", number)
        numbers.counted("one", told)
        if well:
            numbers.ended_well.add("one")
        return numbers

    def test_gaps_in_telemetry(self):
        self.assertEqual(sum(self.numbers(missing=()).judge().values()), 0)
        self.assertEqual(self.numbers(told=2).judge()["told"], 2)
        self.broken("1 telemetry messages are missing and no counter tells of them: session one: 7 to 8, told 1", self.numbers(told=1).judge)
        self.broken("session one: 1 to 1", self.numbers(missing=(1,)).judge)

    def test_gaps_at_a_kill_are_at_its_end(self):
        self.assertEqual(self.numbers(missing=(57, 58), well=False).judge()["kill"], 2)
        self.broken("are missing", self.numbers(missing=(57, 58)).judge)
        self.broken("are missing", self.numbers(missing=(7, 8), well=False).judge)

    def test_gaps_of_a_broker_that_forgot(self):
        numbers = self.numbers()
        numbers.broker_deaths.append(1007.5)
        self.assertEqual(numbers.judge()["broker"], 2)
        numbers = self.numbers()
        numbers.broker_deaths.append(1055.0)
        self.broken("are missing", numbers.judge)

    def test_descriptors_and_threads(self):
        for more in ((16, 4), (15, 5)):
            steady = Steady()
            steady.seen(0.0, 15, 4)
            steady.seen(1.0, *more)
            steady.seen(5.0, 15, 4)  # closed again in time
            for second in range(10, 30):
                steady.seen(float(second), *more)
            self.broken("while nothing goes on", steady.seen, 31.0, *more)

    def test_growth(self):
        flat = [(float(age), 8_000_000 + 4096 * (age % 3)) for age in range(200)]
        self.assertLess(judge_growth(flat, 500_000), 10_000)
        leaking = [(float(age), 8_000_000 + 10_000 * age) for age in range(200)]
        self.broken("RSS grew by", judge_growth, leaking, 500_000)

    def test_ends_of_updates(self):
        self.assertTrue(judge_end("1", "good", ("confirmed", "shown_not_worse"), False))
        for kind, (state, reasons) in ENDS.items():
            for reason in reasons or ("none",):
                self.assertTrue(judge_end("1", kind, (state, reason), False))
            self.broken("nothing had interrupted it", judge_end, "1", kind, ("failed", "power_loss"), False)
            self.assertFalse(judge_end("1", kind, ("failed", "power_loss"), True))
        self.broken("ended confirmed", judge_end, "1", "worse", ("confirmed", "shown_not_worse"), True)
        self.broken("ended fell_back (shown_worse) instead of confirmed", judge_end, "1", "good", ("fell_back", "shown_worse"), True)
        self.broken("instead of fell_back (crash)", judge_end, "1", "crash", ("fell_back", "shown_worse"), False)


class Schedule(unittest.TestCase):
    def test_same_seed_same_schedule(self):
        first, again, other = (schedule.build(seed, 600, 900) for seed in (5, 5, 6))
        self.assertEqual(list(map(str, first)), list(map(str, again)))
        self.assertNotEqual(list(map(str, first)), list(map(str, other)))
        self.assertEqual(len(first), 150)

    def test_everything_comes_and_the_last_stretch_is_calm(self):
        events = schedule.build(5, 600, 900)
        self.assertEqual({event.kind for event in events}, set(schedule.DECK))
        self.assertTrue(all(0 < event.at < 600 for event in events))
        self.assertEqual([], [event for event in events if event.at > 480 and event.kind in schedule.ENDING])
        self.assertTrue([event for event in events if event.at > 480])


class Report(unittest.TestCase):
    def test_quarters_and_slope(self):
        series = [(float(second), second) for second in range(100)]
        self.assertEqual(quarters(series, 0, 100, len), [25] * 4)
        self.assertEqual(quarters(series[:10], 0, 100, max), [9, None, None, None])
        self.assertAlmostEqual(slope(series), 1.0)
        self.assertEqual(slope([]), 0.0)
        self.assertEqual(ratio([2, 0, 0, 3]), 1.5)
        self.assertIsNone(ratio([None, 0, 0, 3]))
        self.assertTrue(callable(table))

    def test_steps_and_medians(self):
        series = [(0.5, 3), (9.5, 1), (9.9, 2), (31.0, 7)]
        self.assertEqual(steps(series, 10.0, median), [(0.0, 2), (30.0, 7)])
        self.assertEqual(steps([], 10.0, median), [])
        # A rise of one for each step is one for each of its seconds, however many values a step has.
        rising = [(float(second), second // 10) for second in range(100)]
        self.assertAlmostEqual(slope(steps(rising, 10.0, median)), 0.1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
