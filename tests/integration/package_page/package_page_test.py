#!/usr/bin/env python3
"""Holds that docs/reference/package.md shows a real package: builds it again and compares every line.

Usage: package_page_test.py PATH-TO-DIPPER           test
       package_page_test.py PATH-TO-DIPPER --write   renew the page, after a change of format that is meant
"""
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
import annotate  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
PAGE = annotate.ROOT / "docs/reference/package.md"
EXAMPLE = re.compile(r"(?<=```text\n)byte  len  bytes.*?(?=\n```)", re.DOTALL)
DIGEST = re.compile(r"(?<=Its digest is\n`)[0-9a-f]{64}(?=`)")
TIME = "1700000000"
DIPPER = ""
RENEW = "the page is out of date (or zstd is not 1.5.4); if the change is meant, renew it: " \
    "python3 tests/integration/package_page/package_page_test.py build/dev/bin/dipper --write"


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def run(folder, *arguments):
    done = subprocess.run([DIPPER, *arguments], cwd=folder, env=dict(os.environ, SOURCE_DATE_EPOCH=TIME), capture_output=True,
                          text=True, timeout=120, check=False)
    if done.returncode:
        raise RuntimeError(f"dipper {' '.join(arguments)}: exit {done.returncode}\n{done.stderr}")
    return done.stdout


def build():
    """(bytes, what `package show` says) of the example."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("spec.toml", "data.csv", "example.key"):
            shutil.copyfile(HERE / name, pathlib.Path(folder) / name)
        os.chmod(pathlib.Path(folder) / "example.key", 0o600)
        run(folder, "package", "build", "--spec", "spec.toml", "--fresh", "--name", "tiny", "--version", "1.0",
            "--security-version", "1", "--self-test", "data.csv", "--self-test-rows", "1", "--out", "tiny.dpkg")
        run(folder, "package", "sign", "tiny.dpkg", "--key", "example.key")
        return (pathlib.Path(folder) / "tiny.dpkg").read_bytes(), json.loads(run(folder, "package", "show", "tiny.dpkg", "--json"))


class PackagePage(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.data, cls.shown = build()
        cls.page = PAGE.read_text(encoding="utf-8")
        cls.example = EXAMPLE.search(cls.page).group().split("\n")

    def test_the_page_shows_the_package(self):
        self.maxDiff = None
        self.assertEqual(annotate.lines(self.data), self.example, RENEW)

    def test_every_byte_is_on_the_page_once(self):
        # From the page's own numbers, without the code that wrote them.
        self.assertEqual(annotate.bytes_of(self.example), self.data, RENEW)
        first_byte = 11  # its column
        for line in (3, 40, len(self.example) - 1):
            planted = list(self.example)
            other = "11" if planted[line][first_byte:first_byte + 2] != "11" else "22"
            planted[line] = planted[line][:first_byte] + other + planted[line][first_byte + 2:]
            self.assertNotEqual(annotate.bytes_of(planted), self.data)
            with self.assertRaises(ValueError):
                annotate.bytes_of(self.example[:line] + self.example[line + 1:])

    def test_the_digests_and_sums_are_what_the_page_says(self):
        header, manifest, signatures, blocks = annotate.parts(self.data)
        digest = hashlib.sha256(header[:48] + manifest).hexdigest()
        self.assertEqual(digest, self.shown["digest"])
        self.assertEqual(DIGEST.search(self.page).group(), digest, RENEW)
        self.assertEqual(int.from_bytes(header[60:64], "little"), crc32c(header[:60]))
        self.assertEqual(int.from_bytes(header[52:56], "little"), crc32c(signatures))
        self.assertEqual(signatures[:32].hex(), self.shown["signed_by"][0])
        values = {field: manifest[at:at + length] for at, length, field, _ in annotate.manifest_pieces(manifest)}
        self.assertEqual(values["blocks[0].sha256"], hashlib.sha256(blocks).digest())
        self.assertEqual(values["image_sha256"].hex(), self.shown["image_sha256"])
        self.assertEqual(values["self_test.image_sha256"].hex(), self.shown["self_test_sha256"])
        self.assertEqual(values["feature_schema"].hex(), self.shown["feature_schema"])
        self.assertEqual(int.from_bytes(values["created"], "little"), int(TIME))

    def test_the_feature_schema_is_hashed_as_the_page_says(self):
        def text(value):
            return len(value).to_bytes(4, "little") + value
        one = (1).to_bytes(4, "little") + text(b"t") + text(b"") + bytes(4) + bytes(4)
        self.assertEqual(hashlib.sha256(one).hexdigest(), self.shown["feature_schema"])


def write():
    data, _ = build()
    page = PAGE.read_text(encoding="utf-8")
    for pattern, new in ((EXAMPLE, "\n".join(annotate.lines(data))), (DIGEST, annotate.digest(data))):
        if len(pattern.findall(page)) != 1:
            sys.exit(f"{PAGE}: the place to renew is not there exactly once")
        page = pattern.sub(lambda _, new=new: new, page)
    PAGE.write_text(page, encoding="utf-8")
    print(f"wrote {PAGE}: {len(data)} bytes of package")


if __name__ == "__main__":
    if len(sys.argv) < 2 or not os.access(sys.argv[1], os.X_OK):
        sys.exit(__doc__)
    DIPPER = os.path.abspath(sys.argv.pop(1))
    if "--write" in sys.argv:
        write()
    else:
        unittest.main()
