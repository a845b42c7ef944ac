"""What a real agent sends: every metric of the catalogue, no untold gap after kill -9 and an outage, the day's bytes, Home Assistant, Telegraf.

usage: telemetry_test.py AGENT DIPPER TELEGRAF_PAGE [unittest arguments]
"""
import json
import math
import re
import subprocess
import sys
import time
import tomllib
import unittest
from pathlib import Path

from world import CONFIRMS, HAS_BROKER, NO_BROKER, Recording, TelemetryCase, envelope

# Values that a machine may not have; the metric is sent, as null.
MAY_BE_NULL = {
    "system_temperature_celsius": "a machine without a thermal zone",
    "system_clock_offset_seconds": "a clock that nobody synchronizes",
    "system_clock_error_seconds": "a clock that nobody synchronizes",
    "prequential_kappa_temporal": "labels that the rival never gets right by chance",
}
# Not sent at all until something has happened that is another test's.
ELSEWHERE = {
    "drift_feature_warnings_total": "absent while there is none; drift_feature_alarms_total takes the same way",
}
LASTS = ("--gate-warmup-samples", "1000000", "--gate-deadline-samples", "0", "--gate-deadline-seconds", "100000")
LABEL = 'kind = "label_column"\nname = "state"\nclasses = ["off", "on"]'
INTERVALS = "[intervals]\nwindow = 64\n"
DRIFT = '[[drift]]\nkind = "cusum"\ninput = "features"\n'
RACE = "kind = \"race\"\ntrivial = true\n" + "".join(f"[[learner.member]]\nkind = \"{kind}\"\n" for kind in (
    "linear", "naive_bayes", "knn", "hoeffding_tree", "rls", "linear", "naive_bayes"))
AHEAD = 'kind = "feature_ahead"\nfeature = "level"\nahead = 1'
MODELS = ("label", "race", "trees", "ahead")


@unittest.skipUnless(HAS_BROKER, NO_BROKER)
class TelemetryTest(TelemetryCase):
    def four_models(self):
        first = 'slot_a = "state/a.img"\nslot_b = "state/b.img"\n'
        rest = "".join(f'[[model]]\nid = "{name}"\nslot_a = "state/{name}-a.img"\nslot_b = "state/{name}-b.img"\nslot_bytes = "1MiB"\n'
                       'max_image_bytes = "64KiB"\ncheckpoint_interval_s = 1\n' for name in MODELS[1:])
        recorder = '[recorder]\nbytes = "2MiB"\nsegments = 2\n'
        self.set((first, f'id = "{MODELS[0]}"\n' + first), ("create = true", 'create = true\ndata_bytes = "8MiB"'), ("[trust]", rest + recorder + "[trust]"))
        self.source('kind = "socket"\npath = "samples.sock"\ntruth = "truth"')

    def test_every_metric_of_the_catalogue_is_sent(self):
        broker = self.broker()
        self.four_models()
        packages = [
            self.spec_package("label", "classification", LABEL, 'kind = "naive_bayes"', ("level",), INTERVALS + DRIFT),
            self.spec_package("race", "classification", LABEL, RACE, ("level",)),
            self.spec_package("trees", "anomaly", 'kind = "none"', 'kind = "half_space_trees"', ("level",), "[anomaly]\nhold = 0\n"),
            self.spec_package("ahead", "regression", AHEAD, 'kind = "rls"', ("level",), INTERVALS),
        ]
        self.device.start()
        writer = self.writer(self.device.home / "samples.sock")
        number = 0

        def say(samples, level=None):
            nonlocal number
            for _ in range(samples):
                value = number % 7 if level is None else level
                sample = {"id": number, "level": value, "state": "on" if value > 3 else "off", "truth": int(value > 50)}
                writer.say(json.dumps(sample))
                for _ in MODELS:
                    writer.lines.readline()
                number += 1
        for package in packages:
            done = self.device.ask("install", package, "--model", Path(package).name.split("-")[0])
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        for at in range(len(MODELS)):
            for _ in range(200):
                say(20)
                if (self.device.status(at).get("champion") or {}).get("version") == "1":
                    break
            else:
                self.fail(f"{MODELS[at]} was not confirmed: {self.device.status(at)}")
        say(1500)
        say(40, level=60)
        say(20)
        second = self.spec_package("label", "classification", LABEL, 'kind = "naive_bayes"', ("level",), version="2", gate=LASTS)
        self.device.ask("install", second, "--model", "label")
        say(100)
        self.until(lambda: any("gate_samples" in m for m in broker.said("json/m/label/metrics")), "a trial is on")
        self.device.stop()
        self.device.start()
        self.until(lambda: broker.said("json/metrics")[-1]["system_reset_reason"] == 0, "the run before ended as planned")
        birth = self.until(lambda: broker.said("json/birth"), "a birth")[-1]
        sent, told = {}, {}
        for leaf in ["json/metrics"] + [f"json/m/{model}/metrics" for model in MODELS]:
            for message in broker.said(leaf):
                for name, value in message.items():
                    sent[name] = leaf
                    if value is not None:
                        told[name] = max(value, told.get(name, value)) if isinstance(value, (int, float)) else value
        missing, empty = [], []
        for metric in birth["metrics"]:
            name = metric["name"]
            if name in ELSEWHERE:
                continue
            if name not in sent:
                missing.append(name)
            elif name not in told and name not in MAY_BE_NULL:
                empty.append(name)
        print(f"\n{len(birth['metrics'])} metrics in the catalogue, {sum(m['name'] in told for m in birth['metrics'])} with a value; null here: "
              f"{sorted(n for n in MAY_BE_NULL if n not in told)}; elsewhere: {sorted(ELSEWHERE)}", file=sys.stderr)
        self.assertEqual((missing, empty), ([], []))
        self.assertFalse([name for name in told if name.startswith("metric_")])
        self.assertGreater(told["learner_latency_p99_seconds"], 0)
        self.assertGreaterEqual(told["learner_latency_max_seconds"], told["learner_latency_p50_seconds"])
        self.device.stop()

    def test_how_the_run_before_ended_is_a_metric(self):
        broker = self.broker()
        self.source('kind = "socket"\npath = "samples.sock"')
        self.device.start()
        self.until(lambda: broker.said("json/metrics"), "metrics")
        self.assertIsNone(broker.said("json/metrics")[-1]["system_reset_reason"], "nothing is known of a first run")
        self.device.stop()
        self.device.start()
        self.until(lambda: broker.said("json/metrics")[-1]["system_reset_reason"] == 0, "as planned")
        self.device.kill()
        self.device.start()
        self.until(lambda: (broker.said("json/metrics")[-1]["system_reset_reason"] or 0) > 0, "killed")
        self.device.stop()

    def test_no_gap_that_is_not_told(self):
        broker = self.broker()
        self.source('kind = "socket"\npath = "samples.sock"')
        recording = Recording(broker, self.device.home / "all.txt")
        self.addCleanup(lambda: recording.stop())
        self.device.start()
        self.until(lambda: broker.said("json/metrics"), "the agent is connected")
        time.sleep(1)
        broker.stop()
        recording.stop()
        time.sleep(3)  # telemetry goes to the backlog
        self.device.kill()
        self.device.start()
        time.sleep(2)
        self.device.kill()
        broker.start()
        recording = Recording(broker, self.device.home / "all.txt")
        self.start_and_send(broker)
        self.device.kill()
        self.start_and_send(broker)
        self.device.stop()
        time.sleep(1)
        inner, resets, dropped = self.account(broker, recording)
        self.assertGreaterEqual(len(inner), 4)
        self.assertGreaterEqual(resets, 3)
        self.assertEqual(sum(map(len, inner.values())), dropped)

    def account(self, broker, recording):
        """What each session's sequence lacks, how many resets were told and how many losses."""
        seen, resets, dropped = {}, 0, 0
        for topic, payload, _ in recording.messages():
            if "/json/" in topic or not topic.endswith(("metrics", "event", "backlog")):
                continue
            kind, session, sequence = envelope(payload)
            self.assertIn(kind, ("DMET", "DEVT"))
            seen.setdefault(session, set()).add(sequence)
        for message in broker.said("json/event") + broker.said("json/backlog"):
            resets += message.get("kind") == "reset"
            dropped += message.get("count", 0) if message.get("kind") == "drop" else 0
        inner = {session: sorted(set(range(1, max(of) + 1)) - of) for session, of in seen.items()}
        print("\nsessions:", {f"{session:016x}": f"1..{max(of)}, missing {inner[session]}" for session, of in seen.items()},
              f"resets told {resets}, dropped told {dropped}", file=sys.stderr)
        return inner, resets, dropped

    def test_a_late_reader_catches_up(self):
        broker = self.broker()
        self.set(("interval_ms = 200", "interval_ms = 200\nrepeat_s = 3"))
        self.device.start()
        self.until(lambda: broker.said("json/metrics"), "the agent is connected")
        time.sleep(1)

        def batches(recording):
            return [json.loads(payload) for topic, payload, _ in recording.messages() if topic.endswith("gw-1/json/metrics")]
        late = Recording(broker, self.device.home / "late.txt")
        self.addCleanup(lambda: late.stop())
        whole = self.until(lambda: [b for b in batches(late) if not b.get("partial")], "everything comes again in time", 6)[0]
        parts = self.until(lambda: len([b for b in batches(late) if b.get("partial")]) > 8 and [b for b in batches(late) if b.get("partial")], "parts")
        self.assertIn("boot", whole)
        self.assertGreater(len(whole), 40)
        self.assertLess(max(map(len, parts)), len(whole) / 2)
        for part in parts:
            self.assertNotIn("boot", part)
            self.assertLessEqual(set(part) - {"partial"}, set(whole), "nothing that the whole batch does not name")
        self.assertEqual(batches(late)[-1]["session"], whole["session"])
        broker.stop()
        late.stop()
        before = len(batches(late))
        time.sleep(1)
        broker.start()
        late = Recording(broker, self.device.home / "late.txt")

        def after():
            return batches(late)[before:]
        sizes = self.until(lambda: len(after()) > 3 and [(b["link_connects_total"], len(b)) for b in after() if "link_connects_total" in b], "it is back")
        self.assertEqual(sizes[0][0], 2, "the first batch of a connection says it")
        self.assertGreater(sizes[0][1], 40, "and is whole")
        print(f"\nwhole: {len(whole)} members; parts: {min(map(len, parts))} to {max(map(len, parts))}", file=sys.stderr)
        late.stop()
        self.device.stop()

    def test_what_a_full_backlog_drops_is_told(self):
        broker = self.broker()
        self.set(("create = true", 'create = true\ndata_bytes = "64KiB"'), ("interval_ms = 200", "interval_ms = 100"))
        self.source('kind = "socket"\npath = "samples.sock"')
        recording = Recording(broker, self.device.home / "all.txt")
        self.addCleanup(lambda: recording.stop())
        self.device.start()
        self.until(lambda: broker.said("json/metrics"), "the agent is connected")
        broker.stop()
        recording.stop()
        time.sleep(8)
        broker.start()
        recording = Recording(broker, self.device.home / "all.txt")
        self.until(lambda: [m for m in broker.said("json/event") if m["kind"] == "drop"], "what was lost is told")
        # Before the outage nothing waited either.
        self.until(lambda: [m for m in broker.said("json/metrics") if m["link_connects_total"] > 1 and m["backlog_entries"] == 0], "the backlog is sent")
        self.device.stop()
        time.sleep(1)
        inner, _, told = self.account(broker, recording)
        missing, counted = sum(map(len, inner.values())), broker.said("json/metrics")[-1]["backlog_dropped_total"]
        self.assertGreater(told, 0)
        self.assertLessEqual(told, counted)
        self.assertLessEqual(missing, counted)
        # What was under way when the connection ended may have arrived, and its copy been dropped: eight live, four of the backlog.
        self.assertLessEqual(counted, missing + 12)

    def start_and_send(self, broker):
        """A new run, until it has said live that nothing waits."""
        before = {message["session"] for message in broker.said("json/metrics")}
        self.device.start()

        def done():
            return [m for m in broker.said("json/metrics") if m["session"] not in before and m["backlog_entries"] == 0 and m["backlog_sent_total"] > 0]
        self.until(done, "the backlog is sent")

    def test_the_days_bytes_are_kept(self):
        broker = self.broker()
        if 86400 - time.time() % 86400 < 180:
            self.skipTest("midnight UTC, where a new day of bytes begins, is too near")
        self.set(("interval_ms = 200", "interval_ms = 100\nmax_bytes_per_day = \"200KiB\""))
        self.source('kind = "socket"\npath = "samples.sock"')
        self.device.start()
        began = time.monotonic()
        capped = self.until(lambda: self.events(broker, "telemetry_capped", ""), "the cap is told", 120)[0]
        last = broker.said("json/metrics")[-1]
        part = time.time() % 86400 / 86400
        line = 200 * 1024 * (0.1 + 0.8 * part)
        print(f"\ntold after {time.monotonic() - began:.0f} s: {capped['detail']}; the line stands at {line:.0f}", file=sys.stderr)
        count = len(broker.said("json/metrics"))
        time.sleep(3)
        self.assertLessEqual(len(broker.said("json/metrics")), count + 3, "measurements come as seldom as the day asks for")
        self.assertLess(abs(last["telemetry_day_bytes"] - line), 12000)
        package = self.spec_package(features=("level",))
        steps = len(self.events(broker, "update_step"))
        self.device.ask("install", package)
        self.until(lambda: len(self.events(broker, "update_step")) > steps, "an update is told whatever the bytes")
        self.device.stop()
        before = len(broker.said("json/metrics"))
        self.device.start()
        time.sleep(3)
        self.assertLessEqual(len(broker.said("json/metrics")), before + 3, "a restart does not begin the day anew")
        self.device.stop()

    def test_home_assistant_is_told(self):
        broker = self.broker()
        self.set(("json_mirror = true", 'json_mirror = true\nhome_assistant = "homeassistant"'))
        self.source('kind = "socket"\npath = "samples.sock"')
        recording = Recording(broker, self.device.home / "all.txt")
        package = self.spec_package(features=("level",))
        self.device.start()
        self.device.ask("install", package)
        writer = self.writer(self.device.home / "samples.sock")
        for number in range(100000):
            writer.ask({"id": number, "level": number % 7})
            if number % 200 == 199 and self.champion() == "1":
                break
        self.until(lambda: broker.said("json/m/main/metrics") and "anomaly_score" in broker.said("json/m/main/metrics")[-1], "scores")
        self.until(lambda: self.retained(broker, "homeassistant/#", 14), "every entity", 30)
        self.until(lambda: any("anomaly_active" in told for told in recording.json("json/m/main/metrics")), "the recording has a whole batch")
        configs = self.retained(broker, "homeassistant/#", 14)
        for topic, text in sorted(configs.items()):
            config = json.loads(text)
            component = topic.split("/")[1]
            self.assertIn(component, ("sensor", "binary_sensor"))
            self.assertRegex(topic, r"^homeassistant/[a-z_]+/gw-1/[a-zA-Z0-9_-]+/config$")
            self.assertEqual(config["device"]["identifiers"], ["dipper_plant_gw-1"])
            values = [json.loads(p) for t, p, _ in recording.messages() if t == config["state_topic"] and p]
            self.assertTrue(values, config["state_topic"])
            member = re.search(r"value_json\.(\w+)", config["value_template"]).group(1)
            states = [value[member] for value in values if member in value]  # a message without it leaves the entity as it is
            self.assertTrue(states, topic)
            if config["state_topic"].endswith("/metrics"):
                self.assertIn("is_defined" if component == "sensor" else "is defined", config["value_template"], topic)
            if component == "binary_sensor" and "payload_on" not in config:
                self.assertIn(states[-1], (0, 1), topic)
        print(f"\n{len(configs)} retained discovery messages, {sum(map(len, configs.values()))} bytes; one of them:", file=sys.stderr)
        topic = "homeassistant/binary_sensor/gw-1/dipper_plant_gw-1_main_anomaly_active/config"
        print(topic, configs[topic], file=sys.stderr)
        recording.stop()
        self.device.stop()

    def retained(self, broker, topic, count):
        done = subprocess.run(["mosquitto_sub", "-h", "127.0.0.1", "-p", str(broker.port), "-t", topic, "--retained-only", "-C", str(count), "-W", "3",
                               "-F", "%t %p"], capture_output=True, text=True)
        found = dict(line.split(" ", 1) for line in done.stdout.splitlines())
        return found if len(found) >= count else None

    def test_home_assistant_needs_the_mirror(self):
        self.set(('url = "mqtt://127.0.0.1:1"', 'url = "mqtt://127.0.0.1:1"\nhome_assistant = "homeassistant"'))
        done = self.device.ask("--check-config")
        self.assertEqual(done.returncode, 2)
        self.assertIn("needs the values in JSON; set mqtt.json_mirror = true", done.stderr)

    def test_the_telegraf_example_reads_the_mirror(self):
        broker = self.broker()
        self.source('kind = "socket"\npath = "samples.sock"')
        recording = Recording(broker, self.device.home / "all.txt")
        self.device.start()
        self.device.ask("install", self.spec_package(features=("level",)))
        writer = self.writer(self.device.home / "samples.sock")
        for number in range(100000):
            writer.ask({"id": number, "level": number % 7})
            if number % 200 == 199 and self.champion() == "1":
                break
        # Of the recording itself: another subscriber may be ahead of it.
        self.until(lambda: any("learner_samples_total" in told for told in recording.json("json/m/main/metrics")) and
                   recording.json("json/m/main/event"), "messages")
        messages = [(t, p) for t, p, _ in recording.messages() if p]
        recording.stop()
        self.device.stop()
        page = Path(self.page).read_text()
        example = tomllib.loads(re.search(r"```toml\n(.*?)```", page, re.S).group(1))
        points = [point for consumer in example["inputs"]["mqtt_consumer"] for point in telegraf(consumer, messages)]
        names = {name for name, _, _, _ in points}
        self.assertEqual(names, {"dipper_device", "dipper_model", "dipper_event"})
        by = {name: [p for p in points if p[0] == name] for name in names}
        last = {name: {key: value for point in by[name] for key, value in point[2].items()} for name in names}  # of each field, as last() gives it
        self.assertIn("system_memory_available_bytes", last["dipper_device"])
        self.assertLess(min(len(p[2]) for p in by["dipper_device"]), len(last["dipper_device"]), "there are points with what has changed only")
        self.assertEqual(by["dipper_model"][-1][1]["model"], "main")
        self.assertEqual(by["dipper_model"][-1][1]["device"], "gw-1")
        self.assertIn("learner_samples_total", last["dipper_model"])
        self.assertIn("kind", by["dipper_event"][-1][1])
        print("\nfor Telegraf:", *(by[name][-1] for name in sorted(names)), sep="\n  ", file=sys.stderr)


def matches(pattern, topic):
    want, have = pattern.split("/"), topic.split("/")
    if want[-1] == "#":
        want, have = want[:-1], have[:len(want) - 1]
    return len(want) == len(have) and all(w in ("+", h) for w, h in zip(want, have))


def telegraf(consumer, messages):
    """What Telegraf's mqtt_consumer with data_format json is documented to make of the messages: numbers are fields, tag_keys are tags, texts and
    booleans are left out unless json_string_fields names them, the time is json_time_key's; topic_parsing takes names from the topic's levels."""
    known = {"servers", "topics", "qos", "data_format", "tag_keys", "json_string_fields", "json_time_key", "json_time_format", "name_override", "topic_tag",
             "topic_parsing", "username", "password", "client_id", "persistent_session"}
    assert set(consumer) <= known, set(consumer) - known
    assert consumer["data_format"] == "json" and consumer["json_time_format"] == "unix_ms"
    for topic, payload in messages:
        if not any(matches(pattern, topic) for pattern in consumer["topics"]):
            continue
        body = json.loads(payload)
        tags = {key: body[key] for key in consumer.get("tag_keys", ()) if key in body}
        fields = {key: value for key, value in body.items() if key not in tags and key != consumer["json_time_key"]
                  and (isinstance(value, (int, float)) and not isinstance(value, bool) or key in consumer.get("json_string_fields", ()))}
        when = body[consumer["json_time_key"]]
        assert when > 0 and math.isfinite(when)
        for parsing in consumer.get("topic_parsing", ()):
            levels = parsing["topic"].split("/")
            assert len(parsing["tags"].split("/")) == len(levels), parsing
            if matches(parsing["topic"], topic):
                tags |= {name: level for name, level in zip(parsing["tags"].split("/"), topic.split("/")) if name != "_"}
        yield consumer["name_override"], tags, fields, when


if __name__ == "__main__":
    TelemetryCase.agent, TelemetryCase.dipper, TelemetryTest.page = sys.argv[1:4]
    unittest.main(argv=[sys.argv[0], *sys.argv[4:]], verbosity=2)
