"""kill -9 in every update state, once and every time: a real agent, a real Mosquitto, real packages.

The agent is a test build: DIPPER_TEST_KILL=STATE:enter|exit ends it by SIGKILL when the state has just been entered, or is about to be left
with its end durable and not yet told. `middle` is a SIGKILL from here while the state lasts (cuts at every block of a transfer:
tests/integration/transfer). Prints the table at its end.

usage: kill_test.py DIPPER_AGENT DIPPER [TESTS]
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


class KillEverywhere(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not os.access(MOSQUITTO, os.X_OK):
            print("mosquitto is not installed: run tools/setup")
            sys.exit(77)

    def setUp(self):
        self.fleet = Fleet()
        self.addCleanup(self.fleet.close)
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

    def forever(self, point, runs, outcome, champion, denied=False, **package):
        """Killed there in run after run until it is not reached any more."""
        self.offer(**package)
        deaths = 0
        for _ in range(runs + 2):
            self.fleet.start({"DIPPER_TEST_KILL": point}, wait=False)
            try:
                code = self.fleet.agent.wait(timeout=8)
            except subprocess.TimeoutExpired:
                break
            self.assertEqual(code, -signal.SIGKILL, self.fleet.log_text()[-3000:])
            deaths += 1
        self.assertEqual(deaths, runs, self.fleet.log_text()[-3000:])
        status = self.fleet.settled((outcome[0],))
        self.tell(point, f"every time ({deaths} deaths)", self.champion(champion, denied=denied, state=outcome[0], reason=outcome[1]))
        # What is not denied comes through once nobody kills it any more.
        self.fleet.kill()
        self.fleet.start()
        self.assertEqual(self.fleet.status()["champion"]["digest"], champion, status)

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

    def test_verifying_forever(self):
        # Twice nobody knows whether it was the power; a third time is not tried.
        self.forever("verifying:enter", 2, ("failed", "unknown"), self.first)

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

    def test_trial_crashes_by_itself(self):
        self.offer(gate=LASTS, stages='[[stage]]\nkind = "fault"\nfault = "abort"\nat_sample = 30\n')
        for _ in range(TRIES + 2):
            self.fleet.start(wait=False)
            try:
                self.fleet.agent.wait(timeout=8)
            except subprocess.TimeoutExpired:
                break
        self.tell("trial", "crash of the model", self.champion(self.first, denied=True, state="fell_back", reason="crash"))

    def test_confirmed(self):
        self.offer()
        self.fleet.dies("confirmed:enter")
        self.fleet.start()
        self.tell("confirmed:enter", "once", self.champion(self.second))

    def test_fell_back(self):
        self.offer(gate=LASTS)
        self.fleet.start({"DIPPER_TEST_KILL": "fell_back:enter"})
        self.fleet.settled(("trial",))
        self.fleet.ask("fall-back")
        self.assertEqual(self.fleet.agent.wait(timeout=20), -signal.SIGKILL)
        self.fleet.start()
        self.tell("fell_back:enter", "once", self.champion(self.first))
        self.assertIn(("trial", "fell_back", "command"), self.fleet.steps())

    def test_rejected(self):
        package, self.second = self.fleet.package("pump", "2", extra=("--hardware", "another-board"))
        self.fleet.publish(package)
        self.fleet.dies("rejected:enter")
        self.fleet.start()
        time.sleep(1)
        self.tell("rejected:enter", "once", self.champion(self.first))
        self.assertIn(("transferring", "rejected", "wrong_hardware"), self.fleet.steps())

    def a_file(self, point):
        package, self.second = self.fleet.package("pump", "2", CONFIRMS)
        self.fleet.start({"DIPPER_TEST_KILL": point})
        asked = self.fleet.ask("install", package)
        self.assertEqual((asked.returncode, self.fleet.agent.wait(timeout=20)), (6, -signal.SIGKILL), asked.stderr)
        self.assertIn("ended the connection", asked.stderr)
        self.fleet.start()
        return package

    def test_a_file_while_it_is_copied_or_checked(self):
        package = self.a_file("verifying:enter")
        self.tell("file, verifying:enter", "once", self.champion(self.first) + ", installed again")
        self.assertEqual(self.fleet.ask("install", package, "--wait").returncode, 0)
        self.champion(self.second)

    def test_a_file_whose_trial_record_is_durable(self):
        self.a_file("verifying:exit")
        self.fleet.until(lambda: self.fleet.status()["champion"]["digest"] == self.second, "its trial goes on by itself")
        self.tell("file, verifying:exit", "once", self.champion(self.second))


def print_table():
    if not TABLE:
        return
    print("\nstate x kill -> outcome")
    for row in sorted(TABLE):
        print("  {:22} {:28} {}".format(*row))


if __name__ == "__main__":
    program = unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=2, exit=False)
    print_table()
    sys.exit(0 if program.result.wasSuccessful() else 1)
