"""Sources that are away: not there at the start, gone while the agent runs, there again. The model, telemetry and the device stay.

usage: away_test.py AGENT DIPPER [unittest arguments]
"""
import json
import shutil
import subprocess
import time
import unittest

from streams import CLASSES, HAS_BROKER, NO_BROKER, SourceCase, run


class AwayTest(SourceCase):
    def learned(self):
        """A model that a file has taught; the agent is stopped."""
        rows = "".join(f"{i % 7},{'on' if i % 7 > 3 else 'off'}\n" for i in range(20000))
        (self.device.home / "stream.csv").write_text("level,state\n" + rows)
        package = self.package(["level"], **CLASSES)
        self.device.start()
        self.install(package)
        self.until(lambda: self.champion() == "1", "the model is confirmed by what it sees")
        self.until(lambda: self.device.status()["healthy"] and self.device.status()["samples"] > 300, "it learns and is healthy")
        self.device.stop()
        slots = json.loads(self.device.ask("slots", "--json").stdout)["models"][0]["slots"]
        return slots[0]["checkpoints"][0]["samples"]

    def test_a_missing_file_costs_nothing_that_was_learned(self):
        samples = self.learned()
        (self.device.home / "stream.csv").rename(self.device.home / "gone.csv")
        # An agent that ends by itself because of it would be started again and again, and each start blames the model.
        self.device.start()
        time.sleep(3)
        self.assertIsNone(self.device.agent.poll(), self.device.log_text()[-2000:])
        status = self.device.ask("status").stdout
        self.assertIn("not there: source.path: there is no file", status)
        slots = json.loads(self.device.ask("slots", "--json").stdout)["models"][0]
        self.assertEqual((slots["rung"], slots["unexplained_starts"]), ("newest checkpoint", 0), slots)
        self.assertEqual(self.champion(), "1")
        self.assertEqual(self.device.status()["samples"], samples)
        (self.device.home / "gone.csv").rename(self.device.home / "stream.csv")
        self.until(lambda: self.device.status()["samples"] > samples + 50, "it reads the file that came", 90)
        self.assertNotIn("not there", self.device.ask("status").stdout)
        # The log has both; the first came before any broker could be reached.
        log = [json.loads(line)["kind"] for line in self.device.ask("log", "-n", "100", "--json").stdout.splitlines()]
        told = [kind for kind in log if kind.startswith("source_")]
        self.assertEqual(told[-2:], ["source_failed", "source_recovered"])
        self.device.stop()

    def test_a_trial_is_not_ended_by_a_missing_file(self):
        self.source('kind = "csv_replay"\npath = "none.csv"')
        package = self.package(["level"], **CLASSES)
        self.device.start()
        self.install(package)
        self.until(lambda: self.device.status()["state"] == "trial", "the trial begins")
        for _ in range(6):
            self.device.stop()
            self.device.start()
        self.assertEqual(self.device.status()["state"], "trial")
        self.device.stop()

    def test_a_socket_whose_folder_comes_later(self):
        self.source('kind = "socket"\npath = "later/samples.sock"')
        package = self.package(["level"], **CLASSES)
        self.device.start()
        self.assertIn("cannot make the socket", self.device.ask("status").stdout)
        self.install(package)
        (self.device.home / "later").mkdir()
        path = self.device.home / "later/samples.sock"
        self.until(path.exists, "the socket is made", 90)
        self.confirm_by(self.writer(path).ask)
        self.device.stop()

    @unittest.skipUnless(HAS_BROKER, NO_BROKER)
    def test_lines_that_are_too_long_are_counted(self):
        broker = self.broker()
        (self.device.home / "stream.csv").write_text("level,state\n1,off\n" + 3 * ("x" * 1_000_000 + "\n") + "".join("2,off\n" for _ in range(500)))
        self.device.start()
        self.until(lambda: self.metric(broker, "source_unreadable_total", "metrics") == 3, "three lines are counted")
        self.until(lambda: any("3 unreadable" in event.get("detail", "") for event in broker.said("json/event")), "and told")
        self.device.stop()

    def test_a_sensor_that_is_unplugged_and_plugged_in_again(self):
        package = self.start_with_own_bus()
        self.until(lambda: "not there: source kind iio" in self.device.ask("status").stdout, "it is said to be away")
        folder = self.plug("iio:device0")
        self.install(package)
        self.until(lambda: self.champion() == "1", "the model is confirmed by what it sees", 120)
        shutil.rmtree(folder)
        self.until(lambda: "does not answer" in self.device.log_text(), "its silence is said", 60)
        self.until(lambda: "not there" in self.device.ask("status").stdout, "and shown")
        samples = self.device.status()["samples"]
        self.plug("iio:device3")  # as a hub numbers it anew
        self.until(lambda: self.device.status()["samples"] > samples + 50, "it goes on learning", 120)
        self.assertNotIn("not there", self.device.ask("status").stdout)
        self.device.stop()


if __name__ == "__main__":
    run()
