"""Authority, certificate, key and password as systemd credentials: all four from $CREDENTIALS_DIRECTORY, laid out as systemd does (a folder 0500
with files 0400 of the service's user), for mutual TLS with a real Mosquitto; and exchanged while the agent runs.

usage: credentials_test.py DIPPER_AGENT DIPPER [TESTS]
"""
import json
import os
import re
import shutil
import subprocess
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "integration/control"))
from device import Device, end_with_parent, free_port  # noqa: E402

AGENT, DIPPER = sys.argv[1:3]
MOSQUITTO = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
LOOKS_S = 10  # how often the agent looks at its files
TLS = """ca_file = "credential:mqtt-ca"
cert_file = "credential:device-cert"
key_file = "credential:device-key"
username = "gw-1"
password_file = "credential:mqtt-password"
"""


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


class Credentials(unittest.TestCase):
    def setUp(self):
        self.device = Device(AGENT, DIPPER)
        self.addCleanup(self.device.close)
        self.desk = self.device.home / "desk"
        self.desk.mkdir()
        self.folder = self.device.home / "run-credentials"
        self.environment = {"CREDENTIALS_DIRECTORY": str(self.folder)}
        self.port = free_port()
        self.authority("plant")
        self.sign("server", "127.0.0.1", by="plant")
        self.broker = None
        self.device.write_config(replace=[('url = "mqtt://127.0.0.1:1"', f'url = "mqtts://127.0.0.1:{self.port}"\n{TLS}')])

    def authority(self, name):
        openssl("req", "-x509", *KEY, "-days", "30", "-subj", f"/CN={name}", "-keyout", self.desk / f"{name}.key", "-out", self.desk / f"{name}.pem")

    def sign(self, name, subject, by):
        request, extra = self.desk / f"{name}.csr", self.desk / f"{name}.ext"
        extra.write_text("subjectAltName = IP:127.0.0.1\n")
        openssl("req", *KEY, "-subj", f"/CN={subject}", "-keyout", self.desk / f"{name}.key", "-out", request)
        openssl("x509", "-req", "-in", request, "-CA", self.desk / f"{by}.pem", "-CAkey", self.desk / f"{by}.key", "-CAcreateserial", "-days", "30",
                "-extfile", extra, "-out", self.desk / f"{name}.pem")

    def start_broker(self, password, authority="plant"):
        passwords = self.desk / "passwords"
        subprocess.run(["mosquitto_passwd", "-b", "-c", passwords, "gw-1", password], check=True, capture_output=True)
        user = "user root\n" if os.geteuid() == 0 else ""
        config = self.desk / "broker.conf"
        config.write_text(f"{user}listener {self.port} 127.0.0.1\ncafile {self.desk / authority}.pem\ncertfile {self.desk}/server.pem\n"
                          f"keyfile {self.desk}/server.key\nrequire_certificate true\nallow_anonymous false\npassword_file {passwords}\n"
                          f"log_dest file {self.desk}/broker.log\nlog_type all\n")
        self.broker = subprocess.Popen([MOSQUITTO, "-c", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=end_with_parent)
        self.device.running.append(self.broker)

    def stop_broker(self):
        self.broker.kill()
        self.broker.wait()

    def hand_over(self, **files):
        """As systemd does for a start: a new folder in the place of the old one, nothing in it can be written."""
        new = self.device.home / "run-credentials.new"
        new.mkdir(mode=0o700)
        for name, content in files.items():
            file = new / name.replace("_", "-")
            file.write_bytes(content)
            file.chmod(0o400)
        new.chmod(0o500)
        if self.folder.exists():
            self.folder.rename(self.desk / f"old-{time.monotonic_ns()}")
        new.rename(self.folder)

    def set_of(self, name, password, authority="plant"):
        return {"mqtt_ca": (self.desk / f"{authority}.pem").read_bytes(), "device_cert": (self.desk / f"{name}.pem").read_bytes(),
                "device_key": (self.desk / f"{name}.key").read_bytes(), "mqtt_password": f"{password}\n".encode()}

    def connected(self, seconds=40):
        self.device.until(lambda: json.loads(self.device.ask("status", "--json").stdout or "{}").get("connected"), "it is connected", seconds)

    def connections(self):
        log = self.desk / "broker.log"
        return len(re.findall(r"New client connected", log.read_text(errors="replace"))) if log.exists() else 0

    def says(self, text, seconds=LOOKS_S + 30):
        self.device.until(lambda: text in self.device.log_text(), text, seconds)

    # ---- the tests

    def test_all_four_and_their_exchange_without_a_restart(self):
        self.sign("first", "gw-1", by="plant")
        self.hand_over(**self.set_of("first", "winter"))
        self.start_broker("winter")
        agent = self.device.start(self.environment)
        self.connected()
        self.assertEqual(self.connections(), 1)

        # A new certificate with a new key: a planned reconnect, by itself.
        self.sign("second", "gw-1", by="plant")
        started = time.monotonic()
        self.hand_over(**self.set_of("second", "winter"))
        self.says("certificate or password were exchanged; connecting anew with them")
        self.device.until(lambda: self.connections() == 2, "it connects anew", 30)
        self.connected()
        print(f"  connected with the new certificate {time.monotonic() - started:.1f} s after it was handed over")

        # Half of one: not used, said, and the connection stays.
        third = self.set_of("second", "winter")
        self.sign("third", "gw-1", by="plant")
        third["device_cert"] = (self.desk / "third.pem").read_bytes()
        self.hand_over(**third)
        self.says("changed credentials are not used yet")
        self.assertEqual(self.connections(), 2)
        self.connected(1)
        self.hand_over(**self.set_of("third", "winter"))
        self.device.until(lambda: self.connections() == 3, "the whole one is used", LOOKS_S + 30)

        # All at once, authority and password too, while the broker is away: the next connection takes them.
        self.stop_broker()
        self.authority("heir")
        self.sign("server", "127.0.0.1", by="heir")
        self.sign("fourth", "gw-1", by="heir")
        self.start_broker("summer", authority="heir")
        self.says("not trusted", 60)
        self.hand_over(**self.set_of("fourth", "summer", authority="heir"))
        self.device.until(lambda: self.connections() == 4, "it is let in with the new ones", 90)
        self.connected()
        self.assertIsNone(agent.poll(), "without a restart")
        for secret in ("winter", "summer", "PRIVATE KEY"):
            self.assertNotIn(secret, self.device.log_text())
        self.device.stop()

    def test_the_broker_asks_for_the_certificate(self):
        # The test above would pass with a broker that takes anybody.
        self.authority("stranger")
        self.sign("foreign", "gw-1", by="stranger")
        self.hand_over(**self.set_of("foreign", "winter"))
        self.start_broker("winter")
        self.device.start(self.environment)
        self.says(f"mqtts://127.0.0.1:{self.port}")
        time.sleep(3)
        self.assertEqual(self.connections(), 0, self.device.log_text())

    def test_what_is_missing_is_named(self):
        self.sign("first", "gw-1", by="plant")
        files = self.set_of("first", "winter")
        del files["device_key"]
        self.hand_over(**files)
        self.start_broker("winter")
        started = subprocess.run([AGENT, "--config", self.device.home / "agent.toml"], capture_output=True, text=True, timeout=60, check=False,
                                 env={**os.environ, **self.environment})
        self.assertEqual(started.returncode, 1, started.stderr)
        self.assertIn("run-credentials/device-key cannot be read", started.stderr)
        # And without systemd at all: what to do.
        alone = {name: value for name, value in os.environ.items() if name != "CREDENTIALS_DIRECTORY"}
        started = subprocess.run([AGENT, "--config", self.device.home / "agent.toml"], capture_output=True, text=True, timeout=60, check=False, env=alone)
        self.assertEqual(started.returncode, 2)
        for key, name in (("ca_file", "mqtt-ca"), ("cert_file", "device-cert"), ("key_file", "device-key"), ("password_file", "mqtt-password")):
            self.assertRegex(started.stderr, f"mqtt.{key}: there are no credentials: .*LoadCredential={name}:FILE")


if __name__ == "__main__":
    for program in (MOSQUITTO, shutil.which("mosquitto_passwd") or "mosquitto_passwd", shutil.which("openssl") or "openssl"):
        if not os.access(program, os.X_OK):
            print(f"skipped: {program} is not installed: run tools/setup")
            sys.exit(77)
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=2)
