"""A desk with trust root and fleet folder, and a real Mosquitto that runs with exactly the files that dipper device wrote."""
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

MOSQUITTO = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
NEEDED = [name for name in ("mosquitto_pub", "mosquitto_sub", "openssl", "stdbuf") if not shutil.which(name)]
if not Path(MOSQUITTO).exists():
    NEEDED.append("mosquitto")

SETTINGS = '[telemetry]\ninterval_ms = 200\n[[source]]\nkind = "system"\nrate_hz = 10\n'


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Desk:
    """Everything below one temporary folder; close() ends what was started."""

    def __init__(self, dipper, access, tls=True):
        self.dipper, self.access, self.tls = dipper, access, tls
        self.temporary = tempfile.TemporaryDirectory(prefix="dipper-provision-")
        self.home = Path(self.temporary.name)
        self.fleet = self.home / "fleet"
        self.port = free_port()
        self.url = f"{'mqtts' if tls else 'mqtt'}://127.0.0.1:{self.port}"
        self.broker = None
        self.running = []
        self.make_root()
        if tls:
            self.make_server_certificate()
        (self.home / "settings.toml").write_text(SETTINGS)

    def close(self):
        for process in self.running + ([self.broker] if self.broker else []):
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(timeout=20)
                except subprocess.TimeoutExpired:
                    process.kill()
            process.wait()
        self.temporary.cleanup()

    def run(self, *arguments, code=0):
        # A command ends while Paho's thread may still hold what OpenSSL made for its connection: no leak of ours.
        environment = dict(os.environ, LSAN_OPTIONS=f"suppressions={self.home}/lsan:print_suppressions=0")
        (self.home / "lsan").write_text("leak:libcrypto\nleak:libssl\n")
        done = subprocess.run([self.dipper, *map(str, arguments)], capture_output=True, text=True, timeout=300, env=environment)
        assert done.returncode == code, f"{arguments}: {done.returncode}, not {code}\n{done.stdout}{done.stderr}"
        return done

    def device(self, verb, *arguments, code=0):
        return self.run("device", verb, *arguments, "--dir", self.fleet, code=code)

    def make_root(self):
        keys = []
        for role in ("root", "release", "rollout", "command"):
            self.run("key", "new", "--out", self.home / f"{role}.key")
            keys += [f"--{role}-key", self.home / f"{role}.key"]
        self.run("root", "new", *keys, "--out", self.home / "root.dproot")

    def openssl(self, *arguments):
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, cwd=self.home)

    def make_server_certificate(self):
        new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        self.openssl("req", "-x509", *new_key, "-keyout", "server-ca.key", "-out", "server-ca.pem", "-days", "30", "-subj", "/CN=server ca")
        self.openssl("req", *new_key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=127.0.0.1")
        (self.home / "san").write_text("subjectAltName=IP:127.0.0.1\n")
        self.openssl("x509", "-req", "-in", "server.csr", "-CA", "server-ca.pem", "-CAkey", "server-ca.key", "-CAcreateserial", "-days", "30",
                     "-out", "server.pem", "-extfile", "san")

    def init(self, *more, code=0):
        ca = ("--broker-ca", self.home / "server-ca.pem") if self.tls else ()
        return self.device("init", "--fleet", "plant", "--broker", self.url, *ca, "--root", self.home / "root.dproot", "--access", self.access,
                           "--settings", self.home / "settings.toml", *more, code=code)

    def provision(self, rows, *more, code=0):
        (self.home / "devices.csv").write_text("device,groups\n" + "".join(row + "\n" for row in rows))
        return self.device("provision", "--list", self.home / "devices.csv", *more, code=code)

    def start_broker(self):
        """The configuration as written; only where its files lie and the port are this test's."""
        text = (self.fleet / "broker/dipper.conf").read_text()
        text = text.replace("/etc/mosquitto/dipper/server", str(self.home / "server"))
        text = text.replace("/etc/mosquitto/dipper", str(self.fleet / "broker"))
        text = text.replace("listener 8883", f"listener {self.port} 127.0.0.1").replace("listener 1883", f"listener {self.port} 127.0.0.1")
        state = self.home / "broker-state"
        state.mkdir(exist_ok=True)
        text += f"persistence_location {state}/\n" + ("user root\n" if os.geteuid() == 0 else "")
        (self.home / "mosquitto.conf").write_text(text)
        with open(self.home / "mosquitto.log", "ab") as log:
            self.broker = subprocess.Popen([MOSQUITTO, "-c", self.home / "mosquitto.conf"], stdout=log, stderr=log)
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise AssertionError("mosquitto did not start: " + self.broker_log())

    def broker_log(self):
        return (self.home / "mosquitto.log").read_text()

    def reload(self):
        """What --reload runs: the broker reads its files anew."""
        return f"kill -HUP {self.broker.pid} && sleep 0.3"

    def login(self, folder, user):
        words = ["-h", "127.0.0.1", "-p", str(self.port), "-V", "5"]
        if self.tls:
            words += ["--cafile", str(self.home / "server-ca.pem")]
        if self.access == "password":
            return words + ["-u", user, "-P", (folder / "mqtt.password").read_text().strip()]
        return words + ["--cert", str(folder / "device.pem"), "--key", str(folder / "device.key")]

    def as_device(self, device):
        return self.login(self.fleet / "devices" / device, device)

    def as_role(self, role):
        return self.login(self.fleet / "roles" / role, "role." + role)

    def publish(self, login, topic, text="x", retain=False):
        """'taken', 'refused' (by the access list) or 'no entry'."""
        done = subprocess.run(["mosquitto_pub", *login, "-q", "1", "-d", "-t", topic, "-m", text, *(["-r"] if retain else [])],
                              capture_output=True, text=True, timeout=30)
        if done.returncode != 0 or "PUBACK" not in done.stdout:
            return "no entry"
        return "refused" if "RC:135" in done.stdout else "taken"

    def read(self, login, topic, seconds=2, count=1):
        """Payloads that come within so long."""
        done = subprocess.run(["mosquitto_sub", *login, "-t", topic, "-C", str(count), "-W", str(seconds)], capture_output=True, timeout=60)
        return done.stdout.splitlines()

    def listen(self, login, *topics):
        """A subscriber that is subscribed when this returns; heard() ends it."""
        words = [word for topic in topics for word in ("-t", topic)]
        process = subprocess.Popen(["stdbuf", "-oL", "mosquitto_sub", *login, "-v", "-d", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.running.append(process)
        for line in process.stdout:
            if "SUBACK" in line:
                return process
        raise AssertionError("no subscription")

    def heard(self, process, wait=1.0):
        time.sleep(wait)
        process.send_signal(signal.SIGTERM)
        text, _ = process.communicate(timeout=10)
        return [line for line in text.splitlines() if line.startswith("dipper/")]

    def start_agent(self, agent, device):
        """From a copy of the device's folder, as on a device: nothing else of the desk is needed. Returns the copy."""
        folder = self.home / "field" / device
        shutil.copytree(self.fleet / "devices" / device, folder)
        with open(self.home / f"{device}.log", "ab") as log:
            self.running.append(subprocess.Popen([agent, "--config", folder / "agent.toml"], stderr=log))
        return folder

    def agent_log(self, device):
        return (self.home / f"{device}.log").read_text()
