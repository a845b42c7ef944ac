"""The operator's desk: keys, trust root, specs, training, packages, all by the dipper command."""
import json

from world import FLEET, run

# Temperature 25 seconds (5 readings) ahead: what a mote can check by itself, 25 seconds late.
SPEC = """format = 1
model_id = "main"
task = "regression"
budget = "256KiB"
min_labels = 30
loss_bound = 0.2

[target]
kind = "feature_ahead"
feature = "temperature"
ahead = 5

[[feature]]
name = "temperature"
unit = "Cel"
type = "numeric"

[[stage]]
kind = "lags"
inputs = ["temperature"]
lags = {lags}
differences = true

[[stage]]
kind = "standard_scaler"
decay = 0.999
clip = 4

[learner]
{learner}

[anomaly]

[pending]
capacity = {waiting}
"""
RLS = 'kind = "rls"\nforgetting = 0.9995'
STUBBORN = 'kind = "rls"\nforgetting = 1'
# name: (lags, learner, security version, recording it was trained on, signing key, what it is)
MODELS = {
    "v1": ("[1, 2, 3]", RLS, 1, "mote-2", "release", "temperature 25 s ahead, from three lags"),
    "v2": ("[1, 2, 4, 8, 16]", RLS, 2, "mote-2", "release", "better: five lags, further back"),
    "v3": ("[1, 2, 4, 8, 16]", STUBBORN, 3, "swapped", "release",
           "worse: trained on a file whose first column was taken for the temperature, and slow to forget"),
    "v4": ("[1, 2, 3, 6]", RLS, 3, "mote-2", "release", "good, but one byte is changed on the way"),
    "v5": ("[1, 2]", RLS, 1, "mote-2", "release", "good, but older than the devices accept"),
    "v6": ("[2, 4, 6]", RLS, 3, "mote-2", "stranger", "signed by a key that nobody trusts"),
    "v7": ("[1, 2, 4, 8, 16]", RLS, 3, "mote-3", "release", "good: v2 trained on another mote's recording"),
}
ROLES = ("root", "release", "rollout", "command")
# The gate confirms what is not worse by more than a twentieth of a degree, and drops what is shown to be. Without the veto on alarms, which would
# find v3 before its losses do: losses are what this story is about.
GATE = ("--gate-margin", 0.05, "--gate-max-alarm-excess", 0, "--gate-warmup-samples", 24, "--gate-deadline-samples", 1500, "--gate-deadline-seconds", 40)


class Desk:
    def __init__(self, folder, binaries, broker, devices_folder):
        self.folder, self.broker, self.devices_folder = folder, broker, devices_folder
        self.program = binaries / "dipper"
        self.root = folder / "root.dproot"
        self.digests = {}
        folder.mkdir(parents=True, exist_ok=True)

    def dipper(self, *argv):
        return run(self.program, *argv).decode()

    def key(self, name):
        return self.folder / f"{name}.key"

    def make_trust(self):
        for role in ROLES + ("stranger",):
            self.dipper("key", "new", "--out", self.key(role))
        self.dipper("root", "new", *[o for role in ROLES for o in (f"--{role}-key", self.key(role))], "--out", self.root)

    def _recording(self, name):
        if name != "swapped":
            return self.devices_folder / name / "history.csv"
        file = self.folder / "swapped.csv"
        header, *rows = (self.devices_folder / "mote-2" / "history.csv").read_text().splitlines()
        columns = header.split(",")
        at, to = columns.index("reading"), columns.index("temperature")
        columns[at], columns[to] = columns[to], columns[at]
        file.write_text("\n".join([",".join(columns)] + rows) + "\n")
        return file

    def make_package(self, name):
        lags, learner, security, recording, key, notes = MODELS[name]
        spec, image, package = (self.folder / f"{name}.{end}" for end in ("toml", "dimg", "dpkg"))
        # v7 keeps more samples waiting than it needs: a larger image, so that its transfer takes several blocks.
        spec.write_text(SPEC.format(lags=lags, learner=learner, waiting=1024 if name == "v7" else 64))
        data = self._recording(recording)
        self.dipper("train", "--spec", spec, "--data", data, "--out", image)
        self.digests[name] = self.dipper("package", "build", "--spec", spec, "--image", image, "--name", "forecast", "--version", name,
                                         "--security-version", security, "--self-test", data, "--notes", notes, *GATE,
                                         "--out", package).strip()
        self.dipper("package", "sign", package, "--key", self.key(key))
        return package

    def tamper(self, name):
        """Flips one bit in the last block of a signed package; returns which byte."""
        file = self.folder / f"{name}.dpkg"
        content = bytearray(file.read_bytes())
        at = len(content) - 20
        content[at] ^= 1
        file.write_bytes(content)
        return at

    def publish(self, name, to="fleet", held_back=False, verify=True):
        """Publishes a package and its offer. held_back: on the desk's own broker, for the demo to forward; returns the
        retained messages then. verify False: although devices will refuse it."""
        access = ["--broker", f"mqtt://127.0.0.1:{self.broker.desk_port}"] if held_back else self.broker.access("desk")
        said = self.dipper("publish", self.folder / f"{name}.dpkg", *access, "--fleet", FLEET, "--to", to, "--rollout-key", self.key("rollout"),
                           "--root", self.root, "--json", *([] if verify else ["--no-verify"]))
        sent = json.loads(said)
        return self.broker.taken_from_desk(sent["blocks"] + 1 + len(sent["topics"])) if held_back else None
