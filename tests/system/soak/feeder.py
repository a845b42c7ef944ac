"""A sensor of a soak: a thread that writes samples and late labels to the agent's socket at a fixed rate, whatever happens to the agent, and
notes who answered and how long that took."""
import json
import random
import select
import socket
import threading
import time
from collections import deque

from rules import Answers

NORMAL_DELAY = 1  # samples until a label comes


class Feeder(threading.Thread):
    def __init__(self, path, rate_hz, seed):
        super().__init__(daemon=True)
        self.path, self.period = str(path), 1.0 / rate_hz
        self.chance = random.Random(seed)
        self.ended = threading.Event()
        self.delay = NORMAL_DELAY      # None: no labels
        self.connection = None
        self.out = b""
        self.rest = b""
        self.labels = deque()
        self.answers = Answers()
        self.taken = []                # (time, seconds) of every answer
        self.prefixes = {}             # first digits of packages that answered -> answers; emptied by its reader
        self.count = {"sent": 0, "answered": 0, "learned": 0, "missed": 0, "no_model": 0, "errors": 0}
        self.other = {}                # errors by name
        self.lock = threading.Lock()
        self.last_answer = time.monotonic()
        self.no_model_at = 0.0
        self.trouble = None

    def run(self):
        try:
            self.feed()
        except Exception as error:  # pylint: disable=broad-except
            self.trouble = repr(error)
            raise

    def feed(self):
        due, number = time.monotonic(), 0
        while not self.ended.is_set():
            number += 1
            due += self.period
            self.sample(number)
            while True:
                self.exchange(max(0.0, due - time.monotonic()))
                if time.monotonic() >= due or self.ended.is_set():
                    break
            if time.monotonic() > due + 1.0:  # the machine was busy: no burst afterwards
                due = time.monotonic()

    def sample(self, number):
        left, right = self.chance.uniform(-1, 1), self.chance.uniform(-1, 1)
        load = 2 * left - right + self.chance.gauss(0, 0.05)
        if self.connection is None and not self.connect():
            self.count["missed"] += 1
            return
        if len(self.out) > 1 << 16:  # held back: the sensor drops
            self.count["missed"] += 1
            return
        self.out += json.dumps({"id": number, "left": round(left, 5), "right": round(right, 5)}).encode() + b"\n"
        self.answers.sent(number, time.monotonic())
        self.count["sent"] += 1
        delay = self.delay
        if delay is None:
            return
        self.labels.append((number, round(load, 5)))
        while self.labels and self.labels[0][0] <= number - delay:
            label = self.labels.popleft()
            self.out += json.dumps({"id": label[0], "label": label[1]}).encode() + b"\n"

    def connect(self):
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(self.path)
        except OSError:
            connection.close()
            return False
        connection.setblocking(False)
        self.connection, self.out, self.rest = connection, b"", b""
        self.labels.clear()
        return True

    def drop(self):
        self.answers.ended()
        self.connection.close()
        self.connection = None

    def exchange(self, seconds):
        if self.connection is None:
            time.sleep(seconds)
            return
        try:
            readable, writable, _ = select.select([self.connection], [self.connection] if self.out else [], [], seconds)
            if writable:
                self.out = self.out[self.connection.send(self.out):]
            if readable:
                data = self.connection.recv(1 << 16)
                if not data:
                    self.drop()
                    return
                *lines, self.rest = (self.rest + data).split(b"\n")
                for line in lines:
                    self.answer(json.loads(line))
        except BlockingIOError:
            pass
        except OSError:
            self.drop()

    def answer(self, answer):
        now = time.monotonic()
        if "prediction" in answer:
            with self.lock:
                begin = self.answers.came(answer["id"])
                if begin is not None:
                    self.taken.append((now, now - begin))
                self.prefixes[answer["package"]] = self.prefixes.get(answer["package"], 0) + 1
            self.count["answered"] += 1
            self.last_answer = now
        elif answer.get("learned"):
            self.count["learned"] += 1
        elif answer.get("error") == "no_model":
            self.count["no_model"] += 1
            self.no_model_at = now
        else:
            self.count["errors"] += 1
            self.other[answer.get("error")] = self.other.get(answer.get("error"), 0) + 1

    def who_answered(self):
        with self.lock:
            prefixes, self.prefixes = self.prefixes, {}
        return prefixes

    def close(self):
        self.ended.set()
        self.join()
