"""A transfer as a site sees it: the real agent as a process, a real Mosquitto, a package from `dipper publish`.

What the agent asked for and what it was sent is read in the broker's own log, where nobody can flatter: every subscription with its
filter, every PUBLISH with its topic. The package is a trained forest of 4 MiB encrypted, so that no two of its blocks are equal; a byte
rate cap makes its transfer long enough to be cut. Prints what each cut cost at its end.

usage: transfer_test.py DIPPER_AGENT DIPPER [TESTS]
"""
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "integration/control"))
from device import Device, end_with_parent, free_port  # noqa: E402

AGENT, DIPPER = sys.argv[1:3]
MOSQUITTO = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
GROUP = 64
CAP = 400_000  # bytes a second: a group of 64 blocks takes a second and a half
TABLE = []
CONFIRMS = ("--gate-warmup-samples", "1", "--gate-deadline-samples", "40", "--gate-at-deadline", "confirm", "--gate-margin", "0.9")

SPEC = """format = 1
model_id = "main"
task = "classification"
seed = 1
budget = "4MiB"
[target]
kind = "label_column"
name = "label"
classes = ["ok", "fault"]
[[feature]]
name = "level"
type = "numeric"
[[feature]]
name = "b"
type = "numeric"
[[feature]]
name = "c"
type = "numeric"
[[stage]]
kind = "standard_scaler"
[learner]
kind = "adaptive_forest"
"""


def rows(count, seed):
    """Noise that a forest can only learn by heart: its image fills, and does not compress to nothing."""
    draw = random.Random(seed)
    yield "level,b,c,label\n"
    for _ in range(count):
        a, b, c = draw.gauss(0, 1), draw.gauss(0, 1), draw.uniform(-1, 1)
        yield f"{a:.4f},{b:.4f},{c:.4f},{'fault' if (int(a * 4) + int(b * 4) + int(c * 6)) % 2 else 'ok'}\n"


class Site(Device):
    """A device, a broker with a log, and the desk's package, trained once for all tests."""

    def __init__(self, version=5, persistence=False, cap=CAP):
        super().__init__(AGENT, DIPPER, image="4MiB", slot="16MiB")
        self.port = free_port()
        self.log = self.home / "broker.log"
        (self.home / "kept").mkdir()
        os.chmod(self.home / "kept", 0o777)  # a broker that starts as root goes on as another user
        self.log.touch()
        os.chmod(self.log, 0o666)
        lines = [f"listener {self.port} 127.0.0.1", "allow_anonymous true", f"log_dest file {self.log}", "log_type all",
                 "connection_messages true", f"persistence {'true' if persistence else 'false'}",
                 f"persistence_location {self.home / 'kept'}/"]
        (self.home / "broker.conf").write_text("\n".join(lines) + "\n")
        with open(self.home / "stream.csv", "w", encoding="utf-8") as out:
            out.writelines(rows(20000, 2))
        self.broker = None
        self.start_broker()
        self.dipper("key", "new", "--kind", "group", "--out", self.home / "group.key")
        self.write_config(replace=[("root = \"root.dproot\"", "root = \"root.dproot\"\ngroup_keys = [\"group.key\"]"),
                                   ("mqtt://127.0.0.1:1\"", f"mqtt://127.0.0.1:{self.port}\"\nversion = {version}\n"
                                    f"transfer_bytes_per_s = {cap}")])
        self.number = 0

    def make_package(self, image):
        self.path = self.home / "forest.dpkg"
        self.dipper("package", "build", "--spec", image / "forest.toml", "--image", image / "forest.dimg", "--name", "forest", "--version",
                    "1", "--security-version", "1", *CONFIRMS, "--encrypt-to", self.home / "group.key.pub", "--out", self.path)
        self.dipper("package", "sign", self.path, "--key", self.home / "release.key")
        self.shown = json.loads(self.dipper("package", "show", self.path, "--json"))
        self.blocks, self.digest = self.shown["blocks"], self.shown["digest"]

    def start_broker(self):
        self.broker = subprocess.Popen([MOSQUITTO, "-c", self.home / "broker.conf"], stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL, preexec_fn=end_with_parent)
        self.running.append(self.broker)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise AssertionError("the broker does not listen:\n" + self.log.read_text())

    def kill_broker(self):
        self.broker.kill()
        self.broker.wait()

    def publish_command(self, *more):
        self.number += 1
        return [self.dipper_program, "publish", str(self.path), "--broker", f"mqtt://127.0.0.1:{self.port}", "--fleet", "plant", "--root",
                str(self.home / "root.dproot"), "--to", "fleet", "--rollout-key", str(self.home / "rollout.key"), "--number",
                str(self.number), *more]

    def publish(self):
        self.dipper(*self.publish_command()[1:])

    def keep(self, *more):
        """`dipper publish --keep` beside the test."""
        process = subprocess.Popen(self.publish_command("--keep", "0.1", *more), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   preexec_fn=end_with_parent)
        self.running.append(process)
        return process

    def mark(self):
        """What stands in the broker's log from here on."""
        return self.log.stat().st_size

    def traffic(self, begin=0, end=None):
        """(groups asked for, in order; block indices sent) to the device between two marks."""
        text = self.log.read_bytes()[begin:end].decode(errors="replace")
        prefix = re.escape(f"dipper/1/plant/pkg/{self.digest}/")
        asked = [int(g) for g in re.findall(rf"\t{prefix}([0-9]+)/\+ \(QoS", text)]
        sent = [int(b) for b in re.findall(rf"Sending PUBLISH to dipper-plant-gw-1 \([^)]*'{prefix}[0-9]+/([0-9]+)'", text)]
        return asked, sent

    def bytes_before_the_last_group(self):
        text = self.log.read_bytes().decode(errors="replace")
        sizes = re.findall(rf"Sending PUBLISH to dipper-plant-gw-1 \([^)]*'dipper/1/plant/pkg/{self.digest}/([0-9]+)/[0-9]+', [^)]*\(([0-9]+) bytes\)", text)
        last = (self.blocks - 1) // GROUP
        return sum(int(size) for group, size in sizes if int(group) < last)

    def until_amid(self, group, begin=0, seconds=60):
        """A quarter of the group has been sent; looks often enough to come between two of its blocks."""
        deadline = time.monotonic() + seconds
        while sum(b // GROUP == group for b in self.traffic(begin)[1]) < GROUP // 4:
            assert time.monotonic() < deadline, f"group {group} was not sent within {seconds} s:\n{self.log_text()[-2000:]}"
            time.sleep(0.001)

    def blocks_have(self):
        return self.status()["blocks_have"]

    def until_blocks(self, least):
        self.until(lambda: self.blocks_have() >= least, f"{least} blocks are there")

    def until_confirmed(self, seconds=90):
        self.until(lambda: self.status()["state"] == "confirmed", "the package is confirmed", seconds)
        status = self.status()
        assert status["champion"]["digest"] == self.digest, status
        return status


class Transfer(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not os.access(MOSQUITTO, os.X_OK):
            print("mosquitto is not installed: run tools/setup")
            sys.exit(77)
        cls.temporary = tempfile.TemporaryDirectory(prefix="dpr-forest-")
        cls.image = Path(cls.temporary.name)
        (cls.image / "forest.toml").write_text(SPEC)
        with open(cls.image / "forest.csv", "w", encoding="utf-8") as out:
            out.writelines(rows(100_000, 1))
        subprocess.run([DIPPER, "train", "--spec", cls.image / "forest.toml", "--data", cls.image / "forest.csv", "--out",
                        cls.image / "forest.dimg"], check=True, capture_output=True)

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def site(self, **options):
        site = Site(**options)
        self.addCleanup(site.close)
        site.make_package(self.image)
        self.assertGreaterEqual(site.blocks, 3 * GROUP, "enough groups to be cut between")
        return site

    def killed_in_the_middle(self, version):
        site = self.site(version=version)
        site.publish()
        site.start()
        site.until_amid(1)
        site.kill()
        cut = site.mark()
        asked, first = site.traffic(0, cut)
        self.assertEqual(asked[0], 0)
        site.start()
        site.until_confirmed()
        asked, second = site.traffic(cut)
        self.assertEqual(asked[0], 1)
        # The bitmap of the first group was durable before the second was begun: nobody asks for it again.
        self.assertNotIn(0, asked)
        self.assertEqual([b for b in second if b < GROUP], [])
        # A cut costs one group again, and what of it the broker's session still held for the run before.
        self.assertLessEqual(len(first) + len(second), site.blocks + 2 * GROUP)
        self.assertEqual(set(range(site.blocks)) - set(first) - set(second), set())
        TABLE.append((f"kill -9 of the agent, MQTT {version}", site.blocks, len(first), len(second), len(first) + len(second) - site.blocks))

    def test_the_agent_is_killed(self):
        self.killed_in_the_middle(5)

    def test_the_agent_is_killed_mqtt_311(self):
        self.killed_in_the_middle(311)

    def test_the_agent_is_killed_in_every_group(self):
        """Killed in the middle of each group in turn: each run goes on with that group, whole, and with nothing before it."""
        site = self.site()
        site.publish()
        groups = (site.blocks + GROUP - 1) // GROUP
        total = 0
        for group in range(groups):
            begin = site.mark()
            site.start()
            site.until_amid(group, begin)
            site.kill()
            asked, sent = site.traffic(begin)
            self.assertEqual(asked[0], max(group - 1, 0), asked)
            # The rest of the group before, which the broker's session kept; that group; this one.
            self.assertLessEqual(len(sent), 3 * GROUP)
            total += len(sent)
        begin = site.mark()
        site.start()
        site.until_confirmed()
        asked, sent = site.traffic(begin)
        self.assertEqual(set(asked) - {groups - 2, groups - 1}, set(), asked)
        total += len(sent)
        self.assertLessEqual(total, site.blocks + groups * 2 * GROUP)
        TABLE.append((f"kill -9 of the agent in each of {groups} groups", site.blocks, "", len(sent), total - site.blocks))

    def broker_dies(self, persistence, version=5):
        site = self.site(persistence=persistence, version=version)
        keeper = site.keep("--until-count", "1")
        site.start()
        # The broker reads in order: once it has the wish for the second group it has every acknowledgement of the first, and a
        # broker that saves no longer holds those blocks for the device.
        site.until(lambda: keeper.poll() is not None or 1 in site.traffic()[0], "a group is there and the next one is asked for")
        self.assertIsNone(keeper.poll(), "dipper publish --keep ended")
        if persistence:
            site.broker.send_signal(signal.SIGUSR1)  # saves
            saved = site.home / "kept/mosquitto.db"
            site.until(lambda: saved.exists() and saved.stat().st_size > 100_000, "the broker has saved")
        site.kill_broker()
        cut = site.mark()
        have = site.blocks_have()
        time.sleep(2)  # without a broker nothing moves, and nothing gives up
        self.assertEqual(site.status()["state"], "transferring")
        site.start_broker()
        site.until_confirmed()
        # Subscriptions say nothing here: the publisher asks for every group too, to see what is lost.
        second = site.traffic(cut)[1]
        self.assertEqual([b for b in second if b < GROUP], [])
        message = keeper.communicate(timeout=150)[1]
        self.assertEqual(keeper.returncode, 0, message)
        self.assertIn("every device has finished (1 confirmed)", message)
        if not persistence:
            self.assertIn("restored", message)
        name = f"broker killed, {'with' if persistence else 'without'} persistence, MQTT {version}"
        TABLE.append((name, site.blocks, have, len(second), have + len(second) - site.blocks))

    def test_a_broker_that_keeps_its_messages_is_killed(self):
        self.broker_dies(persistence=True)

    def test_a_broker_that_forgets_is_killed(self):
        self.broker_dies(persistence=False)

    def test_a_broker_that_forgets_is_killed_mqtt_311(self):
        self.broker_dies(persistence=False, version=311)

    def test_the_cap_holds(self):
        """The cap is an average over a group: all groups but the last are paid for before the last one is asked for."""
        took = {}
        for cap in (0, CAP, CAP // 2):
            site = self.site(cap=cap)
            site.publish()
            begin = time.monotonic()
            site.start()
            site.until(lambda: site.status()["state"] not in ("idle", "offered", "transferring"), "the blocks are there", 120)
            took[cap] = time.monotonic() - begin
            paid = site.bytes_before_the_last_group()
            rate = paid / took[cap]
            if cap:
                self.assertLessEqual(rate, cap * 1.1, f"{took[cap]:.1f} s for {paid:.0f} bytes")
            TABLE.append((f"cap {cap or 'none'}: {took[cap]:.1f} s, {rate / 1000:.0f} kB/s", site.blocks, "", "", ""))
            site.until_confirmed()
            site.stop()
        # Starting the agent and asking costs the same with each.
        ratio = (took[CAP // 2] - took[0]) / (took[CAP] - took[0])
        self.assertGreater(ratio, 1.5, took)
        self.assertGreater(took[CAP], took[0], took)
        TABLE.append((f"half the cap takes {ratio:.2f} times as much longer", "", "", "", ""))


def print_table():
    if TABLE:
        print(f"\n{'what':58} {'blocks':>6} {'before':>6} {'after':>6} {'twice':>6}")
    for what, *figures in TABLE:
        print(f"{what:58} " + " ".join(f"{figure:>6}" for figure in figures))


if __name__ == "__main__":
    program = unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=2, exit=False)
    print_table()
    sys.exit(0 if program.result.wasSuccessful() else 1)
