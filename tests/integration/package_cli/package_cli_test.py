#!/usr/bin/env python3
"""dipper key, root and package, run as a person would: what they print, refuse and exit with.

Usage: package_cli_test.py PATH-TO-DIPPER
"""
import hashlib
import json
import os
import stat
import subprocess
import sys
import tempfile
import unittest

DIPPER = ""
SPEC = """format = 1
model_id = "main"
task = "regression"
seed = 1
budget = "256KiB"
loss_bound = 5.0
[target]
kind = "feature_ahead"
feature = "temperature"
ahead = 1
[[feature]]
name = "temperature"
unit = "Cel"
type = "numeric"
[[feature]]
name = "humidity"
type = "numeric"
[[stage]]
kind = "standard_scaler"
[learner]
kind = "rls"
"""


def write(path, data):
    with open(path, "wb") as out:
        out.write(data)


def read(path):
    with open(path, "rb") as source:
        return source.read()


class PackageCli(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.cwd = cls.folder.name
        rows = "".join(f"{20 + (i % 7) * 0.25},{50 - i % 5}\n" for i in range(100))
        write(os.path.join(cls.cwd, "data.csv"), ("temperature,humidity\n" + rows).encode())
        write(os.path.join(cls.cwd, "spec.toml"), SPEC.encode())
        for name in ("root", "root2", "release", "rollout", "command", "stranger"):
            cls.run_ok("key", "new", "--out", name + ".key")
        cls.run_ok("root", "new", "--root-key", "root.key", *cls.roles(), "--out", "root.dproot")
        cls.build("good.dpkg")
        cls.run_ok("package", "sign", "good.dpkg", "--key", "release.key")

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    @staticmethod
    def roles():
        return ("--release-key", "release.key", "--rollout-key", "rollout.key", "--command-key", "command.key")

    @classmethod
    def run_dipper(cls, *arguments):
        environment = dict(os.environ, SOURCE_DATE_EPOCH="1700000000")
        return subprocess.run([DIPPER, *arguments], cwd=cls.cwd, env=environment, capture_output=True, text=True,
                              timeout=60, check=False)

    @classmethod
    def run_ok(cls, *arguments):
        done = cls.run_dipper(*arguments)
        if done.returncode != 0:
            raise AssertionError(f"dipper {' '.join(arguments)}: exit {done.returncode}\n{done.stderr}")
        return done.stdout

    @classmethod
    def build(cls, out, *more):
        return cls.run_ok("package", "build", "--spec", "spec.toml", "--fresh", "--name", "motes", "--version", "1.0",
                          "--security-version", "3", "--self-test", "data.csv", "--self-test-rows", "20",
                          "--hardware", "generic-linux", "--out", out, *more)

    def refused(self, code, *arguments):
        done = self.run_dipper(*arguments)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertEqual(done.stdout, "" if "--json" not in arguments else done.stdout)
        self.assertIn("error", done.stderr)
        return done

    def path(self, name):
        return os.path.join(self.cwd, name)

    def test_keys_are_private_and_never_overwritten(self):
        self.assertEqual(stat.S_IMODE(os.stat(self.path("root.key")).st_mode), 0o600)
        before = read(self.path("root.key"))
        self.refused(4, "key", "new", "--out", "root.key")
        self.assertEqual(read(self.path("root.key")), before)
        first = self.run_ok("key", "new", "--out", "spare.key").strip()
        second = self.run_ok("key", "new", "--out", "spare.key", "--force").strip()
        self.assertNotEqual(first, second)
        self.assertEqual(stat.S_IMODE(os.stat(self.path("spare.key")).st_mode), 0o600)
        shown = json.loads(self.run_ok("key", "show", "spare.key", "--json"))
        self.assertEqual((shown["id"], shown["kind"]), (second, "private"))
        write(self.path("spare.pub"), shown["public_pem"].encode())
        self.assertEqual(json.loads(self.run_ok("key", "show", "spare.pub", "--json"))["id"], second)
        self.assertNotIn("PRIVATE", self.run_ok("key", "show", "spare.key"))
        self.refused(3, "key", "show", "absent.key")
        self.refused(5, "key", "show", "data.csv")

    def test_outputs_replace_only_their_own_kind(self):
        write(self.path("keep.data.csv"), read(self.path("data.csv")))
        self.run_ok("key", "new", "--out", "mine.key")
        self.run_ok("train", "--spec", "spec.toml", "--data", "data.csv", "--out", "keep.dimg")
        self.run_ok("command", "freeze", "--device", "gw-1", "--out", "keep.cmd")
        self.run_ok("root", "new", "--root-key", "root.key", *self.roles(), "--out", "v1.dproot")
        self.run_ok("root", "next", "--from", "v1.dproot", "--root-key", "root.key", "--out", "v2.dproot")
        self.build("keep.dpkg", "--notes", "before")
        self.run_ok("package", "sign", "keep.dpkg", "--key", "release.key")
        base = ("package", "build", "--spec", "spec.toml", "--fresh", "--name", "m", "--version", "1", "--security-version", "1")
        root = ("root", "new", "--root-key", "root.key", *self.roles())
        offer = ("publish", "keep.dpkg", "--root", "v1.dproot", "--to", "fleet", "--rollout-key", "rollout.key", "--offer-out")
        writers = {
            "build": (*base, "--out"),
            "sign": ("package", "sign", "keep.dpkg", "--key", "release.key", "--out"),
            "root": (*root, "--out"),
            "next": ("root", "next", "--from", "v1.dproot", "--root-key", "root.key", "--out"),
            "document": ("root", "sign", "v2.dproot", "--key", "root.key", "--out"),
            "merge": ("root", "merge", "v2.dproot", "v2.dproot", "--out"),
            "command": ("command", "freeze", "--device", "gw-1", "--out"),
            "offer": offer,
        }
        # An input is refused before it is asked what it is; the same root once more is none other.
        allowed = {("build", "keep.dpkg"), ("sign", "keep.dpkg"), ("command", "keep.cmd"), ("root", "v1.dproot")}
        for word, writer in writers.items():
            self.refused(2, *writer, "mine.key", "--force")
            for name in ("mine.key", "keep.data.csv", "keep.dimg", "keep.dpkg", "v1.dproot", "keep.cmd"):
                if (word, name) in allowed:
                    continue
                before = read(self.path(name))
                with self.subTest(writer=word, over=name):
                    done = self.run_dipper(*writer, name)
                    self.assertIn(done.returncode, (2,) if name == "mine.key" else (2, 4), done.stderr)
                    self.assertRegex(done.stderr, "--force" if done.returncode == 4 else "private key|is read as")
                    self.assertEqual(read(self.path(name)), before)
        # The key that the command signs with, and the root that it goes by.
        self.refused(2, *root, "--out", "root.key")
        self.refused(2, *base, "--encrypt-to", "release.key", "--out", "release.key")
        self.refused(2, *offer, "v1.dproot", "--force")
        self.refused(2, *base, "--out", "spec.toml", "--force")
        self.refused(2, *base, "--parent", "keep.dpkg", "--out", "keep.dpkg")
        # Version 1 never takes the place of version 2 unasked; signatures under the same root may.
        self.refused(4, *root, "--out", "v2.dproot")
        self.assertIn("version 2", self.refused(4, *root, "--out", "v2.dproot").stderr)
        self.run_ok("root", "sign", "v2.dproot", "--key", "root.key")
        self.run_ok(*root, "--out", "v2.dproot", "--force")
        self.assertEqual(json.loads(self.run_ok("root", "show", "v2.dproot", "--json"))["version"], 1)
        # The same kind, an empty file, and what --force says.
        self.run_ok(*base, "--out", "keep.dpkg")
        write(self.path("empty"), b"")
        self.run_ok(*base, "--out", "empty")
        self.refused(4, *base, "--out", "keep.data.csv")
        self.run_ok(*base, "--out", "keep.data.csv", "--force")

    def test_group_keys_keep_their_public_halves(self):
        self.run_ok("key", "new", "--kind", "group", "--out", "hall.key")
        half = read(self.path("hall.key.pub"))
        os.remove(self.path("hall.key"))
        self.refused(4, "key", "new", "--kind", "group", "--out", "hall.key")
        self.assertFalse(os.path.exists(self.path("hall.key")))
        self.assertEqual(read(self.path("hall.key.pub")), half)
        self.run_ok("key", "new", "--kind", "group", "--out", "hall.key", "--force")
        os.makedirs(self.path("keys"))
        self.assertIn("is a folder", self.refused(2, "key", "new", "--out", "keys").stderr)

    def test_keys_do_not_take_each_others_place(self):
        self.run_ok("key", "new", "--kind", "group", "--out", "team.key")
        self.build("team.dpkg")
        for done in (self.refused(2, "package", "sign", "team.dpkg", "--key", "team.key"),
                     self.refused(2, "root", "new", "--root-key", "team.key", *self.roles(), "--out", "team.dproot"),
                     self.refused(2, "root", "new", "--root-key", "root.key", "--release-key", "team.key.pub", "--rollout-key", "rollout.key",
                                  "--command-key", "command.key", "--out", "team.dproot")):
            self.assertIn("key of a device group", done.stderr)
        done = self.refused(2, "package", "build", "--spec", "spec.toml", "--fresh", "--name", "m", "--version", "1", "--security-version", "1",
                            "--encrypt-to", "release.key", "--out", "never.dpkg")
        self.assertIn("public half", done.stderr)
        before = read(self.path("team.dpkg"))
        for key in ("rollout.key", "stranger.key"):
            self.assertIn("release role", self.refused(5, "package", "sign", "team.dpkg", "--key", key, "--root", "root.dproot").stderr)
        self.assertEqual(read(self.path("team.dpkg")), before)
        self.run_ok("package", "sign", "team.dpkg", "--key", "release.key", "--root", "root.dproot")
        # Readers of PEM pass over the line that says what a group's key is.
        subprocess.run(["openssl", "pkey", "-in", self.path("team.key"), "-noout"], check=True, capture_output=True)

    def test_what_spec_init_writes_can_be_packaged(self):
        for more in (("--feature", "temperature"), ("--label", "temperature", "--task", "regression"),
                     ("--feature", "humidity", "--task", "anomaly")):
            write(self.path("inferred.toml"), self.run_ok("spec", "init", "--data", "data.csv", *more).encode())
            self.assertIn(b"# Of the health gate", read(self.path("inferred.toml")))
            self.run_ok("train", "--spec", "inferred.toml", "--data", "data.csv", "--out", "inferred.dimg")
            self.run_ok("package", "build", "--spec", "inferred.toml", "--image", "inferred.dimg", "--name", "m", "--version", "1",
                        "--security-version", "1", "--out", "inferred.dpkg")
            gate = json.loads(self.run_ok("package", "show", "inferred.dpkg", "--json"))["gate"]
            self.assertGreater(gate["loss_bound"], 0)
        write(self.path("trees.toml"), self.run_ok("spec", "init", "--data", "data.csv", "--task", "anomaly", "--learner",
                                                   "half_space_trees").encode())
        trees = ("package", "build", "--spec", "trees.toml", "--fresh", "--name", "m", "--version", "1", "--security-version", "1",
                 "--out", "trees.dpkg")
        self.assertIn("--gate-kind installed", self.refused(2, *trees).stderr)
        self.run_ok(*trees, "--gate-kind", "installed")

    def test_root_and_successor(self):
        shown = json.loads(self.run_ok("root", "show", "root.dproot", "--json"))
        self.assertEqual((shown["version"], shown["roles"]["release"]["threshold"]), (1, 1))
        self.refused(5, "root", "next", "--from", "root.dproot", "--root-key", "root2.key", *self.roles(), "--out",
                     "next.dproot")
        self.run_ok("root", "next", "--from", "root.dproot", "--root-key", "root2.key", "--old-root-key", "root.key",
                    *self.roles(), "--release-epoch", "1", "--out", "next.dproot")
        shown = json.loads(self.run_ok("root", "show", "next.dproot", "--json"))
        self.assertEqual((shown["version"], shown["roles"]["release"]["epoch"]), (2, 1))
        self.refused(2, "root", "new", "--root-key", "root.key", "--root-threshold", "2", *self.roles(), "--out", "x")
        self.refused(5, "root", "show", "root.key")

    def test_build_repeats_and_shows(self):
        first = self.build("a.dpkg").strip()
        second = self.build("b.dpkg").strip()
        self.assertEqual(first, second)
        self.assertEqual(read(self.path("a.dpkg")), read(self.path("b.dpkg")))
        shown = json.loads(self.run_ok("package", "show", "a.dpkg", "--json"))
        self.assertEqual(shown["digest"], first)
        self.assertEqual((shown["model"], shown["name"], shown["security_version"]), ("main", "motes", 3))
        self.assertEqual((shown["self_test_steps"], shown["gate"]["loss_bound"]), (20, 5.0))
        child = self.build("c.dpkg", "--parent", "a.dpkg", "--metric", "mae=0.5", "--notes", "second try")
        lineage = json.loads(self.run_ok("package", "show", "c.dpkg", "--json"))["lineage"]
        self.assertEqual((lineage["parent"], lineage["metrics"]["mae"]), (first, 0.5))
        self.assertNotEqual(child.strip(), first)

    def test_explain_takes_a_package(self):
        self.run_ok("train", "--spec", "spec.toml", "--data", "data.csv", "--out", "m.dimg")
        self.run_ok("package", "build", "--spec", "spec.toml", "--image", "m.dimg", "--name", "motes", "--version", "1.0",
                    "--security-version", "3", "--self-test", "data.csv", "--out", "trained.dpkg")
        options = ("data.csv", "--last", "3", "--importance", "--format", "json")
        by_package = json.loads(self.run_ok("explain", "trained.dpkg", *options))
        by_image = json.loads(self.run_ok("explain", "spec.toml", *options, "--image", "m.dimg"))
        self.assertEqual(by_package, by_image)
        self.assertGreater(by_package["learned"], 150)  # the image's labels, and the file's again
        for row in by_package["rows"]:
            parts = [row["base"], row["rest"]] + [part["value"] for part in row["contributions"]]
            self.assertAlmostEqual(sum(parts), row["answer"], places=9)
        self.assertIn("inside", self.refused(2, "explain", "trained.dpkg", "data.csv", "--image", "m.dimg").stderr)
        self.assertIn("--group-key", self.refused(2, "explain", "spec.toml", "data.csv", "--group-key", "m.dimg").stderr)
        changed = bytearray(read(self.path("trained.dpkg")))
        changed[-1] ^= 1
        write(self.path("changed.dpkg"), bytes(changed))
        self.refused(5, "explain", "changed.dpkg", "data.csv")

    def test_verify_accepts_only_the_release_role(self):
        good = json.loads(self.run_ok("package", "verify", "good.dpkg", "--root", "root.dproot", "--json"))
        self.assertEqual((good["verified"], good["self_test"]), (True, "passed"))
        self.build("unsigned.dpkg")
        for key in (None, "rollout.key", "command.key", "root.key", "stranger.key"):
            if key:
                self.run_ok("package", "sign", "unsigned.dpkg", "--key", key, "--out", "signed.dpkg")
            name = "signed.dpkg" if key else "unsigned.dpkg"
            done = self.refused(5, "package", "verify", name, "--root", "root.dproot", "--json")
            self.assertEqual(json.loads(done.stdout)["reason"], "unknown_key")

    def test_a_changed_byte_is_refused_with_a_reason(self):
        data = read(self.path("good.dpkg"))
        for at in (0, 20, 70, len(data) // 2, len(data) - 1):
            changed = bytearray(data)
            changed[at] ^= 1
            write(self.path("bad.dpkg"), bytes(changed))
            self.refused(5, "package", "verify", "bad.dpkg", "--root", "root.dproot")
        write(self.path("bad.dpkg"), data[:-1])
        self.refused(5, "package", "verify", "bad.dpkg", "--root", "root.dproot")
        self.refused(3, "package", "verify", "absent.dpkg", "--root", "root.dproot")

    def test_builds_repeat_anywhere_at_any_time(self):
        self.build("here.dpkg")
        with tempfile.TemporaryDirectory() as elsewhere:
            for name in ("spec.toml", "data.csv"):
                write(os.path.join(elsewhere, name), read(self.path(name)))
            environment = dict(os.environ, SOURCE_DATE_EPOCH="1700000000", TZ="Asia/Kathmandu", LC_ALL="C")
            command = [DIPPER, "package", "build", "--spec", os.path.join(elsewhere, "spec.toml"), "--fresh", "--name",
                       "motes", "--version", "1.0", "--security-version", "3", "--self-test",
                       os.path.join(elsewhere, "data.csv"), "--self-test-rows", "20", "--hardware", "generic-linux",
                       "--out", os.path.join(elsewhere, "there.dpkg")]
            subprocess.run(command, cwd="/", env=environment, capture_output=True, check=True, timeout=60)
            self.assertEqual(read(os.path.join(elsewhere, "there.dpkg")), read(self.path("here.dpkg")))

    def test_a_self_test_tells_of_rows_that_it_skips(self):
        write(self.path("ragged.csv"), b"temperature,humidity\n1,2\n3\n" + b"4,5\n" * 30)
        done = self.run_dipper("package", "build", "--spec", "spec.toml", "--fresh", "--name", "m", "--version", "1", "--security-version", "1",
                               "--self-test", "ragged.csv", "--self-test-rows", "10", "--out", "ragged.dpkg")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("warning: 1 rows were skipped", done.stderr)
        self.assertIn("ragged.csv:3", done.stderr)

    def test_lineage_names_the_data(self):
        self.build("data.dpkg", "--data", "data.csv")
        shown = json.loads(self.run_ok("package", "show", "data.dpkg", "--json"))
        digest = hashlib.sha256(read(self.path("data.csv"))).hexdigest()
        self.assertEqual(shown["lineage"]["data"], digest)
        self.build("digest.dpkg", "--data", digest)
        self.assertEqual(read(self.path("digest.dpkg")), read(self.path("data.dpkg")))

    def test_encrypted_packages(self):
        ids = [self.run_ok("key", "new", "--kind", "group", "--out", name).strip() for name in ("g1.key", "g2.key")]
        self.assertEqual(stat.S_IMODE(os.stat(self.path("g1.key")).st_mode), 0o600)
        self.assertNotIn(b"PRIVATE", read(self.path("g1.key.pub")))
        to = ("--encrypt-to", "g1.key.pub", "--encrypt-to", "g2.key.pub")
        digest = self.build("sealed.dpkg", *to)
        self.assertNotEqual(self.build("again.dpkg", *to), digest)
        self.run_ok("package", "sign", "sealed.dpkg", "--key", "release.key")
        shown = json.loads(self.run_ok("package", "show", "sealed.dpkg", "--json"))
        self.assertEqual((shown["digest"] + "\n", shown["encrypted_to"]), (digest, ids))
        verify = ("package", "verify", "sealed.dpkg", "--root", "root.dproot", "--json")
        blind = json.loads(self.run_ok(*verify))
        self.assertEqual((blind["verified"], blind["encrypted"]), (True, True))
        self.assertIn("--group-key", blind["self_test"])
        for key in ("g1.key", "g2.key"):
            self.assertEqual(json.loads(self.run_ok(*verify, "--group-key", key))["self_test"], "passed")
        done = self.refused(5, *verify, "--group-key", "stranger.key")
        self.assertEqual(json.loads(done.stdout)["reason"], "no_group_key")
        data = bytearray(read(self.path("sealed.dpkg")))
        data[-1] ^= 1
        write(self.path("bad.dpkg"), bytes(data))
        self.refused(5, "package", "verify", "bad.dpkg", "--root", "root.dproot")
        common = ("package", "build", "--spec", "spec.toml", "--fresh", "--name", "m", "--version", "1",
                  "--security-version", "1", "--out", "never.dpkg")
        self.refused(2, *common, "--encrypt-to", "g1.key.pub", "--encrypt-to", "g1.key")
        self.refused(3, *common, "--encrypt-to", "absent.pub")
        self.refused(5, *common, "--encrypt-to", "data.csv")
        self.assertFalse(os.path.exists(self.path("never.dpkg")))

    def test_vetoes_are_asked_for_by_default_and_as_told(self):
        write(self.path("alarms.toml"), (SPEC + "[anomaly]\n").encode())

        def gate(spec, *more):
            self.run_ok("package", "build", "--spec", spec, "--fresh", "--name", "m", "--version", "1", "--security-version", "1",
                        "--out", "veto.dpkg", *more)
            shown = json.loads(self.run_ok("package", "show", "veto.dpkg", "--json"))["gate"]
            return shown["max_alarm_excess"], shown["max_score_shift"]

        self.assertEqual(gate("alarms.toml"), (0.05, 0))
        self.assertEqual(gate("alarms.toml", "--gate-kind", "installed"), (0.05, 0.5))
        self.assertEqual(gate("alarms.toml", "--gate-max-alarm-excess", "0"), (0, 0))
        self.assertEqual(gate("alarms.toml", "--gate-max-alarm-excess", "0.2", "--gate-max-score-shift", "0.3"), (0.2, 0.3))
        self.assertEqual(gate("spec.toml"), (0, 0))
        done = self.refused(2, "package", "build", "--spec", "spec.toml", "--fresh", "--name", "m", "--version", "1", "--security-version",
                            "1", "--out", "never.dpkg", "--gate-max-alarm-excess", "0.1")
        self.assertIn("[anomaly]", done.stderr)

    def test_what_devices_would_refuse_is_not_built(self):
        common = ("package", "build", "--spec", "spec.toml", "--version", "1", "--security-version", "1", "--out", "x.dpkg")
        self.refused(2, *common, "--name", "motes")
        self.refused(2, *common, "--name", "../motes", "--fresh")
        self.refused(2, *common, "--name", "motes", "--fresh", "--gate-margin", "6")
        self.refused(2, *common, "--name", "motes", "--fresh", "--min-agent", "one")
        self.refused(3, *common, "--name", "motes", "--fresh", "--parent", "nobody")
        for share in ("1", "-0.1", "much"):
            self.refused(2, *common, "--name", "motes", "--fresh", "--gate-max-score-shift", share)
        self.refused(3, *common, "--name", "motes", "--fresh", "--self-test", "absent.csv")
        self.assertFalse(os.path.exists(self.path("x.dpkg")))


if __name__ == "__main__":
    DIPPER = os.path.abspath(sys.argv.pop(1))
    unittest.main()
