"""Recordings and snapshots of a model whose package is encrypted, with a real agent and a real Mosquitto: nothing of
samples or what was learned stands in the clear on the medium, in files or on the wire; with the group's key they open,
replay and make a package again; without it device and desk say so.

usage: encrypted_test.py DIPPER_AGENT DIPPER
"""
import json
import struct

from recording_world import QUICK, Bench, dipper, main

PATTERN_BYTES = 16
DISTINCT_BYTES = 10  # of a pattern, so that chance cannot make it


def samples_in(data, values):
    """How many of these numbers stand in the bytes as float32."""
    return sum(struct.pack("<f", value) in data for value in values)


def patterns_of(image):
    """Bytes of a model image that are like no others: numbers, not zeros or counts."""
    found = {image[at:at + PATTERN_BYTES] for at in range(0, len(image) - PATTERN_BYTES, 8)}
    return [pattern for pattern in found if len(set(pattern)) >= DISTINCT_BYTES]


class Encrypted(Bench):
    def setUp(self):
        super().setUp()
        for name in ("group", "stranger"):
            dipper("key", "new", "--kind", "group", "--out", self.home / f"{name}.key")
        lines = (self.home / "stream.csv").read_text().splitlines()[1:]
        self.levels = sorted({float(line.split(",")[0]) for line in lines[:2000]})[::5]

    def running(self, name, *more, **options):
        one = self.device(name, rate=2000, **options)
        one.start()
        self.publish(self.package(name, *more), to=f"device:{name}")
        one.until("-> Confirmed")
        self.wait(lambda: one.recorder()["records"] > 6000, f"{name} did not record", one.said)
        return one

    def collect(self, one):
        """Everything that could show it: the medium, the local file, what the broker hands out, what was fetched."""
        name = one.name
        tap = self.tap("%x")
        for kind, more in (("dsnap", ()), ("drec", ("--recording",))):
            self.fetch(name, f"{name}.{kind}", *more)
        one.control("recording", "export", self.home / f"{name}-local.drec")
        self.assertEqual(one.stop(), 0)
        wire = bytes.fromhex(tap.read_text().replace("\n", ""))
        self.assertGreater(len(wire), (self.home / f"{name}.drec").stat().st_size)
        # Not the slots: the manifest is never encrypted, and its self-test has samples (docs/reference/package.md).
        return {"data": (self.home / name / "data.img").read_bytes(), "wire": wire, "file": (self.home / f"{name}-local.drec").read_bytes(),
                "fetched": (self.home / f"{name}.drec").read_bytes(), "snapshot": (self.home / f"{name}.dsnap").read_bytes()}

    def test_from_the_device_to_a_new_package(self):
        # What the check can find: of a plain model it is all there.
        plain = self.collect(self.running("gw-plain"))
        patterns = patterns_of((self.home / "gw-plain.dimg").read_bytes())
        seen = {what: (samples_in(data, self.levels), sum(p in data for p in patterns)) for what, data in plain.items()}
        print("plain    ", len(self.levels), "levels and", len(patterns), "patterns:", seen)
        for what in ("data", "wire", "file", "fetched"):
            self.assertGreater(seen[what][0], len(self.levels) // 2, what)
        self.assertGreater(seen["snapshot"][1], 3)

        one = self.running("gw-1", "--encrypt-to", self.home / "group.key.pub", group_keys='"group.key"')
        sealed = self.collect(one)
        patterns = patterns_of((self.home / "gw-1.dimg").read_bytes())
        seen = {what: (samples_in(data, self.levels), sum(p in data for p in patterns)) for what, data in sealed.items()}
        print("encrypted", len(self.levels), "levels and", len(patterns), "patterns:", seen)
        for what, (levels, learned) in seen.items():
            self.assertLess(levels, 5, what)  # four bytes may stand there by chance
            self.assertEqual(learned, 0, what)

        # The desk: without the key it says which package's; with it, everything is as on the device.
        package, key = self.home / "gw-1.dpkg", self.home / "group.key"
        digest = json.loads(dipper("package", "show", package, "--json").stdout)["digest"]
        for file in ("gw-1.drec", "gw-1-local.drec"):
            for more in ((), ("--package", package), ("--package", package, "--group-key", self.home / "stranger.key"),
                         ("--package", self.home / "gw-plain.dpkg", "--group-key", key)):
                refused = dipper("replay", self.home / file, *more, code=5)
                self.assertIn(digest, refused.stderr)
                self.assertIn("--group-key", refused.stderr)
            result = self.replay(file, "--package", package, "--group-key", key)
            self.assertTrue(result["equal"])
            self.assertGreater(result["samples"], 5000)

        build = ("package", "build", "--snapshot", self.home / "gw-1.dsnap", "--name", "tank", "--version", "again",
                 "--security-version", 1, "--self-test", self.home / "history.csv", *QUICK)
        again = self.home / "again.dpkg"
        open_it = ("--package", package, "--group-key", key)
        self.assertIn(digest, dipper(*build, "--out", again, code=5).stderr)
        in_the_clear = dipper(*build, *open_it, "--out", again, code=2).stderr
        self.assertIn("--encrypt-to", in_the_clear)
        self.assertFalse(again.exists())
        dipper(*build, *open_it, "--encrypt-to", self.home / "group.key.pub", "--out", again)
        self.sign(again)
        shown = json.loads(dipper("package", "show", again, "--json").stdout)
        self.assertEqual(shown["lineage"]["parent"], digest)
        self.assertEqual(len(shown["encrypted_to"]), 1)

        # Another device of the group serves it; one without the key says why not.
        two = self.device("gw-2", group_keys='"group.key"')
        two.start()
        self.publish(again, to="device:gw-2")
        two.until("-> Confirmed")
        self.assertIn(shown["digest"][:12], two.said())
        three = self.device("gw-3")
        three.start()
        self.publish(again, to="device:gw-3")
        three.until("NoGroupKey")
        self.assertNotIn("-> Confirmed", three.said())


if __name__ == "__main__":
    main()
