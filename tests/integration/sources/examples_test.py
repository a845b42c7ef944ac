"""The examples of docs/how-to/feed-samples.md, taken from the page and run against the real agent.

usage: examples_test.py AGENT DIPPER PAGE [unittest arguments]
"""
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import unittest
from pathlib import Path

from streams import CLASSES, SourceCase, end_with_parent, run

FORECAST = dict(task="regression", learner="rls", target='kind = "feature_ahead"\nfeature = "level"\nahead = 1')
ALARM = '[anomaly]\nraise = 0.99\nclear = 0.9\n'


def example(title):
    """The code below the heading."""
    section = Path(PAGE).read_text().split(f"\n## {title}\n")[1].split("\n## ")[0]
    return re.search(r"```\w+\n(.*?)```", section, re.S).group(1)


class ExamplesTest(SourceCase):
    def socket(self):
        self.source('kind = "socket"\npath = "samples.sock"')
        package = self.package(["level"], **CLASSES)
        self.device.start()
        writer = self.writer(self.device.home / "samples.sock")
        self.install(package)
        self.confirm_by(writer.ask)

    def here(self, code):
        """The example with this device's socket; the page says where a real one is."""
        self.assertIn("/run/dipper/samples.sock", code)
        return code.replace("/run/dipper/samples.sock", str(self.device.home / "samples.sock"))

    def test_the_page_has_short_examples(self):
        for title in ("Python", "Shell", "C++", "Do something on an alarm"):
            self.assertLessEqual(len(example(title).splitlines()), 12, title)

    def test_python(self):
        self.socket()
        done = subprocess.run([sys.executable, "-c", self.here(example("Python"))], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        lines = [line.split() for line in done.stdout.splitlines()]
        self.assertEqual([line[0] for line in lines], [str(n) for n in range(10)])
        self.assertTrue(all(line[1] in ("on", "off") and line[2] == "None" for line in lines), done.stdout)
        print("\n" + done.stdout.splitlines()[-1])

    @unittest.skipUnless(shutil.which("c++"), "there is no C++ compiler")
    def test_cpp(self):
        self.socket()
        program = self.device.home / "example"
        (self.device.home / "example.cc").write_text(self.here(example("C++")))
        subprocess.run(["c++", "-std=c++20", "-Wall", "-Wextra", "-Werror", "-o", program, program.with_suffix(".cc")], check=True, timeout=120)
        done = subprocess.run([program], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn('"prediction"', done.stdout)
        print("\n" + done.stdout.strip())

    def shell(self, code, levels):
        """The example in a shell whose `sleep` is short, and whose load is `levels`; its commands are in `said.txt`."""
        home = self.device.home
        programs = home / "bin"
        programs.mkdir()
        (programs / "dipper-agent").symlink_to(self.agent)
        (programs / "sleep").write_text(f"#!/bin/sh\nexec {shutil.which('sleep')} 0.02\n")
        (programs / "cut").write_text(f"#!/bin/sh\nn=$(cat {home}/n 2>/dev/null || echo 0); echo $((n + 1)) > {home}/n; {levels}\n")
        (programs / "gpioset").write_text(f'#!/bin/sh\necho "$@" >> {home}/said.txt\n')
        for program in programs.iterdir():
            program.is_symlink() or program.chmod(0o755)
        with open(home / "out.txt", "wb") as out, open(home / "agent.log", "wb") as log:
            process = subprocess.Popen(["sh", "-c", code], cwd=home, stdin=subprocess.DEVNULL, stdout=out, stderr=log, start_new_session=True,
                                       env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}, preexec_fn=end_with_parent)
        self.addCleanup(self.end, process)
        self.until(lambda: "running for" in self.device.ask("status").stdout, "the agent answers")
        return process

    def end(self, process):
        try:
            os.killpg(process.pid, signal.SIGKILL)  # the group that this test has made
        except ProcessLookupError:
            pass
        process.wait()

    def test_shell(self):
        self.source('kind = "stdin"')
        package = self.package(["level"], ALARM, **FORECAST)
        self.shell(example("Shell"), 'echo $((n % 7))')
        self.install(package)
        said = self.device.home / "out.txt"
        self.until(lambda: '"prediction"' in said.read_text(), "answers come on standard output")
        print("\n" + said.read_text().splitlines()[-1])

    def test_a_command_on_an_alarm(self):
        self.source('kind = "stdin"')
        package = self.package(["level"], ALARM, **FORECAST)
        home = self.device.home
        self.shell(example("Do something on an alarm"), f'[ -e {home}/burst ] && echo $((n * n * 1000)) || echo $((n % 7))')
        self.install(package)
        said = home / "said.txt"
        self.until(lambda: self.champion() == "1" and said.exists(), "the model serves", 120)
        self.until(lambda: self.device.status()["samples"] > 600, "it knows what is usual", 120)
        self.assertIn("gpiochip0 17=0", said.read_text())
        (home / "burst").touch()
        self.until(lambda: said.read_text().splitlines()[-1] == "gpiochip0 17=1", "the relay is switched on", 30)
        (home / "burst").unlink()
        time.sleep(0.1)
        self.until(lambda: said.read_text().splitlines()[-1] == "gpiochip0 17=0", "and off again", 60)


if __name__ == "__main__":
    PAGE = sys.argv.pop(3)
    run()
