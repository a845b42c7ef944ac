"""Who watches over the agent: systemd's watchdog and the machine's, with models that hang, abort, answer nonsense, are slow or leak, as real
packages on the real path; planned stops; safe mode.

usage: watchdog_test.py DIPPER_AGENT DIPPER [TESTS]
"""
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest

from supervised import CONFIRMS, FAULT, LASTS, Supervised

AGENT, DIPPER = sys.argv[1:3]
TRIES = 3


class Survival(unittest.TestCase):
    def setUp(self):
        self.device = Supervised(AGENT, DIPPER)
        self.addCleanup(self.device.close)

    def ends(self, expected, seconds=60):
        code = self.device.agent.wait(timeout=seconds)
        self.assertEqual(code, -expected, self.device.log_text()[-3000:])

    def fell_back(self, champion, challenger, reason, denied=True):
        status = self.device.status()
        self.assertEqual((status["state"], status["reason"]), ("fell_back", reason), self.device.log_text()[-3000:])
        self.assertEqual(status["champion"]["digest"], champion)
        self.assertEqual([entry["digest"] for entry in status["denied"]], [challenger] if denied else [])
        before = status["samples"]
        self.device.until(lambda: self.device.status()["samples"] > before, "the champion goes on learning")

    def restarts_until_the_trial_ends(self, by, **more):
        """How often it has ended by that signal, the one before included, until it runs on."""
        ends = 1
        while ends < TRIES + 2:
            agent = self.device.start(wait=False, **more)
            deadline = time.monotonic() + 60
            while agent.poll() is None and time.monotonic() < deadline:
                said = self.device.ask("status", "--json").stdout  # nothing from one that hangs already
                if said and json.loads(said)["models"][0]["state"] != "trial":
                    return ends
            self.ends(by, 1)
            ends += 1
        self.fail("the trial never ended")

    # ---- systemd

    def test_tells_systemd_how_it_goes(self):
        device = self.device
        device.start(period=2)
        device.champion()
        # Long enough for every pat to be needed.
        device.until(lambda: device.supervisor.messages().count("WATCHDOG=1") >= 12, "it pats", 30)
        device.stop()
        heard = device.supervisor.messages()
        self.assertEqual(heard[0], "READY=1")
        self.assertTrue(any(text.startswith("STATUS=no model yet, not connected to mqtt://127.0.0.1:1") for text in heard), heard)
        self.assertTrue(any(text.startswith("STATUS=serving pump 1") for text in heard), heard)
        self.assertEqual(heard[-1], "STOPPING=1")
        self.assertEqual(device.supervisor.killed, 0)
        pats = [at for at, text in device.supervisor.heard if text == "WATCHDOG=1"]
        gaps = [later - earlier for earlier, later in zip(pats, pats[1:])]
        print(f"  {len(pats)} pats of a watchdog of 2 s, the longest gap {max(gaps):.2f} s")

    def test_a_model_that_hangs_is_ended_and_denied(self):
        device = self.device
        device.start(period=3)
        champion = device.champion()
        challenger, _ = device.challenger(stages=FAULT.format("hang", 30, 0))
        started = time.monotonic()
        self.ends(signal.SIGABRT)
        print(f"  hung and ended {time.monotonic() - started:.1f} s after its install")
        self.assertEqual(device.supervisor.killed, 1)
        self.assertEqual(self.restarts_until_the_trial_ends(signal.SIGABRT, period=3), TRIES)
        self.assertIn(f"a watchdog ended the previous run: model main, package {challenger[:8]}", device.log_text())
        self.fell_back(champion, challenger, "watchdog")
        resets = device.events("reset")
        self.assertEqual([event["reason"] for event in resets], ["watchdog"] * TRIES, resets)

    def test_a_champion_that_hangs_goes_down_its_ladder(self):
        # A confirmed model has nobody to fall back to but its own past, then nothing: told, and never a loop.
        device = self.device
        device.start(period=2)
        package, digest = device.package("pump", "1", CONFIRMS, stages=FAULT.format("hang", 400, 0))
        # On a busy machine its samples come at once and it hangs before it has answered.
        device.ask("install", package, "--wait")
        self.assertIn("update Trial -> Confirmed", device.log_text())
        self.ends(signal.SIGABRT)
        # No start lives long enough to clear the count.
        device.write_config(replace=[("healthy_after_s = 1\n", "healthy_after_s = 3600\n")])
        ends = 1
        while ends < 16:
            device.start(period=2, wait=False)
            try:
                device.agent.wait(timeout=8)
            except subprocess.TimeoutExpired:
                break
            ends += 1
        self.assertLess(ends, 16, "it never came to rest")
        status = device.status()
        self.assertEqual((status["champion"]["digest"], status["rung"]), ("", "none: safe mode"), status)
        self.assertEqual([entry["digest"] for entry in status["denied"]], [digest])
        print(f"  at rest after {ends} ends: rung {status['rung']}")

    # ---- the machine's watchdog, a pipe here

    def test_the_machines_watchdog(self):
        device = self.device
        pipe = device.home / "watchdog"
        os.mkfifo(pipe)
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, reader)
        device.write_config(replace=[("[telemetry]", f'[watchdog]\ndevice = "{pipe}"\ntimeout_s = 4\n[telemetry]')])
        device.start()
        champion = device.champion()
        time.sleep(3)
        device.stop()
        pats = os.read(reader, 1000)
        self.assertGreaterEqual(pats.count(b"p"), 3)
        self.assertEqual(pats[-1:], b"V", "a planned stop stops it")

        device.start()
        challenger, _ = device.challenger(stages=FAULT.format("hang", 30, 0))
        # Ahead of the machine's reset, which would come a second later and without a word.
        self.ends(signal.SIGALRM)
        self.assertNotIn(b"V", os.read(reader, 1000), "the machine is reset unless somebody starts the agent again")
        self.assertEqual(self.restarts_until_the_trial_ends(signal.SIGALRM), TRIES)
        self.fell_back(champion, challenger, "watchdog")

    def test_a_watchdog_that_cannot_be_opened_is_told_and_does_without(self):
        device = self.device
        device.write_config(replace=[("[telemetry]", '[watchdog]\ndevice = "/nonexistent/watchdog"\n[telemetry]')])
        device.start()
        self.assertIn("watchdog.device: cannot use /nonexistent/watchdog: there is no such device", device.log_text())
        device.stop()

    # ---- fault packages on the real path; hang is above

    def test_a_model_that_aborts_is_denied(self):
        device = self.device
        device.start()
        champion = device.champion()
        challenger, _ = device.challenger(stages=FAULT.format("abort", 30, 0))
        self.ends(signal.SIGABRT)
        self.assertEqual(self.restarts_until_the_trial_ends(signal.SIGABRT), TRIES)
        self.fell_back(champion, challenger, "crash")

    def test_a_model_that_answers_nonsense_is_denied(self):
        device = self.device
        device.start()
        champion = device.champion()
        challenger, _ = device.challenger(stages=FAULT.format("not_a_number", 30, 0))
        device.until(lambda: device.status()["state"] == "fell_back", "the trial ends")
        self.fell_back(champion, challenger, "not_finite")
        self.assertIsNone(device.agent.poll(), "it went on without a restart")

    def test_a_model_that_is_slow_is_denied(self):
        device = self.device
        device.start()
        champion = device.champion()
        gate = (*LASTS, "--gate-max-latency-us", "2000")
        challenger, _ = device.challenger(stages=FAULT.format("slow", 30, 10000), gate=gate)
        device.until(lambda: device.status()["state"] == "fell_back", "the trial ends")
        self.fell_back(champion, challenger, "over_budget")

    def test_a_model_that_leaks_is_denied(self):
        device = self.device
        device.start()
        champion = device.champion()
        device.challenger(version="2")  # a sound one stays on trial for as long as it likes
        device.until(lambda: device.status()["samples"] > 600, "many samples", 60)
        self.assertEqual(device.status()["state"], "trial", device.log_text()[-3000:])
        self.assertEqual(device.ask("fall-back").returncode, 0)
        device.until(lambda: device.status()["state"] == "fell_back", "the operator ends it")
        at = device.status()["samples"]
        # Little at a time: far below any limit of the process when it is noticed.
        challenger, _ = device.challenger(version="3", stages=FAULT.format("leak", 30, 4096))
        device.until(lambda: device.status()["state"] == "fell_back" and device.status()["reason"] != "operator_fell_back", "the trial ends", 60)
        self.fell_back(champion, challenger, "over_budget")
        print(f"  noticed within {device.status()['samples'] - at} samples of 4 KiB each")
        self.assertIn(f"model main: package {challenger[:8]}", device.log_text())
        self.assertIsNone(device.agent.poll(), "it went on without a restart")

    def test_a_champion_that_leaks_is_told_and_serves_on(self):
        device = self.device
        device.start()
        package, digest = device.package("pump", "1", CONFIRMS, stages=FAULT.format("leak", 400, 512))
        self.assertEqual(device.ask("install", package, "--wait").returncode, 0)
        device.until(lambda: f"package {digest[:8]}" in device.log_text().partition("takes more heap memory")[0].split("\n")[-1], "it is told", 60)
        status = device.status()
        self.assertEqual((status["champion"]["digest"], status["denied"]), (digest, []))
        time.sleep(2)
        self.assertEqual(device.log_text().count("takes more heap memory"), 1, "once")

    # ---- stops

    def test_a_planned_stop_keeps_what_was_learned_and_the_try(self):
        device = self.device
        device.write_config(replace=[("checkpoint_interval_s = 1\n", "checkpoint_interval_s = 3600\n"), ("healthy_after_s = 1\n", "healthy_after_s = 2\n")])
        device.start()
        champion = device.champion()
        device.challenger()
        device.write_config(replace=[("healthy_after_s = 2\n", "healthy_after_s = 3600\n")])
        device.stop()
        for given_back in range(2, 6):
            device.start()
            status = device.status()
            self.assertEqual((status["state"], status["tries_left"]), ("trial", 2), "counted before it runs")
            learned = status["samples"]
            device.until(lambda: device.status()["samples"] > learned, "it learns")
            device.stop()
            status = device.status()  # read from the partitions
            self.assertEqual((status["tries_left"], status["tries_given_back"]), (3, given_back), status)
        device.write_config(replace=[("healthy_after_s = 3600\n", "healthy_after_s = 1\n")])
        device.start()
        self.assertEqual((device.status()["state"], device.status()["champion"]["digest"]), ("trial", champion))
        device.until(lambda: device.status()["healthy"], "it is healthy")
        time.sleep(1.5)  # and a healthy period more: a new package's first checkpoints wait for that
        learned = device.status()["samples"]
        device.stop()
        device.start()
        self.assertGreaterEqual(device.status()["samples"], learned, "the stop's checkpoint")

    def test_a_planned_stop_while_samples_come_faster_than_they_are_taken(self):
        # Found by the soak: a descriptor that is always ready left no moment in which the signal was delivered.
        device = self.device
        device.write_config(replace=[('kind = "csv_replay"\npath = "stream.csv"\nrate_hz = 200', 'kind = "socket"\npath = "samples.sock"')])
        device.start()
        done = threading.Event()

        def flood():
            with socket.socket(socket.AF_UNIX) as writer:
                writer.connect(str(device.home / "samples.sock"))
                try:
                    while not done.is_set():
                        writer.sendall(b'{"level":3}\n' * 4000)
                except OSError:
                    pass  # the agent has ended
        writers = [threading.Thread(target=flood, daemon=True) for _ in range(3)]
        for writer in writers:
            writer.start()
        time.sleep(1.5)
        started = time.monotonic()
        device.stop()
        print(f"  stopped {time.monotonic() - started:.2f} s after SIGTERM")
        done.set()
        for writer in writers:
            writer.join()

    # ---- nothing to serve

    def test_safe_mode_still_reports_and_takes_updates(self):
        device = self.device
        device.start()
        device.champion()
        device.stop()
        for slot in ("a", "b"):
            path = device.home / f"state/{slot}.img"
            path.write_bytes(bytes(path.stat().st_size))
        device.start(period=3)
        status = device.status()
        self.assertEqual(status["champion"]["digest"], "", status)
        self.assertTrue([event for event in device.events("safe_mode")], device.events())
        device.until(lambda: device.supervisor.messages().count("WATCHDOG=1") >= 4, "it is patted for", 20)
        package, digest = device.package("pump", "7", CONFIRMS)
        self.assertEqual(device.ask("install", package, "--wait").returncode, 0, device.log_text()[-3000:])
        self.assertEqual(device.status()["champion"]["digest"], digest)
        self.assertEqual(device.supervisor.killed, 0)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=2)
