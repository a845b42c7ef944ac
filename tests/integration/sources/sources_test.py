"""Every kind of sample source, through the real agent: lines over a socket and standard input, the machine's own readings, IIO.

usage: sources_test.py AGENT DIPPER [unittest arguments]
"""
import json
import shutil
import subprocess
import time
from pathlib import Path

from streams import CLASSES, OLD_SOURCE, Device, SourceCase, run


class SourcesTest(SourceCase):
    def test_json_lines_over_the_socket(self):
        self.source('kind = "socket"\npath = "samples.sock"')
        package = self.package(["level"], **CLASSES)
        self.device.start()
        path = self.device.home / "samples.sock"
        self.assertEqual(path.stat().st_mode & 0o777, 0o660)
        writer = self.writer(path)
        self.assertEqual(writer.ask({"id": 1, "level": 2}), {"id": 0, "model": "main", "error": "no_model"})  # nobody reads its id
        self.install(package)
        number = self.confirm_by(writer.ask)
        for step in range(200):
            answer = writer.ask({"id": number, "level": step % 7, "state": "on" if step % 7 > 3 else "off"})
            number += 1
        self.assertEqual(answer["id"], number - 1)
        self.assertEqual(answer["prediction"], "on" if 199 % 7 > 3 else "off")
        self.assertGreater(answer["probability"], 0.8)
        self.assertAlmostEqual(answer["uncertainty"], 1 - answer["probability"], places=6)
        self.assertEqual((answer["alarm"], answer["model"], len(answer["package"])), (False, "main", 12))

        # A label that comes later, by id; one of a sample that nobody knows; lines that are none.
        self.assertEqual(writer.ask({"id": number, "level": 6})["prediction"], "on")
        self.assertEqual(writer.ask({"id": number, "label": "on"})["learned"], True)
        self.assertEqual(writer.ask({"id": number, "label": "on"})["error"], "label_not_taken")
        self.assertEqual(writer.ask({"id": number + 99, "label": "on"})["error"], "label_not_taken")
        # Faulty label records and records of something else: refused, and no sample, so no id begins a new series.
        self.assertEqual(writer.ask({"id": number + 1, "level": 6})["prediction"], "on")
        samples = self.device.status()["samples"]
        for faulty in ({"label": "on"}, {"id": number + 1, "label": "on", "weight": -1}, {"id": number + 1, "label": None},
                       {"id": number + 1, "state": "on"}):
            self.assertEqual(writer.ask(faulty)["error"], "label_not_taken", faulty)
        for other in ({"lvl": 3}, {}, {"id": number + 1}):
            self.assertEqual(writer.ask(other)["error"], "no_feature", other)
        self.assertEqual(self.device.status()["samples"], samples)
        self.assertEqual(writer.ask({"id": number + 1, "label": "on"})["learned"], True)
        number += 1
        self.assertEqual(writer.ask("{bad")["error"], "unreadable")
        self.assertEqual(writer.ask("{" + "x" * 20000), {"error": "line_too_long"})
        self.assertEqual(writer.ask({"id": number + 1, "level": 0})["prediction"], "off")

        # Another writer, in separated values, at the same time; it brings no ids.
        other = self.writer(path)
        other.say("level,state")
        self.assertEqual(other.ask("6,on")["prediction"], "on")
        self.assertEqual(other.ask("6,on,surplus")["error"], "unreadable")

        # One that floods and never reads holds up nobody.
        flood = self.writer(path)
        flood.socket.setblocking(False)
        sent = 0
        try:
            while sent < 5_000_000:
                sent += flood.socket.send(b'{"level":3}\n' * 100)
        except BlockingIOError:
            pass
        begin = time.monotonic()
        self.assertIn("prediction", writer.ask({"id": number + 1_000_000, "level": 0}))
        self.assertLess(time.monotonic() - begin, 20)
        self.device.stop()
        self.assertFalse(path.exists())

    def test_standard_input(self):
        self.source('kind = "stdin"')
        package = self.package(["level"], **CLASSES)
        log = open(self.device.home / "agent.log", "ab")
        process = subprocess.Popen([self.agent, "--config", self.device.home / "agent.toml"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=log, text=True, bufsize=1)
        log.close()
        self.device.agent = process
        self.device.running.append(process)

        def ask(sample):
            process.stdin.write(json.dumps(sample) + "\n")
            return json.loads(process.stdout.readline())
        self.until(lambda: "running for" in self.device.ask("status").stdout, "the agent answers")
        self.install(package)
        number = self.confirm_by(ask)
        self.assertIn("prediction", ask({"id": number, "level": 1}))
        process.stdin.close()  # the agent stays, and says so
        self.until(lambda: "the source has ended" in self.device.ask("log").stdout, "the end is told")
        self.device.stop()
        process.stdout.close()

    def test_the_machines_own_readings(self):
        self.source('kind = "system"\nrate_hz = 50')
        package = self.package(["memory_available_ratio", "cpu_ratio", "load_1m"], task="regression", learner="linear",
                               target='kind = "feature_ahead"\nfeature = "memory_available_ratio"\nahead = 1')
        self.device.start()
        self.install(package)
        self.until(lambda: self.champion() == "1", "the model is confirmed by what it sees")
        before = self.device.status()["samples"]
        self.until(lambda: self.device.status()["samples"] > before + 20, "it goes on learning")
        self.device.stop()

    def test_an_iio_sensor(self):
        folder = self.plug("iio:device0")
        package = self.start_with_own_bus()
        self.until(lambda: "running for" in self.device.ask("status").stdout, "the agent answers")
        self.install(package)
        self.until(lambda: self.champion() == "1", "the model is confirmed by what it sees")
        (folder / "in_temp_input").write_text("99000\n")
        self.device.stop()

    def test_what_cannot_be_opened_is_said(self):
        for text, message in (
                ('kind = "socket"\npath = "agent.toml"', "a file that is no socket lies at"),
                ('kind = "socket"\npath = "none/samples.sock"', "cannot make the socket"),
                ('kind = "csv_replay"\npath = "empty.csv"', "is empty: a header line comes first"),
                ('kind = "csv_replay"\npath = "long.csv"', "is longer than 16384 bytes"),
                ('kind = "iio"\ndevice = "nothing"', "source kind iio:")):
            device = Device(self.agent, self.dipper)
            self.addCleanup(device.close)
            (device.home / "empty.csv").write_text("")
            (device.home / "long.csv").write_text("a," * 9000 + "b\n1\n")
            device.write_config(replace=((OLD_SOURCE, "[[source]]\n" + text + "\n"),))
            device.start()
            self.assertIn(message, device.log_text())
            self.assertIn(message, device.ask("status").stdout)
            self.assertGreater((device.home / "agent.toml").stat().st_size, 100)
            device.stop()

    def test_a_wrong_configuration_ends_it(self):
        for text, message in (
                ('kind = "socket"\npath = "x"\nmode = "rw"', "four octal digits"),
                ('kind = "system"\npath = "x"', "unknown key source.path"),
                ('kind = "telepathy"', "csv_replay, stdin, socket, system, iio or mqtt"),
                ('kind = "mqtt"\ntopics = ["a/#/b"]', "'#' stands only at the end"),
                ('kind = "mqtt"\ntopics = ["dipper/1/plant/gw-1/#"]', "this device's own"),
                ('kind = "mqtt"\ntopics = ["a"]\nfields = ["v=/~x"]', "no JSON pointer"),
                ('kind = "mqtt"\nrate_hz = 3', "unknown key source.rate_hz"),
                ('kind = "stdin"\ncolumns = ["a"]', "for joined sources"),
                ('kind = "stdin"\n[join]\nprimary = "a"', "needs several"),
                ('kind = "stdin"\ncolumns = ["a"]\n[[source]]\nkind = "stdin"\ncolumns = ["b"]', "two sources have the name"),
                ('kind = "stdin"\ncolumns = ["a"]\n[[source]]\nkind = "system"', "needs columns"),
                ('kind = "stdin"\ncolumns = ["a"]\n[[source]]\nkind = "mqtt"', "needs topics and fields"),
                ('kind = "stdin"\ncolumns = ["a"]\n[[source]]\nkind = "system"\ncolumns = ["cpu_ratio"]\n[join]\nprimary = "sys"',
                 "name of no source"),
                ('kind = "stdin"\n[privacy]\nuncertain_samples = 3', "privacy.uncertain_features is missing"),
                ('kind = "stdin"\n[labels]\nmax_per_s = -1', "labels.max_per_s must be")):
            device = Device(self.agent, self.dipper)
            self.addCleanup(device.close)
            device.write_config(replace=((OLD_SOURCE, "[[source]]\n" + text + "\n"),))
            done = subprocess.run([self.agent, "--config", device.home / "agent.toml"], capture_output=True, text=True, timeout=60)
            self.assertNotEqual(done.returncode, 0, text)
            self.assertIn(message, done.stderr, text)
            self.assertGreater((device.home / "agent.toml").stat().st_size, 100)


if __name__ == "__main__":
    run()
