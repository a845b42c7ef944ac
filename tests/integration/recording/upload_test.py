"""What fetches a recording over MQTT survives: the broker killed in the middle, the agent killed in the middle, a
byte-rate cap, MQTT 3.1.1 as well as 5; with a real agent, a real Mosquitto and `dipper snapshot fetch`.

usage: upload_test.py DIPPER_AGENT DIPPER
"""
import json
import signal
import subprocess
import time

from recording_world import DIPPER, PATIENCE_S, Bench, dipper, main

BLOCK_MESSAGE = 8192 + 32  # of every block but the last
VERSIONS = (5, 311)


class Uploads(Bench):
    def recorded(self, name, **options):
        """A device that has recorded enough for an upload of some seconds."""
        one = self.device(name, rate=2000, **options)
        one.start()
        self.publish(self.package(name), to=f"device:{name}")
        one.until("-> Confirmed")
        self.wait(lambda: one.recorder()["written_bytes"] > 200_000, f"{name} did not record", one.said)
        return one

    def begin_fetch(self, device, out, *more):
        words = [str(word) for word in self.fetch_words(device, out, "--recording", "--silence", 5, "--asks", 20, *more)]
        self.others.append(subprocess.Popen([DIPPER, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return self.others[-1]

    def end_fetch(self, process):
        out, messages = process.communicate(timeout=PATIENCE_S)
        self.assertEqual(process.returncode, 0, out + messages)
        return json.loads(out), messages

    @staticmethod
    def blocks(tap):
        """(time, bytes, file, block) of each that came."""
        found = []
        for line in tap.read_text().splitlines():
            at, length, topic = line.split(" ")
            parts = topic.split("/")
            found.append((float(at), int(length), parts[-2], int(parts[-1])))
        return found

    def until_blocks(self, tap, count, device):
        self.wait(lambda: len(self.blocks(tap)) >= count, f"not {count} blocks came", device.said)

    def uploads(self, device):
        """What the device told of its uploads, oldest first: "is being sent", "was sent", ..."""
        lines = device.control("log", "-n", "500").stdout.splitlines()
        return [line for line in lines if "snapshot: recording" in line]

    def test_the_broker_is_killed_in_the_middle(self):
        for version in VERSIONS:
            with self.subTest(mqtt=version):
                name = f"gw-{version}"
                one = self.recorded(name, version=version, bytes_per_s=60_000)
                tap = self.tap()
                fetch = self.begin_fetch(name, f"{name}.drec", "--mqtt-version", version)
                self.until_blocks(tap, 4, one)
                before = self.blocks(tap)
                self.kill_broker()
                time.sleep(1)
                self.start_broker()
                one.until("connected to", 2)
                told, _ = self.end_fetch(fetch)
                self.assertEqual(told["kind"], "recording")
                self.assertTrue(self.replay(f"{name}.drec")["equal"])
                # The first upload went on where it was, and ended: it was not begun anew after the broker came back.
                self.wait(lambda: len(self.uploads(one)) >= 2, "the upload's end was not told", one.said)
                first, second = self.uploads(one)[:2]
                self.assertIn("is being sent", first)
                self.assertIn("was sent", second)
                self.assertIn(before[0][2][:12], second)
                of_first = [block for _, _, file, block in self.blocks(tap) if file == before[0][2]]
                # At most what waited for its acknowledgement came twice.
                self.assertLessEqual(len(of_first) - len(set(of_first)), 2)
                self.assertEqual(one.stop(), 0)

    def test_the_agent_is_killed_in_the_middle(self):
        one = self.recorded("gw-1", bytes_per_s=60_000)
        tap = self.tap()
        fetch = self.begin_fetch("gw-1", "far.drec")
        self.until_blocks(tap, 4, one)
        one.stop(signal.SIGKILL)
        one.start()
        told, messages = self.end_fetch(fetch)
        # The upload ended with the agent; the desk asks again and takes the new file, whose every block is of one time.
        self.assertIn("asking gw-1 again", messages)
        files = {file for _, _, file, _ in self.blocks(tap)}
        self.assertGreaterEqual(len(files), 2)
        self.assertIn(told["digest"], files)
        self.assertNotEqual(told["digest"], self.blocks(tap)[0][2])
        self.assertTrue(self.replay("far.drec")["equal"])
        self.assertEqual(one.stop(), 0)

    def test_the_cap_holds_and_learning_goes_on(self):
        cap = 50_000
        one = self.recorded("gw-1", version=311, bytes_per_s=cap)
        tap = self.tap()
        records = one.recorder()["records"]
        told = json.loads(self.fetch("gw-1", "far.drec", "--recording", "--mqtt-version", 311).stdout)
        self.wait(lambda: len({b for *_, b in self.blocks(tap)}) * BLOCK_MESSAGE >= told["bytes"], "the tap missed blocks")
        found = self.blocks(tap)
        took = found[-1][0] - found[0][0]
        # Two messages may go at once; what follows waits for its bytes.
        sent = sum(length for _, length, *_ in found[2:])
        print(f"{told['bytes']} bytes, {len(found)} blocks in {took:.2f} s: {sent / took:.0f} bytes/s, cap {cap}")
        self.assertLessEqual(sent, cap * took + 2 * BLOCK_MESSAGE)
        self.assertGreater(one.recorder()["records"], records)
        self.assertTrue(self.replay("far.drec")["equal"])
        self.assertEqual(one.stop(), 0)

    def test_nobody_answers(self):
        refused = dipper(*self.fetch_words("gw-9", "no.drec", "--recording", "--silence", 1, "--asks", 2), code=6)
        self.assertIn("asking gw-9 again", refused.stderr)
        self.assertIn("gw-9 did not answer", refused.stderr)
        self.assertFalse((self.home / "no.drec").exists())


if __name__ == "__main__":
    main()
