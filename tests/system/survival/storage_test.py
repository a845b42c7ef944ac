"""A disk that is full and a file system that became read-only: the agent goes on learning and reporting, says what it cannot keep, and comes
back when there is room. Real ones: a small tmpfs, and ext4 on a loop device that is aborted as a failing disk aborts it, in a mount
namespace of their own.

usage: storage_test.py DIPPER_AGENT DIPPER [TESTS]
"""
import os
import shutil
import signal
import subprocess
import sys
import time
import unittest

from supervised import CONFIRMS, LASTS, Supervised
from device import end_with_parent, free_port
from listener import listen

AGENT, DIPPER = sys.argv[1:3]
MOSQUITTO = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
SIZES = {"boot.img": 64 * 1024, "data.img": 256 * 1024, "a.img": 1024 * 1024, "b.img": 1024 * 1024}


class Storage(unittest.TestCase):
    def setUp(self):
        self.device = Supervised(AGENT, DIPPER)
        self.addCleanup(self.device.close)
        self.state = self.device.home / "state"
        self.state.mkdir()
        port = free_port()
        (self.device.home / "broker.conf").write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
        self.run_beside([MOSQUITTO, "-c", self.device.home / "broker.conf"])
        self.device.write_config(replace=[('mqtt://127.0.0.1:1"', f'mqtt://127.0.0.1:{port}"\njson_mirror = true'),
                                          ('data = "state/data.img"', 'data = "state/data.img"\ndata_bytes = "256KiB"')])
        self.device.running.append(listen(port, self.device.home / "heard", "-t", "dipper/1/plant/gw-1/json/#", "-v"))

    def run_beside(self, command):
        self.device.running.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=end_with_parent))

    def mount(self, *arguments):
        subprocess.run(["mount", *map(str, arguments)], check=True)
        # Lazily: the agent may still have files open there.
        self.addCleanup(subprocess.run, ["umount", "-l", str(self.state)])

    def heard(self, text):
        return (self.device.home / "heard").read_text(errors="replace").count(text)

    def learns(self, why):
        before = self.device.status()["samples"]
        self.device.until(lambda: self.device.status()["samples"] > before + 20, why)
        reported = self.heard("/metrics")
        self.device.until(lambda: self.heard("/metrics") > reported, "it goes on reporting")

    def fill(self):
        with open(self.state / "filler", "wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(b"x" * 4096)
            except OSError:
                pass

    def sparse(self):
        """Files that were promised more room than there is, as copied images are."""
        for name, size in SIZES.items():
            with open(self.state / name, "wb") as file:
                file.truncate(size)

    def test_a_full_disk(self):
        self.mount("-t", "tmpfs", "-o", "size=4m", "none", self.state)
        self.sparse()
        device = self.device
        device.start(period=3)
        device.champion()
        self.fill()
        package, digest = device.package("pump", "2", CONFIRMS)
        done = device.ask("install", package, "--wait")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("is the disk full or read-only?", done.stderr + done.stdout)
        self.learns("it learns on a full disk")
        # Events go on until the log meets a place that needs room.
        for _ in range(200):
            device.ask("install", package)
            if self.heard("learning goes on in memory"):
                break
        self.assertTrue(self.heard("learning goes on in memory"), (device.home / "heard").read_text()[-2000:])
        self.learns("it still learns")
        self.assertEqual(device.status()["champion"]["version"], "1")

        (self.state / "filler").unlink()
        device.until(lambda: self.heard("storage_recovered"), "it says that there is room again", 40)
        done = device.ask("install", package, "--wait")
        self.assertEqual(done.returncode, 0, done.stderr + device.log_text()[-2000:])
        self.assertEqual(device.status()["champion"]["digest"], digest)
        self.assertEqual(device.supervisor.killed, 0, "a full disk is no reason for the watchdog")
        device.stop()

    def test_a_full_disk_at_the_start_of_a_new_device(self):
        self.mount("-t", "tmpfs", "-o", "size=1m", "none", self.state)
        device = self.device
        device.start(wait=False)
        self.assertEqual(device.agent.wait(timeout=30), 1)
        self.assertIn("or the disk is full; give it more room", device.log_text())
        self.assertEqual(sorted(path.name for path in self.state.iterdir() if path.name.endswith(".new")), [])

    def make_disk(self):
        disk = self.device.home / "disk"
        with open(disk, "wb") as file:
            file.truncate(16 * 1024 * 1024)
        for command in (["mkfs.ext4", "-q", disk], ["mount", "-o", "loop", disk, self.state]):
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                self.skipTest(f"{command[0]}: {done.stderr.strip()}")
        self.addCleanup(subprocess.run, ["umount", "-l", str(self.state)])

    def test_a_file_system_that_becomes_read_only(self):
        self.make_disk()
        device = self.device
        device.start(period=3)
        champion = device.champion()
        # What the kernel does by itself after an error of the disk (errors=remount-ro).
        subprocess.run(["mount", "-o", "remount,abort", str(self.state)], capture_output=True)
        with self.assertRaises(OSError):
            (self.state / "x").write_text("x")
        self.learns("it learns on a read-only file system")
        device.until(lambda: self.heard("learning goes on"), "it says so", 40)
        self.assertEqual(device.status()["champion"]["digest"], champion)
        package, _ = device.package("pump", "2", CONFIRMS)
        self.assertNotEqual(device.ask("install", package, "--wait").returncode, 0)
        self.learns("a refused update changes nothing")
        self.assertEqual(device.supervisor.killed, 0)
        device.agent.send_signal(signal.SIGTERM)
        self.assertEqual(device.agent.wait(timeout=30), 0, "it stops as told, with nothing kept")

    def test_a_start_on_a_read_only_file_system(self):
        self.make_disk()
        device = self.device
        device.start()
        champion = device.champion()
        device.stop()
        subprocess.run(["mount", "-o", "remount,ro", str(self.state)], check=True)
        device.write_config(replace=[("[telemetry]", f'[control]\nsocket = "{device.home}/control.sock"\n[telemetry]')])
        device.start(period=3)
        self.assertEqual(device.status()["champion"]["digest"], champion)
        self.assertIn("is read-only", device.log_text())
        self.learns("it learns in memory")
        device.until(lambda: self.heard("learning goes on"), "it says so", 40)
        device.stop()
        subprocess.run(["mount", "-o", "remount,rw", str(self.state)], check=True)
        device.start()
        self.assertEqual(device.status()["champion"]["digest"], champion)


def in_a_namespace():
    """This test again, where its mounts are its own."""
    if os.environ.get("DIPPER_TEST_MOUNTS"):
        return None
    for flags in (["-m"], ["-rm"]):
        if subprocess.run(["unshare", *flags, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True).returncode == 0:
            return subprocess.run(["unshare", *flags, "--kill-child", sys.executable, *sys.argv],
                                  env={**os.environ, "DIPPER_TEST_MOUNTS": "1"}).returncode
    print("skipped: this machine permits no mount namespaces")
    return 77


if __name__ == "__main__":
    if not os.access(MOSQUITTO, os.X_OK) or not shutil.which("mosquitto_sub"):
        print("skipped: Mosquitto or its clients are not installed: run tools/setup")
        sys.exit(77)
    result = in_a_namespace()
    if result is not None:
        sys.exit(result)
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=2)
