"""A device with a broker whose every message is kept, and readers of what was sent: mirror and FlatBuffers."""
import json
import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "sources"))
from streams import CONFIRMS, FEATURE, HAS_BROKER, NO_BROKER, Broker, SourceCase, end_with_parent, listen  # noqa: E402,F401

SPEC = """format = 1
model_id = "{model}"
task = "{task}"
seed = 1
budget = "{budget}"
loss_bound = 1.0
min_labels = 20
[target]
{target}
{features}
[learner]
{learner}
"""


def envelope(payload):
    """(kind, session, sequence) of a FlatBuffers message; the envelope is the first field of every table."""
    def table(at):
        vtable = at - struct.unpack_from("<i", payload, at)[0]
        size = struct.unpack_from("<H", payload, vtable)[0]

        def field(slot):
            place = vtable + 4 + 2 * slot
            offset = struct.unpack_from("<H", payload, place)[0] if place < vtable + size else 0
            return at + offset if offset else None
        return field
    root = table(struct.unpack_from("<I", payload, 0)[0])
    place = root(0)
    inner = table(place + struct.unpack_from("<I", payload, place)[0])

    def number(slot):
        return struct.unpack_from("<Q", payload, inner(slot))[0] if inner(slot) else 0
    return payload[4:8].decode(), number(1), number(2)


class Recording:
    """Every message on the broker as (topic, bytes). Started anew with each start of the broker; the same file goes on where it was."""

    def __init__(self, broker, path, topic="#"):
        self.path = Path(path)
        self.process = listen(broker.port, self.path, "-t", topic, "-F", "%r %t %x")

    def stop(self):
        self.process.terminate()
        self.process.wait()

    def messages(self):
        found = []
        for line in self.path.read_text().splitlines():
            retained, topic, *payload = line.split(" ")
            if len(payload) == 1 and len(payload[0]) % 2 == 0:
                found.append((topic, bytes.fromhex(payload[0]), retained == "1"))
        return found

    def json(self, end):
        return [json.loads(payload) for topic, payload, _ in self.messages() if topic.endswith(end) and payload]


class TelemetryCase(SourceCase):
    def spec_package(self, model="main", task="anomaly", target='kind = "none"', learner='kind = "half_space_trees"', features=("flow", "pressure"),
                     more="", budget="64KiB", version="1", gate=None):
        spec = self.device.home / f"{model}-{version}.toml"
        spec.write_text(SPEC.format(model=model, task=task, budget=budget, target=target, learner=learner,
                                    features="".join(FEATURE.format(name) for name in features)) + more)
        path = self.device.home / f"{model}-{version}.dpkg"
        # A model without labels has no losses: its trial ends by time.
        gate = gate or [*(word if word != "4.9" else "0.9" for word in CONFIRMS), "--gate-deadline-seconds", "2"]
        self.device.dipper("package", "build", "--spec", spec, "--fresh", "--name", model, "--version", version, "--security-version", version,
                           *gate, "--out", path)
        self.device.dipper("package", "sign", path, "--key", self.device.home / "release.key")
        return path

    def events(self, broker, kind, model="main"):
        return [m for m in broker.said(f"json/m/{model}/event" if model else "json/event") if m["kind"] == kind]

    def set(self, *replace):
        self.device.write_config(replace=replace)
