"""The agent as a process of a soak: started again whenever it ends, as a service manager does; its state is asked for and held to the rules."""
import signal
import time

from plant import CHECKPOINT_S, HEALTHY_S
from rules import Floor, Progress, Served, Steady, Violation

RESTART_S = 0.3
COMES_BACK_S = 45.0   # on a busy machine; what it really takes is in the report
STOPS_S = 30.0
HUNG_STOPS_S = 10.0   # as a service manager's TimeoutStopSec: a model that hangs on purpose does not stop
SILENT_S = 45.0       # above the watchdog's time
SLACK_S = 4.0         # a checkpoint waits for the healthy mark, the next turn and a busy machine
STOP_SLACK_S = 1.0
POLL_S, SLOTS_S = 0.25, 5.0


class AgentWatch:
    def __init__(self, plant, say):
        self.plant, self.say = plant, say
        self.served, self.floor, self.steady = Served(), Floor(), Steady()
        self.progress = Progress(CHECKPOINT_S + HEALTHY_S + SLACK_S, HEALTHY_S + STOP_SLACK_S)
        self.state = "down"          # down, starting, up, stopping
        self.since = 0.0
        self.status = None
        self.heard_at = 0.0
        self.asked_at = self.slots_at = 0.0
        self.why = "the first start"
        self.disk_full = False
        self.starts = self.kills = self.stops = self.crashes = self.watchdog = 0
        self.early = False           # told to stop before it had answered once
        self.back = []               # seconds from a start to the first answer

    @property
    def up(self):
        return self.state == "up" and self.status is not None

    @property
    def running(self):
        return self.state in ("starting", "up")

    def age(self, now):
        return now - self.since if self.state == "up" else 0.0

    def start(self, now):
        self.plant.run_agent()
        self.starts += 1
        self.state, self.since, self.status = "starting", now, None

    def kill(self, now, why):
        self.kills += 1
        self.plant.supervisor.watch(None)
        self.plant.kill()
        self._down(now, why)

    def stop(self, now):
        self.stops += 1
        self.early = self.state == "starting"
        self.plant.supervisor.watch(None)
        self.plant.agent.send_signal(signal.SIGTERM)
        self.state, self.since, self.status = "stopping", now, None

    def _down(self, now, why):
        self.state, self.since, self.status, self.why = "down", now, None, why
        self.progress.recent = []
        self.steady.restless()

    def turn(self, now, may_crash):
        """`may_crash`: kind of the update under way, which may end the agent on purpose."""
        if self.state == "down":
            if now - self.since >= RESTART_S:
                self.start(now)
            return
        code = self.plant.agent.poll()
        if code is not None:
            self._ended(now, code, may_crash)
        elif self.state == "stopping":
            if may_crash == "hang" and now - self.since > HUNG_STOPS_S:
                self.kill(now, "after a stop that hung")
            elif now - self.since > STOPS_S:
                raise Violation(f"a planned stop took more than {STOPS_S:.0f} s")
        elif now - self.asked_at >= POLL_S:
            self.asked_at = now
            self._ask(now)

    def _ended(self, now, code, may_crash):
        # What crashes on purpose may do so while it is being stopped, and the watchdog may be ending what hangs on purpose.
        if self.state == "stopping" and not (code == -signal.SIGABRT and may_crash in ("crash", "hang")):
            # Before it was ready to be told: ended as any program is.
            if code != 0 and not (self.early and code == -signal.SIGTERM):
                raise Violation(f"a planned stop ended with {code}")
            if code == 0 and not self.disk_full:
                self.progress.stopped(self.since)
            self._down(now, "after a planned stop")
            return
        by_watchdog = self.plant.supervisor.killed > self.watchdog
        if by_watchdog:
            self.watchdog = self.plant.supervisor.killed
            if may_crash != "hang":
                raise Violation("the watchdog ended an agent in which nothing hung on purpose")
        elif code != -signal.SIGABRT or may_crash != "crash":
            raise Violation(f"the agent ended by itself with {code}")
        else:
            self.crashes += 1
        self.say("the agent was ended by the watchdog" if by_watchdog else "the agent crashed")
        self._down(now, "after the watchdog" if by_watchdog else "after a crash")

    def _ask(self, now):
        status = self.plant.model()
        now = time.monotonic()
        if status is None:
            self.status = None
            if self.state == "starting" and now - self.since > COMES_BACK_S:
                raise Violation(f"the agent did not come back within {COMES_BACK_S:.0f} s, {self.why}")
            if self.state == "up" and now - self.heard_at > SILENT_S:
                raise Violation(f"the agent runs and has not answered for {SILENT_S:.0f} s")
            return
        self.heard_at = now
        came_back = self.state == "starting"
        if came_back:
            self.back.append(now - self.since)
            self.state, self.since = "up", now
            self.progress.began()
        self._hold(now, status, came_back)
        self.status = status

    def _hold(self, now, status, came_back):
        how = self.why if came_back else "while it ran"
        digest = (status["champion"] or {}).get("digest") or None
        self.served.seen(digest, how)
        self.served.denied([entry["digest"] for entry in status["denied"]])
        self.floor.seen(status["floor"]["epoch"], status["floor"]["version"])
        if status["rung"] not in (0, "newest checkpoint", "newest_checkpoint"):
            raise Violation(f"{how}: the champion went down its ladder to {status['rung']!r}, though no champion failed")
        if digest is None:
            return
        if came_back:
            restored = self.plant.restored(digest)
            self.progress.back(digest, status["samples"] if restored is None else restored, how)
        self.progress.seen(now, digest, status["samples"], durable=not self.disk_full)
        if came_back or now - self.slots_at > SLOTS_S:
            self.slots_at = now
            slots = self.plant.model("slots")
            if slots is not None:
                self.served.marked(slots["slots"])
