"""The five steps of the demo. Each waits for what must happen, and says who failed, where and what was seen instead."""
import signal
import time

from world import CANARY, MOTES


class StepFailed(Exception):
    """A device did not do what it must; the text is the whole message."""


class Story:
    def __init__(self, desk, broker, devices, eyes, screen, processes):
        self.desk, self.broker, self.fleet, self.eyes, self.screen, self.processes = desk, broker, devices, eyes, screen, processes
        self.step = ""
        self.outcome = {name: {"confirmed": [], "fell_back": [], "rejected": {}, "recovered": []} for name in MOTES}

    def device(self, name):
        return self.eyes.devices[name]

    def title(self, text):
        self.step = text
        self.screen.title(text)

    def expect(self, names, expected, true, timeout_s):
        """Waits until true(device) holds for every named device."""
        met = self.eyes.wait(lambda: all(true(self.device(n)) for n in names), timeout_s, self.screen.refresh)
        if met:
            return
        with self.eyes.changed:
            bad = [n for n in names if not true(self.device(n))]
            lines = [f"step     {self.step}", f"expected {expected}, within {timeout_s} s"]
            lines += [f"{n:8} {self.device(n).describe()}" for n in bad]
        lines.append(f"logs     {self.processes.logs}/{{{','.join(bad)},broker-main,eyes}}.log, watch.jsonl there holds every message")
        raise StepFailed("\n".join(lines))

    def expect_end(self, names, version, state, reasons=None, timeout_s=25, since=None):
        """Waits for the update to `version` to end so; another end fails at once."""
        digest = self.desk.digests[version]
        marks = since or {n: 0 for n in names}

        def end(device):
            return device.ended(version, marks[device.name]) or device.ended_offer(digest, marks[device.name])

        self.expect(names, f"{version} ends as {state}", lambda d: end(d) is not None, timeout_s)
        for name in names:
            got, reason = end(self.device(name))
            if got != state or (reasons and reason not in reasons):
                raise StepFailed(f"step     {self.step}\nexpected {version} {state} {'or '.join(reasons or ())}\n"
                                 f"{name:8} {got}, reason {reason}; {self.device(name).describe()}\nlogs     {self.processes.logs}/{name}.log")
            self.screen.say(f"{name}: {version} {got} ({reason})")
            kept = self.outcome[name]
            if state in ("confirmed", "fell_back"):
                kept[state].append(version)
            else:
                kept["rejected"][version] = reason

    def marks(self):
        with self.eyes.changed:
            return {n: len(d.events) for n, d in self.eyes.devices.items()}

    # ---- the steps ----

    def first_model(self):
        self.title("1  v1 for everybody: stage, try, confirm, keep learning")
        for mote in MOTES:
            self.fleet.start(mote)
        self.expect(MOTES, "connected", lambda d: d.online, 20)
        self.desk.publish("v1")
        self.expect_end(MOTES, "v1", "confirmed")

    def better_model(self):
        self.title(f"2  v2, better: to the canary {CANARY} first, then to all")
        self.desk.publish("v2", to="group:canary")
        self.expect_end([CANARY], "v2", "confirmed")
        self.desk.publish("v2")
        self.expect_end([m for m in MOTES if m != CANARY], "v2", "confirmed")

    def worse_model(self):
        self.title("3  v3, validly signed but worse: everybody falls back to v2 with what v2 had learned")
        with self.eyes.changed:
            samples = {n: d.metrics.get("learner_samples_total", 0) for n, d in self.eyes.devices.items()}
        self.desk.publish("v3")
        self.expect_end(MOTES, "v3", "fell_back", ("shown_worse",))
        self.expect(MOTES, "v2 serves, and has learned on from where it was",
                    lambda d: d.serving == "v2" and d.metrics.get("learner_samples_total", 0) > samples[d.name], 10)
        for name in MOTES:
            device = self.device(name)
            self.screen.say(f"{name}: v2 serves again, image {device.update.get('serving_image', '')[:16]}, "
                            f"{device.metrics['learner_samples_total']:.0f} samples learned (v3 began at {samples[name]:.0f})")

    def refused_models(self):
        self.title("4  v4 tampered with in one byte, v5 below the floor, v6 signed by an unknown key: refused")
        at = self.desk.tamper("v4")
        self.screen.say(f"one bit of byte {at} of v4.dpkg flipped after it was signed")
        self.desk.publish("v4", verify=False)
        self.expect_end(MOTES, "v4", "rejected", ("bad_block", "bad_digest"))
        self.desk.publish("v5")
        self.expect_end(MOTES, "v5", "rejected", ("below_floor",))
        self.desk.publish("v6", verify=False)
        self.expect_end(MOTES, "v6", "rejected", ("unknown_key",))
        self.expect(MOTES, "v2 still serves", lambda d: d.serving == "v2", 5)

    def interrupted(self):
        in_transfer, in_trial = "mote-3", "mote-4"
        self.title(f"5  v7: {in_transfer} is killed in mid-transfer, {in_trial} in mid-trial; then the broker goes away")
        held = self.desk.publish("v7", held_back=True)
        blocks = sorted(t for t in held if "/pkg/" in t and not t.endswith("/manifest"))
        late = blocks[len(blocks) // 2:]
        first = [(t, p) for t, p in held.items() if t not in late]
        self.broker.forward(sorted(first, key=lambda m: "/offer/" in m[0]))
        self.expect(MOTES, "transferring v7", lambda d: d.update.get("state") == "transferring" and d.update.get("blocks_total", 0) > 1, 10)
        self._kill(in_transfer, f"with {len(blocks) - len(late)} of {len(blocks)} blocks on the broker")
        self.broker.forward([(t, held[t]) for t in late])
        self.fleet.start(in_transfer)
        self.expect([in_trial], "v7 on trial", lambda d: d.steps("v7", "trial"), 15)
        self._kill(in_trial, "in the trial of v7")
        self.fleet.start(in_trial)
        self.expect_end(MOTES, "v7", "confirmed", timeout_s=30)
        self.expect(MOTES, "v7 serves", lambda d: d.serving == "v7", 10)  # said in a message of its own
        for name, what in ((in_transfer, "kill in transfer"), (in_trial, "kill in trial")):
            self.outcome[name]["recovered"].append(what)

    def _kill(self, name, when):
        with self.eyes.changed:
            serving = self.device(name).serving
        self.fleet.kill(name)
        self.screen.say(f"{name}: SIGKILL {when}; it served {serving}")
        self.expect([name], "offline, said by its will", lambda d: not d.online, 10)

    def outage(self, seconds=5):
        with self.eyes.changed:
            before = {n: (d.metrics.get("learner_samples_total", 0), d.late, d.serving) for n, d in self.eyes.devices.items()}
        self.screen.say(f"the broker is stopped for {seconds} s; everybody learns on")
        self.processes.stop("broker-main", signal.SIGTERM)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.processes.check()
            self.screen.refresh()
            time.sleep(0.1)
        self.broker.start()
        self.expect(MOTES, "back, the backlog arrived, nothing missing",
                    lambda d: d.online and d.late > before[d.name][1] and d.metrics.get("backlog_entries") == 0 and d.lost() == 0
                    and d.metrics["learner_samples_total"] != before[d.name][0] and d.serving == before[d.name][2], 40)
        for name in MOTES:
            device = self.device(name)
            self.outcome[name]["recovered"].append("broker outage")
            self.screen.say(f"{name}: back, {device.late - before[name][1]} messages by the backlog, none lost, "
                            f"{device.metrics['learner_samples_total']:.0f} samples learned by now, still {device.serving}")

    def end_of_events(self):
        """Step 1's measures need the streams to have passed the labelled events."""
        last = {n: max((i for i, label in enumerate(self.fleet.labels[n]) if label), default=0) + 60 for n in MOTES}
        self.title("   measures: forecast against the trivial rival, labelled anomalies")
        self.expect(MOTES, "its stream has passed the labelled event", lambda d: d.metrics.get("learner_last_sample_id", 0) > last[d.name], 60)
        self.expect(MOTES, "forecast error below the trivial rival's",
                    lambda d: d.metrics.get("prequential_mae", 1) < d.metrics.get("trivial_mae", 0), 20)

    def detection(self, name):
        """(delay in readings or None, false alarms per thousand readings) of one device."""
        labels = self.fleet.labels[name]
        device = self.device(name)
        event = [i for i, label in enumerate(labels) if label]
        window = range(event[0], event[-1] + 60) if event else range(0)
        raised = sorted({e["sample_id"] for e in device.events if e.get("kind") == "anomaly_raised"})
        hits = [s for s in raised if s in window]
        samples = max(1, device.metrics.get("learner_last_sample_id", 1))
        return (hits[0] - event[0] if hits else None), 1000 * sum(s not in window for s in raised) / samples

    def result(self):
        """The outcome, as --json writes it."""
        devices = {}
        for name in MOTES:
            device = self.device(name)
            metrics = device.metrics
            devices[name] = {**self.outcome[name], "samples": int(metrics.get("learner_last_sample_id", -1)) + 1,
                             "mae": metrics.get("prequential_mae"), "trivial_mae": metrics.get("trivial_mae"),
                             "anomaly_auc": metrics.get("anomaly_auc_ratio") if any(self.fleet.labels[name]) else None,
                             "backlog_lost": device.lost()}
        return {"devices": devices}

    def play(self):
        self.first_model()
        self.better_model()
        self.worse_model()
        self.refused_models()
        self.interrupted()
        self.outage()
        self.end_of_events()
