"""A recording made by the arm64 agent, under QEMU's user emulation, replays here to the same answers and digests; one bit
of one sample is found. Skipped without that agent (preset arm64), or when it is older than the sources.

usage: arm64_test.py DIPPER
"""
import os
import shutil
import sys
import tempfile
import unittest
from pathlib import Path

SKIPPED = 77
ROOT = Path(__file__).resolve().parents[3]
AGENT = ROOT / "build" / "arm64" / "bin" / "dipper-agent"
SYSROOT = ROOT / "build" / "sysroot" / "arm64"


def skip(why):
    print(f"skipped: {why}")
    sys.exit(SKIPPED)


def main():
    qemu = shutil.which("qemu-aarch64")
    if qemu is None:
        skip("install qemu-user")
    if not AGENT.exists() or not SYSROOT.exists():
        skip("no arm64 agent: cmake --preset arm64 && cmake --build build/arm64 --target dipper-agent")
    newest = max(file.stat().st_mtime for file in (ROOT / "agent").rglob("*") if file.suffix in (".cc", ".h", ".fbs"))
    if AGENT.stat().st_mtime < newest:
        skip("the arm64 agent is older than the sources: cmake --build build/arm64 --target dipper-agent")
    with tempfile.TemporaryDirectory(prefix="dipper-arm64-") as folder:
        agent = Path(folder) / "dipper-agent"
        agent.write_text(f'#!/bin/sh\nexec "{qemu}" -L "{SYSROOT}" "{AGENT}" "$@"\n')
        agent.chmod(0o755)
        sys.argv[1:] = [str(agent), os.path.abspath(sys.argv[1])]
        import recording_test  # reads its programs from sys.argv

        suite = unittest.TestSuite([recording_test.Recordings("test_the_whole_circle")])
        return 0 if unittest.TextTestRunner(verbosity=2).run(suite).wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
