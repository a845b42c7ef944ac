"""What users run refuses a package with a fault stage, signed or not: the stage is for tests.

usage: release_refuses_test.py RELEASE_BUILD_FOLDER DIPPER_OF_A_TEST_BUILD
"""
import subprocess
import sys
import unittest
from pathlib import Path

from supervised import CONFIRMS, FAULT, Supervised

RELEASE, DIPPER = Path(sys.argv[1]), sys.argv[2]


def newest(name):
    found = [path for path in RELEASE.rglob(name) if path.is_file()]
    if not found:
        print(f"skipped: no {name} under {RELEASE}; build it with: cmake --build --preset release")
        sys.exit(77)
    return found[0]


class ReleaseRefuses(unittest.TestCase):
    def setUp(self):
        self.device = Supervised(newest("dipper-agent"), DIPPER)
        self.addCleanup(self.device.close)

    def test_a_fault_package_is_refused(self):
        device = self.device
        device.start()
        champion = device.champion()
        for number, fault in enumerate(("hang", "abort", "not_a_number", "slow", "leak")):
            package, digest = device.package("pump", str(number + 2), CONFIRMS, stages=FAULT.format(fault, 30, 1))
            done = device.ask("install", package, "--wait")
            self.assertNotEqual(done.returncode, 0)
            self.assertIn("fault_stage", done.stderr + done.stdout)
            self.assertEqual(device.status()["champion"]["digest"], champion)
        self.assertIsNone(device.agent.poll())

    def test_its_desk_does_not_even_build_one(self):
        spec = self.device.home / "spec.toml"
        spec.write_text('format = 1\nmodel_id = "main"\n' + FAULT.format("hang", 30, 0))
        done = subprocess.run([newest("dipper"), "package", "build", "--spec", spec, "--fresh", "--name", "x", "--version", "1",
                               "--security-version", "1", "--out", self.device.home / "x.dpkg"], capture_output=True, text=True)
        self.assertNotEqual(done.returncode, 0)
        self.assertFalse((self.device.home / "x.dpkg").exists())


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
