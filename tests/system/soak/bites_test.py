"""The soak itself on trial: agents that are broken on purpose, through the real thing, must be found and named, with what is needed to look
into it. Each is the real agent behind a wrapper.

usage: bites_test.py DIPPER_AGENT DIPPER WALL_SHIM
"""
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
AGENT, DIPPER, SHIM = sys.argv[1:4]
SECONDS = 45
EVENTS = 2400  # a year: one every second and a half

# The folder of the device is that of the configuration; commands of the operator are none of the wrapper's business.
HEAD = """#!/bin/sh
[ "$1" = --config ] || exec {agent} "$@"
home=$(dirname "$2")
starts=$(cat "$home/starts" 2>/dev/null || echo 0)
starts=$((starts + 1))
echo "$starts" > "$home/starts"
"""
# From its third start on a new device each time.
FORGETFUL = HEAD + """
[ "$starts" -ge 3 ] && rm -f "$home"/state/*.img
exec {agent} "$@"
"""
NEVER_BACK = HEAD + """
[ "$starts" -ge 3 ] && exec sleep 1000
exec {agent} "$@"
"""
CRASHING = HEAD + """
[ "$starts" = 2 ] && exit 9
exec {agent} "$@"
"""


class Bites(unittest.TestCase):
    def soak(self, script, seed=3):
        if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:
            print("  without mount namespaces here: no disk becomes full")
        folder = tempfile.TemporaryDirectory(prefix="dpr-")
        self.addCleanup(folder.cleanup)
        self.kept = Path(folder.name) / "kept"
        agent = AGENT
        if script:
            wrapper = Path(folder.name) / "agent.sh"
            wrapper.write_text(script.format(agent=AGENT))
            wrapper.chmod(0o755)
            agent = wrapper
        done = subprocess.run([sys.executable, HERE / "soak.py", "--seed", str(seed), "--seconds", str(SECONDS), "--events-per-year", str(EVENTS),
                               "--agent", agent, "--dipper", DIPPER, "--shim", SHIM, "--keep", self.kept], capture_output=True, text=True,
                              timeout=400, check=False)
        if done.returncode == 77:
            print(done.stdout)
            sys.exit(77)
        return done

    def finds(self, script, *texts):
        done = self.soak(script)
        self.assertEqual(done.returncode, 1, done.stdout[-3000:] + done.stderr[-2000:])
        found = [line for line in done.stdout.splitlines() if "VIOLATION" in line][0]
        print(f"  {found}")
        self.assertTrue(any(text in found for text in texts), f"none of {texts}")
        # What is needed to look into it.
        for needed in ("seed 3,", "event ", f"again: tools/soak --seed 3 --seconds {SECONDS}", "the end of agent.log", "the end of soak.log"):
            self.assertIn(needed, done.stdout)
        for name in ("agent.log", "soak.log", "state/a.img", "logs/watch.jsonl"):
            self.assertTrue((self.kept / name).exists(), name)
        shutil.rmtree(self.kept)

    def test_an_agent_that_forgets(self):
        # At the start itself, or by the sample that comes first: whichever the soak sees sooner.
        self.finds(FORGETFUL, "no model is served", "samples were answered with no_model")

    def test_an_agent_that_does_not_come_back(self):
        self.finds(NEVER_BACK, "did not come back within")

    def test_an_agent_that_ends_by_itself(self):
        self.finds(CRASHING, "the agent ended by itself with 9")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[4:], verbosity=2)
