"""A device whose agent runs under a supervisor that keeps systemd's promises: it listens at NOTIFY_SOCKET and ends by SIGABRT who does not
pat in time."""
import json
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "integration/control"))
from device import CONFIRMS, LASTS, Device  # noqa: E402, F401

FAULT = '[[stage]]\nkind = "fault"\nfault = "{}"\nat_sample = {}\nvalue = {}\n'


class Supervisor:
    """One socket, one thread; `heard` holds every message with its time."""

    def __init__(self, folder):
        self.path = str(folder / "notify.sock")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.settimeout(0.05)
        self.heard = []
        self.process = None
        self.period = 0
        self.ended = threading.Event()
        self.killed = 0
        self.thread = threading.Thread(target=self.listen, daemon=True)
        self.thread.start()

    def listen(self):
        while not self.ended.is_set():
            try:
                self.heard.append((time.monotonic(), self.socket.recv(4096).decode()))
            except TimeoutError:
                pass
            self.judge()

    def judge(self):
        """As systemd: the time runs from READY on, and only while the service runs."""
        process = self.process
        alive = [at for at, text in self.heard if text in ("READY=1", "WATCHDOG=1")]
        if not self.period or process is None or process.poll() is not None or not alive or "STOPPING=1" in self.messages():
            return
        if time.monotonic() - alive[-1] > self.period:
            self.killed += 1
            self.process = None
            process.send_signal(signal.SIGABRT)

    def watch(self, process):
        self.process = process

    def environment(self, period):
        self.heard.clear()
        self.period = period
        return {"NOTIFY_SOCKET": self.path, "WATCHDOG_USEC": str(int(period * 1e6))}

    def messages(self):
        return [text for _, text in self.heard]

    def close(self):
        self.ended.set()
        self.thread.join()
        self.socket.close()


class Supervised(Device):
    def __init__(self, agent, dipper, **more):
        super().__init__(agent, dipper, **more)
        self.supervisor = Supervisor(self.home)

    def start(self, environment=None, wait=True, period=0):
        more = self.supervisor.environment(period) if period else {}
        # No core files of the crashes that are the point here; sanitizers must not take the signals.
        self.supervisor.watch(None)
        process = super().start({**more, **(environment or {})}, wait=False)
        if period:
            self.supervisor.watch(process)
        if wait:
            self.until(lambda: self.answers(), "the agent answers")
        return process

    def answers(self):
        asked = self.ask("status")
        return asked.returncode == 0 and "running for" in asked.stdout

    def champion(self, **more):
        """A first model, confirmed."""
        package, digest = self.package("pump", "1", CONFIRMS, **more)
        done = self.ask("install", package, "--wait")
        assert done.returncode == 0, done.stdout + done.stderr + self.log_text()[-2000:]
        assert self.status()["champion"]["digest"] == digest
        return digest

    def challenger(self, version="2", stages="", gate=LASTS, **more):
        package, digest = self.package("pump", version, gate, stages=stages, **more)
        done = self.ask("install", package)
        return digest, done

    def events(self, kind=None):
        lines = self.ask("log", "-n", "100000", "--json").stdout.splitlines()
        events = [json.loads(line).get("event", {}) for line in lines]
        return [event for event in events if kind is None or event.get("kind") == kind]

    def close(self):
        self.supervisor.close()
        super().close()
