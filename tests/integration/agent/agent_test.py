"""dipper-agent as a process: configuration errors, start without a broker, clean stop, SIGKILL, one agent a device.

usage: agent_test.py DIPPER_AGENT DIPPER
"""
import os
import shutil
import signal
import struct
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


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 & -(crc & 1))
    return crc ^ 0xFFFFFFFF


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

    def check(self, *changes, options=(), code=2):
        """Checks CONFIG with these texts exchanged; returns what was said. Nothing may have been made."""
        text = CONFIG
        for old, new in changes:
            self.assertIn(old, text)
            text = text.replace(old, new)
        self.write(text)
        before = sorted(path for path in self.home.rglob("*"))
        done = self.run_agent("--check-config", *options)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        self.assertEqual(sorted(path for path in self.home.rglob("*")), before)
        return done.stderr

    def test_the_check_looks_at_the_files_that_are_named(self):
        (self.home / "folder").mkdir()
        (self.home / "text").write_text("no document\n")
        (self.home / "empty").write_text("")
        shutil.copy(self.home / "root.key", self.home / "open.key")
        (self.home / "open.key").chmod(0o644)
        mqtt = 'url = "mqtt://127.0.0.1:1"'
        tls = (mqtt, 'url = "mqtts://127.0.0.1:1"\nca_file = "{}"')
        for change, line, message in (
                (('"root.dproot"', '"none.dproot"'), 15, "there is no such file; put it there, or correct the path"),
                (('"root.dproot"', '"folder"'), 15, "it is a folder; name the file in it"),
                (('"root.dproot"', '"text"'), 15, "it is no trust root; name the file that dipper root new wrote"),
                (('[[source]]', 'group_keys = ["open.key"]\n[[source]]'), 16, "has mode 0644"),
                (('[[source]]', 'group_keys = ["root.key", "none.key"]\n[[source]]'), 16, "none.key cannot be read"),
                ((tls[0], tls[1].format("none.pem")), 6, "mqtt.ca_file"),
                ((tls[0], tls[1].format("text")), 6, "is it the right file, whole, and PEM?"),
                ((mqtt, mqtt + '\nusername = "u"\npassword_file = "empty"'), 7, "has no password in its first line"),
                ((mqtt, mqtt + '\ncert_file = "none.pem"\nkey_file = "root.key"'), 6, "mqtt.cert_file"),
                (('"state/boot.img"', '"/proc/nope/boot.img"'), 7, "is the kernel's own and keeps no files"),
                (('"state/boot.img"', '"folder"'), 7, "it is a folder; name a file in it"),
                (('"state/boot.img"', '"text/boot.img"'), 7, "/text is no folder; choose another path"),
                (('"state/data.img"', '"text"'), 8, "a partition has whole units of 4096"),
                (('"state/a.img"', '"PARTLABEL=no-such-label"'), 11, "no partition has the label no-such-label"),
                (('create = true\n', ''), 10, "make it, or set storage.create = true"),
                (('max_image_bytes = "64KiB"', 'factory = "none.img"'), 13, "model.factory"),
                (('[telemetry]', '[control]\nsocket = "text"\n[telemetry]'), 21, "a file that is no socket lies there"),
                (('[telemetry]', '[watchdog]\ndevice = "/dev/no-watchdog"\n[telemetry]'), 21, "load its driver")):
            told = self.check(change)
            found = [text for text in told.splitlines() if f"agent.toml:{line}: " in text and message in text]
            self.assertEqual(len(found), 1, (change, told))
            self.assertIn("nothing was started", told)
        # All at once, and none of them at the desk.
        several = (('"root.dproot"', '"none.dproot"'), ('"state/boot.img"', '"folder"'))
        self.assertIn("2 problem(s)", self.check(*several))
        self.assertEqual(self.check(*several, options=("--offline",), code=0), "")
        # Without this one the agent runs: a note.
        told = self.check(('"stream.csv"', '"none.csv"'), code=0)
        self.assertIn("agent.toml:18: source.path", told)
        self.assertIn("until then the agent runs without samples", told)
        self.write(CONFIG)
        self.assertEqual(self.run_agent("--offline").returncode, 2)

    def test_the_check_is_good_beside_an_agent_that_runs(self):
        process = self.start()
        done = self.run_agent("--check-config")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.stop(process)

    def test_a_folder_for_a_partition_is_named(self):
        (self.home / "folder").mkdir()
        self.write(CONFIG.replace('"state/boot.img"', '"folder"'))
        done = self.run_agent()
        self.assertEqual(done.returncode, 1)
        self.assertIn("it is a folder; name a file in it", done.stderr)

    def test_usage(self):
        self.assertEqual(subprocess.run([AGENT], capture_output=True).returncode, 2)
        self.assertEqual(subprocess.run([AGENT, "--nonsense"], capture_output=True).returncode, 2)
        told = subprocess.run([AGENT, "--help"], capture_output=True, text=True)
        self.assertEqual(told.returncode, 0)
        for command in ("status", "slots", "log", "install", "confirm", "fall-back", "undo", "factory-reset", "recording"):
            self.assertIn(f"\n  {command} ", told.stdout)

    def test_what_is_no_partition_is_named(self):
        (self.home / "link").symlink_to("/dev/null")
        for boot, why in (("/dev/null", "character device"), (str(self.home), "it is a folder"), (str(self.home / "link"), "symbolic link")):
            self.write(CONFIG.replace("state/boot.img", boot))
            result = self.run_agent()
            self.assertEqual(result.returncode, 1, result.stderr)
            self.assertIn(f"cannot open boot partition {boot}: ", result.stderr)
            self.assertIn(why, result.stderr)

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
        self.assertIn("or make one with: dipper root new", result.stderr)
        (self.home / "root.dproot").write_bytes(os.urandom(300))
        result = self.run_agent()
        self.assertEqual(result.returncode, 1)
        self.assertIn("the trust root cannot be used", result.stderr)
        # On a device that has one in boot a new one would be of another fleet.
        (self.home / "gone").rename(self.home / "root.dproot")
        self.stop(self.start())
        (self.home / "root.dproot").rename(self.home / "gone")
        result = self.run_agent()
        self.assertEqual(result.returncode, 1)
        self.assertIn("this device has run with one: put the root file of its fleet back", result.stderr)

    def test_without_its_source_it_goes_on(self):
        (self.home / "stream.csv").unlink()
        process = subprocess.Popen([AGENT, "--config", self.home / "agent.toml"], stderr=subprocess.PIPE, text=True)
        self.running.append(process)
        said = ""
        while "no model yet" not in said:
            line = process.stderr.readline()
            self.assertTrue(line, said)
            said += line
        self.assertIn("source.path: there is no file", said)
        self.stop(process)

    def of_a_newer_agent(self, magic):
        """Gives a structure of boot a layout that no agent knows yet, in every copy; how many there were."""
        boot = self.home / "state/boot.img"
        data = bytearray(boot.read_bytes())
        found = 0
        for at in range(0, len(data), 512):
            if data[at:at + 4] == magic[::-1] or data[at:at + 4] == magic:
                length = struct.unpack_from("<I", data, at + 8)[0]
                struct.pack_into("<H", data, at + 4, 99)
                struct.pack_into("<I", data, at + 12, crc32c(data[at:at + 12] + data[at + 16:at + length]))
                found += 1
        boot.write_bytes(data)
        return found

    def test_storage_of_a_newer_agent_leaves_telemetry(self):
        for magic, message in ((b"DREC", "model main does not run; telemetry goes on"), (b"DCNT", "nothing is accepted or written"),
                               (b"DROT", "nothing is accepted or written")):
            shutil.rmtree(self.home / "state", ignore_errors=True)
            self.stop(self.start())
            self.assertGreater(self.of_a_newer_agent(magic), 0)
            before = {path.name: path.read_bytes() for path in (self.home / "state").glob("[abo]*.img")}
            process = subprocess.Popen([AGENT, "--config", self.home / "agent.toml"], stderr=subprocess.PIPE, text=True)
            self.running.append(process)
            said = ""
            while message not in said:
                line = process.stderr.readline()
                self.assertTrue(line, said)
                said += line
            self.assertIn("newer agent", said)
            time.sleep(1)
            asked = subprocess.run([AGENT, "status", "--config", self.home / "agent.toml"], capture_output=True, text=True, timeout=60)
            self.assertEqual(asked.returncode, 0, asked.stdout + asked.stderr)
            self.assertIn("none runs", asked.stdout)
            asked = subprocess.run([AGENT, "undo", "--config", self.home / "agent.toml"], capture_output=True, text=True, timeout=60)
            self.assertIn("no model runs on this device", asked.stdout + asked.stderr)
            log = subprocess.run([AGENT, "log", "--config", self.home / "agent.toml"], capture_output=True, text=True, timeout=60)
            self.assertIn("agent_too_old", log.stdout)
            self.stop(process)
            self.assertEqual({path.name: path.read_bytes() for path in (self.home / "state").glob("[abo]*.img")}, before)

    def test_partitions_that_are_too_small(self):
        self.write(CONFIG.replace('max_image_bytes = "64KiB"', 'max_image_bytes = "4MiB"'))
        result = self.run_agent()
        self.assertEqual(result.returncode, 1)
        self.assertIn("check the sizes of boot and slots", result.stderr)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
