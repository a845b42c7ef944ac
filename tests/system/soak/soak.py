"""A year of events in an hour: the real agent, a real Mosquitto and real packages through a seeded schedule of kills, planned stops, broker
losses, clock jumps, a full disk, late labels, commands and updates of every kind, good and bad. What the agent promises is checked all the time
(rules.py); at the end it prints a table and writes JSON. A broken promise ends the run: seed, event, the ends of the logs, exit 1.

The agent must be a test build (DIPPER_TEST_FAULTS): some packages crash or hang on purpose.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import schedule
from plant import MOSQUITTO, Plant
from report import table
from rules import Violation

ROOT = Path(__file__).resolve().parents[3]


def arguments():
    parser = argparse.ArgumentParser(prog="tools/soak", description="A year of events in an hour, for one real agent; replayable from its seed.")
    parser.add_argument("--seed", type=int, default=1, help="same seed, length and density: same schedule (default 1)")
    parser.add_argument("--seconds", type=float, default=3600, help="length of the run (default 3600)")
    parser.add_argument("--events-per-year", type=float, default=450, help="density: so many events in an hour (default 450)")
    parser.add_argument("--rate-hz", type=float, default=100, help="samples a second, 50 to 200 (default 100)")
    parser.add_argument("--agent", default=ROOT / "build/check/bin/dipper-agent", help="test build of the agent (default build/check)")
    parser.add_argument("--dipper", default=ROOT / "build/check/bin/dipper", help="test build of the dipper command (default build/check)")
    parser.add_argument("--shim", help="built tests/system/link/wall_shim.c; default: built with cc")
    parser.add_argument("--out", type=Path, help="JSON report, for example build/release/soak.json")
    parser.add_argument("--keep", type=Path, help="where a broken run leaves its folder (default: beside the temporary files)")
    parser.add_argument("--plan", action="store_true", help="print the schedule and end")
    parser.add_argument("--verbose", action="store_true", help="every event and step as it happens")
    args = parser.parse_args()
    if args.seconds < 20 or args.events_per_year <= 0 or not 1 <= args.rate_hz <= 1000:
        parser.error("--seconds is at least 20, --events-per-year above 0, --rate-hz from 1 to 1000")
    return args


def in_a_namespace():
    """This program again, where its mounts are its own; without that right there is no full disk, and it says so."""
    if os.environ.get("DIPPER_TEST_MOUNTS"):
        return None
    for flags in (["-m"], ["-rm"]):
        if subprocess.run(["unshare", *flags, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False).returncode == 0:
            return subprocess.run(["unshare", *flags, "--kill-child", sys.executable, *sys.argv], env={**os.environ, "DIPPER_TEST_MOUNTS": "1"},
                                  check=False).returncode
    print("soak: this machine permits no mount namespaces: no disk becomes full", flush=True)
    return None


def tail(path, size):
    try:
        return path.read_bytes()[-size:].decode(errors="replace")
    except OSError:
        return ""


def broken(error, soak, plant, args):
    """Says what is needed to look into it, and keeps the folder."""
    keep = args.keep or Path(tempfile.gettempdir()) / f"dipper-soak-{args.seed}-{os.getpid()}"
    shutil.copytree(plant.home, keep, ignore=shutil.ignore_patterns("*.sock", "filler"), dirs_exist_ok=True)
    again = f"--seed {args.seed} --seconds {args.seconds:g} --events-per-year {args.events_per_year:g} --rate-hz {args.rate_hz:g}"
    print(f"\nsoak: VIOLATION: {error}\n"
          f"  seed {args.seed}, {soak.elapsed():.1f} s after the beginning; last: {soak.last_event or 'no event yet'}\n"
          f"  again: tools/soak {again}\n"
          f"  folder kept: {keep} (agent.log, soak.log, state/, logs/watch.jsonl)\n"
          f"--- the end of soak.log\n{tail(keep / 'soak.log', 2500)}\n--- the end of agent.log\n{tail(keep / 'agent.log', 2500)}", flush=True)


def main():
    args = arguments()
    events = schedule.build(args.seed, args.seconds, args.events_per_year)
    if args.plan:
        print("\n".join(map(str, events)))
        return 0
    for program in (args.agent, args.dipper):
        if not Path(program).exists():
            print(f"soak: no {program}: build it with: cmake --preset check && cmake --build build/check --target dipper_agent dipper_cli")
            return 77
    if not Path(MOSQUITTO).exists():
        print("soak: mosquitto is not installed: run tools/setup")
        return 77
    result = in_a_namespace()
    if result is not None:
        return result
    from run import Soak  # after the namespace: it starts threads and processes
    print(f"soak: seed {args.seed}, {args.seconds:g} s, {len(events)} events, {args.rate_hz:g} samples a second", flush=True)
    plant = Plant(args.agent, args.dipper, args.shim)
    soak = Soak(plant, events, args)
    try:
        report = soak.run()
    except (Violation, AssertionError) as error:
        broken(error, soak, plant, args)
        return 1
    finally:
        soak.close()
        plant.close()
    print(table(report), flush=True)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(report, indent=2) + "\n")
        print(f"  written to {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
