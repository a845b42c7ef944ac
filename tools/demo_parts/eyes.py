"""The demo's only eyes: one `dipper watch --json`, whose lines are kept per device."""
import json
import subprocess
import threading
import time

from world import FLEET, MOTES, Trouble


class Device:
    """What one device has said of itself. Written by the reader thread, under Eyes.changed."""

    def __init__(self, name):
        self.name = name
        self.online = False
        self.metrics = {}       # newest value by name
        self.update = {}        # newest update status
        self.events = []        # every event, in the order of arrival
        self.sequences = {}     # session -> numbers seen
        self.late = 0           # messages that came by the backlog

    @property
    def serving(self):
        return self.update.get("serving.version", "")

    def steps(self, version, to=None, since=0):
        """Update steps of one package, by its version."""
        return [e for e in self.events[since:] if e.get("kind") == "update_step" and e.get("package.version") == version
                and (to is None or e.get("to") == to)]

    def ended(self, version, since=0):
        """(state, reason) in which the update to `version` ended, or None."""
        for event in reversed(self.steps(version, since=since)):
            if event["to"] in ("confirmed", "fell_back", "rejected", "failed"):
                return event["to"], event.get("reason", "none")
        return None

    def ended_offer(self, digest, since=0):
        """The same by package digest: a package whose head was refused has no version that can be believed."""
        for event in reversed(self.events[since:]):
            if event.get("kind") == "update_step" and event.get("package.digest") == digest and event["to"] in ("rejected", "failed", "confirmed", "fell_back"):
                return event["to"], event.get("reason", "none")
        return None

    def lost(self):
        """Numbered messages that never came: gaps between the first and the last of each run of the agent."""
        return sum(max(seen) - len(seen) for seen in self.sequences.values() if seen)

    def describe(self):
        update = self.update
        ends = [f"{e.get('package.version', '?')}:{e['to']}({e.get('reason', 'none')})" for e in self.events if e.get("kind") == "update_step"][-4:]
        return (f"{'online' if self.online else 'offline'}, serving {self.serving or 'nothing'}, update {update.get('state', 'unknown')} "
                f"{update.get('reason', '')}, blocks {update.get('blocks_done', 0)}/{update.get('blocks_total', 0)}, "
                f"{self.metrics.get('learner_samples_total', 0):.0f} samples, last steps {' '.join(ends) or 'none'}")


class Eyes:
    def __init__(self, processes, program, broker):
        self.devices = {name: Device(name) for name in MOTES}
        self.changed = threading.Condition()
        self.processes = processes
        # A lasting session: what devices say while the broker restarts comes afterwards.
        process = processes.start("eyes", program, "watch", "--fleet", FLEET, *broker.access("eyes"),
                                  "--session", "dipper-demo-eyes", "--json", stdout=subprocess.PIPE)
        self.transcript = open(processes.logs / "watch.jsonl", "w", encoding="utf-8")
        threading.Thread(target=self._read, args=(process.stdout,), daemon=True).start()
        for _ in range(100):
            if "watching" in (processes.logs / "eyes.log").read_text():
                return
            processes.check()
            time.sleep(0.05)
        raise Trouble(f"dipper watch did not come up within 5 s; see {processes.logs}/eyes.log")

    def _read(self, stream):
        for raw in stream:
            text = raw.decode(errors="replace")
            self.transcript.write(text)
            self.transcript.flush()
            try:
                line = json.loads(text)
            except ValueError:
                continue
            with self.changed:
                device = self.devices.get(line.get("device", ""))
                if device and isinstance(line.get("message"), dict):
                    self._take(device, line["kind"], line["message"])
                self.changed.notify_all()

    @staticmethod
    def _take(device, topic, message):
        session = message.get("session")
        if message.get("sequence"):
            device.sequences.setdefault(session, set()).add(message["sequence"])
        if topic == "backlog":
            device.late += 1
        if topic == "state":
            device.online = message.get("state") == "online"
            if not device.online:  # what it says of its backlog when it is back is what counts
                device.metrics.pop("backlog_entries", None)
        elif topic == "update":
            device.update = message
        elif topic in ("event", "backlog") and "kind" in message:
            device.events.append(message)
        elif topic == "metrics":
            device.metrics.update({k: v for k, v in message.items() if isinstance(v, (int, float))})

    def wait(self, true, timeout_s, while_waiting=lambda: None):
        """Waits until true() holds; False when it did not within the time. Checks that nothing died meanwhile."""
        end = time.monotonic() + timeout_s
        while True:
            with self.changed:
                if true():
                    return True
                self.changed.wait(0.1)
            self.processes.check()
            while_waiting()
            if time.monotonic() > end:
                return False
