#!/usr/bin/env python3
"""tools/sbom on the programs of a build tree: is it SPDX 2.3, does it cover what the programs are made of, does it repeat?

Usage: sbom_test.py BUILD-TREE
"""
import copy
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

sys.dont_write_bytecode = True
ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tools" / "sbom_parts"))
import licence  # noqa: E402
import spdx  # noqa: E402

BUILD = pathlib.Path()
PROGRAMS = ("dipper", "dipper-agent")
TIME = "1700000000"
SKIPPED = 77
DEP5 = """Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Source: elsewhere

Files: *
Copyright: somebody
License: {}

Files: debian/*
Copyright: another
License: GPL-3+
 some words

License: Odd License
 Line one
 .
 line two
"""


def sbom(*arguments, **changes):
    """Runs tools/sbom; a variable that is None is taken out of the environment."""
    environment = {**os.environ, "SOURCE_DATE_EPOCH": TIME, **changes}
    return subprocess.run([sys.executable, str(ROOT / "tools" / "sbom"), *arguments], capture_output=True, text=True,
                          env={name: value for name, value in environment.items() if value is not None}, timeout=500, check=False)


def needed(path):
    text = subprocess.run(["readelf", "-dW", path], capture_output=True, text=True, check=True,
                          env={**os.environ, "LC_ALL": "C"}).stdout
    return re.findall(r"\(NEEDED\)[^\[]*\[([^\]]*)\]", text)


class Sbom(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.path = pathlib.Path(cls.folder.name)
        done = sbom("--build", str(BUILD), "--output", str(cls.path / "one.json"))
        if done.returncode:
            raise AssertionError(done.stderr)
        cls.text = (cls.path / "one.json").read_text(encoding="utf-8")
        cls.document = json.loads(cls.text)
        cls.packages = {entry["SPDXID"]: entry for entry in cls.document["packages"]}

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def related(self, kind, element=None, to=None):
        """Names of the other ends of relationships."""
        return {self.packages[r["relatedSpdxElement" if element else "spdxElementId"]]["name"]
                for r in self.document["relationships"] if r["relationshipType"] == kind
                and (r["spdxElementId"] == element if element else r["relatedSpdxElement"] == to)}

    def test_it_is_spdx(self):
        self.assertEqual([], spdx.problems(self.document))
        self.assertEqual("2023-11-14T22:13:20Z", self.document["creationInfo"]["created"])

    def test_the_checker_finds_planted_problems(self):
        def planted(change):
            document = copy.deepcopy(self.document)
            change(document)
            return spdx.problems(document)
        for change in (lambda d: d.pop("documentNamespace"), lambda d: d.update(spdxVersion="SPDX-2.2"),
                       lambda d: d["packages"].append(d["packages"][1]), lambda d: d["packages"].pop(1),
                       lambda d: d["packages"][1].update(licenseDeclared="MIT AND"),
                       lambda d: d["packages"][1].update(licenseDeclared="Expat"),
                       lambda d: d["packages"][1].update(SPDXID="SPDXRef-lib++"),
                       lambda d: d["packages"][1].pop("downloadLocation"),
                       lambda d: d["packages"][0].pop("packageVerificationCode"),
                       lambda d: d["files"][0]["checksums"].pop(0),
                       lambda d: d["files"][0]["checksums"][1].update(checksumValue="00"),
                       lambda d: d["relationships"][0].update(relationshipType="LIKES"),
                       lambda d: d["creationInfo"].update(created="yesterday")):
            self.assertNotEqual([], planted(change))

    def test_digests_are_those_of_the_programs(self):
        sums = []
        for entry in self.document["files"]:
            data = (BUILD / "bin" / entry["fileName"].removeprefix("./bin/")).read_bytes()
            said = {checksum["algorithm"]: checksum["checksumValue"] for checksum in entry["checksums"]}
            self.assertEqual(said, {"SHA1": hashlib.sha1(data).hexdigest(), "SHA256": hashlib.sha256(data).hexdigest()})
            sums.append(said["SHA1"])
        self.assertEqual(len(sums), len(PROGRAMS))
        code = self.packages["SPDXRef-Package-dipper"]["packageVerificationCode"]["packageVerificationCodeValue"]
        self.assertEqual(code, hashlib.sha1("".join(sorted(sums)).encode()).hexdigest())

    def test_every_linked_library_is_covered(self):
        for program in PROGRAMS:
            linked = self.related("DYNAMIC_LINK", f"SPDXRef-File-{program}")
            names = needed(BUILD / "bin" / program)
            self.assertGreater(len(names), 3)
            # Asked of the packages, not of the way in which tools/sbom found them.
            lists = {name: subprocess.run(["dpkg-query", "-L", name], capture_output=True, text=True, check=True).stdout
                     for name in linked}
            for library in names:
                self.assertTrue(any(f"/{library}\n" in paths for paths in lists.values()), f"{program}: {library}")
            for name, paths in lists.items():
                self.assertTrue(any(f"/{library}\n" in paths for library in names), f"{program} is not linked to {name}")
        self.assertLessEqual({"libffi8"}, {e["name"] for e in self.packages.values()} if "libp11-kit.so.0" in
                             needed(BUILD / "bin" / "dipper") else {"libffi8"}, "what a library needs is missing")

    def test_what_was_compiled_in_and_what_only_helped(self):
        agent = self.related("STATIC_LINK", "SPDXRef-File-dipper-agent")
        self.assertEqual(agent, {"libflatbuffers-dev", "nlohmann-json3-dev"})
        self.assertEqual(self.related("STATIC_LINK", "SPDXRef-File-dipper"), agent | {"libcli11-dev"})
        build = self.related("BUILD_DEPENDENCY_OF", to="SPDXRef-Package-dipper")
        self.assertLessEqual({"libmbedtls-dev", "libssl-dev", "libzstd-dev", "libc6-dev", "libiio-dev"}, build)
        self.assertEqual({"libiio0"}, self.related("OPTIONAL_DEPENDENCY_OF", to="SPDXRef-Package-dipper"))

    def test_versions_are_those_of_the_system(self):
        for entry in self.document["packages"][1:]:
            said = subprocess.run(["dpkg-query", "-W", "-f", "${Version}\n", entry["name"]], capture_output=True, text=True,
                                  check=True).stdout.split()
            self.assertIn(entry["versionInfo"], said)
            self.assertIn("@" + entry["versionInfo"].replace("+", "%2B").replace(":", "%3A") + "?",
                          entry["externalRefs"][0]["referenceLocator"])

    def test_runs_are_equal_and_other_content_has_another_name(self):
        again = sbom("--build", str(BUILD), LC_ALL="C", TZ="Asia/Kathmandu")
        self.assertEqual((again.returncode, again.stdout), (0, self.text))
        content = {key: value for key, value in self.document.items() if key != "documentNamespace"}
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        self.assertTrue(self.document["documentNamespace"].endswith(digest))

    def test_the_time_is_that_of_the_commit(self):
        done = subprocess.run(["git", "-C", str(ROOT), "log", "-1", "--format=%ct"], capture_output=True, text=True, check=False) \
            if shutil.which("git") else None
        if done is None or done.returncode:
            self.skipTest("this tree is no git checkout")
        created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(done.stdout)))
        self.assertIn(created, sbom("--build", str(BUILD), SOURCE_DATE_EPOCH=None).stdout)

    def refused(self, code, words, *arguments, **changes):
        done = sbom(*arguments, **changes)
        self.assertEqual((done.returncode, done.stdout), (code, ""), done.stderr)
        self.assertIn(words, done.stderr)
        if not words.startswith("unrecognized"):  # argparse prints the usage instead
            self.assertIn("what to do: ", done.stderr)

    def test_errors_say_what_to_do(self):
        tree = self.path / "tree"
        (tree / "bin").mkdir(parents=True)
        self.refused(3, "is not built", "--build", str(tree))
        for program in PROGRAMS:
            (tree / "bin" / program).write_bytes(b"")
        self.refused(1, "no complete ELF program", "--build", str(tree))
        foreign = bytearray(b"\x7fELF\x02\x01\x01" + bytes(57))
        foreign[18:20] = b"\xff\x7f"
        (tree / "bin" / "dipper").write_bytes(foreign)
        self.refused(1, "another kind of machine", "--build", str(tree))
        for program in PROGRAMS:
            shutil.copyfile("/proc/self/exe", tree / "bin" / program)
        self.refused(3, "CMakeCache.txt", "--build", str(tree))
        (tree / "CMakeCache.txt").write_text("CMAKE_PROJECT_VERSION:STATIC=0.1.0\n", encoding="utf-8")
        self.refused(1, "not made by ninja", "--build", str(tree))
        self.refused(2, "SOURCE_DATE_EPOCH", "--build", str(BUILD), SOURCE_DATE_EPOCH="tomorrow")
        self.refused(1, "no time to state", "--build", str(BUILD), SOURCE_DATE_EPOCH=None, GIT_DIR=str(self.path / "absent"))
        self.refused(1, "cannot write", "--build", str(BUILD), "--output", str(self.path / "absent" / "x.json"))
        self.refused(2, "unrecognized", "--outptu", "x")

    def test_licences_of_debian_become_expressions(self):
        for said, expected in (("Expat", "MIT"), ("BSD-3-clause or GPL-2", "BSD-3-Clause OR GPL-2.0-only"),
                               ("LGPL-2.1+", "LGPL-2.1-or-later"), ("GPL-2+ and MPL-2", "GPL-2.0-or-later AND MPL-2.0"),
                               ("GPL-2+ and Expat, or Apache-2.0", "(GPL-2.0-or-later AND MIT) OR Apache-2.0"),
                               ("Odd License", "LicenseRef-Debian-Odd-License")):
            found = licence.Copyright(DEP5.format(said))
            self.assertEqual(found.declared, expected)
            self.assertTrue(spdx.license_is_well_formed(found.declared, set(found.extracted)), found.declared)
            self.assertEqual(found.others, ["GPL-3+"])
        self.assertEqual(found.extracted, {"LicenseRef-Debian-Odd-License": ("Odd License", "Line one\n\nline two")})
        free_text = licence.Copyright("This is the Debian prepackaged version of something.\nLicense: GPL\n")
        self.assertEqual((free_text.declared, free_text.readable), ("NOASSERTION", False))
        for wrong in ("", "AND MIT", "MIT OR", "MIT MIT", "(MIT", "MIT)", "()", "Expat", "LicenseRef-unknown"):
            self.assertFalse(spdx.license_is_well_formed(wrong, set()), wrong)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    BUILD = pathlib.Path(sys.argv.pop(1)).resolve()
    absent = [name for name in ("readelf", "dpkg", "dpkg-query", "ninja") if not shutil.which(name)]
    if absent:
        print(f"skipped: {', '.join(absent)} is not installed, and the bill of materials is read with it")
        sys.exit(SKIPPED)
    unittest.main()
