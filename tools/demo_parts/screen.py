"""What a person sees: a live table on a terminal, plain lines elsewhere; and the closing table."""
import os
import sys
import time

COLUMNS = ("device", "link", "serves", "update", "progress", "samples", "mae", "trivial", "auc", "anomalies")
WIDTHS = (8, 8, 7, 13, 22, 8, 8, 8, 6, 9)


def _number(device, name, digits):
    value = device.metrics.get(name)
    return "-" if value is None else f"{value:.{digits}f}"


def progress(device):
    """The bar that fits the update's state."""
    update = device.update
    state = update.get("state", "")
    if state == "transferring" and update.get("blocks_total"):
        return f"{update['blocks_done']}/{update['blocks_total']} blocks"
    if state == "trial":
        return f"{update.get('gate.samples', 0)} labels compared"
    return ""


def row(device):
    return (device.name, "online" if device.online else "offline", device.serving or "-", device.update.get("state", "-"), progress(device),
            _number(device, "learner_samples_total", 0), _number(device, "prequential_mae", 4), _number(device, "trivial_mae", 4),
            _number(device, "anomaly_auc_ratio", 3), _number(device, "anomalies_total", 0))


def table(columns, widths, rows):
    return ["  ".join(str(c).ljust(w) for c, w in zip(r, widths)).rstrip() for r in (columns, *rows)]


class Screen:
    def __init__(self):
        self.live = sys.stdout.isatty()
        self.bold, self.plain = ("\033[1m", "\033[0m") if self.live and "NO_COLOR" not in os.environ else ("", "")
        self.eyes = None
        self.begin = time.monotonic()
        self._drawn = 0
        self._last = 0.0
        self._last_text = ""

    def _erase(self):
        if self._drawn:
            sys.stdout.write(f"\033[{self._drawn}F\033[J")
            self._drawn = 0

    def say(self, text):
        """A line that stays."""
        self._erase()
        print(f"{time.monotonic() - self.begin:5.1f} s  {text}", flush=True)

    def title(self, text):
        self._erase()
        print(f"\n{self.bold}{text}{self.plain}", flush=True)

    def refresh(self):
        """Draws the table again; off a terminal a line every 5 s at most, and only when something is new."""
        now = time.monotonic()
        if self.eyes is None or now - self._last < (0.25 if self.live else 5):
            return
        self._last = now
        with self.eyes.changed:
            rows = [row(d) for d in self.eyes.devices.values()]
        if self.live:
            self._erase()
            lines = ["", *table(COLUMNS, WIDTHS, rows)]
            print("\n".join(lines), flush=True)
            self._drawn = len(lines)
        else:
            text = "; ".join(f"{r[0]} {r[1]} {r[2]} {r[3]} {r[4]} n={r[5]} mae={r[6]}" for r in rows)
            if text != self._last_text:
                self.say(text)
                self._last_text = text

    def close(self):
        self._erase()
        self.live = False
