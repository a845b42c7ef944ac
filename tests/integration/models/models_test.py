"""Two models on one dipper-agent, with a real Mosquitto and real packages: updates at once, commands to one of them,
SIGKILL in one's trial, a crash inside one, models in another order, one model gone, slots exchanged.

usage: models_test.py DIPPER_AGENT DIPPER
"""
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "control"))
from device import free_port  # noqa: E402
from listener import listen  # noqa: E402

AGENT, DIPPER = sys.argv[1:3]
SKIPPED = 77
PATIENCE_S = 90  # sanitizers and a busy machine

SPEC = """format = 1
model_id = "{model}"
task = "regression"
budget = "64KiB"
loss_bound = 10.0
[target]
kind = "feature_ahead"
feature = "{feature}"
ahead = 1
[[feature]]
name = "{feature}"
type = "numeric"
{stage}[learner]
kind = "rls"
[pending]
capacity = 8
"""
FAULT = '[[stage]]\nkind = "fault"\nfault = "abort"\nat_sample = {at}\n'
QUICK = ("--gate-margin", 5, "--gate-warmup-samples", 5, "--gate-deadline-samples", 60, "--gate-deadline-seconds", 60)
ENDLESS = ("--gate-margin", 0.001, "--gate-warmup-samples", 1000000, "--gate-deadline-samples", 100000000,
           "--gate-deadline-seconds", 1000000)

HEAD = """[device]
id = "gw-1"
fleet = "plant"
[mqtt]
url = "mqtt://127.0.0.1:{port}"
json_mirror = true
[storage]
boot = "state/boot.img"
data = "state/data.img"
create = true
{forget}[trust]
root = "root.dproot"
[[source]]
kind = "csv_replay"
path = "stream.csv"
rate_hz = 100
[telemetry]
interval_ms = 300
[health]
healthy_after_s = 1
"""
MODEL = """[[model]]
id = "{id}"
slot_a = "state/{slots}_a.img"
slot_b = "state/{slots}_b.img"
max_image_bytes = "64KiB"
slot_bytes = "512KiB"
checkpoint_interval_s = 1
"""


def dipper(*argv, code=0):
    done = subprocess.run([DIPPER, *[str(a) for a in argv]], capture_output=True, text=True, timeout=120)
    if done.returncode != code:
        raise AssertionError(f"dipper {' '.join(str(a) for a in argv)} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


class World:
    """Keys, a trust root, a broker, a stream, packages of two models: made once for all tests."""

    def __init__(self, folder):
        self.folder = folder
        keys = []
        for role in ("root", "release", "rollout", "command"):
            dipper("key", "new", "--out", folder / f"{role}.key")
            keys += [f"--{role}-key", folder / f"{role}.key"]
        dipper("root", "new", *keys, "--out", folder / "root.dproot")
        rows = "".join(f"{i % 7},{(i * 3) % 11}\n" for i in range(60000))
        (folder / "stream.csv").write_text("level,flow\n" + rows)
        (folder / "history.csv").write_text("level,flow\n" + "".join(f"{i % 7},{(i * 3) % 11}\n" for i in range(200)))
        self.digests = {}

    def package(self, model, version, gate, stage=""):
        name = f"{model}-{version}"
        spec, image, package = (self.folder / f"{name}.{end}" for end in ("toml", "dimg", "dpkg"))
        spec.write_text(SPEC.format(model=model, feature="level" if model == "pump" else "flow", stage=stage))
        history = self.folder / "history.csv"
        self_test = [] if stage else ["--self-test", history]
        train = ["train", "--spec", spec, "--data", history, "--out", image]
        if stage:
            short = self.folder / "short.csv"
            short.write_text("level,flow\n" + "".join(f"{i % 7},{(i * 3) % 11}\n" for i in range(20)))
            train[4] = short
        dipper(*train)
        self.digests[name] = dipper("package", "build", "--spec", spec, "--image", image, "--name", model, "--version", version,
                                    "--security-version", 1, *self_test, *gate, "--out", package).strip()
        dipper("package", "sign", package, "--key", self.folder / "release.key")
        return name


class Models(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory(prefix="dipper-models-")
        cls.world = World(Path(cls.temporary.name))
        for model in ("pump", "fan"):
            cls.world.package(model, "v1", QUICK)
            cls.world.package(model, "v2", QUICK)
        cls.world.package("fan", "v3", ENDLESS)

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def setUp(self):
        self.home = Path(tempfile.mkdtemp(prefix="home-", dir=self.world.folder))
        for file in ("root.dproot", "stream.csv"):
            os.link(self.world.folder / file, self.home / file)
        self.port = free_port()
        (self.home / "broker.conf").write_text(f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence false\nlog_type none\n"
                                               + ("user root\n" if os.geteuid() == 0 else ""))
        self.broker = subprocess.Popen([MOSQUITTO, "-c", self.home / "broker.conf"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.wait(self.broker_open, "the broker did not open its port")
        self.log = self.home / "agent.log"
        self.seen = self.home / "seen.txt"
        self.watcher = listen(self.port, self.seen, "-t", "dipper/1/plant/gw-1/json/#", "-F", "%t %p")
        self.agent = None
        self.configure(("pump", "pump"), ("fan", "fan"))

    def tearDown(self):
        for process in (self.agent, self.watcher, self.broker):
            if process is not None and process.poll() is None:
                process.kill()
            if process is not None:
                process.wait()
        shutil.rmtree(self.home)

    def broker_open(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def wait(self, condition, complaint):
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            if condition():
                return
            time.sleep(0.05)
        text = self.log.read_text()[-3000:] if hasattr(self, "log") and self.log.exists() else ""
        self.fail(f"{complaint} within {PATIENCE_S} s\n{text}")

    def configure(self, *models, forget=()):
        names = ", ".join(f'"{name}"' for name in forget)
        text = HEAD.format(port=self.port, forget=f"forget_models = [{names}]\n" if forget else "")
        (self.home / "agent.toml").write_text(text + "".join(MODEL.format(id=id, slots=slots) for id, slots in models))

    def start(self, ready="models run"):
        self.from_byte = self.log.stat().st_size if self.log.exists() else 0
        with open(self.log, "ab") as out:
            self.agent = subprocess.Popen([AGENT, "--config", self.home / "agent.toml"], stderr=out)
        if ready:
            self.wait(lambda: ready in self.said(), f"the agent did not say '{ready}'")

    def said(self):
        """What the agent has said since its last start."""
        return self.log.read_bytes()[self.from_byte:].decode() if self.log.exists() else ""

    def stop(self, how=signal.SIGTERM):
        self.agent.send_signal(how)
        code = self.agent.wait(timeout=60)
        self.agent = None
        return code

    def until(self, text):
        self.wait(lambda: text in self.said(), f"the agent did not say '{text}'")

    def messages(self, leaf):
        """Mirrored messages of a topic below json/, oldest first; what a partial batch of metrics leaves out is as it was."""
        found = []
        for line in self.seen.read_text(errors="replace").splitlines():
            topic, _, text = line.partition(" ")
            if topic == f"dipper/1/plant/gw-1/json/{leaf}":
                message = json.loads(text)
                found.append({**found[-1], **message} if found and message.get("partial") else message)
        return found

    def events(self, model, kind):
        live = self.messages(f"m/{model}/event" if model else "event")
        # What happened before there was a connection comes on the backlog, with the model's name in it.
        stored = [e for e in self.messages("backlog") if e.get("model", "") == model]
        return [e for e in live + stored if e.get("kind") == kind]

    def publish(self, name):
        said = dipper("publish", self.world.folder / f"{name}.dpkg", "--broker", f"mqtt://127.0.0.1:{self.port}", "--fleet", "plant",
                      "--to", "fleet", "--rollout-key", self.world.folder / "rollout.key", "--root", self.world.folder / "root.dproot", "--json")
        return json.loads(said)["topics"]

    def command(self, name, model, code=0):
        said = dipper("command", name, "--broker", f"mqtt://127.0.0.1:{self.port}", "--fleet", "plant", "--device", "gw-1", "--model", model,
                      "--command-key", self.world.folder / "command.key", "--wait", 30, "--json", code=code)
        return json.loads(said)

    def serve(self, model, version):
        self.publish(f"{model}-{version}")
        self.until(f"model {model}: update Trial -> Confirmed")

    def serve_both(self):
        self.start()
        topics = self.publish("pump-v1") + self.publish("fan-v1")
        self.assertEqual(topics, ["dipper/1/plant/offer/all/m/pump", "dipper/1/plant/offer/all/m/fan"])
        for model in ("pump", "fan"):
            self.until(f"model {model}: update Trial -> Confirmed")

    def serving(self, model):
        updates = self.messages(f"m/{model}/update")
        return updates[-1].get("serving.digest") if updates else None

    def test_two_are_updated_at_once_and_told_apart(self):
        self.serve_both()
        for model in ("pump", "fan"):
            digest = self.world.digests[f"{model}-v1"]
            self.wait(lambda: self.serving(model) == digest, f"{model}'s update topic does not name its package")
            self.wait(lambda: self.messages(f"m/{model}/metrics")[-1].get("update_confirms_total") == 1, "no metrics of its own")
            for step in self.events(model, "update_step"):
                self.assertIn(step.get("package.digest", digest), (digest,))
        self.wait(lambda: any(m["slot"] == "a" or m["slot"] == "A" for b in self.messages("birth")[-1:] for m in b["models"]), "no birth")
        birth = self.messages("birth")[-1]
        self.assertEqual([m["id"] for m in birth["models"]], ["pump", "fan"])
        self.assertEqual([[f["name"] for f in m["features"]] for m in birth["models"]], [["level"], ["flow"]])
        self.assertEqual(self.stop(), 0)

    def test_one_falls_back_by_command_while_the_other_confirms(self):
        self.serve_both()
        self.publish("fan-v3")
        self.until("model fan: update Staged -> Trial")
        self.publish("pump-v2")
        self.assertEqual(self.command("fall_back", "fan")["status"], "done")
        self.until("model fan: update Trial -> FellBack (Command)")
        self.until("model pump: update Trial -> Confirmed (")
        self.wait(lambda: self.serving("pump") == self.world.digests["pump-v2"], "pump does not serve its second version")
        self.assertEqual(self.serving("fan"), self.world.digests["fan-v1"])
        self.assertEqual(self.command("undo", "pump")["status"], "done")
        self.wait(lambda: self.serving("pump") == self.world.digests["pump-v1"], "pump was not undone")
        refused = self.command("undo", "valve", code=1)
        self.assertEqual((refused["status"], refused["reason"]), ("refused", "wrong_target"))
        self.assertEqual(self.command("freeze", "fan")["status"], "done")
        self.wait(lambda: len(self.events("fan", "frozen")) == 1, "freezing was not told")
        self.assertEqual(self.events("pump", "frozen"), [])

    def test_killed_while_one_is_in_trial(self):
        self.serve_both()
        self.publish("fan-v3")
        self.until("model fan: update Staged -> Trial")
        self.stop(signal.SIGKILL)
        self.start()
        self.assertIn("the previous run was killed", self.said())
        self.until("model fan: update Staged -> Trial")  # goes on
        self.assertIn("model pump: serving pump v1", self.said())
        self.wait(lambda: self.events("", "reset"), "the reset was not told")
        self.assertEqual(self.events("", "reset")[-1]["reason"], "unknown")
        self.assertEqual(self.stop(), 0)

    def test_another_order_and_one_less(self):
        self.serve_both()
        self.stop()
        self.configure(("fan", "fan"), ("pump", "pump"))
        self.start()
        self.assertIn("model fan: serving fan v1", self.said())
        self.assertIn("model pump: serving pump v1", self.said())
        self.stop()
        self.configure(("fan", "fan"))
        self.start(ready="serving fan v1")
        self.stop()
        self.configure(("valve", "valve"), ("pump", "pump"))
        self.start()
        self.assertIn("model valve: no model yet", self.said())
        self.assertIn("model pump: serving pump v1", self.said())
        self.stop()
        # Four places: pump, fan, valve and one more; the next has to wait until one is given up.
        self.configure(("pump", "pump"), ("motor", "motor"))
        self.start()
        self.stop()
        self.configure(("pump", "pump"), ("gear", "gear"))
        self.start(ready=None)
        self.assertEqual(self.agent.wait(timeout=60), 1)
        self.assertIn("storage.boot has no free place for every model of the configuration; it holds pump, fan, valve, motor", self.said())
        self.configure(("pump", "pump"), ("gear", "gear"), forget=("valve",))
        self.start()
        self.assertIn("forgot model valve", self.said())
        self.assertIn("model pump: serving pump v1", self.said())
        self.stop()
        self.configure(("fan", "fan"), ("pump", "pump"))
        self.start()
        self.assertIn("model fan: serving fan v1", self.said())

    def test_exchanged_slots_are_told_and_change_nothing(self):
        self.serve_both()
        self.stop()
        before = {file.name: file.read_bytes() for file in (self.home / "state").glob("*_*.img")}
        self.configure(("pump", "fan"), ("fan", "pump"))
        self.start(ready=None)
        self.assertEqual(self.agent.wait(timeout=60), 1)
        self.assertIn("model pump: its slots hold a package of model fan; were the paths exchanged", self.said())
        self.assertEqual(before, {file.name: file.read_bytes() for file in (self.home / "state").glob("*_*.img")})
        self.configure(("pump", "pump"), ("fan", "fan"))
        self.start()
        self.assertIn("model pump: serving pump v1", self.said())
        self.assertIn("model fan: serving fan v1", self.said())

    def test_lost_slots_of_one_leave_the_other(self):
        self.serve_both()
        self.stop()
        (self.home / "state/fan_a.img").write_bytes(b"short")
        self.start()
        self.assertIn("model fan does not run; the others go on", self.said())
        self.assertIn("1 of 2 models run", self.said())
        self.wait(lambda: self.events("fan", "storage_error"), "the storage error was not told")
        count = lambda: (self.messages("m/pump/metrics") or [{}])[-1].get("learner_samples_total", 0)
        first = count()
        self.wait(lambda: count() > first, "pump does not learn")

    def test_a_crash_is_blamed_on_the_model_that_ran(self):
        try:
            self.world.package("fan", "crash", ENDLESS, stage=FAULT.format(at=120))
        except AssertionError as error:
            self.skipTest(f"these programs know no fault stage: {error}")
        self.serve_both()
        self.publish("fan-crash")
        self.wait(lambda: self.agent.poll() is not None or "(FaultStage)" in self.said(), "the agent neither crashed nor refused")
        if self.agent.poll() is None:
            self.skipTest("this agent refuses fault stages: not a test build")
        self.assertEqual(self.agent.returncode, -signal.SIGABRT)
        self.start()
        self.assertIn("crashed by signal 6 inside model fan", self.said())
        # Three tries; each crash counts against fan alone.
        for _ in range(4):
            if "model fan: update Trial -> FellBack (Crash)" in self.log.read_text():
                break
            self.wait(lambda: self.agent.poll() is not None, "it did not crash again")
            self.start()
        self.assertIn("model fan: update Trial -> FellBack (Crash)", self.log.read_text())
        self.assertIn("model pump: serving pump v1", self.said())
        self.assertIn("model fan: serving fan v1", self.said())
        self.assertNotIn("model pump: update", self.said().replace("model pump: update Idle -> Idle", ""))
        self.wait(lambda: self.events("", "reset"), "the crash was not told")
        self.assertEqual(self.events("", "reset")[-1]["reason"], "crash")
        self.assertEqual(self.events("", "reset")[-1]["package.digest"], self.world.digests["fan-crash"])
        self.assertEqual(self.events("pump", "rung"), [])


if __name__ == "__main__":
    MOSQUITTO = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
    if not Path(MOSQUITTO).exists() or not shutil.which("mosquitto_sub"):
        print("skipped: mosquitto and mosquitto-clients are not installed; tools/setup installs them")
        sys.exit(SKIPPED)
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=2)
