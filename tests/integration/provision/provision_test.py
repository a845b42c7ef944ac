"""dipper device init, provision, retire and replace: the files, and a real Mosquitto and dipper-agent that use them.

usage: provision_test.py DIPPER_AGENT DIPPER [unittest arguments]
"""
import json
import os
import re
import shutil
import signal
import ssl
import stat
import subprocess
import sys
import tarfile
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

    def test_what_every_device_would_get_is_checked_first(self):
        home, ca, settings = self.desk.home, self.desk.home / "server-ca.pem", self.desk.home / "settings.toml"
        good, words = ca.read_text(), settings.read_text()

        def refused(*parts):
            done = self.desk.init(code=2)
            for part in parts:
                self.assertIn(part, done.stderr)
            self.assertFalse(self.desk.fleet.exists())

        key = (home / "server-ca.key").read_text()
        der = ssl.PEM_cert_to_DER_cert(good)
        for text, part in ((key, "private key, which every device would get"), (good + key, "private key"), ("", "no certificate"),
                           ("hello\n", "no certificate"), (good[:200], "cut short or damaged"),
                           (ssl.DER_cert_to_PEM_cert(der[:-1]), "certificate 1 in it is damaged"),
                           (ssl.DER_cert_to_PEM_cert(der + b"\0"), "certificate 1 in it is damaged"),
                           (good + ssl.DER_cert_to_PEM_cert(der + b"\0\0\0"), "certificate 2 in it is damaged"),
                           (good + key.replace("PRIVATE", "PUBLIC"), "only certificates belong there")):
            ca.write_text(text)
            refused("--broker-ca", part)
        ca.write_text(good + good)
        for text, *parts in (("[telemetry]\ninterval_ms = = 5\n", "settings.toml:2: this is no TOML"),
                             ("[telemtry]\ninterval_ms = 5\n", "settings.toml:1: agent.toml has no table [telemtry]; did you mean 'telemetry'?"),
                             ("[telemetry]\ninterval = 200\n", "settings.toml:2: unknown key telemetry.interval", "devices would not start"),
                             ("[telemetry]\n\ninterval_ms = 'fast'\n", "settings.toml:3: telemetry.interval_ms"),
                             ('[[source]]\nkind = "systm"\n', "settings.toml:2: source.kind"),
                             ('[[model]]\nid = "hall"\nslot_c = "x"\n', "settings.toml:3: unknown key model.slot_c")):
            settings.write_text(text)
            refused(*parts)
        # What is said of one model is right for the devices that have it.
        settings.write_text(words + '[[model]]\nid = "hall"\nmax_image_bytes = "64KiB"\n')
        self.assertNotIn("warning", self.desk.init().stderr)
        # Without an agent to ask, the tables are checked, and it says so.
        shutil.rmtree(self.desk.fleet)
        alone = home / "dipper"
        shutil.copy(dipper, alone)
        self.desk.dipper = alone
        settings.write_text("[telemetry]\ninterval = 200\n")
        self.assertIn("only the tables were checked", self.desk.init().stderr)
        shutil.rmtree(self.desk.fleet)
        settings.write_text("[telemtry]\n")
        refused("no table [telemtry]")

    def test_the_desk_knows_the_agents_tables(self):
        root = Path(__file__).resolve().parents[3]
        tables = re.findall(r'\{\.name = "(\w+)",', (root / "agent/app/config/keys.cc").read_text())
        desk = (root / "tools/fleet/settings_check.cc").read_text()
        known = re.search(r"kTables = \{(.*?)\};", desk, re.DOTALL).group(1)
        self.assertGreater(len(tables), 10)
        self.assertEqual(sorted(re.findall(r'"(\w+)"', known)), sorted(tables))

    def test_an_archive_of_each_device_has_the_same_bytes_each_time(self):
        self.desk.init()
        tars = self.desk.home / "tars"
        self.desk.provision(["gw-1,canary", "gw-2,"], "--tar", tars)
        self.assertEqual(sorted(path.name for path in tars.iterdir()), ["gw-1.tar", "gw-2.tar"])
        self.assertEqual((mode(tars), mode(tars / "gw-1.tar")), (0o700, 0o600))
        before = contents(tars)
        for path in (self.desk.fleet / "devices/gw-1").rglob("*"):
            os.utime(path, (1, 1))  # no clock of the disk is in it
        self.assertEqual(self.desk.provision(["gw-1,canary", "gw-2,"], "--tar", tars).stdout, "present gw-1\npresent gw-2\n")
        self.assertEqual(contents(tars), before)
        again = self.desk.home / "again"
        again.mkdir()
        subprocess.run(["tar", "-x", "-p", "-f", tars / "gw-1.tar", "-C", again], check=True)
        self.assertEqual(contents(again), contents(self.desk.fleet / "devices/gw-1"))
        self.assertEqual({name: mode(again / name) for name in ("device.key", "device.pem", "agent.d", "state")},
                         {"device.key": 0o600, "device.pem": 0o644, "agent.d": 0o755, "state": 0o700})
        with tarfile.open(tars / "gw-1.tar", format=tarfile.USTAR_FORMAT) as archive:
            members = archive.getmembers()
        self.assertEqual([m.name for m in members], sorted(m.name for m in members))
        self.assertEqual({(m.uid, m.gid, m.uname, m.gname, m.mtime) for m in members}, {(0, 0, "root", "root", 0)})
        self.assertEqual(os.path.getsize(tars / "gw-1.tar") % 10240, 0)
        done = subprocess.run([agent, "--config", again / "agent.toml", "--check-config"], capture_output=True, text=True, timeout=60)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        # Nothing is carried away of a device that was not provisioned.
        os.symlink("/etc/passwd", self.desk.fleet / "devices/gw-2/link")
        done = self.desk.provision(["gw-2,"], "--tar", tars, code=1)
        self.assertIn("devices/gw-2/link into an archive: it is neither a file nor a folder", done.stderr)

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

    def test_retire_with_the_command_key_erases_the_device_first(self):
        d = self.desk
        d.start_agent(agent, "gw-1")
        operator = d.as_role("operator")
        self.assertTrue(d.read(operator, TREE + "gw-1/birth", seconds=30), d.agent_log("gw-1"))
        done = d.device("retire", "gw-1", "--command-key", d.home / "command.key", "--reload", d.reload(), "--json")
        self.assertIn("gw-1 is erased", done.stderr)
        (retired,) = json.loads(done.stdout)
        self.assertEqual((retired["device"], retired["state"], retired["still_connected"]), ("gw-1", "retired", False))
        self.assertIn("everything learned and held is erased", d.agent_log("gw-1"))
        self.assertEqual(d.read(operator, TREE + "gw-1/#", seconds=3), [])
        self.assertEqual(d.publish(d.login(d.home / "field/gw-1", "gw-1"), TREE + "gw-1/state"), "no entry")

    def test_a_device_that_does_not_erase_keeps_its_credentials(self):
        d = self.desk
        before = contents(d.fleet)
        for verb in ("retire", "replace"):
            done = d.device(verb, "gw-1", "gw-2", "--command-key", d.home / "command.key", "--wipe-wait", "2", "--reload", "exit 9", code=6)
            self.assertIn("within 2 s: gw-1 did not answer; gw-2 did not answer. No credentials were ended.", done.stderr)
        done = d.device("retire", "gw-1", "--command-key", d.home / "release.key", "--reload", "exit 9", code=5)
        self.assertIn("gw-1 would refuse the command wipe", done.stderr)
        self.assertEqual(contents(d.fleet), before)
        self.assertEqual(d.publish(d.as_device("gw-1"), TREE + "gw-1/metrics"), "taken")

    def test_home_assistant_hears_each_device_of_itself_only(self):
        d = self.desk
        one = d.as_device("gw-1")
        topics = [f"homeassistant/{kind}/gw-1/dipper_plant_gw-1_x/config" for kind in ("sensor", "binary_sensor")]
        for topic in topics:
            self.assertEqual(d.publish(one, topic), "refused", topic)
        self.assertIn("is no discovery prefix", d.provision(["gw-1,canary"], "--home-assistant", "a/b", code=2).stderr)
        d.provision(["gw-1,canary", "gw-3,"], "--home-assistant", "homeassistant")
        d.broker.send_signal(signal.SIGHUP)
        time.sleep(0.5)
        for topic in topics:
            self.assertEqual(d.publish(one, topic, retain=True), "taken", topic)
        for topic in ("homeassistant/sensor/gw-2/dipper_plant_gw-2_x/config", "homeassistant/switch/gw-1/x/config", "homeassistant/sensor/gw-1/x",
                      "homeassistant/sensor/gw-1/x/state", "homeassistant/status", "other/sensor/gw-1/x/config"):
            self.assertEqual(d.publish(one, topic), "refused", topic)
        self.assertEqual(d.publish(d.as_role("watcher"), topics[0]), "refused")
        # A device that was made since announces itself with the folder as written.
        d.start_agent(agent, "gw-3")
        operator = d.as_role("operator")
        announced = d.read(operator, "homeassistant/+/gw-3/+/config", seconds=30, count=5)
        self.assertEqual(len(announced), 5, d.agent_log("gw-3"))
        self.assertEqual(json.loads(announced[0])["device"]["identifiers"], ["dipper_plant_gw-3"])
        self.assertNotIn("refused", d.agent_log("gw-3"))
        # What another fleet's device of this name has announced stays.
        foreign = "homeassistant/sensor/gw-1/dipper_other_gw-1_x/config"
        self.assertEqual(d.publish(operator, foreign, retain=True), "taken")
        (retired,) = json.loads(d.device("retire", "gw-1", "--reload", d.reload(), "--json").stdout)
        self.assertLessEqual(set(topics), set(retired["cleared"]))
        self.assertNotIn(foreign, retired["cleared"])
        self.assertEqual(len(d.read(operator, "homeassistant/+/gw-1/+/config", seconds=2, count=9)), 1)

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
