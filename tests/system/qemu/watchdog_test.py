"""The machine's watchdog for real: the agent in a whole emulated machine with the watchdog card i6300esb pats /dev/watchdog through the kernel's
driver. Frozen, the machine resets and the agent says why afterwards; stopped as planned, it does not.

usage: watchdog_test.py DIPPER_AGENT DIPPER

The agent is one without sanitizers: the machine has no hardware to run on.
"""
import json
import sys
import tempfile
import time
import unittest
from pathlib import Path

import machine
from machine import Machine, Missing, add_program
from device import Device

AGENT, DIPPER = sys.argv[1:3]
WATCHDOG_S = 6
# The card counts down two halves, and the kernel's driver rounds them.
EARLIEST_S, LATEST_S = WATCHDOG_S - 1.5, WATCHDOG_S + 3
# Long enough for an untouched watchdog to reset the machine, boot included or not.
QUIET_S = WATCHDOG_S * 2


class Watchdog(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory(prefix="dpr-qemu-")
        self.addCleanup(self.temporary.cleanup)
        folder = Path(self.temporary.name)
        device = Device(AGENT, DIPPER)
        self.addCleanup(device.close)
        device.write_config(replace=[
            ("[telemetry]", f'[watchdog]\ndevice = "/dev/watchdog"\ntimeout_s = {WATCHDOG_S}\n[telemetry]')])
        add_program(AGENT, device.home)
        (device.home / "machine").mkdir()
        self.machine = Machine(folder, device.home)
        self.addCleanup(self.machine.close)
        self.machine.start()

    def guest(self, command, expected=0):
        code, said = self.machine.run(command)
        self.assertEqual(code, expected, f"{command}: {said}\n{self.log()}")
        return said

    def log(self):
        return self.machine.run("busybox cat /data/agent.log")[1][-3000:]

    def agent(self, arguments):
        return f"LD_LIBRARY_PATH=/data/lib /data/bin/dipper-agent {arguments} --config /data/agent.toml"

    def start_agent(self):
        """As a service manager does; its process id."""
        self.guest(f"({self.agent('')} >> /data/agent.log 2>&1 & echo $! > /tmp/pid)")
        deadline = time.monotonic() + 20
        while "running for" not in self.machine.run(self.agent("status") + " 2>&1")[1]:
            self.assertLess(time.monotonic(), deadline, "the agent does not answer: " + self.log())
            time.sleep(0.1)
        return self.guest("busybox cat /tmp/pid").strip()

    def stop_agent(self, process):
        self.guest(f"kill -TERM {process}; while kill -0 {process} 2>/dev/null; do busybox usleep 50000; done")

    def stays_up(self, seconds, boots):
        time.sleep(seconds)
        self.assertEqual(self.machine.boots, boots, "the machine was reset")
        self.guest("true")

    def resets(self):
        lines = self.guest(self.agent("log -n 1000 --json")).splitlines()
        events = [json.loads(line).get("event", {}) for line in lines]
        return [(event["reason"], event.get("detail")) for event in events if event.get("kind") == "reset"]

    def test_who_resets_the_machine_and_who_does_not(self):
        # One machine through one life, since every step begins with what the one before left.
        print(f"  kernel {self.guest('busybox uname -r').strip()}, first boot")
        process = self.start_agent()
        self.assertNotIn("watchdog.device: cannot use", self.log())
        said = self.guest("busybox cat /sys/class/watchdog/watchdog0/identity /sys/class/watchdog/watchdog0/timeout /sys/class/watchdog/watchdog0/state")
        self.assertEqual(said.split("\n")[:3], ["i6300ESB timer", str(WATCHDOG_S), "active"])

        # Patted: nothing happens for twice its time.
        self.stays_up(QUIET_S, 1)

        # A planned stop closes it with the magic character, and nobody needs to come back.
        self.stop_agent(process)
        self.assertEqual(self.guest("busybox cat /sys/class/watchdog/watchdog0/state").strip(), "inactive")
        self.stays_up(QUIET_S, 1)

        # Frozen, all of it at once: its own alarm cannot run either, so only the card is left.
        process = self.start_agent()
        self.guest(f"kill -STOP {process}")
        took = self.machine.wait_for_boot(2, LATEST_S + machine.BOOT_S)
        print(f"  frozen: up again {took:.1f} s later, of a watchdog of {WATCHDOG_S} s")
        self.assertGreater(took, EARLIEST_S)
        self.assertEqual(self.guest("busybox cat /sys/class/watchdog/watchdog0/bootstatus").strip(), "32", "WDIOF_CARDRESET")
        process = self.start_agent()
        self.assertIn("the machine restarted without stopping the agent: its watchdog reset it", self.log())
        told = self.resets()
        self.assertEqual([reason for reason, _ in told], ["watchdog"], told)
        self.assertIn("its watchdog reset it", told[0][1])

        # Killed: whoever comes back in time goes on patting, and the machine stays up.
        self.guest(f"kill -KILL {process}")
        time.sleep(WATCHDOG_S / 3)
        process = self.start_agent()
        self.stays_up(QUIET_S, 2)

        # Killed and never back: reset.
        self.guest(f"kill -KILL {process}")
        took = self.machine.wait_for_boot(3, LATEST_S + machine.BOOT_S)
        print(f"  killed for good: up again {took:.1f} s later")
        process = self.start_agent()
        told = self.resets()
        self.assertEqual([reason for reason, _ in told].count("watchdog"), 2, f"{told} {self.log()}")

        # Not the watchdog's doing; and so soon after a start that the kernel would have written nothing by itself.
        self.stop_agent(process)
        self.guest("busybox sync")
        self.start_agent()
        self.machine.send("echo b > /proc/sysrq-trigger")
        self.machine.wait_for_boot(4)
        self.start_agent()
        self.assertEqual(self.resets()[-1], ("power_loss", "the machine restarted without stopping the agent: power, reset or kernel"), self.log())


if __name__ == "__main__":
    try:
        machine.check_tools()
        if not Path(AGENT).exists():
            raise Missing(f"no {AGENT}: build it with: cmake --preset release && cmake --build build/release --target dipper_agent")
    except Missing as missing:
        print(f"skipped: {missing}")
        sys.exit(77)
    unittest.main(argv=sys.argv[:1], verbosity=2)
