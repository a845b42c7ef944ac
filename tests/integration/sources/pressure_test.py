"""Ten thousand samples a second by writers that never read an answer: counted drops, no growth, and nobody else waits.

usage: pressure_test.py AGENT DIPPER [unittest arguments]
"""
import os
import socket
import subprocess
import time
import unittest

from streams import CLASSES, HAS_BROKER, NO_BROKER, SourceCase, memory_is_judged, run

RATE = 10_000
SECONDS = 8
GROWTH = 2 << 20  # of memory that is not the samples': the kernel's and the allocator's


class PressureTest(SourceCase):
    def rss(self):
        with open(f"/proc/{self.device.agent.pid}/statm") as numbers:
            return int(numbers.read().split()[1]) * 4096

    def write_at_rate(self, write, seconds):
        """Lines at RATE; what is not taken at once is the writer's to drop. Returns lines offered and dropped."""
        begin, offered, dropped, rest = time.monotonic(), 0, 0, b""
        while time.monotonic() - begin < seconds:
            due = int((time.monotonic() - begin) * RATE)
            if due - offered < 50:
                time.sleep(0.002)
                continue
            batch = b"".join(b'{"level":%d}\n' % (n % 7) for n in range(offered, due))
            lines = due - offered
            offered = due
            if rest:
                rest = rest[self.take(write, rest):]
            if rest:
                dropped += lines
                continue
            taken = self.take(write, batch)
            end = batch.find(b"\n", max(taken - 1, 0)) + 1 if taken else 0
            rest = batch[taken:end]  # the line that was begun
            dropped += batch[end:].count(b"\n")
        return offered, dropped

    @staticmethod
    def take(write, data):
        try:
            return write(data)
        except BlockingIOError:
            return 0

    def serve(self, install, ask):
        package = self.package(["level"], **CLASSES)
        install(package)
        return self.confirm_by(ask)

    def measure(self, name, write, broker):
        self.write_at_rate(write, 2)
        before, samples = self.rss(), self.device.status()["samples"]
        begin = time.monotonic()
        offered, dropped = self.write_at_rate(write, SECONDS)
        grown, taken, took = self.rss() - before, self.device.status()["samples"] - samples, time.monotonic() - begin
        lost = self.until(lambda: self.metric(broker, "source_answers_dropped_total", "metrics"), "dropped answers are counted")
        print(f"\n{name}: {offered / SECONDS:.0f} lines/s offered, {dropped} of {offered} dropped by the writer, {taken / took:.0f} samples/s learned, "
              f"{lost:.0f} answers dropped, RSS {grown / 1024:+.0f} KiB from {before / 1024:.0f} KiB")
        if memory_is_judged(self.device.agent_program):
            self.assertLess(grown, GROWTH)
        self.assertGreater(taken, 1000)
        self.assertGreater(lost, 1000)

    @unittest.skipUnless(HAS_BROKER, NO_BROKER)
    def test_a_socket(self):
        broker = self.broker()
        self.source('kind = "socket"\npath = "samples.sock"')
        self.device.start()
        path = self.device.home / "samples.sock"
        polite = self.writer(path)
        self.serve(self.install, polite.ask)
        flood = socket.socket(socket.AF_UNIX)
        self.addCleanup(flood.close)
        flood.connect(str(path))
        flood.setblocking(False)
        self.measure("socket", flood.send, broker)
        begin = time.monotonic()
        self.assertIn("prediction", polite.ask({"id": 1 << 40, "level": 0}))  # a line of each in turn
        print(f"the other writer was answered in {(time.monotonic() - begin) * 1000:.1f} ms")
        self.assertLess(time.monotonic() - begin, 20)
        self.device.stop()

    @unittest.skipUnless(HAS_BROKER, NO_BROKER)
    def test_standard_input(self):
        broker = self.broker()
        self.source('kind = "stdin"')
        log = open(self.device.home / "agent.log", "ab")
        with log:
            process = subprocess.Popen([self.agent, "--config", self.device.home / "agent.toml"], stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, stderr=log)
        self.device.agent = process
        self.device.running.append(process)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stdin.close)

        def ask(sample):
            import json
            process.stdin.write(json.dumps(sample).encode() + b"\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())
        self.until(lambda: "running for" in self.device.ask("status").stdout, "the agent answers")
        self.serve(self.install, ask)
        os.set_blocking(process.stdin.fileno(), False)
        self.measure("standard input", lambda data: os.write(process.stdin.fileno(), data), broker)
        self.device.stop()


if __name__ == "__main__":
    run()
