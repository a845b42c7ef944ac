"""Samples and labels over MQTT, through the real agent and a real Mosquitto.

usage: mqtt_test.py AGENT DIPPER [unittest arguments]
"""
import json
import subprocess
import time
import unittest

from streams import CLASSES, HAS_BROKER, NO_BROKER, SourceCase, end_with_parent, memory_is_judged, run

MODEL = "dipper/1/plant/gw-1/m/main/"


def payload(number, **more):
    return json.dumps({"n": number, "data": {"level": number % 7}, "state": "on" if number % 7 > 3 else "off", **more})


@unittest.skipUnless(HAS_BROKER, NO_BROKER)
class MqttTest(SourceCase):
    def speaker(self, broker, topic):
        """Publishes a line as a message; what mosquitto_pub holds for longer is in its pipe."""
        process = subprocess.Popen(["mosquitto_pub", "-h", "127.0.0.1", "-p", str(broker.port), "-t", topic, "-l"], stdin=subprocess.PIPE,
                                   text=True, bufsize=1, preexec_fn=end_with_parent)
        self.addCleanup(process.wait)
        self.addCleanup(process.stdin.close)
        return process.stdin

    def command(self, broker, name, *arguments):
        done = subprocess.run([self.dipper, "command", name, "--device", "gw-1", "--broker", f"mqtt://127.0.0.1:{broker.port}", "--fleet", "plant",
                               "--command-key", self.device.home / "command.key", "--json", *arguments],
                              capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout + done.stderr

    def confirm(self, say):
        """Labelled samples until the model serves; returns the next number."""
        number = 0
        end = time.monotonic() + 60
        while self.champion() != "1":
            for _ in range(20):
                say(number)
                number += 1
            time.sleep(0.2)
            self.assertLess(time.monotonic(), end, self.device.log_text()[-2000:])
        return number

    def test_topics_of_other_devices(self):
        broker = self.broker()
        self.source('kind = "mqtt"\ntopics = ["plant/+/level", "spare"]\nfields = ["id=/n", "level=/data/level", "state"]\nanswer = true',
                    "[labels]\nmax_per_s = 100000")
        package = self.package(["level"], **CLASSES)
        self.device.start()
        self.until(lambda: "connected to" in self.device.log_text(), "the agent is connected")
        self.install(package)
        sensor = self.speaker(broker, "plant/tank-1/level")
        number = self.confirm(lambda n: sensor.write(payload(n) + "\n"))

        def answered(n):
            return [m for m in broker.said("json/m/main/prediction") if m["id"] == n]

        def ask(n):
            """A prediction that finds the wire full of others is dropped, so a sensor that waits for one asks again."""
            for n in range(n, n + 20):
                broker.publish("plant/tank-2/level", payload(n))
                end = time.monotonic() + 3
                while time.monotonic() < end:
                    if answered(n):
                        return answered(n)[0]
                    time.sleep(0.1)
            self.fail(f"sample {n} is not answered:\n{self.device.log_text()[-2000:]}")

        for n in range(number, number + 40):
            sensor.write(payload(n) + "\n")
        answer = ask(number + 1000)
        self.assertEqual((answer["class_index"], len(answer["package"])), (1 if answer["id"] % 7 > 3 else 0, 64))
        self.assertAlmostEqual(answer["uncertainty"], 1 - max(answer["probabilities"]), places=5)

        # Hostile publishers: each of these is counted and none does harm.
        for bad in ("", "{", "[" * 5000, '{"n": 1, "n": 2, "data": {"level": 1}}', '{"data": 7}', "\x01\x02", '{"n": -1, "data": {"level": 1}}'):
            broker.publish("plant/x/level", bad)
        for size in (9000, 100_000, 240_000):
            broker.publish("spare", '{"data": {"level": "' + "9" * size + '"}}')
        broker.publish("spare", payload(5), "-r")  # retained before: comes again with the next connection
        ask(number + 2000)
        self.until(lambda: (self.metric(broker, "source_unreadable_total", "metrics") or 0) >= 9, "unreadable ones are counted")
        self.until(lambda: self.metric(broker, "learner_samples_skipped_total"), "so is the id that is none")
        told = self.until(lambda: [e for e in broker.said("json/event") if "unreadable" in e.get("detail", "")], "they are told")
        self.assertLessEqual(len(told), 8)

        # The broker restarts: every filter is asked for again, the retained one is not taken for a sample.
        broker.publish("spare", payload(3), "-r")
        before = self.device.status()["samples"]
        ignored = self.metric(broker, "source_ignored_total", "metrics")
        broker.stop()
        self.until(lambda: "lost the connection" in self.device.log_text(), "the connection is lost")
        broker.start()
        self.until(lambda: self.device.log_text().count("connected to") >= 2, "it is there again")
        ask(number + 3000)
        self.assertGreater(self.device.status()["samples"], before)
        self.until(lambda: (self.metric(broker, "source_ignored_total", "metrics") or 0) > ignored, "the retained one is ignored")
        self.device.stop()

    def test_a_flood_is_dropped_and_counted(self):
        broker = self.broker()
        self.source('kind = "mqtt"\ntopics = ["flood"]\nfields = ["level="]\nqueue_bytes = "16KiB"')
        self.device.start()
        self.until(lambda: "connected to" in self.device.log_text(), "the agent is connected")
        broker.publish_lines("flood", (str(i % 7) for i in range(2000)))

        def rss():
            with open(f"/proc/{self.device.agent.pid}/statm") as numbers:
                return int(numbers.read().split()[1]) * 4096
        time.sleep(1)
        before = rss()
        begin = time.monotonic()
        for _ in range(5):
            broker.publish_lines("flood", (str(i % 7) for i in range(20000)))
        took = time.monotonic() - begin
        time.sleep(2)
        grown = rss() - before
        got = self.metric(broker, "link_received_messages_total", "metrics")
        lost = self.metric(broker, "link_received_dropped_total", "metrics") + self.metric(broker, "source_dropped_total", "metrics")
        print(f"\n100,000 messages in {took:.1f} s: {got:.0f} received, {lost:.0f} dropped and counted, "
              f"RSS {grown / 1024:+.0f} KiB from {before / 1024:.0f} KiB")
        if memory_is_judged(self.device.agent_program):
            self.assertLess(grown, 4 << 20)
        self.assertEqual(self.device.ask("status").returncode, 0)
        self.device.stop()

    def test_the_models_own_topics_late_labels_and_their_limit(self):
        broker = self.broker()
        self.source('kind = "mqtt"', '[labels]\nmqtt = true\nmax_per_s = 20\n[privacy]\nuncertain_samples = 5\nuncertain_features = ["level"]')
        package = self.package(["level", "secret"], **CLASSES)
        self.device.start()
        self.until(lambda: "connected to" in self.device.log_text(), "the agent is connected")
        self.install(package)
        samples, labels = self.speaker(broker, MODEL + "sample"), self.speaker(broker, MODEL + "label")

        def sample(n):
            return json.dumps({"id": n, "level": n % 7, "secret": 4711})

        def label(n, **more):
            return json.dumps({"id": n, "label": "on" if n % 7 > 3 else "off", **more})
        number, end = 0, time.monotonic() + 60
        while self.champion() != "1" or number < 60:  # no longer a beginner
            samples.write(sample(number) + "\n")
            time.sleep(0.06)
            labels.write(label(number) + "\n")
            number += 1
            self.assertLess(time.monotonic(), end, self.device.log_text()[-2000:])
        self.assertIsNone(next(iter(broker.said("json/m/main/prediction")), None))  # nobody has asked

        # Predictions on request, so many and no more.
        code, said = self.command(broker, "predictions", "--arg", "count=3")
        self.assertEqual(code, 0, said)
        for n in range(number, number + 30):
            samples.write(sample(n) + "\n")
            time.sleep(0.01)
        self.until(lambda: len(broker.said("json/m/main/prediction")) >= 3, "they come")
        time.sleep(1)
        self.assertEqual([m["id"] for m in broker.said("json/m/main/prediction")], [number, number + 1, number + 2])
        self.assertIn("package", broker.said("json/m/main/prediction")[0])

        # What the model is least certain of, with the allowed feature only, and told as an event.
        code, said = self.command(broker, "uncertain_samples")
        self.assertEqual(code, 0, said)
        batch = self.until(lambda: broker.said("json/m/main/uncertain"), "the least certain samples come")[0]
        self.assertEqual((batch["features"], len(batch["samples"])), (["level"], 5))
        ranked = [s["uncertainty"] for s in batch["samples"]]
        self.assertEqual(ranked, sorted(ranked, reverse=True))
        for one in batch["samples"]:
            self.assertEqual(one["values"], [one["id"] % 7])
        event = self.until(lambda: [e for e in broker.said("json/m/main/event") if e["kind"] == "raw_data_sent"], "the event")[0]
        self.assertEqual((event["count"], event["detail"]), (5, "uncertain_samples"))
        self.assertIn("contribution.level", event)

        # Labels without measure: the limit holds, the rest is counted, and weight does not buy more.
        before = self.until(lambda: self.metric(broker, "learner_labels_total"), "labels are counted")
        begin = time.monotonic()
        for n in range(number + 30, number + 1030):
            samples.write(sample(n) + "\n")
            labels.write(label(n, weight=1e30) + "\n")
        limited = self.until(lambda: (self.metric(broker, "learner_labels_limited_total") or 0) > 300 and
                             self.metric(broker, "learner_labels_limited_total"), "the limit is counted")
        time.sleep(1)
        took = time.monotonic() - begin
        learned = self.metric(broker, "learner_labels_total") - before
        print(f"\n1,000 labels in {took:.1f} s at 20/s: {learned:.0f} learned, {limited:.0f} limited")
        self.assertLessEqual(learned, 20 * (took + 2))
        self.assertEqual(self.champion(), "1")
        self.device.stop()

    def test_raw_data_stay_where_the_configuration_does_not_allow_it(self):
        broker = self.broker()
        self.source('kind = "mqtt"')
        self.device.start()
        self.until(lambda: "connected to" in self.device.log_text(), "the agent is connected")
        code, said = self.command(broker, "uncertain_samples")
        self.assertNotEqual(code, 0)
        self.assertIn("not_allowed", said)
        self.assertIn("privacy.uncertain_samples", said)
        code, said = self.command(broker, "predictions", "--arg", "count=x")
        self.assertIn("cannot be read: predictions takes --arg count=VALUE", said)
        self.assertFalse(broker.said("json/m/main/uncertain"))
        self.device.stop()


if __name__ == "__main__":
    run()
