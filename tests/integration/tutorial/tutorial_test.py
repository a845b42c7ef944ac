"""Runs the blocks of docs/tutorials/first-device.md as they stand, in one shell, and looks at what the reader sees.

Left out: building, which the test's own programs replace. Changed: the port, so that tests run side by side.

usage: tutorial_test.py DIPPER_AGENT DIPPER
"""
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

AGENT, DIPPER = (Path(path).resolve() for path in sys.argv[1:3])
PAGE = Path(__file__).resolve().parents[3] / "docs/tutorials/first-device.md"
PORT = "18830"
NOT_HERE = re.compile(r"^(tools/setup|export PATH=).*\n", re.MULTILINE)
PATIENCE_S = 400


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def blocks():
    return re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def script(port):
    """One shell script; a line `== n` before each block's output. It stops at the first command that fails."""
    parts = [f'set -e\nexport PATH="{AGENT.parent}:{DIPPER.parent}:$PATH" BROKER=mqtt://127.0.0.1:{PORT}\n']
    for number, block in enumerate(blocks(), 1):
        parts.append(f"echo '== {number}'\n" + NOT_HERE.sub("", block))
    return "\n".join(parts).replace(PORT, port)


class Tutorial(unittest.TestCase):
    def test_every_block_does_what_the_page_says(self):
        with tempfile.TemporaryDirectory(prefix="dipper-tutorial-") as folder:
            # Its own process group: whatever the script leaves behind after a failure is ended with it.
            shell = subprocess.Popen(["bash", "-c", script(free_port())], cwd=folder, text=True, stdout=subprocess.PIPE,
                                     stderr=subprocess.STDOUT, start_new_session=True)
            try:
                said, _ = shell.communicate(timeout=PATIENCE_S)
            except subprocess.TimeoutExpired:
                os.killpg(shell.pid, signal.SIGKILL)
                said, _ = shell.communicate()
                self.fail(f"no end after {PATIENCE_S} s:\n{said}")
            finally:
                try:
                    os.killpg(shell.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            self.assertEqual(0, shell.returncode, said)
            self.assertEqual([], os.listdir(folder), "the last block tidies up")
        part = dict(enumerate(re.split(r"^== \d+\n", said, flags=re.MULTILINE)))
        self.assertIn("agent.toml: good", part[3])
        self.assertIn("serves     no model", part[3])
        self.assertRegex(part[5], r"(?m)^mae ")
        for state in ("offered", "transferring", "verifying", "staged", "trial", "confirmed"):
            self.assertIn(f"-> {state}", part[6])
        self.assertIn("serves     load v1", part[6])
        self.assertRegex(part[7], r"trial -> fell_back .* load v2")
        served = re.search(r"serves     load v1 .* (\d+) samples", part[8])
        before = re.search(r"serves     load v1 .* (\d+) samples", part[6])
        self.assertIsNotNone(served, part[8])
        self.assertGreater(int(served[1]), int(before[1]), "what it learned before the kill is there")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
