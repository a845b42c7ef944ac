"""dipper device init, provision, retire and replace: the files, and a real Mosquitto and dipper-agent that use them.

usage: provision_test.py DIPPER_AGENT DIPPER [unittest arguments]
"""
import json
import os
import shutil
import stat
import subprocess
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from desk import NEEDED, Desk  # noqa: E402

TREE = "dipper/1/plant/"


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


class Files(unittest.TestCase):
    """What is written, without a broker."""

    def setUp(self):
        self.desk = Desk(dipper, "certificate")
        self.addCleanup(self.desk.close)

    def test_a_fleet_folder_is_private_and_a_second_run_says_what_is_there(self):
        self.desk.init()
        done = self.desk.provision(["gw-1,canary", "gw-2,"])
        self.assertEqual(done.stdout, "made gw-1\nmade gw-2\n")
        fleet = self.desk.fleet
        for name in ("ca.key", "fleet.json", "broker/acl", "devices/gw-1/device.key", "roles/operator/device.key"):
            self.assertEqual(mode(fleet / name), 0o600, name)
        for name in ("", "devices/gw-1", "roles/operator", "broker"):
            self.assertEqual(mode(fleet / name), 0o700, name)
        before = contents(fleet)
        done = self.desk.provision(["gw-1,canary", "gw-2,"])
        self.assertEqual(done.stdout, "present gw-1\npresent gw-2\n")
        self.assertIn("nothing to do", done.stderr)
        self.assertEqual(contents(fleet), before)
        done = self.desk.provision(["gw-1,canary", "gw-3,"])
        self.assertEqual(done.stdout, "made gw-3\npresent gw-1\n")
        listed = json.loads(self.desk.device("list", "--json").stdout)
        self.assertEqual([(one["device"], one["state"], one["groups"]) for one in listed],
                         [("gw-1", "active", ["canary"]), ("gw-2", "active", []), ("gw-3", "active", [])])

    def test_certificates_are_of_the_fleet_and_of_nobody_else(self):
        self.desk.init()
        self.desk.provision(["gw-1,", "gw-2,"])
        fleet = self.desk.fleet

        def openssl(*words):
            done = subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True, timeout=30)
            return done.stdout + done.stderr

        verify = ("verify", "-x509_strict", "-crl_check", "-CAfile", fleet / "ca.pem", "-CRLfile", fleet / "broker/revoked.pem")
        self.assertIn("gw-1/device.pem: OK", openssl(*verify, fleet / "devices/gw-1/device.pem"))
        text = openssl("x509", "-in", fleet / "devices/gw-1/device.pem", "-noout", "-text", "-subject")
        for part in ("subject=CN = gw-1", "CA:FALSE", "TLS Web Client Authentication", "prime256v1", "ecdsa-with-SHA256"):
            self.assertIn(part, text)
        text = openssl("x509", "-in", fleet / "ca.pem", "-noout", "-text")
        for part in ("CA:TRUE, pathlen:0", "Certificate Sign, CRL Sign"):
            self.assertIn(part, text)
        old = fleet / "devices/gw-1/device.pem"
        (self.desk.home / "old.pem").write_bytes(old.read_bytes())
        self.desk.device("replace", "gw-1")
        self.assertIn("certificate revoked", openssl(*verify, self.desk.home / "old.pem"))
        self.assertIn("device.pem: OK", openssl(*verify, old))
        self.desk.device("retire", "gw-2", "--offline")
        text = openssl("crl", "-in", fleet / "broker/revoked.pem", "-noout", "-text")
        self.assertEqual(text.count("Serial Number:"), 2)
        self.assertFalse((fleet / "devices/gw-2").exists())

    def test_a_bad_list_changes_nothing(self):
        self.desk.init()
        before = contents(self.desk.fleet)
        path = self.desk.home / "devices.csv"
        path.write_text('device,groups,model,hardware\n'
                        'gw-1,canary,main,pi\n'
                        'gw/2,canary,,\n'
                        'gw-1,,,\n'
                        'gw-3,"all offer",,\n'
                        'gw-4,a;a,,\n'
                        'gw-5,,m1 m2 m3 m4 m5,\n'
                        'gw-6,,,raspberry pi\n'
                        'gw-7,,\n'
                        'gw-8,"x,,\n')
        done = self.desk.device("provision", "--list", path, code=2)
        for part in (':3: column device: "gw/2" is no name: 1 to 64 of letters, digits',
                     ':4: column device: "gw-1" is in line 2 already',
                     ':5: column groups: "all" is a word of the topic tree',
                     ':5: column groups: "offer" is a word of the topic tree',
                     ':6: column groups: "a" is there twice',
                     ':7: column model: 5 are too many; a device takes at most 4',
                     ':8: column hardware: at most 64 printable',
                     ':9: column 4: the row has 3 cells, the header 4',
                     ':10: column 1: quotes do not match',
                     'nothing was provisioned'):
            self.assertIn(part, done.stderr)
        path.write_text("device,grups\ngw-1,\n")
        self.assertIn(":1: unknown column \"grups\"; did you mean 'groups'?", self.desk.device("provision", "--list", path, code=2).stderr)
        path.write_text("groups\nx\n")
        self.assertIn("no column 'device'", self.desk.device("provision", "--list", path, code=3).stderr)
        path.write_text("device\n")
        self.assertIn("there is no device in it", self.desk.device("provision", "--list", path, code=2).stderr)
        self.desk.device("provision", "--list", self.desk.home / "none.csv", code=3)
        self.assertIn('"a.b" is no name', self.desk.device("provision", "a.b", code=2).stderr)
        self.assertIn("either devices or a list", self.desk.device("provision", code=2).stderr)
        self.assertEqual(contents(self.desk.fleet), before)

    def test_a_device_that_is_there_is_kept(self):
        self.desk.init()
        self.desk.provision(["gw-1,canary"])
        before = contents(self.desk.fleet)
        done = self.desk.provision(["gw-0,", "gw-1,stable"], code=4)
        self.assertIn('gw-1 is there with groups ["canary"]', done.stderr)
        self.assertIn("--replace makes new credentials", done.stderr)
        self.assertEqual(contents(self.desk.fleet), before)
        self.assertEqual(self.desk.provision(["gw-0,", "gw-1,stable"], "--replace").stdout, "made gw-0\nreplaced gw-1\n")
        self.assertIn('groups = ["stable"]', (self.desk.fleet / "devices/gw-1/agent.toml").read_text())
        self.assertNotEqual(contents(self.desk.fleet)["devices/gw-1/device.key"], before["devices/gw-1/device.key"])
        self.desk.device("retire", "gw-1", "--offline")
        self.assertIn("gw-1 is retired", self.desk.provision(["gw-1,stable"], code=4).stderr)
        self.assertEqual(self.desk.device("retire", "gw-1", "--offline").stdout, "was retired already: gw-1\n")
        self.assertIn("there is no device \"gw-9\"", self.desk.device("retire", "gw-9", "--offline", code=3).stderr)
        # Retired and named again: alive with new credentials.
        self.desk.device("replace", "gw-1")
        self.assertNotIn("deny", (self.desk.fleet / "broker/acl").read_text())

    def test_wrong_plans_are_told(self):
        init = ("device", "init", "--dir", self.desk.home / "other", "--root", self.desk.home / "root.dproot")
        good = (*init, "--broker-ca", self.desk.home / "server-ca.pem")
        for words, part in (((*good, "--fleet", "a/b", "--broker", "mqtts://x"), "fleet \"a/b\" is not a name"),
                            ((*good, "--fleet", "a", "--broker", "http://x"), "is not an address"),
                            ((*init, "--fleet", "a", "--broker", "mqtts://x"), "--broker-ca is missing"),
                            ((*init, "--fleet", "a", "--broker", "mqtt://x"), "certificates need TLS")):
            self.assertIn(part, self.desk.run(*words, code=2).stderr)
        self.desk.run("device", "init", "--dir", self.desk.home / "other", "--root", self.desk.home / "none", "--fleet", "a", "--broker",
                      "mqtts://x", "--broker-ca", self.desk.home / "server-ca.pem", code=3)
        self.assertFalse((self.desk.home / "other").exists())
        self.assertIn("is no fleet folder", self.desk.device("list", code=3).stderr)
        self.desk.init()
        before = contents(self.desk.fleet)
        self.assertIn("is there and not empty", self.desk.init(code=4).stderr)
        self.assertEqual(contents(self.desk.fleet), before)
        (self.desk.fleet / "fleet.json").write_text("{")
        self.assertIn("is damaged", self.desk.device("list", code=1).stderr)

    def test_a_thousand_devices(self):
        self.desk.init()
        begin = time.monotonic()
        done = self.desk.provision([f"gw-{i:04},wave-{i % 8}" for i in range(1000)])
        print(f"1000 devices with certificates: {time.monotonic() - begin:.1f} s", file=sys.stderr)
        self.assertEqual(done.stdout.count("made "), 1000)
        keys = {path.read_bytes() for path in self.desk.fleet.glob("devices/*/device.key")}
        self.assertEqual(len(keys), 1000)
        self.assertIn("user gw-0999\n", (self.desk.fleet / "broker/acl").read_text())


class WithBroker:
    """The same story for both kinds of credentials."""
    access = ""

    def setUp(self):
        self.desk = Desk(dipper, self.access)
        self.addCleanup(self.desk.close)
        self.desk.init()
        self.desk.provision(["gw-1,canary", "gw-2,"])
        self.desk.start_broker()

    def test_an_agent_connects_with_the_folder_as_written(self):
        folder = self.desk.fleet / "devices/gw-1"
        done = subprocess.run([agent, "--config", folder / "agent.toml", "--check-config"], capture_output=True, text=True, timeout=60)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("agent.d/50-fleet.toml", done.stdout)
        self.desk.start_agent(agent, "gw-1")
        state = self.desk.read(self.desk.as_role("watcher"), TREE + "gw-1/state", seconds=30)
        self.assertTrue(state, self.desk.agent_log("gw-1"))
        self.assertEqual(json.loads(state[0])["state"], "online")
        self.assertTrue(self.desk.read(self.desk.as_role("watcher"), TREE + "gw-1/metrics", seconds=30))
        # A signed command reaches it and is answered: cmd and rsp are open for the two that need them.
        words = ["command", "freeze", "--device", "gw-1", "--fleet", "plant", "--command-key", self.desk.home / "command.key", "--broker",
                 self.desk.url, "--ca", self.desk.home / "server-ca.pem", "--wait", "20", "--json"]
        role = self.desk.fleet / "roles/publisher"
        if self.access == "password":
            words += ["--user", "role.publisher", "--password-file", role / "mqtt.password"]
        else:
            words += ["--cert", role / "device.pem", "--key", role / "device.key"]
        done = subprocess.run([dipper, *map(str, words)], capture_output=True, text=True, timeout=60)
        self.assertIn('"name": "freeze"', done.stdout, done.stderr)

    def test_a_device_has_its_own_tree_and_no_other(self):
        d = self.desk
        one, two = d.as_device("gw-1"), d.as_device("gw-2")
        self.assertEqual(d.publish(two, TREE + "gw-2/metrics"), "taken")
        for topic in ("gw-1/state", "gw-1/cmd", "gw-1/m/main/update", "offer/gw-2", "offer/all", "offer/canary", "pkg/00/manifest", "root/2",
                      "state", "other/state"):
            self.assertEqual(d.publish(two, TREE + topic), "refused", topic)
        self.assertEqual(d.publish(two, "dipper/1/other/gw-2/metrics"), "refused")
        self.assertEqual(d.publish(two, "elsewhere"), "refused")
        # Reading: what each hears of what those who may publish.
        ears_two = d.listen(two, "dipper/#", TREE + "gw-1/cmd")
        ears_one = d.listen(one, "dipper/#")
        publisher = d.as_role("publisher")
        for topic in ("gw-1/cmd", "gw-2/cmd", "offer/gw-1", "offer/gw-1/m/pump", "offer/gw-2", "offer/all", "offer/canary", "pkg/00/manifest",
                      "pkg/00/0/1", "root/2"):
            self.assertEqual(d.publish(publisher, TREE + topic), "taken", topic)
        self.assertEqual(d.publish(one, TREE + "gw-1/event"), "taken")
        shared = {"offer/all", "pkg/00/manifest", "pkg/00/0/1", "root/2"}
        heard = {line.split(" ")[0][len(TREE):] for line in d.heard(ears_two)}
        self.assertEqual(heard, shared | {"gw-2/cmd", "offer/gw-2"})
        heard = {line.split(" ")[0][len(TREE):] for line in d.heard(ears_one)}
        self.assertEqual(heard, shared | {"gw-1/cmd", "offer/gw-1", "offer/gw-1/m/pump", "offer/canary"})

    def test_roles_have_what_they_need_and_no_more(self):
        d = self.desk
        watcher, publisher = d.as_role("watcher"), d.as_role("publisher")
        for topic in ("gw-1/state", "gw-1/cmd", "offer/all", "pkg/00/manifest"):
            self.assertEqual(d.publish(watcher, TREE + topic), "refused", topic)
        for topic in ("gw-1/state", "gw-1/m/main/update", "elsewhere"):
            self.assertEqual(d.publish(publisher, TREE + topic), "refused", topic)
        ears = d.listen(watcher, "dipper/#")
        for topic in ("gw-1/state", "gw-1/metrics", "gw-1/m/main/update", "gw-1/json/m/main/metrics"):
            self.assertEqual(d.publish(d.as_device("gw-1"), TREE + topic), "taken", topic)
        self.assertEqual(d.publish(publisher, TREE + "pkg/00/manifest"), "taken")
        self.assertEqual(d.publish(publisher, TREE + "gw-1/cmd"), "taken")
        heard = {line.split(" ")[0][len(TREE):] for line in d.heard(ears)}
        self.assertEqual(heard, {"gw-1/state", "gw-1/metrics", "gw-1/m/main/update", "gw-1/json/m/main/metrics"})

    def test_strangers_have_no_entry(self):
        d = self.desk
        words = ["-h", "127.0.0.1", "-p", str(d.port), "-V", "5", "--cafile", str(d.home / "server-ca.pem")]
        self.assertEqual(d.publish(words, TREE + "gw-1/state"), "no entry")
        self.assertEqual(d.publish(words + ["-u", "gw-1", "-P", "guessed"], TREE + "gw-1/state"), "no entry")
        other = Desk(dipper, self.access)  # a fleet of its own, with the same names
        self.addCleanup(other.close)
        other.init()
        other.provision(["gw-1,"])
        foreign = d.login(other.fleet / "devices/gw-1", "gw-1")
        self.assertEqual(d.publish(foreign, TREE + "gw-1/state"), "no entry")
        self.assertEqual(d.publish(d.as_device("gw-1"), TREE + "gw-1/state"), "taken")

    def test_retire_ends_a_device_that_runs(self):
        d = self.desk
        old = d.start_agent(agent, "gw-1")
        d.start_agent(agent, "gw-2")
        operator = d.as_role("operator")
        for device in ("gw-1", "gw-2"):
            self.assertTrue(d.read(operator, TREE + device + "/birth", seconds=30), d.agent_log(device))
        self.assertEqual(d.publish(d.as_role("publisher"), TREE + "offer/gw-1", retain=True), "taken")
        done = d.device("retire", "gw-1", "--reload", d.reload(), "--json")
        (retired,) = json.loads(done.stdout)
        self.assertEqual((retired["device"], retired["state"], retired["still_connected"]), ("gw-1", "retired", False))
        self.assertLessEqual({TREE + "gw-1/state", TREE + "gw-1/birth", TREE + "offer/gw-1"}, set(retired["cleared"]))
        self.assertEqual(d.publish(d.login(old, "gw-1"), TREE + "gw-1/state", retain=True), "no entry")
        self.assertEqual(d.read(operator, TREE + "gw-1/#", seconds=3), [])  # its will neither
        self.assertEqual(d.read(operator, TREE + "offer/gw-1", seconds=1), [])
        self.assertTrue(d.read(operator, TREE + "gw-2/state", seconds=5))
        self.assertTrue(d.read(operator, TREE + "gw-2/metrics", seconds=20))
        self.assertIn("was retired already: gw-1, 0 retained topics cleared", d.device("retire", "gw-1").stdout)

    def test_replace_gives_the_name_new_credentials(self):
        d = self.desk
        old = d.home / "old"
        shutil.copytree(d.fleet / "devices/gw-1", old)
        self.assertEqual(d.publish(d.login(old, "gw-1"), TREE + "gw-1/state", retain=True), "taken")
        done = d.device("replace", "gw-1", "--reload", d.reload())
        self.assertIn("replaced gw-1: ", done.stdout)
        self.assertEqual(d.publish(d.login(old, "gw-1"), TREE + "gw-1/state"), "no entry")
        self.assertEqual(d.publish(d.as_device("gw-1"), TREE + "gw-1/metrics"), "taken")
        self.assertTrue(d.read(d.as_role("watcher"), TREE + "gw-1/state"))  # the device's, not the old board's
        self.assertEqual(d.publish(d.as_device("gw-2"), TREE + "gw-2/metrics"), "taken")

    def test_what_cannot_be_finished_is_told(self):
        d = self.desk
        done = d.device("retire", "gw-1", "--reload", "exit 3", code=1)
        self.assertIn("--reload ended with 3: until the broker has read them the old credentials work", done.stderr)
        d.broker.terminate()
        d.broker.wait()
        done = d.device("retire", "gw-2", code=6)
        self.assertIn("the credentials are revoked", done.stderr)
        self.assertIn("the retained topics are not cleared", done.stderr)
        d.start_broker()
        self.assertIn("was retired already: gw-2", d.device("retire", "gw-2").stdout)


class Certificates(WithBroker, unittest.TestCase):
    access = "certificate"


class Passwords(WithBroker, unittest.TestCase):
    access = "password"

    def test_the_password_file_is_mosquittos_own(self):
        lines = (self.desk.fleet / "broker/passwords").read_text().splitlines()
        self.assertEqual(len(lines), 5)  # two devices, three roles
        self.assertEqual(mode(self.desk.fleet / "broker/passwords"), 0o600)
        self.assertEqual(mode(self.desk.fleet / "devices/gw-1/mqtt.password"), 0o600)
        for line in lines:
            self.assertRegex(line, r"^[\w.-]+:\$7\$101\$[A-Za-z0-9+/]{16}\$[A-Za-z0-9+/=]{88}$")
        self.assertNotIn((self.desk.fleet / "devices/gw-1/mqtt.password").read_text().strip(), str(contents(self.desk.fleet / "broker")))
        self.assertFalse((self.desk.fleet / "ca.key").exists())
        if shutil.which("mosquitto_passwd"):  # takes the file for its own and changes one line of it
            copy = self.desk.home / "passwords"
            shutil.copy(self.desk.fleet / "broker/passwords", copy)
            subprocess.run(["mosquitto_passwd", "-D", copy, "gw-1"], check=True, capture_output=True)
            self.assertEqual(copy.read_text().splitlines(), [line for line in lines if not line.startswith("gw-1:")])


if __name__ == "__main__":
    if NEEDED:
        print(f"skipped: {', '.join(NEEDED)} not installed; tools/setup installs them")
        sys.exit(77)
    agent, dipper = sys.argv[1:3]
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
