"""The demo's world: processes that are always stopped again, a broker with TLS, credentials and ACLs, four devices."""
import ctypes
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests/data/suthaharan/single_hop.csv"
FLEET = "demo"
MOTES = ("mote-1", "mote-2", "mote-3", "mote-4")
CANARY = "mote-1"
HISTORY = 300  # readings of each mote that the desk has; the rest is the device's stream


class Trouble(Exception):
    """Something outside the story failed: a tool, a file, a process. The text says what, why and what to do."""


def run(*argv, data=None):
    """Runs a command to its end and returns what it printed, as bytes; Trouble if it fails."""
    try:
        done = subprocess.run([str(a) for a in argv], input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, check=False)
    except FileNotFoundError:
        raise Trouble(f"{argv[0]} is not installed: run tools/setup") from None
    except subprocess.TimeoutExpired:
        raise Trouble(f"`{' '.join(str(a) for a in argv)}` did not end within 60 s") from None
    if done.returncode:
        text = (done.stdout + done.stderr).decode(errors="replace").strip()
        raise Trouble(f"`{' '.join(str(a) for a in argv)}` ended with {done.returncode}:\n{text}")
    return done.stdout


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _end_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


class Processes:
    """Starts programs, each with a log of its own, and stops every one of them by its pid."""

    def __init__(self, logs):
        self.logs = logs
        self.running = {}
        logs.mkdir(parents=True, exist_ok=True)

    def start(self, name, *argv, stdout=None):
        log = open(self.logs / f"{name}.log", "ab")
        with log:
            process = subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=stdout or log, stderr=log,
                                       start_new_session=True, preexec_fn=_end_with_parent)
        self.running[name] = process
        return process

    def alive(self, name):
        return name in self.running and self.running[name].poll() is None

    def check(self):
        """Trouble when a program that should run has ended by itself."""
        for name, process in self.running.items():
            if process.poll() is not None:
                tail = (self.logs / f"{name}.log").read_bytes()[-1500:].decode(errors="replace").strip()
                raise Trouble(f"{name} ended by itself with {process.returncode}; the end of {self.logs / name}.log:\n{tail}")

    def stop(self, name, how=signal.SIGTERM):
        """Ends one program; SIGKILL after 10 s. Returns its exit status."""
        process = self.running.pop(name)
        if process.poll() is None:
            process.send_signal(how)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        return process.returncode

    def stop_all(self):
        for process in self.running.values():
            if process.poll() is None:
                process.terminate()
        for name in list(self.running):
            self.stop(name)


class Broker:
    """Mosquitto on loopback. `main`: TLS, passwords, ACLs, retained messages kept over a restart."""

    def __init__(self, folder, processes):
        self.folder, self.processes = folder, processes
        self.port, self.desk_port = free_port(), free_port()
        self.ca = folder / "ca.crt"
        self.acl = folder / "acl"
        self.passwords = {}
        (folder / "state").mkdir(parents=True, exist_ok=True)

    def prepare(self):
        self._certificates()
        for user in MOTES + ("desk", "eyes"):
            self._password(user)
        self.acl.write_text(self._acl_text())
        user = "user root\n" if os.geteuid() == 0 else ""
        (self.folder / "main.conf").write_text(
            f"{user}listener {self.port} 127.0.0.1\ncafile {self.ca}\ncertfile {self.folder}/server.crt\nkeyfile {self.folder}/server.key\n"
            f"allow_anonymous false\npassword_file {self.folder}/passwords\nacl_file {self.acl}\n"
            f"persistence true\npersistence_location {self.folder}/state/\nlog_dest stdout\nlog_type error\nlog_type warning\nlog_type notice\n")
        # The desk's own: what `dipper publish` sends there the demo forwards in two halves, as a slow network would.
        (self.folder / "desk.conf").write_text(
            f"{user}listener {self.desk_port} 127.0.0.1\nallow_anonymous true\npersistence false\nlog_dest stdout\nlog_type error\n")

    def _certificates(self):
        folder = self.folder
        for name in ("ca", "server"):
            run("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", folder / f"{name}.key")
        run("openssl", "req", "-x509", "-new", "-key", folder / "ca.key", "-subj", "/CN=Dipper demo CA", "-days", 30, "-out", self.ca)
        run("openssl", "req", "-new", "-key", folder / "server.key", "-subj", "/CN=localhost", "-out", folder / "server.csr")
        (folder / "san").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        run("openssl", "x509", "-req", "-in", folder / "server.csr", "-CA", self.ca, "-CAkey", folder / "ca.key", "-CAcreateserial",
            "-days", 30, "-extfile", folder / "san", "-out", folder / "server.crt")

    def _password(self, user):
        file = self.folder / f"{user}.password"
        secret = secrets.token_urlsafe(18)
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as out:
            out.write(secret + "\n")
        self.passwords[user] = file
        table = self.folder / "passwords"
        run("mosquitto_passwd", "-b", *([] if table.exists() else ["-c"]), table, user, secret)

    @staticmethod
    def _acl_text():
        at = f"dipper/1/{FLEET}"
        lines = ["# A device writes its own topics and reads what is meant for it; nobody but the desk offers or commands."]
        for mote in MOTES:
            lines += ["", f"user {mote}"]
            lines += [f"topic write {at}/{mote}/{leaf}" for leaf in ("state", "birth", "metrics", "backlog", "event", "rsp", "m/#", "json/#")]
            lines += [f"topic read {at}/{mote}/cmd", f"topic read {at}/all/cmd"]
            lines += [f"topic read {at}/offer/{to}/#" for to in (mote, "all") + (("canary",) if mote == CANARY else ())]
            lines += [f"topic read {at}/pkg/#", f"topic read {at}/root/+"]
        lines += ["", "user desk"]
        lines += [f"topic readwrite {at}/{leaf}" for leaf in ("pkg/#", "offer/#", "root/+")]
        lines += [f"topic write {at}/+/cmd", f"topic read {at}/+/rsp"]
        lines += ["", "user eyes", f"topic read {at}/#"]
        return "\n".join(lines) + "\n"

    def start(self, which="main"):
        self.processes.start(f"broker-{which}", _mosquitto(), "-c", self.folder / f"{which}.conf")
        port = self.port if which == "main" else self.desk_port
        for _ in range(100):
            self.processes.check()
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.05)
        raise Trouble(f"the broker did not open port {port} within 5 s; see {self.processes.logs}/broker-{which}.log")

    def access(self, user):
        """Options of a dipper command that talks to the main broker as `user`."""
        return ["--broker", f"mqtts://127.0.0.1:{self.port}", "--ca", self.ca, "--user", user, "--password-file", self.passwords[user]]

    def forward(self, messages):
        """Puts retained messages, (topic, payload) pairs, on the main broker as the desk would."""
        secret = self.passwords["desk"].read_text().strip()
        for topic, payload in messages:
            run("mosquitto_pub", "-h", "127.0.0.1", "-p", self.port, "--cafile", self.ca, "-u", "desk", "-P", secret, "-q", 1, "-r",
                "-t", topic, "-s", data=payload)

    def taken_from_desk(self, count):
        """The `count` retained messages of the desk's broker, as {topic: payload}."""
        text = run("mosquitto_sub", "-h", "127.0.0.1", "-p", self.desk_port, "-t", "dipper/#", "-F", "%t %x", "-C", count, "-W", 10)
        messages = dict(line.split(" ", 1) for line in text.decode().splitlines())
        return {topic: bytes.fromhex(payload) for topic, payload in messages.items()}


def _mosquitto():
    # Debian puts it where only root's PATH looks.
    return shutil.which("mosquitto") or "/usr/sbin/mosquitto"


class Devices:
    """Four agents: configuration, partitions, streams."""

    def __init__(self, folder, processes, broker, root_file, binaries, rate_hz):
        self.folder, self.processes, self.broker = folder, processes, broker
        self.root_file, self.binaries, self.rate_hz = root_file, binaries, rate_hz
        self.labels = {}  # device -> 0 or 1 of every reading of its stream

    def prepare(self):
        header, *rows = DATA.read_text().splitlines()
        columns = header.split(",")
        mote_at, label_at = columns.index("mote_id"), columns.index("label")
        for number, mote in enumerate(MOTES, 1):
            home = self.folder / mote
            (home / "state").mkdir(parents=True, exist_ok=True)
            own = [row for row in rows if row.split(",")[mote_at] == str(number)]
            stream = own[HISTORY:]
            (home / "history.csv").write_text("\n".join([header] + own[:HISTORY]) + "\n")
            (home / "stream.csv").write_text("\n".join([header] + stream) + "\n")
            self.labels[mote] = [int(row.split(",")[label_at]) for row in stream]
            shutil.copy(self.root_file, home / "root.dproot")
            (home / "agent.toml").write_text(self._config(mote))

    def _config(self, mote):
        groups = '["canary"]' if mote == CANARY else "[]"
        return f"""# Written by tools/demo; docs/reference/agent-config.md says what each key means.
[device]
id = "{mote}"
fleet = "{FLEET}"
groups = {groups}

[mqtt]
url = "mqtts://127.0.0.1:{self.broker.port}"
username = "{mote}"
password_file = "{self.broker.passwords[mote]}"
ca_file = "{self.broker.ca}"

[storage]
boot = "state/boot.img"
data = "state/data.img"
create = true

[[model]]
id = "main"
slot_a = "state/main_a.img"
slot_b = "state/main_b.img"
max_image_bytes = "256KiB"
checkpoint_interval_s = 2

[trust]
root = "root.dproot"

[[source]]
kind = "csv_replay"
path = "stream.csv"
rate_hz = {self.rate_hz}
truth = "label"

[telemetry]
interval_ms = 500

[health]
healthy_after_s = 1
"""

    def start(self, mote):
        self.processes.start(mote, self.binaries / "dipper-agent", "--config", self.folder / mote / "agent.toml")

    def kill(self, mote):
        self.processes.stop(mote, signal.SIGKILL)
