"""One update at a time from the desk: packages of every kind, offered, followed to their end, offered again when something interrupted them."""
import time
from collections import deque
from dataclasses import dataclass, field

from rules import ENDS, Violation, judge_end

ATTEMPTS = 4           # the last one undisturbed
PATIENCE_S = 100.0     # of an attempt
WAITING = 3            # updates that queue; more are left out
FIRST_SECURITY = 10
SAME_SECURITY = 3      # good updates of the same security version in a row: what makes an undo possible


@dataclass
class Update:
    kind: str
    event: object
    path: object = None
    digest: str = ""
    version: str = ""
    number: int = 0
    attempts: int = 0
    disturbed: str = ""    # by what, in this attempt
    begun: float = 0.0
    log: int = 0
    call: object = None
    offered: bool = False
    interruptions: list = field(default_factory=list)


class Rollout:
    def __init__(self, plant, served, say):
        self.plant, self.served, self.say = plant, served, say
        self.queue = deque()
        self.now = None          # the update under way
        self.made = 0
        self.good = 0
        self.number = 0
        self.ended = {}          # "kind -> state (reason)" -> times
        self.left_out = 0
        self.retries = 0
        self.security = {}       # digest -> security version

    def wanted(self, event):
        if len(self.queue) >= WAITING:
            self.left_out += 1
            return
        self.queue.append(Update(event.kind.split()[1].rstrip(","), event))

    @property
    def quiet(self):
        """The schedule waits while an update has its last attempt."""
        return self.now is not None and self.now.attempts >= ATTEMPTS

    @property
    def idle(self):
        return self.now is None and not self.queue

    def disturb(self, what, republish=False):
        update = self.now
        if update is None:
            return
        update.disturbed = what
        update.interruptions.append(what)
        if republish and update.offered and update.call is None:
            update.offered = False  # the broker forgot package and offer: the same again

    def prolong(self, seconds):
        if self.now is not None:
            self.now.begun += seconds

    def _security(self, kind):
        level = FIRST_SECURITY + self.good // SAME_SECURITY
        return 1 if kind == "older" else level

    def _begin(self, update):
        self.made += 1
        update.version = f"{self.made}"
        security = self._security(update.kind)
        update.path, update.digest = self.plant.make(update.kind, update.version, security, update.event)
        self.security[update.digest] = security
        if update.kind == "good":
            self.good += 1
            self.served.good.add(update.digest)
        else:
            self.served.bad[update.digest] = update.kind
        self.now = update
        self._attempt(update)

    def _attempt(self, update):
        update.attempts += 1
        update.disturbed = ""
        self.number += 1
        update.number = self.number
        update.offered, update.call, update.begun = False, None, time.monotonic()
        update.log = -1
        # The log's end must be known before the offer: steps behind it are this attempt's.
        self.served.candidate = update.digest if update.kind == "good" else None
        self.say(f"update {update.version} ({update.kind}, {update.digest[:12]}), attempt {update.attempts}, offer {update.number}")

    def step(self, status, able, may_begin=True):
        """`status`: of the model, None while the agent does not answer. `able`: broker and agent are there. `may_begin`: no command waits."""
        if self.now is None:
            if self.queue and able and may_begin:
                self._begin(self.queue.popleft())
            return None
        update = self.now
        if update.log < 0:
            end = self.plant.log_end() if able else None
            if end is not None:
                update.log = end
            return None
        if not update.offered:
            self._publish(update, able)
            return None
        end = self._end(update, status)
        if end is not None:
            return self._ended(update, end)
        if time.monotonic() - update.begun > PATIENCE_S:
            return self._late(update, status)
        return None

    def _publish(self, update, able):
        if update.call is None:
            if able:
                update.call = self.plant.publish(update.path, update.number)
            return
        code = update.call.code()
        if code is None:
            return
        if code == 0:
            update.offered, update.begun = True, time.monotonic()
        elif not update.disturbed and able:
            raise Violation(f"`dipper publish` of update {update.version} ended with {code}: {update.call.said()[-500:]}")
        update.call = None

    def _end(self, update, status):
        if status is None:
            return None
        if (status.get("champion") or {}).get("digest") == update.digest:
            return "confirmed", status["reason"] if status["state"] == "confirmed" else "none"
        for entry in status["denied"]:
            if entry["digest"] == update.digest:
                return "fell_back", entry["reason"]
        steps = self.plant.ends(update.digest, update.log)
        if steps and steps[-1][1] == "confirmed":
            return None  # the next status shows it
        if steps:
            return steps[-1][1:]
        if status["state"] in ("fell_back", "rejected", "failed") and status["offer_number"] == update.number:
            return status["state"], status["reason"]
        return None

    def _ended(self, update, end):
        kind, first = update.kind, update.attempts == 1 and not update.interruptions
        if not judge_end(f"{update.version} ({update.digest[:12]})", kind, end, bool(update.disturbed)):
            self.say(f"update {update.version} ended {end[0]} ({end[1]}), interrupted by {update.disturbed}")
            return self._again(update)
        seconds = time.monotonic() - update.begun
        self.say(f"update {update.version} ({kind}) ended {end[0]} ({end[1]}) after {seconds:.1f} s" + ("" if first else ", interrupted"))
        key = f"{kind}: {end[0]} ({end[1]})"
        self.ended[key] = self.ended.get(key, 0) + 1
        self.now = None
        self.served.candidate = None
        update.path.unlink(missing_ok=True)
        return update

    def _late(self, update, status):
        where = f"{status['state']} ({status['reason']}), blocks {status['blocks_have']}/{status['blocks_total']}" if status else "no answer"
        text = f"update {update.version} of kind {update.kind} did not end within {PATIENCE_S:.0f} s: {where}; expected {ENDS[update.kind][0]}"
        if not update.disturbed:
            raise Violation(text + ", and nothing had interrupted it")
        self.say(text + f"; interrupted by {update.disturbed}")
        return self._again(update)

    def _again(self, update):
        if update.attempts >= ATTEMPTS:
            raise Violation(f"update {update.version} of kind {update.kind} did not come to its end in {ATTEMPTS} attempts, interrupted by "
                            f"{', '.join(update.interruptions)}")
        self.retries += 1
        self._attempt(update)
        return None

    def abandon(self):
        """The run ends: what was not begun is left out."""
        self.left_out += len(self.queue)
        self.queue.clear()
