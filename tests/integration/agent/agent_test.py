"""dipper-agent as a process: configuration errors, start without a broker, clean stop, SIGKILL, one agent a device.

usage: agent_test.py DIPPER_AGENT DIPPER
"""
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

AGENT, DIPPER = sys.argv[1:3]

CONFIG = """[device]
id = "gw-1"
fleet = "plant"
[mqtt]
url = "mqtt://127.0.0.1:1"
[storage]
boot = "state/boot.img"
data = "state/data.img"
create = true
[[model]]
slot_a = "state/a.img"
slot_b = "state/b.img"
max_image_bytes = "64KiB"
[trust]
root = "root.dproot"
[[source]]
kind = "csv_replay"
path = "stream.csv"
rate_hz = 100
[telemetry]
interval_ms = 100
"""


class Agent(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory(prefix="dipper-agent-")
        self.home = Path(self.temporary.name)
        self.running = []
        keys = []
        for role in ("root", "release", "rollout", "command"):
            subprocess.run([DIPPER, "key", "new", "--out", self.home / f"{role}.key"], check=True, capture_output=True)
            keys += [f"--{role}-key", self.home / f"{role}.key"]
        subprocess.run([DIPPER, "root", "new", *keys, "--out", self.home / "root.dproot"], check=True, capture_output=True)
        (self.home / "stream.csv").write_text("level\n" + "".join(f"{i % 7}\n" for i in range(5000)))
        self.write(CONFIG)

    def tearDown(self):
        for process in self.running:
            if process.poll() is None:
                process.kill()
            process.wait()
            process.stderr.close()
        self.temporary.cleanup()

    def write(self, text):
        (self.home / "agent.toml").write_text(text)

    def run_agent(self, *options):
        return subprocess.run([AGENT, "--config", self.home / "agent.toml", *options], capture_output=True, text=True, timeout=60)

    def start(self):
        process = subprocess.Popen([AGENT, "--config", self.home / "agent.toml"], stderr=subprocess.PIPE, text=True)
        self.running.append(process)
        for line in process.stderr:
            if "no model yet" in line:
                return process
        self.fail("the agent did not come up")

    def stop(self, process):
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(timeout=30), 0)
        self.assertIn("stopped", process.stderr.read())

    def test_good_configuration_changes_nothing(self):
        result = self.run_agent("--check-config")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertIn("good", result.stdout)
        self.assertFalse((self.home / "state").exists())

    def test_every_problem_is_told_with_its_line(self):
        self.write(CONFIG.replace("rate_hz", "rate_hertz").replace('fleet = "plant"', "fleet = 7"))
        result = self.run_agent("--check-config")
        self.assertEqual(result.returncode, 2)
        self.assertIn("agent.toml:3: device.fleet must be a text", result.stderr)
        self.assertIn("unknown key source.rate_hertz; did you mean rate_hz?", result.stderr)
        self.assertIn("2 problem(s)", result.stderr)
        self.assertFalse((self.home / "state").exists())

    def test_usage(self):
        self.assertEqual(subprocess.run([AGENT], capture_output=True).returncode, 2)
        self.assertEqual(subprocess.run([AGENT, "--nonsense"], capture_output=True).returncode, 2)
        self.assertEqual(subprocess.run([AGENT, "--help"], capture_output=True).returncode, 0)

    def test_starts_without_broker_and_stops_cleanly(self):
        process = self.start()
        time.sleep(0.5)
        self.stop(process)
        self.assertTrue((self.home / "state/boot.img").exists())

    def test_survives_sigkill(self):
        for _ in range(4):
            process = self.start()
            time.sleep(0.2)
            process.kill()
            process.wait()
        self.stop(self.start())

    def test_one_agent_a_device(self):
        first = self.start()
        result = self.run_agent()
        self.assertEqual(result.returncode, 1)
        self.assertIn("another process has it open", result.stderr)
        self.stop(first)

    def test_missing_things_are_named(self):
        (self.home / "root.dproot").rename(self.home / "gone")
        result = self.run_agent()
        self.assertEqual(result.returncode, 1)
        self.assertIn("trust.root: cannot read", result.stderr)
        (self.home / "root.dproot").write_bytes(os.urandom(300))
        result = self.run_agent()
        self.assertEqual(result.returncode, 1)
        self.assertIn("the trust root cannot be used", result.stderr)
        (self.home / "gone").rename(self.home / "root.dproot")
        (self.home / "stream.csv").unlink()
        result = self.run_agent()
        self.assertEqual(result.returncode, 1)
        self.assertIn("source.path: there is no file", result.stderr)

    def test_partitions_that_are_too_small(self):
        self.write(CONFIG.replace('max_image_bytes = "64KiB"', 'max_image_bytes = "4MiB"'))
        result = self.run_agent()
        self.assertEqual(result.returncode, 1)
        self.assertIn("check the sizes of boot and slots", result.stderr)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
