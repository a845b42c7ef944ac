"""A device with a flight recorder and a desk beside it: real agent, real Mosquitto, real command line.

For the tests of this folder: each is started with DIPPER_AGENT DIPPER as its first arguments.
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
MOSQUITTO = next((p for p in (shutil.which("mosquitto"), "/usr/sbin/mosquitto") if p and os.path.exists(p)), None)

SPEC = """format = 1
model_id = "main"
task = "regression"
budget = "64KiB"
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
version = {version}
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
group_keys = [{group_keys}]
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
bytes_per_s = {bytes_per_s}
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
    def __init__(self, test, name, rate=400, recorder="768KiB", data="2MiB", segments=4, upload="true", version=5,
                 bytes_per_s=1000000, group_keys=""):
        self.test, self.home, self.name = test, test.home, name
        self.config = self.home / f"{name}.toml"
        self.config.write_text(CONFIG.format(id=name, port=test.port, rate=rate, recorder=recorder, data=data,
                                             segments=segments, upload=upload, version=version,
                                             bytes_per_s=bytes_per_s, group_keys=group_keys))
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


class Bench(unittest.TestCase):
    def setUp(self):
        self.home = Path(tempfile.mkdtemp(prefix="dipper-recording-"))
        self.devices, self.others = [], []
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
        self.start_broker()

    def start_broker(self):
        self.broker = subprocess.Popen([MOSQUITTO, "-c", self.home / "broker.conf"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.wait(self.broker_open, "the broker did not open its port")

    def kill_broker(self):
        self.broker.kill()
        self.broker.wait()

    def tearDown(self):
        for process in [d.process for d in self.devices] + self.others + [self.broker]:
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

    def package(self, version, *more):
        image, package = self.home / f"{version}.dimg", self.home / f"{version}.dpkg"
        dipper("train", "--spec", self.home / "spec.toml", "--data", self.home / "history.csv", "--out", image)
        dipper("package", "build", "--spec", self.home / "spec.toml", "--image", image, "--name", "tank", "--version", version,
               "--security-version", 1, "--self-test", self.home / "history.csv", "--gate-loss-bound", 10, *QUICK, *more,
               "--out", package)
        self.sign(package)
        return package

    def publish(self, package, to="fleet"):
        dipper("publish", package, "--broker", f"mqtt://127.0.0.1:{self.port}", "--fleet", "plant", "--to", to,
               "--rollout-key", self.home / "rollout.key", "--root", self.home / "root.dproot", "--json")

    def fetch_words(self, device, out, *more):
        return ("snapshot", "fetch", "--broker", f"mqtt://127.0.0.1:{self.port}", "--fleet", "plant", "--device", device,
                "--command-key", self.home / "command.key", "--out", self.home / out, "--json", *more)

    def fetch(self, device, out, *more, code=0):
        return dipper(*self.fetch_words(device, out, *more), code=code)

    def replay(self, file, *more, code=0):
        return json.loads(dipper("replay", self.home / file, "--json", *more, code=code).stdout)

    def tap(self, what="%U %l %t"):
        """Everything of the uploads that the broker hands out, a line each in the file that is returned."""
        file = self.home / f"tap-{len(self.others)}"
        sub = shutil.which("mosquitto_sub")
        if sub is None:
            self.skipTest("install mosquitto-clients")
        with open(file, "wb") as out:
            self.others.append(subprocess.Popen([sub, "-h", "127.0.0.1", "-p", str(self.port), "-q", "1", "-t",
                                                 "dipper/1/plant/+/m/+/snapshot/+/+", "-F", what], stdout=out,
                                                stderr=subprocess.DEVNULL))
        return file


def main():
    if MOSQUITTO is None:
        print("skipped: install mosquitto")
        sys.exit(SKIPPED)
    unittest.main(argv=sys.argv[:1], verbosity=2)
