"""One device in a folder: keys, a trust root, packages made by the real tools, a configuration, an agent as a process."""
import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

CONFIG = """[device]
id = "gw-1"
fleet = "plant"
[mqtt]
url = "mqtt://127.0.0.1:{port}"
[storage]
boot = "state/boot.img"
data = "state/data.img"
create = true
[[model]]
slot_a = "state/a.img"
slot_b = "state/b.img"
slot_bytes = "{slot}"
max_image_bytes = "{image}"
checkpoint_interval_s = 1
[trust]
root = "root.dproot"
[[source]]
kind = "csv_replay"
path = "stream.csv"
rate_hz = 200
[telemetry]
interval_ms = 200
[health]
healthy_after_s = 1
"""

SPEC = """format = 1
model_id = "{model}"
task = "regression"
seed = 1
budget = "{budget}"
loss_bound = 5.0
[target]
kind = "feature_ahead"
feature = "level"
ahead = 1
[[feature]]
name = "level"
type = "numeric"
{stages}
[learner]
kind = "{learner}"
{learner_keys}
"""

# Which trial a package gets.
CONFIRMS = ("--gate-warmup-samples", "1", "--gate-deadline-samples", "40", "--gate-at-deadline", "confirm", "--gate-margin", "4.9")
LASTS = ("--gate-warmup-samples", "1000000", "--gate-deadline-samples", "0", "--gate-deadline-seconds", "100000")


def end_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Device:
    def __init__(self, agent, dipper, image="64KiB", slot="1MiB"):
        self.agent_program, self.dipper_program = agent, dipper
        self.temporary = tempfile.TemporaryDirectory(prefix="dpr-")
        self.home = Path(self.temporary.name)
        os.chmod(self.home, 0o755)
        self.running = []
        self.agent = None
        self.text = CONFIG.format(port=1, image=image, slot=slot)
        self.make_desk()

    def make_desk(self):
        keys = []
        for role in ("root", "release", "rollout", "command", "stranger"):
            self.dipper("key", "new", "--out", self.home / f"{role}.key")
            if role != "stranger":
                keys += [f"--{role}-key", self.home / f"{role}.key"]
        self.dipper("root", "new", *keys, "--out", self.home / "root.dproot")
        (self.home / "stream.csv").write_text("level\n" + "".join(f"{i % 7}\n" for i in range(200000)))
        self.write_config()

    def write_config(self, **changes):
        text = self.text
        for old, new in changes.get("replace", ()):
            assert old in text, old
            text = text.replace(old, new)
        self.text = text
        (self.home / "agent.toml").write_text(text)

    def dipper(self, *arguments):
        done = subprocess.run([self.dipper_program, *map(str, arguments)], capture_output=True, text=True, timeout=120)
        if done.returncode:
            raise AssertionError(f"dipper {arguments}: {done.stdout}{done.stderr}")
        return done.stdout

    def package(self, name, version, gate=LASTS, key="release", learner="rls", learner_keys="", stages="", budget="64KiB", model="main",
                security=None, extra=()):
        """Builds and signs a package; returns its path and digest."""
        spec = self.home / f"{name}-{version}.toml"
        spec.write_text(SPEC.format(model=model, learner=learner, learner_keys=learner_keys, stages=stages, budget=budget))
        path = self.home / f"{name}-{version}.dpkg"
        self.dipper("package", "build", "--spec", spec, "--fresh", "--name", name, "--version", version, "--security-version",
                    security or version, *gate, *extra, "--out", path)
        self.dipper("package", "sign", path, "--key", self.home / f"{key}.key")
        return path, json.loads(self.dipper("package", "show", path, "--json"))["digest"]

    def start(self, environment=None, wait=True):
        log = open(self.home / "agent.log", "ab")
        with log:
            self.agent = subprocess.Popen([self.agent_program, "--config", self.home / "agent.toml"], stdin=subprocess.DEVNULL, stdout=log,
                                          stderr=log, env={**os.environ, **(environment or {})}, preexec_fn=end_with_parent)
        self.running.append(self.agent)
        if wait:
            self.until(lambda: self.ask("status").returncode == 0 and "running for" in self.ask("status").stdout, "the agent answers")
        return self.agent

    def log_text(self):
        log = self.home / "agent.log"
        return log.read_text(errors="replace") if log.exists() else ""

    def kill(self):
        self.agent.kill()
        self.agent.wait()

    def stop(self):
        self.agent.send_signal(signal.SIGTERM)
        assert self.agent.wait(timeout=60) == 0, self.log_text()[-2000:]

    def ask(self, *arguments, timeout=60, **more):
        return subprocess.run([self.agent_program, *map(str, arguments), "--config", self.home / "agent.toml"], capture_output=True,
                              text=True, timeout=timeout, **more)

    def status(self, model=0):
        return json.loads(self.ask("status", "--json").stdout)["models"][model]

    def slots(self, model=0):
        return json.loads(self.ask("slots", "--json").stdout)["models"][model]

    def until(self, condition, what, seconds=60):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if condition():
                return
            if self.agent is not None and self.agent.poll() is not None:
                raise AssertionError(f"the agent ended with {self.agent.returncode} before {what}:\n{self.log_text()[-3000:]}")
            time.sleep(0.1)
        raise AssertionError(f"not within {seconds} s: {what}\n{self.log_text()[-3000:]}")

    def close(self):
        for process in self.running:
            if process.poll() is None:
                process.kill()
            process.wait()
        shutil.rmtree(self.home, ignore_errors=True)
        self.temporary.cleanup()
