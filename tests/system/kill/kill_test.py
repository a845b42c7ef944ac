"""kill -9 in every update state, once and every time: a real agent, a real Mosquitto, real packages.

The agent is a test build: DIPPER_TEST_KILL=STATE:enter|exit ends it by SIGKILL when the state has just been entered, or is about to be left
with its end durable and not yet told. `middle` is a SIGKILL from here while the state lasts (cuts at every block of a transfer:
tests/integration/transfer). "Every time" goes on until the point is not reached any more; where it is reached in every run (a retained offer
comes again), a few runs stand for all, and the update must come through once nobody kills it. Prints the table at its end.

usage: kill_test.py DIPPER_AGENT DIPPER [Once|EveryTime|TESTS]
"""
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "integration/control"))
from device import CONFIRMS, LASTS, Device, end_with_parent, free_port  # noqa: E402

AGENT, DIPPER = sys.argv[1:3]
MOSQUITTO = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
TRIES = 3
# More than the champion's ladder bears without a healthy mark: it goes one rung down meanwhile.
LADDER = 14
# A gate that neither confirms nor condemns before its deadline, at which the trial falls back without a denial.
DEADLINE = ("--gate-warmup-samples", "1", "--gate-deadline-samples", "60", "--gate-margin", "0.0001")
NOT_FINITE = '[[stage]]\nkind = "fault"\nfault = "not_a_number"\nat_sample = 30\n'
TABLE = []


class Fleet(Device):
    """A device with a broker of its own, and a desk that publishes to it."""

    def __init__(self):
        super().__init__(AGENT, DIPPER, image="2MiB", slot="8MiB")
        self.port = free_port()
        (self.home / "broker.conf").write_text(f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence false\n")
        self.running.append(subprocess.Popen([MOSQUITTO, "-c", self.home / "broker.conf"], stdout=subprocess.DEVNULL,
                                             stderr=subprocess.DEVNULL, preexec_fn=end_with_parent))
        self.write_config(replace=[("mqtt://127.0.0.1:1\"", f"mqtt://127.0.0.1:{self.port}\"")])
        self.number = 0

    def publish(self, package):
        self.number += 1
        for _ in range(50):  # until the broker listens
            try:
                return self.dipper("publish", package, "--broker", f"mqtt://127.0.0.1:{self.port}", "--fleet", "plant", "--root",
                                   self.home / "root.dproot", "--to", "fleet", "--rollout-key", self.home / "rollout.key", "--number",
                                   self.number)
            except AssertionError as error:
                trouble = error
                time.sleep(0.1)
        raise trouble

    def dies(self, point, seconds=60):
        """One run that must end by SIGKILL at that point."""
        self.start({"DIPPER_TEST_KILL": point}, wait=False)
        try:
            code = self.agent.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{point} was not reached within {seconds} s:\n{self.log_text()[-3000:]}") from None
        assert code == -signal.SIGKILL, f"{point}: ended with {code}:\n{self.log_text()[-3000:]}"

    def steps(self):
        """Update steps in the log, oldest first: (from, to, reason)."""
        lines = self.ask("log", "-n", "100000", "--json").stdout.splitlines()
        events = [json.loads(line).get("event", {}) for line in lines]
        return [(e.get("from"), e.get("to"), e.get("reason", "none")) for e in events if e.get("kind") == "update_step"]

    def settled(self, states, seconds=60):
        self.until(lambda: self.status()["state"] in states, f"one of {states}, now {self.status()['state']}", seconds)
        return self.status()


class Kill(unittest.TestCase):
    """A device whose first model is confirmed, and what one or more deaths may do to its second."""

    @classmethod
    def setUpClass(cls):
        if not os.access(MOSQUITTO, os.X_OK):
            print("mosquitto is not installed: run tools/setup")
            sys.exit(77)

    def setUp(self):
        self.fleet = Fleet()
        self.addCleanup(self.fleet.close)
        self.second = None
        fleet = self.fleet
        fleet.start()
        first, self.first = fleet.package("pump", "1", CONFIRMS)
        fleet.publish(first)
        status = fleet.settled(("confirmed",))
        self.assertEqual(status["champion"]["digest"], self.first)
        fleet.stop()

    def offer(self, gate=CONFIRMS, **more):
        package, self.second = self.fleet.package("pump", "2", gate, **more)
        self.fleet.publish(package)

    def tell(self, where, how, outcome):
        TABLE.append((where, how, outcome))

    def champion(self, digest, *, denied=False, reason=None, state=None):
        status = self.fleet.status()
        self.assertEqual(status["champion"]["digest"], digest, status)
        self.assertEqual([d["digest"] for d in status["denied"]], [self.second] if denied else [], status)
        if state is not None:
            self.assertEqual((status["state"], status["reason"]), (state, reason), status)
        self.assertGreater(status["samples"], 0)
        return f"{status['state']} ({status['reason']})" if status["reason"] != "none" else status["state"]

    def once(self, point, **package):
        """Killed there in one run; the next one brings the update to its good end."""
        self.offer(**package)
        self.fleet.dies(point)
        self.fleet.start()
        status = self.fleet.settled(("confirmed", "failed", "rejected", "fell_back"))
        self.assertEqual((status["state"], status["champion"]["digest"]), ("confirmed", self.second), self.fleet.log_text()[-3000:])
        self.tell(point, "once", self.champion(self.second, state="confirmed", reason=status["reason"]))

    def forever(self, point, deaths, state, reason, **package):
        """Killed there in run after run until it is not reached any more: after so many deaths, with that outcome."""
        self.offer(**package)
        for _ in range(deaths):
            self.fleet.dies(point)
        self.over(point, f"every time ({deaths} {'death' if deaths == 1 else 'deaths'})", state, reason,
                  self.second if state == "confirmed" else self.first)

    def over(self, point, how, state, reason, champion, last=None, denied=False):
        """The next run, which would be killed there, is not. `last`: the step that has been told, or is now; what has ended is not tried
        again though its offer is still retained."""
        self.fleet.start({"DIPPER_TEST_KILL": point.split(",")[0]})
        self.fleet.settled((state,))
        if last is not None:
            time.sleep(3)  # the retained offer comes right after the connection
            steps = self.fleet.steps()
            self.assertIn(last, steps, "the end is not told")
            after = steps[len(steps) - steps[::-1].index(last):]
            self.assertEqual([step for step in after if step[1] != "idle"], [], "tried again")
        self.assertIsNone(self.fleet.agent.poll(), f"{point} was reached once more:\n{self.fleet.log_text()[-3000:]}")
        self.tell(point, how, self.champion(champion, denied=denied, state=state, reason=reason))
        # What was reached is durable.
        self.fleet.kill()
        self.fleet.start()
        self.assertEqual(self.fleet.status()["champion"]["digest"], champion)

    def always(self, point, runs=5):
        """Killed there in every run, since the offer is retained: nothing is lost or denied, and it comes through once nobody kills it."""
        self.offer()
        for _ in range(runs):
            self.fleet.dies(point)
        self.fleet.start()
        self.fleet.settled(("confirmed", "failed", "rejected", "fell_back"))
        self.tell(point, f"every time ({runs} deaths), then not", self.champion(self.second, state="confirmed", reason="shown_not_worse"))

    def left(self, state):
        """The device rests in this end, and dies as the next offer takes it out of it; a start rests in idle, so that is not repeated."""
        self.fleet.settled((state,))
        package, third = self.fleet.package("pump", "3", CONFIRMS)
        self.fleet.publish(package)
        self.assertEqual(self.fleet.agent.wait(timeout=60), -signal.SIGKILL, self.fleet.log_text()[-3000:])
        self.fleet.start({"DIPPER_TEST_KILL": f"{state}:exit"})
        self.fleet.settled(("confirmed",))
        self.second = third
        outcome = self.champion(third, state="confirmed", reason="shown_not_worse")
        self.tell(f"{state}:exit", "every time (1 death)", f"the next offer {outcome}")

    def killed_often(self, runs):
        """Nothing is under way: killed `runs` times before a healthy mark, however slow the machine."""
        self.fleet.write_config(replace=[("healthy_after_s = 1\n", "healthy_after_s = 600\n")])
        for _ in range(runs):
            self.fleet.start()
            self.fleet.kill()
        self.fleet.start()
        self.fleet.until(lambda: self.fleet.status()["samples"] > 0, "it learns on")
        rung = self.fleet.status()["rung"]
        self.tell("idle:middle", "once" if runs == 1 else f"every time ({runs} deaths)", self.champion(self.first) + ", " + rung)
        return rung

    def the_end_is_told(self, how, denied):
        """The trial has fallen back in storage and nobody was told: the next start tells it, and the package is not tried again."""
        self.fleet.start({"DIPPER_TEST_KILL": "trial:exit"})
        time.sleep(3)  # the retained offer comes right after the connection
        self.assertIsNone(self.fleet.agent.poll(), f"tried again:\n{self.fleet.log_text()[-3000:]}")
        ends = [step for step in self.fleet.steps() if step[0] == "trial"][1:]  # the first is the first model's confirm
        self.assertEqual(len(ends), 1, f"not told, or told twice:\n{self.fleet.log_text()[-3000:]}")
        self.assertIn(ends[0][1], ("fell_back", "failed"))
        self.assertEqual([step for step in self.fleet.steps() if step[1] == "offered"], [("idle", "offered", "none")] * 2, "tried again")
        self.tell("trial:exit", f"every time (1 death), {how}", self.champion(self.first, denied=denied))

    def fall_back(self, point):
        self.offer(gate=LASTS)
        self.fleet.start({"DIPPER_TEST_KILL": point})
        self.fleet.settled(("trial",))
        return self.fleet.ask("fall-back")

    def for_another_board(self):
        package, self.second = self.fleet.package("pump", "2", extra=("--hardware", "another-board"))
        self.fleet.publish(package)

    def a_file(self, point):
        package, self.second = self.fleet.package("pump", "2", CONFIRMS)
        self.fleet.start({"DIPPER_TEST_KILL": point})
        asked = self.fleet.ask("install", package)
        self.assertEqual((asked.returncode, self.fleet.agent.wait(timeout=20)), (6, -signal.SIGKILL), asked.stderr)
        self.assertIn("ended the connection", asked.stderr)
        self.fleet.start()
        return package


class Once(Kill):
    def test_idle(self):
        self.assertEqual(self.killed_often(1), "newest checkpoint")

    def test_idle_exit(self):
        self.once("idle:exit")

    def test_offered(self):
        self.once("offered:enter")

    def test_offered_exit(self):
        self.once("offered:exit")

    def test_transferring(self):
        self.once("transferring:enter")

    def test_transferring_exit(self):
        self.once("transferring:exit")

    def test_verifying(self):
        self.once("verifying:enter")

    def test_verifying_exit(self):
        # The trial record is durable, nobody was told: the trial begins at the next start.
        self.once("verifying:exit")

    def test_staged(self):
        self.once("staged:enter")

    def test_staged_exit(self):
        self.once("staged:exit")

    def test_trial(self):
        self.once("trial:enter")

    def test_trial_exit(self):
        # Confirmed in storage, not told: the confirm is never lost, and the next start tells it.
        self.offer()
        self.fleet.dies("trial:exit")
        self.fleet.start()
        self.tell("trial:exit", "once", self.champion(self.second))
        self.assertEqual(self.fleet.status()["state"], "confirmed")

    def test_trial_crashes_by_itself(self):
        self.offer(gate=LASTS, stages='[[stage]]\nkind = "fault"\nfault = "abort"\nat_sample = 30\n')
        for _ in range(TRIES + 2):
            self.fleet.start(wait=False)
            try:
                self.fleet.agent.wait(timeout=8)
            except subprocess.TimeoutExpired:
                break
        self.tell("trial", "crash of the model", self.champion(self.first, denied=True, state="fell_back", reason="crash"))

    def test_confirmed_exit(self):
        self.offer()
        self.fleet.start({"DIPPER_TEST_KILL": "confirmed:exit"})
        self.left("confirmed")

    def test_fell_back_exit(self):
        self.fall_back("fell_back:exit")
        self.left("fell_back")

    def test_rejected_exit(self):
        self.for_another_board()
        self.fleet.start({"DIPPER_TEST_KILL": "rejected:exit"})
        self.left("rejected")

    def test_failed_exit(self):
        self.offer()
        for _ in range(2):
            self.fleet.dies("verifying:enter")
        self.fleet.start({"DIPPER_TEST_KILL": "failed:exit"})
        self.left("failed")

    def test_a_file_while_it_is_copied_or_checked(self):
        package = self.a_file("verifying:enter")
        self.tell("file, verifying:enter", "once", self.champion(self.first) + ", installed again")
        self.assertEqual(self.fleet.ask("install", package, "--wait").returncode, 0)
        self.champion(self.second)

    def test_a_file_whose_trial_record_is_durable(self):
        self.a_file("verifying:exit")
        self.fleet.until(lambda: self.fleet.status()["champion"]["digest"] == self.second, "its trial goes on by itself")
        self.tell("file, verifying:exit", "once", self.champion(self.second))


class EveryTime(Kill):
    def test_idle_forever(self):
        # Rule 7: it was not the model's doing, as far as anybody knows, so nothing is denied.
        self.assertNotEqual(self.killed_often(LADDER), "newest checkpoint")

    def test_idle_exit_forever(self):
        self.always("idle:exit")

    def test_offered_forever(self):
        # It comes before the healthy mark, so the champion's ladder counts the starts too.
        self.always("offered:enter", LADDER)

    def test_offered_exit_forever(self):
        self.always("offered:exit")

    def test_transferring_forever(self):
        self.always("transferring:enter")

    def test_transferring_exit_forever(self):
        self.always("transferring:exit")

    def test_verifying_exit_forever(self):
        # The trial record is durable: the next start goes on from the trial.
        self.forever("verifying:exit", 1, "confirmed", "shown_not_worse")

    def test_verifying_forever(self):
        # Twice nobody knows whether it was the power; a third time is not tried.
        self.forever("verifying:enter", 2, "failed", "unknown")

    def test_staged_forever(self):
        self.forever("staged:enter", 1, "confirmed", "shown_not_worse")

    def test_staged_exit_forever(self):
        self.forever("staged:exit", 1, "confirmed", "shown_not_worse")

    def test_trial_enter_forever(self):
        # Each start counts a try before any of the challenger's code runs.
        self.forever("trial:enter", TRIES, "failed", "out_of_tries")

    def test_trial_exit_forever(self):
        self.forever("trial:exit", 1, "confirmed", "none")

    def test_trial_exit_by_a_command(self):
        self.offer(gate=LASTS)
        self.fleet.start({"DIPPER_TEST_KILL": "trial:exit"})
        self.fleet.settled(("trial",))
        self.fleet.ask("fall-back")
        self.assertEqual(self.fleet.agent.wait(timeout=20), -signal.SIGKILL)
        self.the_end_is_told("by a command", denied=False)

    def test_trial_exit_by_its_deadline(self):
        self.offer(gate=DEADLINE)
        self.fleet.dies("trial:exit")
        self.the_end_is_told("by its deadline", denied=False)

    def test_trial_exit_by_its_own_failure(self):
        self.offer(gate=LASTS, stages=NOT_FINITE)
        self.fleet.dies("trial:exit")
        self.the_end_is_told("by its own failure", denied=True)

    def test_trial_forever(self):
        self.offer(gate=LASTS)
        self.fleet.start()
        self.fleet.settled(("trial",))
        deaths = 0
        for _ in range(TRIES + 20):
            # Before a healthy mark of this run, so that no try is given back.
            self.fleet.kill()
            deaths += 1
            self.fleet.start()
            if self.fleet.status()["state"] != "trial":
                break
        outcome = self.champion(self.first, state="failed", reason="out_of_tries")
        self.tell("trial:middle", f"every time ({deaths} deaths)", outcome)
        self.assertLessEqual(deaths, TRIES + 12)
        self.assertIn(("trial", "failed", "out_of_tries"), self.fleet.steps())

    def test_confirmed(self):
        self.offer()
        self.fleet.dies("confirmed:enter")
        self.over("confirmed:enter", "every time (1 death)", "idle", "none", self.second, ("trial", "confirmed", "shown_not_worse"))

    def test_fell_back(self):
        self.fall_back("fell_back:enter")
        self.assertEqual(self.fleet.agent.wait(timeout=20), -signal.SIGKILL)
        self.over("fell_back:enter", "every time (1 death)", "idle", "none", self.first, ("trial", "fell_back", "command"))

    def test_rejected(self):
        self.for_another_board()
        self.fleet.dies("rejected:enter")
        self.over("rejected:enter", "every time (1 death)", "idle", "none", self.first, ("transferring", "rejected", "wrong_hardware"))

    def test_failed(self):
        self.offer()
        for _ in range(2):
            self.fleet.dies("verifying:enter")
        self.fleet.dies("failed:enter")
        self.over("failed:enter", "every time (1 death)", "idle", "none", self.first, ("verifying", "failed", "unknown"))

    def test_failed_after_a_trial(self):
        self.offer()
        for _ in range(TRIES):
            self.fleet.dies("trial:enter")
        self.fleet.dies("failed:enter")
        self.over("failed:enter, of a trial", "every time (1 death)", "idle", "none", self.first, ("trial", "failed", "out_of_tries"))


def print_table():
    if not TABLE:
        return
    print("\nstate x kill -> outcome")
    for row in sorted(TABLE):
        print("  {:24} {:40} {}".format(*row))


if __name__ == "__main__":
    program = unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=2, exit=False)
    print_table()
    sys.exit(0 if program.result.wasSuccessful() else 1)
