"""The whole agent and its broker in bad times: a broker that goes and comes, a clock that starts in 1970 or jumps, credentials that systemd
hands over and that change. The wall clock is a preloaded one that the test sets.

usage: agent_link_test.py DIPPER_AGENT DIPPER WALL_SHIM [TESTS]
"""
import os
import shutil
import socket
import subprocess
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "integration/control"))
from device import CONFIRMS, Device, end_with_parent, free_port  # noqa: E402
from listener import listen  # noqa: E402
from wall import DAY, SECOND, YEAR, Wall  # noqa: E402

AGENT, DIPPER, SHIM = sys.argv[1:4]
MOSQUITTO = shutil.which("mosquitto") or "/usr/sbin/mosquitto"


class AgentLink(unittest.TestCase):
    def setUp(self):
        self.device = Device(AGENT, DIPPER)
        self.addCleanup(self.device.close)
        self.port = free_port()
        self.more = "allow_anonymous true\n"
        self.broker = None
        self.scheme = "mqtt"

    def configure(self, more=""):
        self.device.write_config(replace=[('url = "mqtt://127.0.0.1:1"', f'url = "{self.scheme}://127.0.0.1:{self.port}"\n{more}')])

    def start_broker(self):
        config = self.device.home / "broker.conf"
        user = "user root\n" if os.geteuid() == 0 else ""
        config.write_text(f"listener {self.port} 127.0.0.1\n{user}{self.more}")
        self.broker = subprocess.Popen([MOSQUITTO, "-c", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                       preexec_fn=end_with_parent)
        self.device.running.append(self.broker)

        def open_port():
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", self.port)) == 0
        self.device.until(open_port, "the broker listens")

    def stop_broker(self):
        self.broker.kill()
        self.broker.wait()

    def listen(self):
        """Everything the agent says in JSON, into a file."""
        heard = self.device.home / "heard"
        self.device.running.append(listen(self.port, heard, "-t", "dipper/1/plant/gw-1/json/#", "-v"))
        return heard

    def connected(self, seconds=40):
        self.device.until(lambda: self.device.log_text().rstrip().split("\n")[-1] and
                          self.device.ask("status", "--json").stdout.find('"connected":true') >= 0, "it is connected", seconds)

    def learns(self):
        before = self.device.status()["samples"]
        self.device.until(lambda: self.device.status()["samples"] > before + 20, "it learns")

    def champion(self):
        package, digest = self.device.package("pump", "1", CONFIRMS)
        self.assertEqual(self.device.ask("install", package, "--wait").returncode, 0, self.device.log_text()[-2000:])
        return digest

    # ---- the broker goes and comes

    def goes_and_comes(self, version):
        self.configure(f"version = {version}\njson_mirror = true")
        self.start_broker()
        self.device.start()
        self.connected()
        self.champion()
        self.stop_broker()
        self.device.until(lambda: "lost the connection" in self.device.log_text(), "it notices")
        self.learns()
        self.start_broker()
        heard = self.listen()
        self.device.until(lambda: "/metrics" in heard.read_text(), "it reports again")
        self.device.stop()

    def test_a_broker_that_goes_and_comes(self):
        self.goes_and_comes(5)

    def test_a_broker_that_goes_and_comes_with_mqtt_3(self):
        self.goes_and_comes(311)

    # ---- the clock

    def make_certificates(self):
        """A month old, made on a machine whose clock was right then."""
        home = self.device.home
        then = Wall(SHIM, home / "then", offset=-30 * DAY)
        environment = {**os.environ, **then.environment}
        (home / "san").write_text("subjectAltName=IP:127.0.0.1\n")
        new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        for command in (("req", "-x509", *new_key, "-days", "3650", "-subj", "/CN=plant", "-keyout", "ca.key", "-out", "ca.pem"),
                        ("req", *new_key, "-subj", "/CN=broker", "-keyout", "broker.key", "-out", "broker.csr"),
                        ("x509", "-req", "-in", "broker.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "3650",
                         "-extfile", "san", "-out", "broker.pem")):
            subprocess.run(["openssl", *command], cwd=home, env=environment, check=True, capture_output=True)
        self.more += f"cafile {home}/ca.pem\ncertfile {home}/broker.pem\nkeyfile {home}/broker.key\n"
        self.scheme = "mqtts"

    def test_a_start_in_1970_sets_the_clock_before_tls(self):
        self.make_certificates()
        self.configure('ca_file = "ca.pem"')
        self.start_broker()
        wall = Wall(SHIM, self.device.home / "wall", offset=-time.time_ns() + 100 * SECOND)
        self.device.start(wall.environment)
        self.connected()
        self.assertIn("s behind the last time that was signed; set forward to it", self.device.log_text())
        self.assertNotIn("not yet valid", self.device.log_text(), "not one attempt with the wrong clock")
        behind = -wall.offset / DAY
        self.assertLess(behind, 25, "the clock is at the program's build time at least")
        self.device.stop()

    def test_a_start_in_1970_without_the_right_to_set_the_clock(self):
        self.make_certificates()
        self.configure('ca_file = "ca.pem"')
        self.start_broker()
        wall = Wall(SHIM, self.device.home / "wall", offset=-time.time_ns() + 100 * SECOND, settable=False)
        self.device.start(wall.environment)
        self.device.until(lambda: "certificate is not yet valid" in self.device.log_text(), "it says what is wrong")
        self.assertIn("the agent may not set it (CAP_SYS_TIME)", self.device.log_text())
        self.champion()
        self.learns()
        wall.offset = 0  # somebody else set it right
        self.connected(60)
        self.device.stop()

    def test_clock_jumps(self):
        self.configure("json_mirror = true")
        self.start_broker()
        wall = Wall(SHIM, self.device.home / "wall")
        self.device.start(wall.environment)
        self.connected()
        self.champion()
        trusted = self.device.ask("status", "--json").stdout
        for jump in (10 * YEAR, -10 * YEAR, 0, -50 * YEAR, 3600 * SECOND):
            wall.offset = jump
            self.learns()
        self.assertNotIn("lost the connection", self.device.log_text(), "time of day is nothing the connection goes by")
        self.assertEqual(self.device.status()["state"], "confirmed", trusted)
        # Unsynchronized time expires nothing: an offer of today is taken ten years later.
        wall.offset = 10 * YEAR
        package, digest = self.device.package("pump", "2", CONFIRMS)
        self.device.dipper("publish", package, "--broker", f"mqtt://127.0.0.1:{self.port}", "--fleet", "plant", "--root",
                           self.device.home / "root.dproot", "--to", "fleet", "--rollout-key", self.device.home / "rollout.key", "--number", 1)
        self.device.until(lambda: self.device.status()["champion"]["digest"] == digest, "the update comes through", 90)
        # And a start after the clock went back does not lose it.
        self.device.stop()
        wall.offset = -20 * YEAR
        self.device.start(wall.environment)
        self.assertEqual(self.device.status()["champion"]["digest"], digest)
        self.device.stop()

    # ---- secrets

    def test_a_password_from_systemd_that_changes(self):
        home = self.device.home
        secrets = home / "credentials"
        secrets.mkdir()
        passwords = home / "passwords"

        def set_password(word):
            subprocess.run(["mosquitto_passwd", "-b", "-c", passwords, "gw-1", word], check=True, capture_output=True)

        set_password("winter")
        (secrets / "mqtt-password").write_text("winter\n")
        self.more = f"allow_anonymous false\npassword_file {passwords}\n"
        self.configure('username = "gw-1"\npassword_file = "credential:mqtt-password"')
        self.start_broker()
        self.device.start({"CREDENTIALS_DIRECTORY": str(secrets)})
        self.connected()
        set_password("summer")
        self.stop_broker()
        self.start_broker()
        self.device.until(lambda: "wrong user name or password" in self.device.log_text(), "it is refused", 40)
        (secrets / "mqtt-password").write_text("summer\n")
        self.connected(60)
        self.assertNotIn("winter", self.device.log_text())
        self.assertNotIn("summer", self.device.log_text())
        self.device.stop()


if __name__ == "__main__":
    if not os.access(MOSQUITTO, os.X_OK) or not shutil.which("mosquitto_sub"):
        print("skipped: Mosquitto or its clients are not installed: run tools/setup")
        sys.exit(77)
    unittest.main(argv=sys.argv[:1] + sys.argv[4:], verbosity=2)
