"""The promises that a soak holds the agent to, as plain objects that are told what was seen: each breach is a Violation whose text says
which promise and what was seen instead. No processes here, so that every rule has a test of its own (rules_test.py)."""
import bisect


class Violation(Exception):
    """A promise was broken."""


# How an update of each kind ends when nothing interferes, and the reasons that are right for it (None: any).
ENDS = {
    "good": ("confirmed", None),
    "worse": ("fell_back", {"shown_worse"}),
    "tampered": ("rejected", {"bad_block", "bad_digest", "bad_signature", "bad_format"}),
    "older": ("rejected", {"below_floor"}),
    "stranger": ("rejected", {"unknown_key"}),
    "crash": ("fell_back", {"crash"}),
    "hang": ("fell_back", {"watchdog"}),
    "nan": ("fell_back", {"not_finite"}),
    "slow": ("fell_back", {"over_budget"}),
    "leak": ("fell_back", {"over_budget"}),
}
# Nobody's fault: a new offer may try again (update.md).
RETRYABLE = {"deadline", "blocks_unavailable", "storage_error", "power_loss", "planned_stop", "out_of_tries", "unknown", "source_lost",
             "superseded", "link_required"}


def judge_end(name, kind, end, disturbed):
    """True: the update is done; False: to be offered again, which only an update that something interrupted may need."""
    state, reason = end
    expected, reasons = ENDS[kind]
    if state == expected and (reasons is None or reason in reasons):
        return True
    if disturbed and state == "failed" and reason in RETRYABLE:
        return False
    right = f"{expected} ({' or '.join(sorted(reasons))})" if reasons else expected
    raise Violation(f"update {name} of kind {kind} ended {state} ({reason}) instead of {right}"
                    + (", though interrupted" if disturbed else ", and nothing had interrupted it"))


class Served:
    """Only confirmed models serve, and who serves changes only by an update that is meant to or by an undo."""

    def __init__(self):
        self.confirmed = []    # digests in the order of their confirm
        self.good = set()      # digests that may be confirmed
        self.bad = {}          # digest -> kind: those that must never serve
        self.champion = None   # as last seen
        self.previous = None   # the champion before it
        self.undo_target = None  # while an undo is under way
        self.candidate = None  # good package of the update under way

    def allowed(self):
        return {self.champion, self.candidate, self.undo_target} - {None}

    def seen(self, digest, how):
        """`how`: "while it ran", or after what the agent came back."""
        if digest is None:
            if self.champion is not None:
                raise Violation(f"{how}: no model is served, {self.champion[:12]} was")
            return
        if digest in self.bad:
            raise Violation(f"{how}: {digest[:12]} is served, a package of kind {self.bad[digest]}")
        if self.champion is not None and digest not in self.allowed():
            raise Violation(f"{how}: {digest[:12]} is served; right were {', '.join(sorted(d[:12] for d in self.allowed()))}")
        if digest not in self.good:
            raise Violation(f"{how}: {digest[:12]} is served, which nobody published")
        if digest not in self.confirmed:
            self.confirmed.append(digest)
        if digest != self.champion:
            self.previous, self.champion = self.champion, digest

    def answered(self, prefix):
        """An answer to a sample names its package by its first 12 digits."""
        if not any(digest.startswith(prefix) for digest in self.allowed() | {self.previous or ""} if digest):
            known = [digest for digest in self.bad if digest.startswith(prefix)]
            raise Violation(f"a sample was answered by {prefix}, " + (f"a package of kind {self.bad[known[0]]}" if known else "which serves nowhere"))

    def denied(self, digests):
        for digest in digests:
            if digest in self.good:
                raise Violation(f"the good model {digest[:12]} is denied")

    def marked(self, slots):
        """`slots`: of one model, as `dipper-agent slots --json` shows them. The slot that serves has its confirm mark."""
        serving = [slot for slot in slots if slot.get("holds") == "champion"]
        for slot in serving:
            package, mark = slot["package"]["digest"], (slot.get("mark") or {}).get("digest")
            if mark != package:
                raise Violation(f"slot {slot['slot']} serves {package[:12]} without its confirm mark (mark: {mark})")


class Answers:
    """Each sample is answered once, and samples in their order; only those on their way when the agent ends are not. Before the first model
    answers say so instead, without an id."""

    def __init__(self):
        self.waiting = {}    # id -> time of sending, in the order of sending
        self.served = False  # a model has answered
        self.before = 0      # sent before that
        self.cut_off = 0     # on their way when the agent ended
        self.breach = None

    def sent(self, number, now):
        self.waiting[number] = now

    def came(self, number):
        """@returns when that sample was sent."""
        passed = []
        while self.waiting and (oldest := next(iter(self.waiting))) < number:
            passed.append(oldest)
            del self.waiting[oldest]
        if not self.served:
            self.before += len(passed)
        elif passed:
            self.breach = f"sample {number} was answered, and {len(passed)} before it were not, the first of them {passed[0]}"
        self.served = True
        if number not in self.waiting:
            self.breach = f"an answer to sample {number} came twice, or too late"
        return self.waiting.pop(number, None)

    def ended(self):
        self.cut_off += len(self.waiting)
        self.waiting.clear()

    def judge(self):
        if self.breach:
            raise Violation(self.breach)


class Floor:
    """(epoch, security version) never goes back."""

    def __init__(self):
        self.highest = (0, 0)

    def seen(self, epoch, version):
        if (epoch, version) < self.highest:
            raise Violation(f"the floor fell from {self.highest} to {(epoch, version)}")
        self.highest = (epoch, version)


class Progress:
    """What a champion has learned comes back after a crash but for the time of a checkpoint interval, and after a planned stop but for a
    healthy period: no checkpoint is written before one has passed since the newest (storage.md, rule 7)."""

    def __init__(self, window_s, stop_window_s):
        self.window_s, self.stop_window_s = window_s, stop_window_s
        self.kept = {}      # digest -> samples that must be durable
        self.recent = []    # (time, digest, samples) of this run of the agent

    def began(self):
        self.recent = []

    def seen(self, now, digest, samples, durable=True):
        """`durable` False: nothing can be written now."""
        if digest is None:
            return
        if not durable:
            self.recent = []
            return
        self.recent.append((now, digest, samples))
        self._keep(now - self.window_s)

    def _keep(self, until):
        while self.recent and self.recent[0][0] <= until:
            _, digest, samples = self.recent.pop(0)
            self.kept[digest] = max(self.kept.get(digest, 0), samples)

    def stopped(self, asked):
        """A planned stop, asked for at that time, ended with exit code 0."""
        self._keep(asked - self.stop_window_s)
        self.recent = []

    def back(self, digest, samples, how):
        """`samples`: in the checkpoint that the new run began with."""
        kept = self.kept.get(digest, 0)
        if samples < kept:
            raise Violation(f"{how}: {digest[:12]} begins again with {samples} samples; {kept} had been seen more than {self.window_s:g} s "
                            f"before it was killed, or {self.stop_window_s:g} s before a planned stop: learning was lost beyond a checkpoint")


class Numbers:
    """Telemetry: numbers of a session without gaps, but for what the device counted as lost, or what the schedule itself destroyed."""

    TAIL = 16  # in memory when a session is killed: window of 8 live, 4 of the backlog, and what waits for its number to be sent

    def __init__(self):
        self.times = {}    # session -> {sequence: time of arrival}
        self.told = {}     # session -> lost, as the device counts
        self.ended_well = set()  # sessions that told their planned stop; the others were killed
        self.untold = set()      # killed while the disk was full: its counter died with it
        self.broker_deaths = []  # times at which the broker lost what it had acknowledged

    def heard(self, now, session, sequence):
        self.times.setdefault(session, {}).setdefault(sequence, now)

    def counted(self, session, lost):
        self.told[session] = max(self.told.get(session, 0), int(lost))

    def _gaps(self, session):
        """(missing numbers, arrival before, arrival after) between the first and last number that was heard."""
        seen = sorted(self.times[session])
        for before, after in zip([0] + seen, seen):
            if after > before + 1:
                yield range(before + 1, after), self.times[session].get(before), self.times[session][after]

    def _by_broker(self, first, last):
        """Acknowledged by a broker that then forgot: it died between two arrivals that enclose the gap. 10 s around: what it
        had not delivered yet, and what it forgot since it last wrote its file."""
        begin = min(t for t in (first, last) if t is not None) - 10
        at = bisect.bisect_left(self.broker_deaths, begin)
        return at < len(self.broker_deaths) and self.broker_deaths[at] <= max(first or 0, last) + 10

    def losses(self):
        """Lost numbers by cause."""
        lost = {"told": 0, "kill": 0, "broker": 0, "unexplained": 0}
        for session in self.times:
            told = self.told.get(session, 0)
            last = max(self.times[session])
            for missing, before, after in self._gaps(session):
                for number in missing:
                    if self._by_broker(before, after):
                        lost["broker"] += 1
                    elif session not in self.ended_well and (number > last - self.TAIL or session in self.untold):
                        lost["kill"] += 1
                    elif told > 0:
                        told -= 1
                        lost["told"] += 1
                    else:
                        lost["unexplained"] += 1
        return lost

    def judge(self):
        lost = self.losses()
        if lost["unexplained"]:
            where = []
            for session in self.times:
                where += [f"session {session}: {gap.start} to {gap.stop - 1}, told {self.told.get(session, 0)}" for gap, _, _ in self._gaps(session)]
            raise Violation(f"{lost['unexplained']} telemetry messages are missing and no counter tells of them: " + "; ".join(where[:6]))
        return lost


class Steady:
    """File descriptors and threads: the same number whenever nothing is going on."""

    PATIENCE = 20  # seconds that something may take to be closed

    def __init__(self):
        self.expected = None
        self.since = None

    def seen(self, now, descriptors, threads):
        if self.expected is None or (descriptors <= self.expected[0] and threads <= self.expected[1]):
            self.expected = (descriptors, threads)
            self.since = None
            return
        self.since = now if self.since is None else self.since
        if now - self.since > self.PATIENCE:
            raise Violation(f"{descriptors} file descriptors and {threads} threads while nothing goes on; at first {self.expected[0]} and "
                            f"{self.expected[1]}")

    def restless(self):
        self.since = None


def judge_growth(series, bound_bytes):
    """RSS of one long run, [(age in s, bytes)]: the last quarter is no more than `bound_bytes` above the second one."""
    if len(series) < 8:
        return 0
    begin, end = series[0][0], series[-1][0]
    quarter = (end - begin) / 4
    second = max(rss for age, rss in series if begin + quarter <= age <= begin + 2 * quarter)
    last = max(rss for age, rss in series if age >= begin + 3 * quarter)
    if last - second > bound_bytes:
        raise Violation(f"RSS grew by {last - second} bytes within one run of {end - begin:.0f} s: {second} in its second quarter, {last} in its last")
    return last - second
