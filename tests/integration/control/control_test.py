"""The control socket of a running agent: status, slots, log, install, confirm, fall-back, undo, factory-reset; who may ask, and what clients may do.

usage: control_test.py DIPPER_AGENT DIPPER
"""
import array
import json
import os
import random
import shutil
import socket
import stat
import subprocess
import sys
import threading
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from device import CONFIRMS, LASTS, Device  # noqa: E402

AGENT, DIPPER = sys.argv[1:3]
NOBODY = 65534


class WithDevice(unittest.TestCase):
    options = {}

    def setUp(self):
        self.device = Device(AGENT, DIPPER, **self.options)
        self.addCleanup(self.device.close)

    @property
    def path(self):
        return str(self.device.home / "state/boot.img.sock")

    def ask(self, *arguments, code=0, **more):
        done = self.device.ask(*arguments, **more)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr + self.device.log_text()[-2000:])
        return done

    def talk(self, request, files=(), wait=10):
        """One raw request; returns everything the agent sent."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(wait)
            client.connect(self.path)
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [f.fileno() for f in files]))] if files else []
            client.sendmsg([request], rights)
            answer = b""
            while chunk := client.recv(65536):
                answer += chunk
            return answer.decode()


class Reading(WithDevice):
    def test_a_device_without_a_model(self):
        self.device.start()
        text = self.ask("status").stdout
        for part in ("device gw-1 of fleet plant", "not connected", "csv_replay", "model main", "no model", "install FILE", "root       version 1, until "):
            self.assertIn(part, text)
        status = json.loads(self.ask("status", "--json").stdout)
        self.assertEqual((status["dipper"], status["type"], status["running"]), (1, "status", True))
        self.assertEqual(status["models"][0]["state"], "idle")
        self.assertEqual(status["models"][0]["champion"]["digest"], "")
        self.assertIn("slot A     empty", self.ask("slots").stdout)
        self.assertIn("started", self.ask("log").stdout)
        self.assertIn("there is no model other", self.ask("status", "--model", "other", code=3).stderr)

    def test_nobody_answers(self):
        self.assertIn("cannot read boot partition", self.ask("status", code=1).stderr)
        self.device.start()
        package, digest = self.device.package("pump", "1", CONFIRMS)
        self.ask("install", package, "--wait")
        running = self.device.status()
        self.device.stop()
        for command in ("confirm", "fall-back", "undo"):
            self.assertIn("is it running?", self.ask(command, code=6).stderr)
        self.ask("install", package, code=6)
        done = self.ask("status")
        self.assertIn("no agent answers", done.stderr)
        self.assertIn("pump 1", done.stdout)
        resting = self.device.status()
        for key in ("champion", "champion_slot", "floor", "since_ns"):
            self.assertEqual(running[key], resting[key])
        self.assertEqual(self.device.slots()["slots"][0]["holds"], "champion")
        self.assertEqual(self.device.slots()["slots"][0]["package"]["digest"], digest)
        log = self.ask("log", "-n", "1000").stdout
        self.assertIn("trial -> confirmed", log)
        self.assertIn("stopped", log.splitlines()[-1])
        events = [json.loads(line) for line in self.ask("log", "-n", "3", "--json").stdout.splitlines()]
        self.assertEqual([e["type"] for e in events], ["event"] * 3)
        self.assertEqual(events[-1]["kind"], "stopped")
        before = {p.name: p.read_bytes() for p in (self.device.home / "state").glob("*.img")}
        self.ask("slots")
        self.assertEqual(before, {p.name: p.read_bytes() for p in (self.device.home / "state").glob("*.img")}, "looking writes nothing")

    def test_the_log_is_followed(self):
        self.device.start()
        with subprocess.Popen([AGENT, "log", "-n", "0", "--follow", "--config", self.device.home / "agent.toml"], stdout=subprocess.PIPE,
                              text=True) as follower:
            package, _ = self.device.package("pump", "1", CONFIRMS)
            self.ask("install", package, "--wait")
            seen = []
            for line in follower.stdout:
                seen.append(line)
                if "trial -> confirmed" in line:
                    break
            follower.terminate()
        self.assertTrue(any("verifying -> staged" in line for line in seen), seen)

    def test_usage(self):
        for arguments in (("status", "extra"), ("install",), ("status", "--follow"), ("log", "-n", "x"), ("status", "--model", "../x")):
            self.ask(*arguments, code=2)
        for arguments, message in ((("install",), "install: FILE is missing"), (("install", "a", "b"), "install takes one FILE, not 2"),
                                   (("recording", "export"), "recording export: FILE is missing"),
                                   (("recording", "export", "a", "b"), "recording export takes one FILE, not 2"),
                                   (("recording", "exprt", "x"), "recording knows no exprt; did you mean export?"),
                                   (("recording", "show"), "it takes export FILE, or nothing"),
                                   (("status", "x"), "status takes no x; a model is named by --model ID"),
                                   (("status", "--wait"), "that option is of install, not of status"),
                                   (("status", "--yes"), "that option is of factory-reset, not of status"),
                                   (("slots", "-n", "3"), "that option is of log, not of slots")):
            told = self.ask(*arguments, code=2).stderr
            self.assertIn(message, told.splitlines()[0])
            self.assertIn("usage: dipper-agent " + arguments[0], told)
        for word, message in (("statu", "unknown command statu; did you mean status?"), ("frobnicate", "unknown command frobnicate")):
            done = subprocess.run([AGENT, word], capture_output=True, text=True)
            self.assertEqual((done.returncode, done.stderr.splitlines()[0]), (2, "dipper-agent: " + message))
            self.assertIn("undo|factory-reset|recording", done.stderr)
        self.assertIn("usage: dipper-agent install FILE", self.ask("install", "--help").stdout)


class Installing(WithDevice):
    def test_a_first_model_then_a_second_confirmed_by_hand_then_undone(self):
        self.device.start()
        first, first_digest = self.device.package("pump", "1", CONFIRMS)
        done = self.ask("install", first, "--wait")
        self.assertIn("confirmed: it serves now", done.stdout)
        self.assertIn("nothing was done", self.ask("install", first).stdout)
        second, second_digest = self.device.package("pump", "2", LASTS)
        self.assertIn("installed and on trial", self.ask("install", second).stdout)
        status = self.device.status()
        self.assertEqual((status["state"], status["challenger"]["digest"]), ("trial", second_digest))
        self.assertIn("trial_pending", self.ask("install", second, code=1).stderr)
        self.assertIn("trial_pending", self.ask("undo", code=1).stderr)
        self.device.until(lambda: self.device.status()["gate"]["seen"] > 0, "the gate sees labels")
        self.assertIn("confirmed", self.ask("confirm").stdout)
        status = self.device.status()
        self.assertEqual((status["champion"]["digest"], status["state"], status["reason"]),
                         (second_digest, "confirmed", "operator_confirmed"))
        self.assertEqual(status["undo"]["digest"], "")  # the floor rose with the confirm, above the first
        self.assertIn("no_trial", self.ask("confirm", code=1).stderr)
        self.assertNotIn("undo goes here", self.ask("slots").stdout)
        # What was confirmed is so after a cut.
        self.device.kill()
        self.device.start()
        self.assertEqual(self.device.status()["champion"]["digest"], second_digest)
        self.assertIn("refused_floor", self.ask("undo", code=1).stderr)

    def test_an_install_soon_after_the_start_waits(self):
        package, _ = self.device.package("pump", "1", CONFIRMS)
        self.device.write_config(replace=[("healthy_after_s = 1\n", "healthy_after_s = 8\n")])
        self.device.start()
        done = self.ask("install", package, "--wait")
        self.assertIn("waiting for the healthy mark, 8 s after the agent's start", done.stderr)
        self.assertIn("confirmed: it serves now", done.stdout)

    def test_undo_and_fall_back(self):
        self.device.start()
        digests = []
        for version in ("1", "2"):
            package, digest = self.device.package("pump", version, CONFIRMS, security="1")
            self.ask("install", package, "--wait")
            digests.append(digest)
        self.assertEqual(self.device.status()["undo"]["digest"], digests[0])
        self.assertIn("undo goes here", self.ask("slots").stdout)
        self.assertIn("serves again", self.ask("undo").stdout)
        self.assertEqual(self.device.status()["champion"]["digest"], digests[0])
        third, digest = self.device.package("pump", "3", LASTS)
        self.ask("install", third)
        self.ask("fall-back")
        status = self.device.status()
        self.assertEqual((status["state"], status["reason"], status["denied"]), ("fell_back", "command", []))
        self.ask("install", third)  # not denied: it may be tried again
        self.ask("fall-back")
        log = self.ask("log", "-n", "50").stdout
        self.assertIn("control socket: fall_back", log)

    def test_a_storm_of_alarms_is_stopped_without_losses_being_compared(self):
        noise = random.Random(5)
        (self.device.home / "stream.csv").write_text("level\n" + "".join(f"{noise.gauss(0, 1):.4f}\n" for _ in range(200000)))
        gate = ("--gate-kind", "installed", "--gate-deadline-samples", "0", "--gate-deadline-seconds", "3600", "--gate-at-deadline", "confirm")
        calm, calm_digest = self.device.package("pump", "1", CONFIRMS, stages="[anomaly]\nraise = 0.999\nclear = 0.99")
        nervous, digest = self.device.package("pump", "2", gate, stages="[anomaly]\nraise = 0.3\nclear = 0.2")
        self.device.start()
        self.ask("install", calm)
        self.device.until(lambda: self.device.status()["champion"].get("digest") == calm_digest, "the first model serves")
        self.device.until(lambda: self.device.status()["samples"] > 300, "its scores are calibrated")
        self.ask("install", nervous)
        self.device.until(lambda: self.device.status()["state"] != "trial", "the storm is noticed")
        status = self.device.status()
        self.assertEqual((status["state"], status["reason"], status["champion"]["digest"]), ("fell_back", "alarm_rate", calm_digest))
        self.assertIn({"digest": digest, "reason": "alarm_rate"}, status["denied"])
        self.assertIn("its alarm was on more often", self.ask("status").stdout)

    def test_packages_that_are_not_acceptable(self):
        self.device.start()
        good, _ = self.device.package("pump", "5", CONFIRMS)
        self.ask("install", good, "--wait")
        before = self.device.status()
        stranger, _ = self.device.package("odd", "6", key="stranger")
        self.assertIn("unknown_key", self.ask("install", stranger, code=5).stderr)
        old, _ = self.device.package("old", "1")
        self.assertIn("below_floor", self.ask("install", old, code=1).stderr)
        other, _ = self.device.package("other", "6", extra=("--hardware", "another-board"))
        self.assertIn("wrong_hardware", self.ask("install", other, code=1).stderr)
        elsewhere, _ = self.device.package("elsewhere", "6", model="another")
        self.assertIn("wrong_target", self.ask("install", elsewhere, code=1).stderr)
        bytes_ = Path(good).read_bytes()
        for name, content, reason in (("empty", b"", "bad_format"), ("junk", os.urandom(5000), "bad_format"),
                                      ("short", bytes_[:-1], "bad_format"), ("long", bytes_ + b"x", "bad_format"),
                                      ("header", bytes_[:64], "bad_format")):
            (self.device.home / name).write_bytes(content)
            with self.subTest(name):
                self.assertIn(reason, self.ask("install", self.device.home / name, code=5).stderr)
        after = self.device.status()
        for key in ("champion", "undo", "floor", "state", "reason"):
            self.assertEqual(before[key], after[key], "a refused file changes nothing")
        sixth, _ = self.device.package("pump", "6", LASTS)
        damaged = bytearray(Path(sixth).read_bytes())
        damaged[-1] ^= 1
        (self.device.home / "damaged").write_bytes(damaged)
        self.assertIn("bad_block", self.ask("install", self.device.home / "damaged", code=5).stderr)
        self.assertEqual(self.device.status()["state"], "rejected")
        self.assertEqual(self.device.status()["denied"], [])
        self.ask("install", sixth)

    def test_what_is_no_file(self):
        self.device.start()
        os.mkfifo(self.device.home / "pipe")
        for name, why in (("missing", "No such file"), ("state", "not a file"), ("pipe", "not a file")):
            self.assertIn(why, self.ask("install", self.device.home / name, code=3).stderr)

    def test_the_agent_needs_no_right_to_the_path(self):
        package, digest = self.device.package("pump", "1", LASTS)
        self.device.start()
        hidden = self.device.home / "hidden"
        hidden.mkdir(mode=0o700)
        shutil.copy(package, hidden / "p")
        with open(hidden / "p", "rb") as file:
            (hidden / "p").unlink()
            answer = self.talk(b"dipper/1 install format=json wait=0\n", [file])
        self.assertTrue(answer.splitlines()[-1].startswith("X0"), answer)
        self.assertEqual(self.device.status()["challenger"]["digest"], digest)


class FactoryReset(WithDevice):
    def install(self, version, gate=CONFIRMS):
        package, digest = self.device.package("pump", version, gate)
        self.ask("install", package, *(("--wait",) if gate == CONFIRMS else ()))
        return digest

    def check_nothing_is_left(self, floor):
        status = self.device.status()
        self.assertEqual((status["champion"]["digest"], status["challenger"]["digest"], status["undo"]["digest"]), ("", "", ""))
        self.assertEqual(status["floor"]["version"], floor, "the floor stays")
        for slot in self.device.slots()["slots"]:
            self.assertEqual((slot["holds"], slot["checkpoints"]), ("empty", []))

    def test_of_a_running_agent(self):
        self.device.start()
        self.install("1")
        digest = self.install("2")
        self.assertIn("--yes", self.ask("factory-reset", code=4).stderr)
        self.assertTrue(self.talk(b"dipper/1 factory_reset\n").startswith("X4"))
        self.assertTrue(self.talk(b"dipper/1 factory_reset yes=0\n").startswith("X4"))
        self.assertTrue(self.talk(b"dipper/1 factory_reset yes=2\n").startswith("X2"))
        self.ask("undo", "--yes", code=2)
        self.assertIn("no model nobody", self.ask("factory-reset", "--yes", "--model", "nobody", code=3).stderr)
        self.assertEqual(self.device.status()["champion"]["digest"], digest, "nothing was done so far")
        self.assertIn("nothing serves", self.ask("factory-reset", "--yes").stdout)
        self.check_nothing_is_left(2)
        self.device.kill()
        self.device.start()
        self.check_nothing_is_left(2)
        self.assertIn("factory_reset", self.ask("log", "-n", "50").stdout)
        old, _ = self.device.package("old", "1")
        self.assertIn("below_floor", self.ask("install", old, code=1).stderr)
        third = self.install("3")
        self.assertEqual(self.device.status()["champion"]["digest"], third)

    def test_in_a_trial(self):
        self.device.start()
        self.install("1")
        self.install("2", LASTS)
        outcome = json.loads(self.ask("factory-reset", "--yes", "--json").stdout)
        self.assertEqual((outcome["request"], outcome["ok"], outcome["reason"]), ("factory_reset", True, "none"))
        self.check_nothing_is_left(1)
        self.assertEqual((self.device.status()["state"], self.device.status()["reason"]), ("failed", "command"))
        self.assertEqual(self.device.status()["denied"], [])
        self.install("2")

    def test_while_no_agent_runs(self):
        self.device.start()
        self.install("2")
        self.device.stop()
        self.assertIn("--yes", self.ask("factory-reset", code=4).stderr)
        done = self.ask("factory-reset", "--yes")
        self.assertIn("nothing serves", done.stdout)
        self.assertIn("no agent answers", done.stderr)
        self.check_nothing_is_left(2)
        self.assertIn("factory_reset", self.ask("log", "-n", "50").stdout)
        self.ask("factory-reset", "--yes", "--model", "nobody", code=3)
        self.device.start()
        self.check_nothing_is_left(2)
        self.install("3")

    def test_a_factory_model_serves_again(self):
        self.device.start()
        factory = self.install("1")
        self.device.stop()
        state = self.device.home / "state"
        image = (state / "a.img").read_bytes()
        (state / "factory.img").write_bytes(image)  # header and package stand where a factory partition has them
        self.device.write_config(replace=[('slot_b = "state/b.img"', 'slot_b = "state/b.img"\nfactory = "state/factory.img"')])
        self.device.start()
        package, second = self.device.package("pump", "2", CONFIRMS, security="1")
        self.ask("install", package, "--wait")
        self.assertIn("factory model serves", self.ask("factory-reset", "--yes").stdout)
        status = self.device.status()
        self.assertEqual((status["champion"]["digest"], status["champion_slot"]), (factory, "factory"))
        self.install("3")  # raises the floor above the factory's
        refused = self.ask("factory-reset", "--yes", code=1).stderr
        self.assertIn("refused_floor", refused)
        self.assertIn("nothing was erased", refused)
        self.assertEqual(self.device.status()["champion"]["version"], "3")
        self.device.stop()
        refused = self.ask("factory-reset", "--yes", code=1).stderr
        self.assertIn("refused_floor", refused)
        self.assertEqual(self.device.status()["champion"]["version"], "3")

    def test_partitions_that_another_agent_has(self):
        self.device.write_config(replace=[("[trust]", "[control]\nenabled = false\n[trust]")])
        self.device.start(wait=False)
        self.device.until(lambda: "no model yet" in self.device.log_text(), "it starts")
        done = self.ask("factory-reset", "--yes", code=1)
        self.assertIn("boot partition", done.stderr)


class Hostile(WithDevice):
    def test_only_root_and_the_agents_user(self):
        self.device.start()
        about = os.stat(self.path)
        self.assertEqual(stat.S_IMODE(about.st_mode), 0o600)
        if os.geteuid() != 0:
            self.skipTest("only root can become another user")
        for folder in (self.device.home / "state",):
            os.chmod(folder, 0o755)
        os.chmod(self.device.home / "agent.toml", 0o644)
        other = dict(user=NOBODY, group=NOBODY, extra_groups=[])
        # A copy: the tree may stand where nobody else can look, as in root's home.
        client = [shutil.copy(AGENT, self.device.home / "client"), "status", "--socket", self.path]
        done = subprocess.run(client, capture_output=True, text=True, **other)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("only root and root may use it" if about.st_uid == 0 else "only root", done.stderr)
        # Even if somebody opens the file's mode, who asks is looked at.
        os.chmod(self.path, 0o666)
        done = subprocess.run(client, capture_output=True, text=True, **other)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("only root and the agent's own user", done.stderr)
        self.device.until(lambda: "refused 1 connection" in self.device.log_text(), "the agent tells of it")
        self.ask("status")

    def test_garbage(self):
        self.device.start()
        for request in (b"GET / HTTP/1.1\r\n", b"\0\0\0\n", b"dipper/1\n", b"dipper/2 status\n", b"dipper/1 status model=../x\n",
                        b"dipper/1 status what=1\n", b"dipper/1 log count=-1\n", b"x" * 600, b"dipper/1 status format\n",
                        b"dipper/1 install\n"):
            with self.subTest(request):
                self.assertTrue(self.talk(request).startswith("X2"), request)
        with open("/dev/null", "rb") as null, open(AGENT, "rb") as program:
            self.assertTrue(self.talk(b"dipper/1 install\n", [null]).startswith("X2"))
            # More descriptors than one: the rest is closed, not kept.
            before = len(os.listdir(f"/proc/{self.device.agent.pid}/fd"))
            for _ in range(20):
                self.talk(b"dipper/1 status\n", [program, null, program, null])
            self.device.until(lambda: len(os.listdir(f"/proc/{self.device.agent.pid}/fd")) <= before, "no descriptor is left open")
        self.ask("status")

    def test_slow_and_many_clients_stall_nobody(self):
        self.device.start()
        package, _ = self.device.package("pump", "1", CONFIRMS)
        self.ask("install", package, "--wait")
        silent = [socket.socket(socket.AF_UNIX) for _ in range(4)]
        for client in silent:
            client.connect(self.path)
            client.send(b"dipper/1 sta")
        self.device.until(lambda: "too many clients" in self.ask_any("status").stderr, "a fifth client is told", 4)
        self.device.until(lambda: self.ask_any("status").returncode == 0, "silent clients are dropped after 5 s", 20)
        for client in silent:
            client.close()
        # A client that never reads holds back nobody but itself.
        deaf = socket.socket(socket.AF_UNIX)
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        deaf.connect(self.path)
        deaf.send(b"dipper/1 log count=100000 follow=1 format=json\n")
        before = self.device.status()["samples"]
        self.device.until(lambda: self.device.status()["samples"] > before + 100, "it learns on")
        deaf.close()
        # Clients that come and go at any moment.
        def hammer():
            for i in range(100):
                with socket.socket(socket.AF_UNIX) as client:
                    try:
                        client.connect(self.path)
                        client.send(b"dipper/1 status\n"[:i % 17])
                    except OSError:
                        pass
        threads = [threading.Thread(target=hammer) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.device.until(lambda: self.ask_any("status").returncode == 0, "it answers again", 20)

    def ask_any(self, *arguments):
        return self.device.ask(*arguments)

    def test_socket_files(self):
        self.device.start()
        self.device.kill()
        self.assertTrue(Path(self.path).is_socket())
        self.device.start()  # the stale one is replaced
        self.device.stop()
        self.assertFalse(Path(self.path).exists(), "a clean stop takes it away")
        Path(self.path).write_text("precious")
        self.device.start(wait=False)
        self.device.until(lambda: "is no socket" in self.device.log_text(), "it says so and goes on")
        self.assertEqual(Path(self.path).read_text(), "precious")
        self.device.stop()

    def test_a_second_agent_at_the_same_socket(self):
        self.device.start()
        text = self.device.text.replace('"state/', '"other/') + f'[control]\nsocket = "{self.path}"\n'
        (self.device.home / "second.toml").write_text(text)
        done = subprocess.run([AGENT, "--config", self.device.home / "second.toml"], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 1)
        self.assertIn("another agent answers at", done.stderr)
        self.ask("status")

    def test_configuration(self):
        self.device.write_config(replace=[("[trust]", "[control]\nenabled = false\n[trust]")])
        self.device.start(wait=False)
        self.device.until(lambda: "no model yet" in self.device.log_text(), "it starts")
        self.assertFalse(Path(self.path).exists())
        self.assertIn("control.enabled is false", self.ask("status").stderr)
        self.device.stop()
        self.device.write_config(replace=[("enabled = false", 'socket = "' + "x" * 120 + '"')])
        self.assertIn("give a shorter one", self.ask("undo", code=2).stderr)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=2)
