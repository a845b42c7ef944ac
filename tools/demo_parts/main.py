"""tools/demo after the build: makes the world, plays the story, shows and writes what happened, stops everything."""
import argparse
import json
import shutil
import signal
import sys
import time
from pathlib import Path

from desk import MODELS, Desk
from eyes import Eyes
from screen import Screen, table
from story import StepFailed, Story
from world import ROOT, Broker, Devices, Processes, Trouble


def arguments():
    parser = argparse.ArgumentParser(prog="tools/demo", description="The main job, end to end: four devices learn from real streams, take good "
                                     "models, fall back from a worse one, refuse forged ones and survive kills and an outage.")
    parser.add_argument("--once", action="store_true", help="stop when the story is told; otherwise stay up for a look")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the outcome there")
    parser.add_argument("--keep", action="store_true", help="keep the partitions and keys in the work folder (logs always stay)")
    parser.add_argument("--rate", type=float, default=50, metavar="HZ", help="readings a second of each device (default 50; the motes took one every 5 s)")
    parser.add_argument("--work", type=Path, default=ROOT / "build/demo", metavar="FOLDER", help="work folder, emptied first (default build/demo)")
    options = parser.parse_args()
    if not 1 <= options.rate <= 1000:
        parser.error("--rate must be from 1 to 1000")
    return options


def clear(folder):
    """Empties a work folder of an earlier demo, and nothing else."""
    mark = folder / ".dipper-demo"
    if folder.exists() and any(folder.iterdir()) and not mark.exists():
        raise Trouble(f"{folder} holds something that no demo made: give another --work folder")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    mark.touch()


def closing_table(story):
    rows = []
    for name, got in story.result()["devices"].items():
        delay, false_alarms = story.detection(name)
        rows.append((name, " ".join(got["confirmed"]), " ".join(got["fell_back"]), " ".join(f"{v}:{r}" for v, r in got["rejected"].items()),
                     len(got["recovered"]), got["samples"], f"{got['mae'] or 0:.4f}", f"{got['trivial_mae'] or 0:.4f}",
                     "-" if got["anomaly_auc"] is None else f"{got['anomaly_auc']:.3f}", "-" if delay is None else delay,
                     f"{false_alarms:.1f}", got["backlog_lost"]))
    columns = ("device", "confirmed", "fell back", "refused", "recovered", "samples", "mae", "trivial", "auc", "delay", "false/1000", "lost")
    widths = [max(len(str(r[i])) for r in (columns, *rows)) for i in range(len(columns))]
    return table(columns, widths, rows)


def prepare(options, processes, screen):
    work, binaries = options.work, ROOT / "build/release/bin"
    broker = Broker(work / "broker", processes)
    broker.prepare()
    desk = Desk(work / "desk", binaries, broker, work / "devices")
    desk.make_trust()
    devices = Devices(work / "devices", processes, broker, desk.root, binaries, options.rate)
    devices.prepare()
    screen.say(f"four motes at {options.rate:g} readings a second, {options.rate * 5:g} times as fast as they were taken")
    screen.say(f"broker on 127.0.0.1:{broker.port}, TLS; each device its own password; access list {broker.acl}:")
    print("".join(f"           {line}\n" for line in broker.acl.read_text().splitlines()[:14]) + "           ...", flush=True)
    for name in MODELS:
        desk.make_package(name)
        screen.say(f"{name} {desk.digests[name][:16]}  {MODELS[name][5]}")
    broker.start()
    broker.start("desk")
    eyes = Eyes(processes, desk.program, broker)
    screen.eyes = eyes
    return Story(desk, broker, devices, eyes, screen, processes), broker


def stay(story, broker, screen):
    screen.say("everything stays up; Ctrl-C ends it. Look with:")
    access = " ".join(str(o) for o in broker.access("eyes"))
    print(f"           {story.desk.program} watch --fleet demo {access}", flush=True)
    while True:
        story.processes.check()
        screen.refresh()
        time.sleep(0.25)


def main():
    options = arguments()
    screen = Screen()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    processes = story = None
    status = 1
    try:
        clear(options.work)
        processes = Processes(options.work / "logs")
        story, broker = prepare(options, processes, screen)
        story.play()
        status = 0
        screen.title("What happened")
        print("\n".join(closing_table(story)), flush=True)
        screen.say("every step went as told")
        if options.json:
            options.json.write_text(json.dumps(story.result(), indent=2) + "\n")
        if not options.once:
            stay(story, broker, screen)
    except KeyboardInterrupt:
        screen.say("stopped")
        status = 130 if story is None or status else 0
    except (StepFailed, Trouble) as failure:
        screen.close()
        print(f"\ndemo failed after {time.monotonic() - screen.begin:.0f} s\n{failure}", file=sys.stderr, flush=True)
        status = 1
        if options.json and story:
            options.json.write_text(json.dumps({**story.result(), "failed": str(failure)}, indent=2) + "\n")
    finally:
        screen.close()
        if processes:
            processes.stop_all()
        if not options.keep:
            for part in ("broker", "desk", "devices"):
                shutil.rmtree(options.work / part, ignore_errors=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
