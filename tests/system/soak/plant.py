"""What a soak runs: one device with a real agent under a watchdog, on a small disk of its own, with a clock that can be set; a real Mosquitto
that can be taken away; a watcher that keeps every message. Everything is stopped by its process id."""
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
for folder in ("../survival", "../link", "../../integration/control", "../../../tools/demo_parts"):
    sys.path.insert(0, str((HERE / folder).resolve()))
import eyes  # noqa: E402
from device import end_with_parent, free_port  # noqa: E402
from supervised import FAULT, Supervised  # noqa: E402
from wall import SECOND, Wall  # noqa: E402
from world import Processes  # noqa: E402

MOSQUITTO = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
DEVICE = "gw-1"
CHECKPOINT_S, HEALTHY_S = 1, 1
LOSSES = ("backlog_dropped_total", "telemetry_refused_total")
DATA_BYTES = 8 << 20  # sparse: the backlog of an outage meets a full disk at any time of a long run
DISK = "12m"
WATCHDOG_S = 12  # above the longest turn of a busy machine
SPEC = """format = 1
model_id = "main"
task = "regression"
budget = "128KiB"
min_labels = 20
loss_bound = 2.0
[target]
kind = "label_column"
name = "load"
[[feature]]
name = "left"
{second}
{stages}
[learner]
kind = "rls"
[pending]
capacity = {waiting}
"""
SECOND_FEATURE = '[[feature]]\nname = "right"\n'
# Warm-up: beyond the latest labels of the schedule; what a fresh model answers before its first label is worse indeed.
GATE = ("--gate-margin", 0.1, "--gate-warmup-samples", 250, "--gate-deadline-samples", 0, "--gate-deadline-seconds", 3600)
SLOW_GATE = (*GATE, "--gate-max-latency-us", 500)
# slow: rounds of a loop, thousands; above the limit on any machine. leak: bytes a sample; what has leaked stays, and memory is judged.
FAULTS = {"crash": ("abort", 0), "hang": ("hang", 0), "nan": ("not_a_number", 0), "slow": ("slow", 5000), "leak": ("leak", 256)}


def build_shim(folder):
    """The clock's shim, where no build brought it."""
    shim = folder / "wall_shim.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", HERE.parent / "link/wall_shim.c", "-o", shim], check=True)
    return shim


class Broker:
    """Mosquitto with persistence. restart: nothing is lost; crash: what it did not yet write; amnesia: all."""

    def __init__(self, home, processes):
        self.home, self.processes, self.port = home, processes, free_port()
        self.state = home / "broker"
        self.state.mkdir()
        user = "user root\n" if os.geteuid() == 0 else ""
        (home / "broker.conf").write_text(
            f"{user}listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location {self.state}/\n"
            "autosave_interval 5\nmax_queued_messages 0\nlog_dest stdout\nlog_type error\nlog_type warning\nlog_type notice\n")
        self.up = False

    def start(self):
        self.processes.start("broker", MOSQUITTO, "-c", self.home / "broker.conf")
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    self.up = True
                    return
            time.sleep(0.05)
        raise RuntimeError("the broker does not start")

    def stop(self, how):
        self.up = False
        self.processes.stop("broker", signal.SIGTERM if how == "broker restart" else signal.SIGKILL)
        if how == "broker amnesia":
            for file in self.state.iterdir():
                file.unlink()


class Ears(eyes.Eyes):
    """`dipper watch --json` in a lasting session; numbers and counters go to the rules, the rest into a file."""

    KEPT_EVENTS = 400

    def __init__(self, processes, program, broker, numbers):  # not Eyes': other devices, no TLS
        self.devices = {DEVICE: eyes.Device(DEVICE)}
        self.changed = threading.Condition()
        self.processes = processes
        self.numbers = numbers
        self.kinds = {}
        self.session = None  # newest that was online
        self.losses = {}     # session -> what the device counts as lost
        process = processes.start("watch", program, "watch", "--fleet", "plant", "--broker", f"mqtt://127.0.0.1:{broker.port}",
                                  "--session", "soak", "--json", stdout=subprocess.PIPE)
        self.transcript = open(processes.logs / "watch.jsonl", "w", encoding="utf-8")
        threading.Thread(target=self._read, args=(process.stdout,), daemon=True).start()

    def _take(self, device, topic, message):
        super()._take(device, topic, message)
        device.sequences.clear()
        del device.events[:-self.KEPT_EVENTS]
        session = message.get("session")
        if message.get("sequence"):
            self.numbers.heard(time.monotonic(), session, message["sequence"])
        known = self.losses.setdefault(session, dict.fromkeys(LOSSES, 0))
        if told := {name: message[name] for name in LOSSES if name in message}:  # a batch has only what has changed
            known.update(told)
            self.numbers.counted(session, sum(known.values()))
        if topic == "state" and message.get("state") == "online":
            self.session = session
        if message.get("kind") == "stopped":
            self.numbers.ended_well.add(session)
        if "kind" in message:
            self.kinds[message["kind"]] = self.kinds.get(message["kind"], 0) + 1


class Call:
    """A command of the desk."""

    def __init__(self, output, arguments):
        self.output = output
        with open(output, "wb") as out:
            self.process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, preexec_fn=end_with_parent)

    def code(self):
        """None while it runs."""
        return self.process.poll()

    def said(self):
        return self.output.read_text(errors="replace")

    def answer(self):
        """The command's answer, {} when there is none."""
        text = self.said()
        try:
            return json.JSONDecoder().raw_decode(text, text.index("{"))[0]
        except ValueError:
            return {}


class Plant(Supervised):
    def __init__(self, agent, dipper, shim=None):
        super().__init__(agent, dipper, image="128KiB")
        self.state = self.home / "state"
        self.state.mkdir()
        self.calls = 0
        self.small_disk = self._mount()
        self._sparse_images()
        self.processes = Processes(self.home / "logs")
        self.broker = Broker(self.home, self.processes)
        self.wall = Wall(shim or build_shim(self.home), self.home / "wall")
        self.write_config(replace=[
            ("mqtt://127.0.0.1:1", f"mqtt://127.0.0.1:{self.broker.port}"),
            ('data = "state/data.img"', f'data = "state/data.img"\ndata_bytes = "{DATA_BYTES >> 20}MiB"'),
            ('kind = "csv_replay"\npath = "stream.csv"\nrate_hz = 200', 'kind = "socket"\npath = "samples.sock"'),
            ("interval_ms = 200", "interval_ms = 500\nrepeat_s = 5"),
            ("[telemetry]", f'[control]\nsocket = "{self.home}/control.sock"\n[telemetry]')])

    def _mount(self):
        if os.environ.get("DIPPER_TEST_MOUNTS"):
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "none", self.state], check=True)
            return True
        return False

    def _sparse_images(self):
        for name, size in {"boot.img": 64 << 10, "data.img": DATA_BYTES, "a.img": 1 << 20, "b.img": 1 << 20}.items():
            with open(self.state / name, "wb") as file:
                file.truncate(size)

    def fill_disk(self):
        with open(self.state / "filler", "wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(bytes(4096))
            except OSError:
                pass

    def free_disk(self):
        (self.state / "filler").unlink(missing_ok=True)

    # ---- the agent

    def run_agent(self):
        self.start(self.wall.environment, wait=False, period=WATCHDOG_S)

    def asked(self, verb):
        """The first JSON object that the control socket answers, or None; `verb` with its keys."""
        lines = self.asked_lines(verb)
        return lines[0] if lines else None

    def asked_lines(self, verb, timeout=1.5):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(timeout)
            try:
                client.connect(str(self.home / "control.sock"))
                client.sendall(f"dipper/1 {verb} format=json\n".encode())
                data = b""
                while part := client.recv(1 << 16):
                    data += part
            except OSError:
                return None
        return [json.loads(line[1:]) for line in data.splitlines() if line[:1] == b"J"]

    def model(self, verb="status"):
        """The model's part of `status` or `slots`, with the link's state; None without an answer."""
        answer = self.asked(verb)
        if not answer:
            return None
        return {**answer["models"][0], "connected": answer.get("connected")}

    def ends(self, digest, since):
        """(log sequence, state, reason) of the update steps of a package behind log entry `since`."""
        found = []
        for line in self.asked_lines("log count=200") or ():
            event = line.get("event", {})
            if line.get("log", 0) > since and event.get("kind") == "update_step" and event.get("package.digest") == digest \
                    and event.get("to") in ("confirmed", "fell_back", "rejected", "failed"):
                found.append((line["log"], event["to"], event.get("reason", "none")))
        return found

    def restored(self, digest):
        """Samples in the checkpoint that this run began with; None when its event log does not tell."""
        for line in reversed(self.asked_lines("log count=30") or ()):
            event = line.get("event", {})
            if event.get("kind") == "restored" and event.get("package.digest") == digest:
                return event.get("count", 0)
            if event.get("kind") == "started":
                return None
        return None

    def log_end(self):
        lines = self.asked_lines("log count=1")
        return None if lines is None else (lines[-1]["log"] if lines else 0)

    def probe(self):
        """(RSS in bytes, the part of it that no file backs, file descriptors, threads) of the agent; None when it is gone."""
        folder = Path(f"/proc/{self.agent.pid}")
        try:
            status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
            sizes = [int(status[name].split()[0]) * 1024 for name in ("VmRSS", "RssAnon")]
            return *sizes, len(os.listdir(folder / "fd")), int(status["Threads"])
        except (OSError, KeyError):
            return None

    # ---- the desk

    def make(self, kind, version, security, event):
        """Builds and signs a package of that kind; returns (path, digest)."""
        stages = FAULT.format(FAULTS[kind][0], event.more.get("at_sample", 30), FAULTS[kind][1]) if kind in FAULTS else ""
        spec = self.home / "spec.toml"
        # Of another size each: otherwise every block lies on the device already and nothing is transferred.
        spec.write_text(SPEC.format(second="" if kind == "worse" else SECOND_FEATURE, stages=stages, waiting=600 + 7 * int(version) % 400))
        path = self.home / f"{kind}-{version}.dpkg"
        self.dipper("package", "build", "--spec", spec, "--fresh", "--name", kind, "--version", version, "--security-version", security,
                    *(SLOW_GATE if kind == "slow" else GATE), "--out", path)
        self.dipper("package", "sign", path, "--key", self.home / ("stranger.key" if kind == "stranger" else "release.key"))
        if kind == "tampered":
            self._tamper(path, event.more.get("where", "block"))
        return path, json.loads(self.dipper("package", "show", path, "--json"))["digest"]

    @staticmethod
    def _tamper(path, where):
        content = bytearray(path.read_bytes())
        content[len(content) - 20 if where == "block" else 300] ^= 1  # 300: in the manifest
        path.write_bytes(content)

    def begin(self, *arguments):
        """A dipper command that goes on by itself."""
        self.calls += 1
        call = Call(self.home / f"desk-{self.calls % 4}.out", [self.dipper_program, *map(str, arguments)])
        self.running = [process for process in self.running if process.poll() is None] + [call.process]
        return call

    def publish(self, path, number):
        return self.begin("publish", path, "--broker", f"mqtt://127.0.0.1:{self.broker.port}", "--fleet", "plant", "--root",
                          self.home / "root.dproot", "--to", "fleet", "--rollout-key", self.home / "rollout.key", "--number", number, "--no-verify")

    def command(self, name):
        return self.begin("command", name, "--broker", f"mqtt://127.0.0.1:{self.broker.port}", "--fleet", "plant", "--device", DEVICE,
                          "--command-key", self.home / "command.key", "--root", self.home / "root.dproot", "--wait", 8, "--json")

    def jump(self, seconds):
        self.wall.offset = int(seconds * SECOND)

    def close(self):
        self.processes.stop_all()
        if self.small_disk:  # lazily: the agent may still have files open there
            subprocess.run(["umount", "-l", self.state], capture_output=True, check=False)
        super().close()
