"""A device's flight recorder and snapshots, with a real agent and a real Mosquitto: what it records runs again at the
desk to the same digests; what it has learned is fetched, packaged again and confirmed on a second device.

usage: recording_test.py DIPPER_AGENT DIPPER [--day]     --day: a day of samples at 1 Hz, replayed and timed
"""
import json
import math
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

AGENT, DIPPER = sys.argv[1:3]
DAY = "--day" in sys.argv
SKIPPED = 77
PATIENCE_S = 300 if DAY else 120  # sanitizers and a busy machine
DAY_ROWS = 86400

SPEC = """format = 1
model_id = "main"
task = "regression"
budget = "64KiB"
loss_bound = 10.0
[target]
kind = "feature_ahead"
feature = "level"
ahead = 1
[[feature]]
name = "level"
type = "numeric"
[[feature]]
name = "flow"
type = "numeric"
[[feature]]
name = "pump"
type = "numeric"
[learner]
kind = "rls"
[pending]
capacity = 8
"""
QUICK = ("--gate-margin", 5, "--gate-warmup-samples", 5, "--gate-deadline-samples", 200, "--gate-deadline-seconds", 60,
         "--gate-at-deadline", "confirm")
CONFIG = """[device]
id = "{id}"
fleet = "plant"
[mqtt]
url = "mqtt://127.0.0.1:{port}"
[storage]
boot = "{id}/boot.img"
data = "{id}/data.img"
create = true
data_bytes = "{data}"
[[model]]
slot_a = "{id}/a.img"
slot_b = "{id}/b.img"
max_image_bytes = "64KiB"
slot_bytes = "512KiB"
checkpoint_interval_s = 1
[trust]
root = "root.dproot"
[[source]]
kind = "csv_replay"
path = "stream.csv"
rate_hz = {rate}
[health]
healthy_after_s = 1
[recorder]
bytes = "{recorder}"
segments = {segments}
bytes_per_day = "1GiB"
[snapshot]
upload = {upload}
upload_recording = {upload}
bytes_per_s = 1000000
"""


def dipper(*argv, code=0):
    done = subprocess.run([DIPPER, *[str(a) for a in argv]], capture_output=True, text=True, timeout=300)
    if done.returncode != code:
        raise AssertionError(f"dipper {' '.join(str(a) for a in argv)} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done


def rows(count):
    """A pump that fills a tank: slow columns and noise, some cells missing."""
    numbers = random.Random(5)
    level, lines = 3.0, ["level,flow,pump"]
    for i in range(count):
        pump = 1 if i // 300 % 2 == 0 else 0
        level += 0.001 * (1 if pump else -1) + numbers.gauss(0, 0.002)
        flow = "" if i % 97 == 5 else f"{1.5 * pump + 0.2 * math.sin(i / 900) + numbers.gauss(0, 0.01):.4f}"
        lines.append(f"{level:.4f},{flow},{pump}")
    return "\n".join(lines) + "\n"


class Device:
    def __init__(self, test, name, rate=400, recorder="768KiB", data="2MiB", segments=4, upload="true"):
        self.test, self.home, self.name = test, test.home, name
        self.config = self.home / f"{name}.toml"
        self.config.write_text(CONFIG.format(id=name, port=test.port, rate=rate, recorder=recorder, data=data,
                                             segments=segments, upload=upload))
        self.log = self.home / f"{name}.log"
        self.process = None
        self.starts = 0

    def start(self):
        with open(self.log, "ab") as out:
            self.process = subprocess.Popen([AGENT, "--config", self.config], stderr=out)
        self.starts += 1
        self.until("connected to", self.starts)

    def said(self):
        return self.log.read_text() if self.log.exists() else ""

    def until(self, text, count=1):
        self.test.wait(lambda: self.said().count(text) >= count, f"{self.name} did not say '{text}'", self.said)

    def stop(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        code = self.process.wait(timeout=60)
        self.process = None
        return code

    def control(self, *argv, code=0):
        done = subprocess.run([AGENT, *argv, "--config", self.config], capture_output=True, text=True, timeout=60)
        self.test.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done

    def recorder(self):
        return json.loads(self.control("recording", "--json").stdout)


class Recordings(unittest.TestCase):
    def setUp(self):
        self.home = Path(tempfile.mkdtemp(prefix="dipper-recording-"))
        self.devices = []
        keys = []
        for role in ("root", "release", "rollout", "command"):
            dipper("key", "new", "--out", self.home / f"{role}.key")
            keys += [f"--{role}-key", self.home / f"{role}.key"]
        dipper("root", "new", *keys, "--out", self.home / "root.dproot")
        (self.home / "stream.csv").write_text(rows(DAY_ROWS + 30000 if DAY else 60000))
        (self.home / "history.csv").write_text(rows(500))
        (self.home / "spec.toml").write_text(SPEC)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        (self.home / "broker.conf").write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence false\nlog_type none\n"
            + ("user root\n" if os.geteuid() == 0 else ""))
        self.broker = subprocess.Popen([MOSQUITTO, "-c", self.home / "broker.conf"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.wait(self.broker_open, "the broker did not open its port")

    def tearDown(self):
        for process in [d.process for d in self.devices] + [self.broker]:
            if process is not None and process.poll() is None:
                process.kill()
            if process is not None:
                process.wait()
        shutil.rmtree(self.home)

    def broker_open(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def wait(self, condition, complaint, log=lambda: ""):
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            if condition():
                return
            time.sleep(0.05)
        self.fail(f"{complaint} within {PATIENCE_S} s\n{log()[-3000:]}")

    def device(self, *args, **options):
        self.devices.append(Device(self, *args, **options))
        return self.devices[-1]

    def sign(self, package):
        dipper("package", "sign", package, "--key", self.home / "release.key")

    def package(self, version):
        image, package = self.home / f"{version}.dimg", self.home / f"{version}.dpkg"
        dipper("train", "--spec", self.home / "spec.toml", "--data", self.home / "history.csv", "--out", image)
        dipper("package", "build", "--spec", self.home / "spec.toml", "--image", image, "--name", "tank", "--version", version,
               "--security-version", 1, "--self-test", self.home / "history.csv", *QUICK, "--out", package)
        self.sign(package)
        return package

    def publish(self, package, to="fleet"):
        dipper("publish", package, "--broker", f"mqtt://127.0.0.1:{self.port}", "--fleet", "plant", "--to", to,
               "--rollout-key", self.home / "rollout.key", "--root", self.home / "root.dproot", "--json")

    def fetch(self, device, out, *more, code=0):
        return dipper("snapshot", "fetch", "--broker", f"mqtt://127.0.0.1:{self.port}", "--fleet", "plant", "--device", device,
                      "--command-key", self.home / "command.key", "--out", self.home / out, "--json", *more, code=code)

    def replay(self, file, code=0):
        return json.loads(dipper("replay", self.home / file, "--json", code=code).stdout)

    @unittest.skipIf(DAY, "only the day")
    def test_the_whole_circle(self):
        one = self.device("gw-1")
        one.start()
        self.publish(self.package("v1"))
        one.until("-> Confirmed")
        self.wait(lambda: one.recorder()["records"] > 3000, "gw-1 did not record", one.said)
        # From the running agent, and again when it has stopped: the last digests are those of the stop.
        one.control("recording", "export", self.home / "live.drec")
        live = self.replay("live.drec")
        self.assertTrue(live["equal"])
        self.assertGreater(live["samples"], 2000)
        self.assertEqual(live["notes"], [])

        # What it has learned, over MQTT, and the recording too.
        fetched = json.loads(self.fetch("gw-1", "learned.dsnap").stdout)
        self.assertEqual(fetched["kind"], "image")
        self.assertEqual(fetched["device"], "gw-1")
        recording = json.loads(self.fetch("gw-1", "far.drec", "--recording").stdout)
        self.assertEqual(recording["kind"], "recording")
        self.assertTrue(self.replay("far.drec")["equal"])
        log = one.control("log", "-n", "200").stdout
        self.assertIn("is being sent", log)
        self.assertIn("was sent", log)

        self.assertEqual(one.stop(), 0)
        one.control("recording", "export", self.home / "rest.drec")
        rest = self.replay("rest.drec")
        self.assertTrue(rest["equal"])
        self.assertGreaterEqual(rest["last_record"], live["last_record"])

        # The snapshot as a new model, with its lineage, on a second device.
        again = self.home / "again.dpkg"
        dipper("package", "build", "--snapshot", self.home / "learned.dsnap", "--name", "tank", "--version", "v2",
               "--security-version", 1, "--self-test", self.home / "history.csv", *QUICK, "--out", again)
        self.sign(again)
        shown = json.loads(dipper("package", "show", again, "--json").stdout)
        self.assertEqual(shown["lineage"]["parent"], fetched["package"])
        self.assertEqual(shown["lineage"]["data"], fetched["digest"])
        self.assertIn(f"snapshot {fetched['image']}", shown["lineage"]["notes"])
        self.assertEqual(shown["image_sha256"], fetched["image"])
        two = self.device("gw-2", upload="false")
        two.start()
        self.publish(again, to="device:gw-2")
        two.until("-> Confirmed")
        self.assertIn(shown["digest"][:12], two.said())

        # What the second device's owner did not allow does not leave it.
        refused = self.fetch("gw-2", "no.dsnap", code=1)
        self.assertIn("[snapshot] upload = true", refused.stderr)
        refused = self.fetch("gw-2", "no.drec", "--recording", code=1)
        self.assertIn("[snapshot] upload_recording = true", refused.stderr)
        self.assertFalse((self.home / "no.dsnap").exists())

    @unittest.skipIf(DAY, "only the day")
    def test_killed_and_started_again(self):
        one = self.device("gw-1", rate=2000)
        one.start()
        self.publish(self.package("v1"))
        one.until("-> Confirmed")
        for restart in range(3):
            before = one.recorder()["newest_segment"]
            self.wait(lambda: one.recorder()["records"] > 3000, "gw-1 did not record", one.said)
            one.stop(signal.SIGKILL)
            one.control("recording", "export", self.home / f"{restart}.drec")
            result = self.replay(f"{restart}.drec")
            self.assertTrue(result["equal"])
            self.assertGreater(result["digests_compared"], 0)
            one.start()
            self.wait(lambda: one.recorder()["newest_segment"] > before, "no new segment after the start", one.said)
        self.assertEqual(one.stop(), 0)

    @unittest.skipIf(DAY, "only the day")
    def test_what_is_wrong_is_said(self):
        one = self.device("gw-1", recorder="0")
        one.start()
        self.assertIn("set recorder.bytes", one.control("recording", code=3).stderr)
        refused = self.fetch("gw-1", "x.drec", "--recording", code=1)
        self.assertIn("has recorded nothing", refused.stderr)
        self.assertFalse((self.home / "x.drec").exists())
        one.stop()
        big = self.device("gw-3", recorder="100MiB")
        big.start()
        self.assertIn("do not fit: data leaves", big.said())
        big.stop()
        (self.home / "text.drec").write_text("hello")
        self.assertIn("it is not a recording", dipper("replay", self.home / "text.drec", code=5).stderr)
        dipper("replay", self.home / "none.drec", code=3)
        dipper("package", "build", "--name", "a", "--version", "1", "--security-version", 1, "--out", self.home / "a.dpkg", code=2)

    @unittest.skipUnless(DAY, "with --day")
    def test_a_day_of_samples(self):
        one = self.device("gw-1", rate=4000, recorder="12MiB", data="32MiB", segments=8)
        one.start()
        self.publish(self.package("v1"))
        one.until("-> Confirmed")
        self.wait(lambda: one.recorder()["records"] >= DAY_ROWS, "gw-1 did not record a day", one.said)
        state = one.recorder()
        self.assertEqual(one.stop(), 0)
        exported = one.control("recording", "export", self.home / "day.drec")
        begin = time.monotonic()
        result = self.replay("day.drec")
        took = time.monotonic() - begin
        print(json.dumps({"recorder": state, "file_bytes": (self.home / "day.drec").stat().st_size, "replay": result,
                          "command_seconds": round(took, 3)}, indent=1), exported.stderr)
        print(dipper("replay", self.home / "day.drec").stdout)
        self.assertTrue(result["equal"])
        self.assertGreaterEqual(result["samples"], DAY_ROWS - 1000)


if __name__ == "__main__":
    MOSQUITTO = next((p for p in (shutil.which("mosquitto"), "/usr/sbin/mosquitto") if p and os.path.exists(p)), None)
    if MOSQUITTO is None:
        print("skipped: install mosquitto")
        sys.exit(SKIPPED)
    unittest.main(argv=sys.argv[:1], verbosity=2)
