"""Alarms of a real agent: raised, named, cleared, limited in a storm, and not told twice after a restart.

usage: alarms_test.py AGENT DIPPER [unittest arguments]
"""
import random
import sys
import time
import unittest

from world import HAS_BROKER, NO_BROKER, TelemetryCase


@unittest.skipUnless(HAS_BROKER, NO_BROKER)
class AlarmsTest(TelemetryCase):
    def begin(self, anomaly):
        self.broker_ = self.broker()
        self.source('kind = "socket"\npath = "samples.sock"')
        package = self.spec_package(more=f"[anomaly]\nhold = 0\n{anomaly}\n")
        self.device.start()
        self.writer_ = self.writer(self.device.home / "samples.sock")
        self.random, self.number = random.Random(1), 0
        self.device.ask("install", package)
        for _ in range(300):
            self.say(20)
            if self.champion() == "1":
                break
            time.sleep(0.05)
        self.say(2500)

    def say(self, samples, flow=None):
        for _ in range(samples):
            value = self.random.gauss(10, 1) if flow is None else flow
            answer = self.writer_.ask({"id": self.number, "flow": value, "pressure": self.random.gauss(3, 0.2)})
            self.number += 1
        return answer

    def test_raised_with_its_feature_and_cleared(self):
        self.begin("raise = 0.999\nclear = 0.99\nmin_raise_samples = 3\nmin_clear_samples = 5")
        normal = len(self.events(self.broker_, "anomaly_raised"))
        self.assertFalse(self.say(2, flow=60)["alarm"], "two samples are too short")
        self.say(20)
        self.assertEqual(len(self.events(self.broker_, "anomaly_raised")), normal)
        begin = self.number
        self.assertTrue(self.say(5, flow=60)["alarm"])
        raised = self.until(lambda: self.events(self.broker_, "anomaly_raised")[normal:], "the alarm is told")[0]
        self.assertEqual((raised["sample_id"], raised["alarm"]), (begin + 2, begin + 2))
        self.assertEqual(raised["threshold"], 0.999)
        self.assertGreaterEqual(raised["score"], 0.999)
        self.assertIn(raised["severity"], ("minor", "major", "critical"))
        shares = {name[len("contribution."):]: share for name, share in raised.items() if name.startswith("contribution.")}
        self.assertEqual(max(shares, key=shares.get), "flow", raised)
        self.assertAlmostEqual(sum(shares.values()), 1, places=6)
        self.assertTrue(self.say(4)["alarm"], "four samples are too short")
        self.assertFalse(self.say(60)["alarm"])
        cleared = self.until(lambda: [e for e in self.events(self.broker_, "anomaly_cleared") if e["alarm"] == begin + 2], "it is cleared")[0]
        self.assertEqual(cleared["threshold"], 0.99)
        self.assertGreater(cleared["peak"], 0.999)
        print("\nraised:", raised, "\ncleared:", cleared, file=sys.stderr)
        self.device.stop()

    def test_a_storm_is_limited_and_told(self):
        self.begin("raise = 0.99\nclear = 0.9\nmin_raise_samples = 1\nmin_clear_samples = 1\nmax_events_per_hour = 3")
        for _ in range(30):
            self.say(1, flow=60)
            self.say(6)
        counted = self.until(lambda: [m for m in self.broker_.said("json/m/main/metrics") if m.get("anomalies_total", 0) >= 30], "they are counted")[-1]
        told = {event["alarm"] for event in self.events(self.broker_, "anomaly_raised")}
        self.assertEqual(len(told), 3)

        metrics = self.until(lambda: [m for m in self.broker_.said("json/m/main/metrics") if m.get("anomalies_left_out_total", 0) >= 25][-1:],
                             "what was left out is told")[0]
        print("\n", {key: metrics[key] for key in ("anomalies_total", "anomalies_left_out_total", "anomaly_severity")}, counted["anomalies_total"],
              file=sys.stderr)
        self.device.stop()

    def test_a_restart_in_the_middle_tells_nothing_twice(self):
        self.begin("raise = 0.999\nclear = 0.99\nmin_raise_samples = 2\nmin_clear_samples = 5")
        self.say(20)
        begin = self.number
        self.assertTrue(self.say(6, flow=60)["alarm"])
        self.until(lambda: [e for e in self.events(self.broker_, "anomaly_raised") if e["alarm"] >= begin], "the alarm is told")
        last = self.number
        self.until(lambda: [e for e in self.events(self.broker_, "checkpoint") if e["count"] >= last], "a checkpoint that has the alarm")
        before = len(self.events(self.broker_, "anomaly_raised"))
        self.device.kill()
        self.device.start()
        self.writer_ = self.writer(self.device.home / "samples.sock")
        self.assertTrue(self.say(2, flow=60)["alarm"], "the image remembers")
        self.say(60)
        cleared = self.until(lambda: [e for e in self.events(self.broker_, "anomaly_cleared") if e["alarm"] == 0], "it is cleared")[-1]
        self.assertEqual(len(self.events(self.broker_, "anomaly_raised")), before)
        self.assertIn("peak", cleared)
        self.device.stop()


if __name__ == "__main__":
    TelemetryCase.agent, TelemetryCase.dipper = sys.argv[1:3]
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
