"""What status advises while no model serves: one that was lost is named, one on trial is enough.

usage: advice_test.py DIPPER_AGENT DIPPER
"""
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from device import CONFIRMS, LASTS, Device  # noqa: E402

AGENT, DIPPER = sys.argv[1:3]


class Advice(unittest.TestCase):
    def setUp(self):
        self.device = Device(AGENT, DIPPER)
        self.addCleanup(self.device.close)

    def ask(self, *arguments):
        done = self.device.ask(*arguments)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr + self.device.log_text()[-2000:])
        return done

    def test_a_model_that_was_lost_is_named(self):
        """A byte of the package in the slot that serves; then the whole slot. Told at rest, at each start, in status and as an event."""
        self.device.start()
        package, digest = self.device.package("pump", "1", CONFIRMS)
        slots = {"A": self.device.home / "state/a.img", "B": self.device.home / "state/b.img"}
        for whole in (False, True):
            self.ask("install", package, "--wait")
            status = self.device.status()
            self.assertEqual((status["champion"]["digest"], status["lost"]), (digest, ""))
            self.device.stop()
            place = status["champion_slot"]
            content = bytearray(slots[place].read_bytes())
            content[content.index(package.read_bytes()[-64:])] ^= 1
            slots[place].write_bytes(content)
            named = f"({digest[:12]}) in slot {place} is damaged or gone"
            if whole:
                for path in slots.values():
                    path.write_bytes(bytes(len(content)))
                named = "package " + named
                self.assertIn("no model: " + named, self.ask("status").stdout)
            else:
                named = "pump 1 " + named
            self.device.start()
            self.assertIn("no model: " + named + "; install it again", self.device.log_text())
            text = self.ask("status").stdout
            self.assertIn("no model: " + named, text)
            self.assertIn("install it again (dipper-agent install FILE) or offer it again, at or above security version 1", text)
            self.assertIn(named, self.device.status()["lost"])
            self.assertIn("no model is left to serve: " + named, self.ask("log").stdout)
            self.assertIn("nothing to serve", self.ask("slots").stdout)
            # The record of this start names it no more; the next start still says what it can.
            self.device.stop()
            self.device.start()
            later = "what served here was reset, or its slot is gone" if whole else named
            self.assertIn("no model: " + later, self.ask("status").stdout)

    def test_the_first_trial_does_not_ask_for_another_model(self):
        self.device.start()
        package, _ = self.device.package("pump", "1", LASTS)
        self.ask("install", package)
        text = self.ask("status").stdout
        self.assertIn("on trial: the health gate decides by itself; dipper-agent confirm makes it serve now", text)
        self.assertNotIn("install FILE", text)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=2)
