"""One soak: the schedule's events applied to the plant, everything watched, the report made at the end."""
import heapq
import itertools
import time
from collections import deque

import schedule
from agent_watch import AgentWatch
from feeder import NORMAL_DELAY, Feeder
from plant import DEVICE, Ears
from report import median, quantile, quarters, slope, steps
from rollout import Rollout
from rules import Numbers, Violation, judge_growth

TURN_S, PROBE_S = 0.02, 1.0
FIRST_MODEL_S, DRAIN_S = 90.0, 150.0
COMMAND_S = 25.0
COMMAND_AGE_S = 3.0         # after the healthy mark
SETTLED_S = 5.0             # age of a run from which its memory counts
JUDGED_RUN_S = 60.0         # a shorter last run says nothing of growth
GROWTH_BYTES = 512 << 10
ANSWERS_S = 45.0
LATENCY_STEP_S = 10.0       # latencies of so long make one point of their slope


class Soak:
    def __init__(self, plant, events, args):
        self.plant, self.events, self.args = plant, list(events), args
        self.log = open(plant.home / "soak.log", "w", encoding="utf-8")
        self.begin = time.monotonic()
        self.numbers = Numbers()
        self.agent = AgentWatch(plant, self.say)
        self.served = self.agent.served
        self.rollout = Rollout(plant, self.served, self.say)
        self.feeder = Feeder(plant.home / "samples.sock", args.rate_hz, args.seed)
        self.ears = None
        self.actions, self.ties = [], itertools.count()  # (time, tie, function)
        self.last_event = None
        self.held = 0.0             # how long the schedule has waited
        self.waiting = deque()      # commands for which there was no quiet moment yet
        self.command = None         # (name, call, expected, disturbances before)
        self.undo_until = 0.0
        self.disturbances = 0
        self.frozen = False
        self.armed = None           # offer number of an update whose kill is set
        self.probes = []            # (time, age of the run, RSS, anonymous part of it)
        self.counts = {"broker": {}, "clock": 0, "disk": 0, "commands": {}, "skipped": {}}
        self.started_at = self.turned = 0.0
        self.last_run = 0.0

    def elapsed(self):
        return time.monotonic() - self.begin

    def say(self, text):
        line = f"{self.elapsed():8.2f} {text}"
        self.log.write(line + "\n")
        self.log.flush()
        if self.args.verbose:
            print(line, flush=True)

    def skip(self, kind):
        self.counts["skipped"][kind] = self.counts["skipped"].get(kind, 0) + 1

    def later(self, seconds, function):
        heapq.heappush(self.actions, (time.monotonic() + seconds, next(self.ties), function))

    # ---- the run

    def run(self):
        self.plant.broker.start()
        self.ears = Ears(self.plant.processes, self.plant.dipper_program, self.plant.broker, self.numbers)
        deadline = time.monotonic() + FIRST_MODEL_S
        while "watching" not in (self.plant.processes.logs / "watch.log").read_text():  # or the first messages are nobody's
            self.plant.processes.check()
            if time.monotonic() > deadline:
                raise RuntimeError("dipper watch did not come up")
            time.sleep(0.05)
        self.feeder.start()
        self.rollout.wanted(schedule.Event(-1, 0.0, "update good"))
        self.until(lambda: self.rollout.idle, FIRST_MODEL_S, "the first model is confirmed")
        self.begin = time.monotonic()
        self.started_at = self.begin
        tenth = 0
        while self.elapsed() - self.held < self.args.seconds:
            self.turn(playing=True)
            done = int(10 * (self.elapsed() - self.held) / self.args.seconds)
            if done > tenth:
                tenth = done
                print(f"  {10 * done:3} %: {self.feeder.count['answered']} samples, {self.agent.starts} starts, {sum(self.rollout.ended.values())} updates, "
                      f"{len(self.events)} events to come", flush=True)
        ended = time.monotonic()
        self.drain()
        return self.report(ended)

    def until(self, condition, seconds, what):
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise Violation(f"not within {seconds:.0f} s: {what}")
            self.turn(playing=False)

    def turn(self, playing):
        now = time.monotonic()
        self.plant.processes.check()
        while self.actions and self.actions[0][0] <= now:
            heapq.heappop(self.actions)[2]()
        if playing:
            if self.rollout.quiet:
                self.held += now - self.turned
            elif self.events and self.events[0].at <= self.elapsed() - self.held:
                self.apply(self.events.pop(0))
        self.turned = now
        update = self.rollout.now
        self.agent.turn(now, update.kind if update else None)
        self.rollout.step(self.agent.status, self.able, self.command is None and not self.waiting)
        self.arm()
        self.follow_command()
        self.look(now)
        time.sleep(TURN_S)

    @property
    def able(self):
        return self.agent.up and self.plant.broker.up and not self.agent.disk_full

    def look(self, now):
        if now - (self.probes[-1][0] if self.probes else 0) < PROBE_S:
            return
        if self.feeder.trouble:
            raise RuntimeError(f"the sensor ended: {self.feeder.trouble}")
        for prefix in self.feeder.who_answered():
            self.served.answered(prefix)
        if self.started_at and self.feeder.no_model_at > self.started_at:
            raise Violation("samples were answered with no_model, though a model had been confirmed")
        self.feeder.answers.judge()
        probe = self.plant.probe() if self.agent.running else None
        if probe is None:
            self.probes.append((now, 0.0, 0, 0))
            return
        self.probes.append((now, self.agent.age(now), *probe[:2]))
        calm = self.able and self.agent.status["connected"] and self.rollout.idle and self.command is None
        if calm and self.agent.age(now) > SETTLED_S and self.feeder.connection is not None:
            self.agent.steady.seen(now, *probe[2:])
            if now - max(self.feeder.last_answer, self.agent.since) > ANSWERS_S:
                raise Violation(f"the agent runs and has answered no sample for {ANSWERS_S:.0f} s")
        else:
            self.agent.steady.restless()

    # ---- events

    def disturb(self, what, republish=False):
        self.disturbances += 1
        self.rollout.disturb(what, republish)

    def apply(self, event):
        self.last_event = event
        self.say(str(event))
        kind = event.kind
        if kind.startswith("update"):
            self.rollout.wanted(event)
        elif kind == "kill":
            self.kill(kind)
        elif kind == "stop":
            if self.agent.running:
                self.disturb("planned stop")
                self.agent.stop(time.monotonic())
            else:
                self.skip(kind)
        elif kind.startswith("broker"):
            self.lose_broker(kind, event.more["away_s"])
        elif kind == "clock":
            self.plant.jump(event.more["offset_s"])
            self.counts["clock"] += 1
        elif kind.startswith("labels"):
            self.labels(event.more.get("samples"), event.more["for_s"])
        elif kind == "disk full":
            self.fill_disk(event.more)
        else:
            self.waiting.append(event)

    def kill(self, kind):
        if not self.agent.running:
            self.skip(kind)
            return
        self.disturb("kill -9")
        if self.agent.disk_full and self.ears.session:
            self.numbers.untold.add(self.ears.session)
        self.agent.kill(time.monotonic(), "after a kill -9")

    def arm(self):
        """A kill inside an update: so long after its offer was published."""
        update = self.rollout.now
        if update is None or not update.offered or "after_s" not in update.event.more or self.armed == update.event.index:
            return
        self.armed = update.event.index

        def strike():
            if self.rollout.now is update:
                self.say(f"kill -9 inside update {update.version}")
            self.kill(update.event.kind)
        self.later(update.event.more["after_s"], strike)

    def lose_broker(self, kind, away_s):
        if not self.plant.broker.up:
            self.skip(kind)
            return
        forgets = kind != "broker restart"
        self.disturb(kind)
        self.plant.broker.stop(kind)
        if forgets:
            self.numbers.broker_deaths.append(time.monotonic())
        self.counts["broker"][kind] = self.counts["broker"].get(kind, 0) + 1

        def back():
            self.plant.broker.start()
            if forgets:
                self.numbers.broker_deaths.append(time.monotonic())
                self.disturb(kind, republish=True)
        self.later(away_s, back)

    def labels(self, samples, seconds):
        self.feeder.delay = samples
        self.rollout.prolong(seconds)

        def normal():
            self.feeder.delay = NORMAL_DELAY
        self.later(seconds, normal)

    def fill_disk(self, more):
        if not self.plant.small_disk or self.agent.disk_full:
            self.skip("disk full")
            return
        self.disturb("disk full")
        self.counts["disk"] += 1
        self.agent.disk_full = True
        self.plant.fill_disk()
        if more["broker_away"]:
            self.lose_broker("broker restart", more["for_s"] - 0.5)

        def free():
            self.plant.free_disk()
            self.agent.disk_full = False
        self.later(more["for_s"], free)

    # ---- commands

    def begin_command(self):
        """A command has its moment between two updates, so that it is known what it must answer."""
        young = self.agent.age(time.monotonic()) < COMMAND_AGE_S
        if not self.waiting or not self.able or not self.agent.status["connected"] or young or self.rollout.now is not None or self.frozen or self.undo_until:
            return
        event = self.waiting.popleft()
        name = event.kind
        # Too soon: a checkpoint waits for a healthy period since the newest one (storage.md, rule 7).
        expected = {"done", "too_soon"} if name == "checkpoint" else {"done"}
        if name == "undo":
            # Without a target: there is none, or the floor or a denial forbids it.
            status = self.plant.model()  # of this moment: an update that has just ended may have taken the target
            if status is None:
                self.skip(name)
                return
            target = (status["undo"] or {}).get("digest") or None
            if target is None:
                expected = {"no_previous", "refused_floor", "refused_denied"}
            elif self.rollout.security.get(target, 0) < self.agent.floor.highest[1]:
                raise Violation(f"undo would go to {target[:12]}, which is below the floor")
            self.served.undo_target = target
        self.send(name, expected, event.more.get("for_s", 0.0))

    def send(self, name, expected, seconds=0.0):
        self.command = (name, self.plant.command(name), expected, self.disturbances, time.monotonic(), seconds)

    def follow_command(self):
        if self.command is None:
            if self.undo_until and time.monotonic() > self.undo_until:
                self.served.undo_target, self.undo_until = None, 0.0
            self.begin_command()
            return
        name, call, expected, disturbances, begun, seconds = self.command
        if call.code() is None:
            if time.monotonic() - begun > COMMAND_S:
                raise Violation(f"`dipper command {name}` did not end within {COMMAND_S:.0f} s")
            return
        answer = call.answer()
        got = answer.get("reason") if answer.get("status") not in (None, "done") else answer.get("status")
        disturbed = self.disturbances > disturbances
        right = " or ".join(sorted(expected))
        self.say(f"command {name}: {got or call.said().strip()[-200:]}, expected {right}" + (", interrupted" if disturbed else ""))
        if got not in expected and not disturbed:
            raise Violation(f"command {name} was answered {got or call.said().strip()[-300:]} instead of {right}, and nothing had interrupted it")
        key = f"{name}: {got or 'no answer'}"
        self.counts["commands"][key] = self.counts["commands"].get(key, 0) + 1
        self.command = None
        self.undo_until = time.monotonic() + 2
        if name == "freeze":
            self.frozen = True
            self.later(seconds, self.unfreeze)
        elif name == "unfreeze":
            self.frozen = got != "done"
            if self.frozen:
                self.later(1.0, self.unfreeze)

    def unfreeze(self):
        if self.command is not None or not self.able:
            self.later(0.5, self.unfreeze)
        else:
            self.send("unfreeze", {"done"})

    # ---- the end

    def drain(self):
        """Everything back to normal, the update under way to its end, the backlog to the watcher, then a planned stop."""
        self.say("the schedule is over")
        self.rollout.abandon()
        for event in self.waiting:
            self.skip(event.kind)
        self.waiting.clear()
        self.until(lambda: not self.actions and self.command is None and self.rollout.idle and not self.frozen, DRAIN_S, "everything is back to normal")
        metrics = self.ears.devices[DEVICE].metrics
        metrics.pop("backlog_entries", None)
        self.until(lambda: metrics.get("backlog_entries") == 0 and self.agent.up and self.agent.status["connected"], DRAIN_S, "the backlog has arrived")
        self.until(lambda: self.agent.age(time.monotonic()) > 4, 60, "the last run is healthy")
        self.last_run = self.agent.since
        self.agent.stop(time.monotonic())
        self.until(lambda: self.agent.state == "down", 60, "the last planned stop")
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            time.sleep(0.1)
        for prefix in self.feeder.who_answered():
            self.served.answered(prefix)
        self.feeder.answers.judge()

    def report(self, ended):
        lost = self.numbers.judge()
        run = [(age, rss) for at, age, rss, _ in self.probes if at >= self.last_run and age > SETTLED_S and rss]
        length = run[-1][0] - run[0][0] if run else 0.0
        judged = length >= JUDGED_RUN_S and not self._sanitized()
        growth = judge_growth(run, GROWTH_BYTES if judged else 1 << 40)
        rss = [(at, size) for at, age, size, _ in self.probes if age > SETTLED_S]
        own = [(at, size) for at, age, _, size in self.probes if age > SETTLED_S]
        span = (self.started_at, ended)
        messages = sum(len(times) for times in self.numbers.times.values())
        agent, count, taken = self.agent, self.feeder.count, self.feeder.taken
        return {
            "seed": self.args.seed, "seconds": round(ended - self.started_at, 1), "events_per_year": self.args.events_per_year,
            "events": len(schedule.build(self.args.seed, self.args.seconds, self.args.events_per_year)), "years": (ended - self.started_at) / 3600,
            "samples": count["answered"], "samples_sent": count["sent"], "samples_missed": count["missed"],
            "samples_before_model": self.feeder.answers.before, "samples_cut_off": self.feeder.answers.cut_off, "labels_learned": count["learned"],
            "answers_with_error": self.feeder.other, "samples_by_quarter": quarters(taken, *span, len),
            "rss_bytes_max": max((size for _, size in rss), default=0), "rss_bytes_by_quarter": quarters(rss, *span, max),
            "rss_median_bytes_by_quarter": quarters(rss, *span, median), "rss_anon_median_bytes_by_quarter": quarters(own, *span, median),
            "rss_slope_bytes_per_hour": round(3600 * slope(rss)), "rss_anon_slope_bytes_per_hour": round(3600 * slope(own)),
            "longest_run_s": round(max(age for _, age, _, _ in self.probes), 1),
            "longest_run_rss_slope_bytes_per_hour": round(3600 * slope(self.longest_run())),
            "latency_p50_slope_s_per_hour": round(3600 * slope(steps(taken, LATENCY_STEP_S, median)), 7),
            "rss_growth_last_run_bytes": growth, "rss_judged": judged, "last_run_s": round(length, 1),
            "latency_p50_s_by_quarter": quarters(taken, *span, lambda part: round(quantile(part, 0.5), 6)),
            "latency_p99_s_by_quarter": quarters(taken, *span, lambda part: round(quantile(part, 0.99), 6)),
            "file_descriptors": agent.steady.expected[0] if agent.steady.expected else None,
            "threads": agent.steady.expected[1] if agent.steady.expected else None,
            "sessions": agent.starts, "kills": agent.kills, "stops": agent.stops, "crashes": agent.crashes, "watchdog": agent.watchdog,
            "back_p50_s": round(quantile(agent.back, 0.5), 3), "back_max_s": round(max(agent.back), 3),
            "broker_losses": sum(self.counts["broker"].values()), "broker": self.counts["broker"], "clock_jumps": self.counts["clock"],
            "disk_full": self.counts["disk"], "messages": messages, "lost": sum(lost.values()), "lost_by": lost, "events_heard": self.ears.kinds,
            "updates": self.rollout.ended, "fallbacks": sum(n for what, n in self.rollout.ended.items() if ": fell_back" in what),
            "retries": self.rollout.retries, "commands": self.counts["commands"],
            "skipped": {**self.counts["skipped"], **({"updates": self.rollout.left_out} if self.rollout.left_out else {})},
            "full_disk_possible": self.plant.small_disk,
        }

    def longest_run(self):
        """(age, RSS) of the run of the agent that lasted longest."""
        runs, before = [[]], 0.0
        for _, age, rss, _ in self.probes:
            if age < before:
                runs.append([])
            before = age
            if age > SETTLED_S:
                runs[-1].append((age, rss))
        return max(runs, key=len)

    def _sanitized(self):
        """A sanitizer's memory is not the agent's."""
        with open(self.plant.agent_program, "rb") as program:
            return b"__asan_init" in program.read()

    def close(self):
        if self.feeder.is_alive():
            self.feeder.close()
        self.log.close()
