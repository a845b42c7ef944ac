"""A device's flight recorder and snapshots, with a real agent and a real Mosquitto: what it records runs again at the
desk to the same digests; what it has learned is fetched, packaged again and confirmed on a second device.

usage: recording_test.py DIPPER_AGENT DIPPER [--day]     --day: a day of samples at 1 Hz, replayed and timed
"""
import json
import os
import signal
import struct
import time
import unittest

from recording_world import DAY, DAY_ROWS, QUICK, Bench, dipper, main


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def changed_value(data, record):
    """Where the record's first value stands, if it is a sample whose first value is another than before; else 0."""
    if data[record] != 1 or data[record + 1] & 4 != 0:
        return 0
    place = record + 2
    for _ in range(3):  # id, time, number of values
        while data[place] & 0x80:
            place += 1
        place += 1
    return place + 1 if data[place] & 1 else 0


def change_a_sample(file):
    """Another last bit in the first sample of a page, under a checksum that is right: as if the device had learned
    from another value. Returns that record's number. docs/reference/recording.md has the places."""
    data = bytearray(file.read_bytes())
    at = 64
    while at + 8 + struct.unpack_from("<Q", data, at)[0] < len(data):
        at += 8 + struct.unpack_from("<Q", data, at)[0]
    segment = at + 8
    pages = segment + struct.unpack_from("<I", data, segment + 52)[0]
    # Not the first ones: the model knows nothing yet there.
    page = next(page for page in range(pages + 2 * 4096, len(data), 4096) if changed_value(data, page + 104))
    data[changed_value(data, page + 104)] ^= 1
    length = struct.unpack_from("<I", data, page + 8)[0]
    struct.pack_into("<I", data, page + 12, crc32c(data[page:page + 12] + data[page + 16:page + length]))
    file.write_bytes(data)
    return struct.unpack_from("<Q", data, page + 24)[0]


class Recordings(Bench):
    @unittest.skipIf(DAY, "only the day")
    def test_the_whole_circle(self):
        one = self.device("gw-1")
        one.start()
        self.publish(self.package("v1"))
        one.until("-> Confirmed")
        self.wait(lambda: one.recorder()["records"] > 3000, "gw-1 did not record", one.said)
        # From the running agent, and again when it has stopped: the last digests are those of the stop.
        one.control("recording", "export", self.home / "live.drec")
        live = self.replay("live.drec")
        self.assertTrue(live["equal"])
        self.assertGreater(live["samples"], 2000)
        self.assertEqual(live["notes"], [])

        # One bit of one sample: its record is named, by what was answered to it.
        damaged = self.home / "damaged.drec"
        damaged.write_bytes((self.home / "live.drec").read_bytes())
        number = change_a_sample(damaged)
        parting = self.replay("damaged.drec", code=5)["parting"]
        self.assertEqual((parting["record"], parting["what"], parting["of"], parting["first"]),
                         (number, "champion", "answer", True))
        print(dipper("replay", damaged, code=5).stdout)

        # What it has learned, over MQTT, and the recording too.
        fetched = json.loads(self.fetch("gw-1", "learned.dsnap").stdout)
        self.assertEqual(fetched["kind"], "image")
        self.assertEqual(fetched["device"], "gw-1")
        recording = json.loads(self.fetch("gw-1", "far.drec", "--recording").stdout)
        self.assertEqual(recording["kind"], "recording")
        self.assertTrue(self.replay("far.drec")["equal"])
        log = one.control("log", "-n", "200").stdout
        self.assertIn("is being sent", log)
        self.assertIn("was sent", log)

        self.assertEqual(one.stop(), 0)
        one.control("recording", "export", self.home / "rest.drec")
        # It takes no place but an older recording's: the device's own files lie near.
        one.control("recording", "export", self.home / "rest.drec")
        state = self.home / "gw-1"
        os.mkfifo(state / "pipe")
        (state / "notes.txt").write_text("stays")
        partitions = sorted(state.glob("*.img"))
        self.assertEqual(len(partitions), 4)
        (state / "b.img").rename(state / "away")  # also where it is not there
        for path in (one.config, state / "notes.txt", state / "pipe", state, *partitions):
            before = path.read_bytes() if path.is_file() else None
            done = one.control("recording", "export", path, code=1)
            self.assertIn("name another file", done.stderr)
            self.assertEqual(path.read_bytes() if path.is_file() else None, before)
        (state / "away").rename(state / "b.img")
        rest = self.replay("rest.drec")
        self.assertTrue(rest["equal"])
        self.assertGreaterEqual(rest["last_record"], live["last_record"])

        # The snapshot as a new model, with its lineage, on a second device.
        again = self.home / "again.dpkg"
        build = ("package", "build", "--snapshot", self.home / "learned.dsnap", "--name", "tank", "--version", "v2",
                 "--security-version", 1, "--self-test", self.home / "history.csv", *QUICK, "--out", again)
        # Its spec has no bound for the gate's losses: the package that the device had it from does.
        self.assertIn("--parent", dipper(*build, code=2).stderr)
        dipper(*build, "--parent", self.home / "v1.dpkg")
        self.sign(again)
        shown = json.loads(dipper("package", "show", again, "--json").stdout)
        self.assertEqual(shown["gate"]["loss_bound"], 10)
        self.assertEqual(shown["lineage"]["parent"], fetched["package"])
        self.assertEqual(shown["lineage"]["data"], fetched["digest"])
        self.assertIn(f"snapshot {fetched['image']}", shown["lineage"]["notes"])
        self.assertEqual(shown["image_sha256"], fetched["image"])
        two = self.device("gw-2", upload="false")
        two.start()
        self.publish(again, to="device:gw-2")
        two.until("-> Confirmed")
        self.assertIn(shown["digest"][:12], two.said())

        # What the second device's owner did not allow does not leave it.
        refused = self.fetch("gw-2", "no.dsnap", code=1)
        self.assertIn("[snapshot] upload = true", refused.stderr)
        refused = self.fetch("gw-2", "no.drec", "--recording", code=1)
        self.assertIn("[snapshot] upload_recording = true", refused.stderr)
        self.assertFalse((self.home / "no.dsnap").exists())

    @unittest.skipIf(DAY, "only the day")
    def test_killed_and_started_again(self):
        one = self.device("gw-1", rate=2000)
        one.start()
        self.publish(self.package("v1"))
        one.until("-> Confirmed")
        for restart in range(3):
            before = one.recorder()["newest_segment"]
            self.wait(lambda: one.recorder()["records"] > 3000, "gw-1 did not record", one.said)
            one.stop(signal.SIGKILL)
            one.control("recording", "export", self.home / f"{restart}.drec")
            result = self.replay(f"{restart}.drec")
            self.assertTrue(result["equal"])
            self.assertGreater(result["digests_compared"], 0)
            one.start()
            self.wait(lambda: one.recorder()["newest_segment"] > before, "no new segment after the start", one.said)
        self.assertEqual(one.stop(), 0)

    @unittest.skipIf(DAY, "only the day")
    def test_what_is_wrong_is_said(self):
        one = self.device("gw-1", recorder="0")
        one.start()
        self.assertIn("set recorder.bytes", one.control("recording", code=3).stderr)
        refused = self.fetch("gw-1", "x.drec", "--recording", code=1)
        self.assertIn("has recorded nothing", refused.stderr)
        self.assertFalse((self.home / "x.drec").exists())
        one.stop()
        big = self.device("gw-3", recorder="100MiB")
        big.start()
        self.assertIn("do not fit: data leaves", big.said())
        self.assertIn("do not fit: data leaves", big.control("log", "-n", "50").stdout)
        big.stop()
        (self.home / "text.drec").write_text("hello")
        self.assertIn("it is not a recording", dipper("replay", self.home / "text.drec", code=5).stderr)
        dipper("replay", self.home / "none.drec", code=3)
        dipper("package", "build", "--name", "a", "--version", "1", "--security-version", 1, "--out", self.home / "a.dpkg", code=2)

    @unittest.skipUnless(DAY, "with --day")
    def test_a_day_of_samples(self):
        one = self.device("gw-1", rate=4000, recorder="12MiB", data="32MiB", segments=8)
        one.start()
        self.publish(self.package("v1"))
        one.until("-> Confirmed")
        self.wait(lambda: one.recorder()["records"] >= DAY_ROWS, "gw-1 did not record a day", one.said)
        state = one.recorder()
        self.assertEqual(one.stop(), 0)
        exported = one.control("recording", "export", self.home / "day.drec")
        begin = time.monotonic()
        result = self.replay("day.drec")
        took = time.monotonic() - begin
        print(json.dumps({"recorder": state, "file_bytes": (self.home / "day.drec").stat().st_size, "replay": result,
                          "command_seconds": round(took, 3)}, indent=1), exported.stderr)
        print(dipper("replay", self.home / "day.drec").stdout)
        self.assertTrue(result["equal"])
        self.assertGreaterEqual(result["samples"], DAY_ROWS - 1000)


if __name__ == "__main__":
    main()
