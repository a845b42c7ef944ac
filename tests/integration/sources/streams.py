"""A device of the source tests: its configuration, a broker of its own, writers, and models that are quickly confirmed."""
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "control"))
from device import CONFIRMS, Device, end_with_parent, free_port  # noqa: E402
from listener import listen  # noqa: E402

MOSQUITTO = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
HAS_BROKER = Path(MOSQUITTO).exists() and shutil.which("mosquitto_sub") and shutil.which("mosquitto_pub")
NO_BROKER = "mosquitto and mosquitto-clients are not installed; tools/setup installs them"

OLD_SOURCE = '[[source]]\nkind = "csv_replay"\npath = "stream.csv"\nrate_hz = 200\n'
SPEC = """format = 1
model_id = "main"
task = "{task}"
seed = 1
budget = "64KiB"
loss_bound = 1.0
min_labels = 20
[target]
{target}
{features}
[learner]
kind = "{learner}"
"""
CLASSES = dict(task="classification", learner="naive_bayes", target='kind = "label_column"\nname = "state"\nclasses = ["off", "on"]')
FEATURE = '[[feature]]\nname = "{}"\ntype = "numeric"\n'


def memory_is_judged(agent):
    """Not under AddressSanitizer: it keeps what was freed."""
    return b"__asan_init" not in Path(agent).read_bytes()


class Writer:
    """A program that writes lines to the agent's socket and reads an answer for each."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(30)
        self.socket.connect(str(path))
        self.lines = self.socket.makefile("r")

    def say(self, *lines):
        self.socket.sendall("".join(line + "\n" for line in lines).encode())

    def ask(self, line):
        self.say(line if isinstance(line, str) else json.dumps(line))
        return json.loads(self.lines.readline())


class Broker:
    """A Mosquitto on the loopback, and everything that is said on it, as far as it is text."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="dpr-")
        self.port = free_port()
        (Path(self.folder.name) / "broker.conf").write_text(f"listener {self.port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 20000\n"
                                                            f"queue_qos0_messages true\n"
                                                            f"user root\npersistence true\npersistence_location {self.folder.name}/\n")
        self.process = self.watcher = None
        self.start()

    def start(self):
        self.process = subprocess.Popen([MOSQUITTO, "-c", self.folder.name + "/broker.conf"], stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL, preexec_fn=end_with_parent)
        for _ in range(100):
            if subprocess.run(["mosquitto_pub", "-h", "127.0.0.1", "-p", str(self.port), "-t", "x", "-n"], capture_output=True).returncode == 0:
                break
            time.sleep(0.1)
        self.watcher = listen(self.port, Path(self.folder.name) / "said.txt", "-t", "dipper/1/+/+/json/#", "-v")

    def stop(self):
        for process in (self.watcher, self.process):
            process.terminate()
            process.wait()

    def close(self):
        self.stop()
        self.folder.cleanup()

    def publish(self, topic, payload, *more):
        text = payload if isinstance(payload, str) else json.dumps(payload)
        subprocess.run(["mosquitto_pub", "-h", "127.0.0.1", "-p", str(self.port), "-t", topic, "-s" if text else "-n", *more],
                       input=text, text=True, check=True, timeout=60)

    def publish_lines(self, topic, lines, *more):
        subprocess.run(["mosquitto_pub", "-h", "127.0.0.1", "-p", str(self.port), "-t", topic, "-l", *more],
                       input="".join(line + "\n" for line in lines), text=True, check=True, timeout=120)

    def said(self, leaf):
        """Mirrored messages of topics that end so. Of metrics as a reader keeps them: what a partial batch leaves out is as it was."""
        found, kept = [], {}
        for line in (Path(self.folder.name) / "said.txt").read_text(errors="replace").splitlines():
            topic, _, text = line.partition(" ")
            if topic.endswith("/" + leaf) and text.endswith("}"):
                message = json.loads(text)
                if topic.endswith("/metrics"):
                    message = kept[topic] = {**kept.get(topic, {}), **message} if message.get("partial") else message
                found.append(message)
        return found


class SourceCase(unittest.TestCase):
    def setUp(self):
        self.device = Device(self.agent, self.dipper)
        self.addCleanup(self.device.close)

    def source(self, text, more=""):
        """The one source of the configuration, or all of them when the text has its own [[source]]; `more` is other tables."""
        text = text if text.startswith("[[source]]") else "[[source]]\n" + text
        self.device.write_config(replace=((OLD_SOURCE, text + "\n" + more + "\n"),))

    def broker(self):
        broker = Broker()
        self.addCleanup(broker.close)
        self.device.write_config(replace=(("mqtt://127.0.0.1:1\"", f"mqtt://127.0.0.1:{broker.port}\"\njson_mirror = true"),))
        return broker

    def package(self, features, more="", **words):
        spec = self.device.home / "spec.toml"
        spec.write_text(SPEC.format(features="".join(FEATURE.format(name) for name in features), **words) + more)
        path = self.device.home / "model.dpkg"
        gate = [word if word != "4.9" else "0.9" for word in CONFIRMS]
        self.device.dipper("package", "build", "--spec", spec, "--fresh", "--name", "model", "--version", "1", "--security-version", "1",
                           *gate, "--out", path)
        self.device.dipper("package", "sign", path, "--key", self.device.home / "release.key")
        return path

    def install(self, path):
        done = self.device.ask("install", path)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def until(self, what, message, seconds=60):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = what()
            if found:
                return found
            time.sleep(0.1)
        self.fail(f"not within {seconds} s: {message}\n{self.device.log_text()[-2000:]}")

    def writer(self, path):
        writer = Writer(path)
        self.addCleanup(writer.socket.close)
        self.addCleanup(writer.lines.close)
        return writer

    def plug(self, name):
        """A sensor of one channel, in the tree that stands for /sys/bus; returns its folder."""
        folder = self.device.home / "bus/iio/devices" / name
        folder.mkdir(parents=True)
        (folder / "name").write_text("bme280\n")
        (folder / "in_temp_input").write_text("21000\n")
        return folder

    def start_with_own_bus(self):
        """Starts the agent with that tree at /sys/bus, which it alone sees; its source is the sensor. Returns a package for it."""
        if shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
            self.skipTest("no user and mount namespaces here")
        tree = self.device.home / "bus"
        (tree / "iio/devices").mkdir(parents=True, exist_ok=True)
        self.source('kind = "iio"\ndevice = "bme280"\nrate_hz = 100')
        package = self.package(["temp"], task="regression", learner="linear", target='kind = "feature_ahead"\nfeature = "temp"\nahead = 1')
        wrapper = self.device.home / "agent.sh"
        wrapper.write_text(f'#!/bin/sh\nexec unshare -rm sh -c \'mount --bind "$0" /sys/bus && exec "$@"\' {tree} {self.agent} "$@"\n')
        wrapper.chmod(0o755)
        asked, self.device.agent_program = self.device.agent_program, str(wrapper)
        self.device.start(wait=False)
        self.device.agent_program = asked
        time.sleep(1)
        if "libiio.so.0 is not installed" in self.device.log_text():
            self.skipTest("libiio0 is not installed (tools/setup)")
        return package

    def champion(self):
        status = self.device.status()
        return (status.get("champion") or {}).get("version")

    def confirm_by(self, ask):
        """Labelled samples until the trial is over; returns the next id."""
        number = 0
        while number < 5000:
            answer = ask({"id": number, "level": number % 7, "state": "on" if number % 7 > 3 else "off"})
            number += 1
            if "error" not in answer:
                return number
            self.assertEqual(answer["error"], "no_model")
            time.sleep(0.005)
        self.fail(f"no model answers:\n{self.device.log_text()[-2000:]}")

    def metric(self, broker, name, leaf="m/main/metrics"):
        readings = [message[name] for message in broker.said("json/" + leaf) if name in message]
        return readings[-1] if readings else None


def run():
    SourceCase.agent, SourceCase.dipper = map(os.path.abspath, sys.argv[1:3])
    unittest.main(module="__main__", argv=sys.argv[:1] + sys.argv[3:], verbosity=2)
