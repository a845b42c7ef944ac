"""What happens in a soak and when: everything from one seed, so that the same seed, length and density give the same schedule."""
import random
from dataclasses import dataclass, field

# How often each happens, of one deck; a run goes through shuffled decks, so that no kind is left out for long.
DECK = {
    "update good": 6, "update worse": 3, "update tampered": 1, "update older": 1, "update stranger": 1,
    "update crash": 2, "update hang": 1, "update nan": 1, "update slow": 1, "update leak": 1, "update good, killed": 4,
    "kill": 6, "stop": 4, "broker restart": 4, "broker crash": 2, "broker amnesia": 1,
    "clock": 4, "labels late": 2, "labels missing": 1, "undo": 3, "freeze": 1, "checkpoint": 1, "disk full": 2,
}
# End the agent or may: none of them in the last stretch, which shows what one long run does to memory.
ENDING = ("kill", "stop", "update crash", "update hang", "update good, killed")
CALM = ("update good", "update worse", "update tampered", "broker restart", "clock", "undo", "labels late")
LAST_STRETCH = 0.2

YEAR_S = 365 * 86400.0
JUMPS_S = (10 * YEAR_S, -10 * YEAR_S, -50 * YEAR_S, 3600.0, -3600.0, 30 * 86400.0, 0.0)
START_S = 8.0  # the first model comes before


@dataclass
class Event:
    index: int
    at: float  # seconds from the beginning of the run
    kind: str
    more: dict = field(default_factory=dict)

    def __str__(self):
        more = " ".join(f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}" for key, value in self.more.items())
        return f"event {self.index} at {self.at:.1f} s: {self.kind}" + (f" ({more})" if more else "")


def _more(kind, chance):
    """What an event needs to know beside its kind; the same number of draws for each kind does not matter, the order does."""
    if kind == "update good, killed":
        return {"after_s": round(chance.uniform(0.0, 3.0), 2)}
    if kind == "update tampered":
        return {"where": chance.choice(("head", "block"))}
    if kind in ("update crash", "update hang", "update nan", "update slow", "update leak"):
        return {"at_sample": chance.randrange(2, 60)}
    if kind.startswith("broker"):
        return {"away_s": round(chance.uniform(0.2, 6.0), 2)}
    if kind == "clock":
        return {"offset_s": chance.choice(JUMPS_S)}
    if kind == "labels late":
        return {"samples": chance.choice((20, 200)), "for_s": round(chance.uniform(2.0, 6.0), 2)}
    if kind in ("labels missing", "freeze"):
        return {"for_s": round(chance.uniform(1.5, 4.0), 2)}
    if kind == "disk full":
        return {"for_s": round(chance.uniform(3.0, 8.0), 2), "broker_away": chance.random() < 0.7}
    return {}


def build(seed, seconds, events_per_year, year_seconds=3600.0):
    """The events of a run of `seconds`: as dense as `events_per_year` in `year_seconds`."""
    chance = random.Random(seed)
    count = max(1, round(events_per_year * seconds / year_seconds))
    kinds = []
    while len(kinds) < count:
        deck = [kind for kind, times in DECK.items() for _ in range(times)]
        chance.shuffle(deck)
        kinds += deck
    gaps = [chance.expovariate(1.0) for _ in range(count + 1)]
    scale = max(1.0, seconds - START_S) / sum(gaps)
    events, at = [], START_S
    for index in range(count):
        at += gaps[index] * scale
        kind = kinds[index]
        if at > seconds * (1 - LAST_STRETCH) and kind in ENDING:
            kind = chance.choice(CALM)
        events.append(Event(index, round(at, 2), kind, _more(kind, chance)))
    return events
