"""Several sources as one sample, through the real agent: a socket gives the tick, a broker and the machine itself contribute.

usage: join_test.py AGENT DIPPER [unittest arguments]
"""
import time
import unittest

from streams import CLASSES, HAS_BROKER, NO_BROKER, SourceCase, run

SOURCES = """[[source]]
kind = "socket"
path = "tank.sock"
columns = ["level", "state"]
[[source]]
kind = "socket"
name = "pump"
path = "pump.sock"
columns = ["flow", "temperature_celsius"]
max_age_ms = {age}
[[source]]
kind = "system"
columns = ["load_1m", "temperature_celsius"]
rate_hz = 20
[join]
primary = "socket"
missing = "{missing}"
"""


class JoinTest(SourceCase):
    def start(self, age, missing="values", more="", features=("level", "flow", "load_1m", "pump.temperature_celsius")):
        self.source(SOURCES.format(age=age, missing=missing) + more)
        package = self.package(features, **CLASSES)
        self.device.start()
        tank, pump = self.writer(self.device.home / "tank.sock"), self.writer(self.device.home / "pump.sock")
        self.install(package)
        return tank, pump

    def test_the_newest_of_each_and_nothing_stale(self):
        tank, pump = self.start(age=0)
        pump.say("temperature_celsius,flow", "40.5,2", "41.5,3")
        number = self.confirm_by(tank.ask)
        for step in range(100):
            pump.say(f"41,{step}")
            answer = tank.ask({"id": number + step, "level": step % 7, "state": "on" if step % 7 > 3 else "off"})
        self.assertEqual((answer["id"], answer["prediction"]), (number + 99, "on" if 99 % 7 > 3 else "off"))
        # A late label by the other connection, which only the other one hears of.
        self.assertIn("prediction", tank.ask({"id": number + 100, "level": 6}))
        other = self.writer(self.device.home / "pump.sock")
        self.assertEqual(other.ask({"id": number + 100, "label": "on"})["learned"], True)
        self.assertEqual(tank.ask({"id": number + 101, "level": 0})["prediction"], "off")
        self.assertIn("socket", self.device.ask("status").stdout)
        self.device.stop()

    @unittest.skipUnless(HAS_BROKER, NO_BROKER)
    def test_a_sample_is_left_out_when_a_source_is_silent(self):
        broker = self.broker()
        tank, pump = self.start(age=300, missing="sample")
        self.until(lambda: "connected to" in self.device.log_text(), "the agent is connected")
        pump.say("flow,temperature_celsius", "1,40")
        tank.say('{"level":1,"state":"off"}')
        time.sleep(0.5)  # the pump says nothing more
        tank.say(*('{"level":1,"state":"off"}' for _ in range(50)))
        self.until(lambda: (self.metric(broker, "join_skipped_total", "metrics") or 0) >= 50, "they are left out and counted")
        self.assertGreaterEqual(self.metric(broker, "join_stale_total", "metrics"), 50)
        tank.socket.setblocking(False)
        with self.assertRaises(OSError):
            tank.socket.recv(1000000) and tank.socket.recv(1000000)  # at most the first was answered
        self.device.stop()


if __name__ == "__main__":
    run()
