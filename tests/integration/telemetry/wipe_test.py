"""The signed command wipe on a real agent with a real broker: what goes, what stays, power cuts in its middle, and that it cannot be played again.

usage: wipe_test.py AGENT DIPPER [unittest arguments]
"""
import json
import signal
import subprocess
import sys
import time
import unittest
from pathlib import Path

from world import HAS_BROKER, NO_BROKER, TelemetryCase

SECRET = "secretflow"  # a feature: its name stands in the package, in recordings, events and the uncertain samples
POINTS = ("wipe:answered", "wipe:model", "wipe:data", "wipe:told")
KILLS_FROM_OUTSIDE = 8


@unittest.skipUnless(HAS_BROKER, NO_BROKER)
class WipeTest(TelemetryCase):
    def setUp(self):
        super().setUp()
        self.broker_ = self.broker()
        self.set(("[telemetry]", '[recorder]\nbytes = "256KiB"\nsegments = 2\n[privacy]\nuncertain_samples = 4\n'
                                 f'uncertain_features = ["{SECRET}"]\n[telemetry]'))
        self.source('kind = "socket"\npath = "samples.sock"')
        self.number = 0

    def learn(self, version="1"):
        """A model in service, with samples recorded and checkpoints written."""
        # Labels that differ from version to version, so that the packages do.
        self.device.ask("install", self.spec_package(features=(SECRET, "pressure"), version=version))
        writer = self.writer(self.device.home / "samples.sock")

        def feed():
            for _ in range(50):
                self.number += 1
                writer.ask({"id": self.number, SECRET: self.number % 7, "pressure": self.number % 5})
            return self.champion() == version
        self.until(feed, "the model serves")
        for _ in range(10):
            feed()
        self.until(lambda: [e for e in self.events(self.broker_, "checkpoint")], "a checkpoint is written")

    def images(self):
        return sorted((self.device.home / "state").glob("*.img"))

    def holds(self):
        """Partition files in which something of the model or its samples can be read."""
        return [path.name for path in self.images() if SECRET.encode() in path.read_bytes()]

    def command(self, *more, name="wipe", key="command", wait=20, code=0, document=None):
        signed = ("--document", document) if document else ("--command-key", self.device.home / f"{key}.key")
        words = ["command", name, "--device", "gw-1", "--fleet", "plant", "--broker", f"mqtt://127.0.0.1:{self.broker_.port}",
                 *signed, "--wait", str(wait), *more]
        done = subprocess.run([self.dipper, *map(str, words)], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done

    def wiped(self):
        return [e for e in self.broker_.said("json/event") + self.broker_.said("json/backlog") if e.get("kind") == "wiped"]

    def erased(self):
        self.until(self.wiped, "the end is told")
        self.assertEqual(self.holds(), [])
        self.assertFalse(self.champion())
        self.until(lambda: "connected to" in self.device.ask("status").stdout, "it is back")

    def test_it_answers_then_erases_then_tells(self):
        self.device.start()
        self.learn()
        self.device.stop()
        self.device.start()
        self.assertGreaterEqual(set(self.holds()), {"a.img", "data.img"} if "a.img" in self.holds() else {"b.img", "data.img"})
        floor = self.device.slots()["floor"]
        process = self.device.agent.pid
        done = self.command("--yes")
        self.assertIn("wipe on gw-1: done: it erases now; the event wiped tells the end", done.stdout)
        self.erased()
        self.assertIsNone(self.device.agent.poll())
        self.assertEqual(self.device.agent.pid, process)
        self.assertEqual(self.device.slots()["floor"], floor, "the floor stays")
        log = self.device.log_text()
        self.assertLess(log.index("erasing everything learned and held"), log.index("everything learned and held is erased"))
        kinds = [json.loads(line)["event"]["kind"] for line in self.device.ask("log", "-n", "1000", "--json").stdout.splitlines()]
        self.assertIn("wiped", kinds)
        self.assertNotIn("checkpoint", kinds, "the log begins anew")
        print("\nlog after the wipe:", kinds, file=sys.stderr)
        # It learns again, from what is newer than what it had.
        self.learn("2")
        self.device.stop()

    def test_it_cannot_be_played_again(self):
        self.device.start()
        self.learn()
        draft, signed = self.device.home / "draft", self.device.home / "signed"
        words = ["command", "wipe", "--yes", "--device", "gw-1", "--fleet", "plant", "--out", draft]
        self.device.dipper(*words)
        self.device.dipper("document", "sign", draft, "--key", self.device.home / "command.key", "--out", signed)
        send = ["command", "wipe", "--yes", "--device", "gw-1", "--fleet", "plant", "--broker", f"mqtt://127.0.0.1:{self.broker_.port}", "--wait", "20",
                "--document", signed, "--json"]
        first = json.loads(self.device.dipper(*send))
        self.assertEqual((first["status"], first["repeated"]), ("done", False))
        self.erased()
        self.learn("2")
        again = json.loads(self.device.dipper(*send))
        self.assertEqual((again["status"], again["repeated"]), ("done", True))
        time.sleep(7)  # longer than an answer may take to go out
        self.assertEqual(self.champion(), "2")
        self.assertEqual(len(self.wiped()), 1)
        self.device.stop()
        self.device.start()
        self.assertEqual(self.champion(), "2")
        # An older number neither, and what was denied or below the floor before is so still.
        self.command("--yes", "--number", str(first["number"] - 1), code=1)
        self.assertEqual(self.champion(), "2")
        old = self.spec_package(features=(SECRET, "pressure"), version="1")
        done = self.device.ask("install", old)
        self.assertNotEqual(done.returncode, 0)
        self.device.stop()

    def test_what_is_refused_changes_nothing(self):
        self.device.start()
        self.learn()
        held = self.holds()
        self.assertIn("say so with --yes", self.command(code=4).stderr)
        self.assertIn("leave --model away", self.command("--yes", "--model", "main", code=2).stderr)
        self.assertIn("refused one that it could not verify (unknown_key)", self.command("--yes", key="stranger", wait=3, code=6).stderr)
        told = lambda: [e for e in self.broker_.said("json/event") if e.get("kind") == "command_refused"]
        self.until(told, "the stranger is told")
        self.assertEqual(told()[0]["reason"], "unknown_key")
        draft = self.device.home / "freeze.draft"
        self.device.dipper("command", "freeze", "--device", "gw-1", "--fleet", "plant", "--out", draft)
        signed = self.device.home / "freeze.signed"
        self.device.dipper("document", "sign", draft, "--key", self.device.home / "command.key", "--out", signed)
        done = self.command("--yes", "--document", signed, code=2)
        self.assertIn("is a command freeze, not wipe; nothing was sent", done.stderr)
        self.assertEqual(self.champion(), "1")
        self.assertEqual(self.wiped(), [])
        self.assertEqual(self.holds(), held)
        self.device.stop()

    def test_a_wipe_takes_two_keys_where_the_root_says_so(self):
        home, dipper = self.device.home, self.device.dipper
        self.device.start()
        self.learn()
        held = self.holds()
        dipper("key", "new", "--out", home / "second.key")
        access = ("--fleet", "plant", "--broker", f"mqtt://127.0.0.1:{self.broker_.port}")
        two = ("--command-key", home / "command.key", "--command-key", home / "second.key", "--command-threshold", "2")
        dipper("root", "next", "--from", home / "root.dproot", *two, "--sign-key", home / "root.key", "--out", home / "two.dproot")
        dipper("root", "publish", home / "two.dproot", *access)
        self.until(lambda: "root       version 2, until " in self.device.ask("status").stdout, "the root is in force")
        # Who has stolen one of them: the desk says so beforehand where it knows the root, the device in any case.
        self.assertIn("fewer signatures", self.command("--yes", "--root", home / "two.dproot", code=5).stderr)
        self.assertIn("refused one that it could not verify (bad_signature)", self.command("--yes", wait=3, code=6).stderr)
        self.assertEqual((self.champion(), self.wiped(), self.holds()), ("1", [], held))
        # Two people in turn.
        order, whole = home / "wipe.command", home / "two.dproot"
        dipper("command", "wipe", "--yes", "--device", "gw-1", "--fleet", "plant", "--command-key", home / "command.key", "--root", whole, "--out", order)
        self.assertIn("fewer signatures", self.command("--yes", "--root", whole, document=order, code=5).stderr)
        dipper("document", "sign", order, "--key", home / "second.key", "--root", whole)
        self.assertTrue(json.loads(dipper("document", "show", order, "--root", whole, "--json"))["complete"])
        self.assertIn("done", self.command("--yes", "--root", whole, document=order).stdout)
        self.erased()
        # Both in one place, at once.
        self.learn("2")
        self.assertIn("done", self.command("--yes", "--command-key", home / "second.key", "--root", whole).stdout)
        self.until(lambda: len(self.wiped()) == 2, "the second end is told")
        self.device.stop()

    def has_kill_points(self):
        return b"DIPPER_TEST_KILL" in Path(self.agent).read_bytes()

    def test_a_cut_at_every_step_is_made_good(self):
        if not self.has_kill_points():
            self.skipTest("this agent is built without DIPPER_TEST_FAULTS")
        for version, point in enumerate(POINTS, 1):
            with self.subTest(point):
                self.device.start({"DIPPER_TEST_KILL": point})
                self.learn(str(version))
                before = len(self.wiped())
                self.command("--yes")
                self.assertEqual(self.device.agent.wait(timeout=60), -signal.SIGKILL, point)
                if point == "wipe:answered":
                    self.assertTrue(self.holds(), "nothing is erased yet")
                # Two more cuts on the way, by the same point if it comes again.
                for _ in range(2):
                    self.device.start({"DIPPER_TEST_KILL": point}, wait=False)
                    if point == "wipe:answered":  # that is over: this start erases
                        break
                    self.assertEqual(self.device.agent.wait(timeout=60), -signal.SIGKILL, point)
                if point != "wipe:answered":
                    self.device.start(wait=False)
                self.until(lambda: len(self.wiped()) > before, f"{point}: the end is told")
                self.device.until(lambda: "running for" in self.device.ask("status").stdout, "the agent answers")
                self.assertEqual(self.holds(), [], point)
                self.assertFalse(self.champion())
                self.device.stop()
                self.device.start()
                self.assertFalse(self.champion(), "and no start erases again")
                self.assertLessEqual(len(self.wiped()) - before, 4)
                self.device.stop()

    def test_kills_from_outside_at_any_time(self):
        for turn in range(KILLS_FROM_OUTSIDE):
            self.device.start()
            self.learn(str(turn + 1))
            before = len(self.wiped())
            self.command("--yes")
            time.sleep(0.03 * turn)
            self.device.kill()
            self.device.start()
            self.until(lambda: len(self.wiped()) > before, f"turn {turn}: the end is told")
            self.assertEqual(self.holds(), [], turn)
            self.assertFalse(self.champion())
            self.device.stop()


if __name__ == "__main__":
    TelemetryCase.agent, TelemetryCase.dipper = sys.argv[1:3]
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]], verbosity=2)
