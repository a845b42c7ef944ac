"""Node-RED reads the JSON mirror of a real agent: the flow of docs/how-to/node-red.md, run by a real Node-RED.

It is installed by npm into $DIPPER_TEST_CACHE (default: ~/.cache/dipper/tests), never into the tree. Without node, npm or a registry that
answers the test is skipped (77) with the reason.

usage: node_red_test.py AGENT DIPPER PAGE
"""
import json
import os
import re
import shutil
import subprocess
import sys
import time
import unittest
import urllib.request
from pathlib import Path

from world import HAS_BROKER, NO_BROKER, TelemetryCase, end_with_parent
from streams import free_port  # noqa: I100

VERSION = "3.1.15"
SKIPPED = 77


def find_node_red():
    """The folder of node_modules, or why there is none."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            return None, f"{program} is not installed"
    if not HAS_BROKER:
        return None, NO_BROKER
    cache = Path(os.environ.get("DIPPER_TEST_CACHE") or Path.home() / ".cache/dipper/tests") / f"node-red-{VERSION}"
    started = cache / "node_modules/node-red/red.js"
    if not started.exists():
        cache.mkdir(parents=True, exist_ok=True)
        try:
            done = subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--no-update-notifier", "--omit=dev", "--ignore-scripts",
                                   f"node-red@{VERSION}"], cwd=cache, capture_output=True, text=True, timeout=420)
        except subprocess.TimeoutExpired:
            return None, "npm did not get Node-RED within 7 minutes"
        if done.returncode or not started.exists():
            return None, "npm cannot get Node-RED: " + (done.stderr.strip().splitlines() or ["no message"])[-1][:200]
    return started, ""


class NodeRedTest(TelemetryCase):
    def start_node_red(self, flow):
        folder = self.device.home / "node-red"
        folder.mkdir()
        (folder / "flows.json").write_text(json.dumps(flow))
        (folder / "settings.js").write_text('module.exports = {uiHost: "127.0.0.1", flowFile: "flows.json", credentialSecret: false,'
                                            ' disableEditor: true, telemetry: {enabled: false}, logging: {console: {level: "info"}}};\n')
        port = free_port()
        log = open(folder / "log.txt", "wb")
        with log:
            process = subprocess.Popen(["node", str(self.node_red), "--userDir", str(folder), "-p", str(port)], stdout=log, stderr=log,
                                       env={**os.environ, "HOME": str(folder), "NODE_RED_HOME": str(self.node_red.parent)}, preexec_fn=end_with_parent)
        self.device.running.append(process)
        self.until(lambda: "Connected to broker" in (folder / "log.txt").read_text(), "Node-RED is connected", 120)
        return port, folder

    def test_the_flow_of_the_page(self):
        broker = self.broker()
        self.source('kind = "socket"\npath = "samples.sock"')
        flow = json.loads(re.search(r"```json\n(.*?)```", Path(self.page).read_text(), re.S).group(1))
        for node in flow:
            if node["type"] == "mqtt-broker":
                node["broker"], node["port"] = "127.0.0.1", str(broker.port)
        port, folder = self.start_node_red(flow)
        package = self.spec_package(features=("flow", "pressure"), more="[anomaly]\nhold = 0\nraise = 0.999\nclear = 0.9\n")
        self.device.start()
        self.device.ask("install", package)
        writer = self.writer(self.device.home / "samples.sock")

        def say(samples, flow_now=None):
            for _ in range(samples):
                n = self.number = getattr(self, "number", -1) + 1
                writer.ask({"id": n, "flow": 10 + n * 37 % 11 / 10 if flow_now is None else flow_now, "pressure": 3 + n * 53 % 7 / 10})
        for _ in range(100):
            say(50)
            if self.champion() == "1":
                break
            time.sleep(0.05)
        say(2500)
        say(10, 80)
        self.until(lambda: self.events(broker, "anomaly_raised"), "an alarm")

        def read():
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/dipper", timeout=10) as answer:
                return json.load(answer)
        alarm = self.events(broker, "anomaly_raised")[-1]
        self.until(lambda: "gw-1" in read() and read()["gw-1"].get("alarm", {}).get("alarm") == alarm["alarm"], "Node-RED has the alarm")
        self.until(lambda: read()["gw-1"].get("samples", 0) >= 2500, "Node-RED has the metrics")
        device = read()["gw-1"]
        self.assertEqual(device["state"], "online")
        self.assertEqual(device["alarm"]["severity"], alarm["severity"])
        self.assertGreater(device["memory_available"], 0)
        print("\nNode-RED", VERSION, "read from the mirror:", json.dumps(read(), indent=1), file=sys.stderr)
        self.device.stop()
        self.until(lambda: read()["gw-1"]["state"] == "offline", "Node-RED sees the device go")
        log = (folder / "log.txt").read_text()
        self.assertNotIn("[error]", log, log)


if __name__ == "__main__":
    TelemetryCase.agent, TelemetryCase.dipper, NodeRedTest.page = sys.argv[1:4]
    NodeRedTest.node_red, why = find_node_red()
    if NodeRedTest.node_red is None:
        print("SKIPPED, not passed:", why)
        sys.exit(SKIPPED)
    unittest.main(argv=[sys.argv[0], *sys.argv[4:]], verbosity=2)
