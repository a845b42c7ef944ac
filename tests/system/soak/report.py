"""What a soak found out, as numbers: quarters of the run beside each other, a table for people, JSON for programs."""


def quantile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def median(values):
    return quantile(values, 0.5)


def steps(series, width, measure):
    """`measure` of the values of each step of `width` of [(x, value)], at the step's beginning."""
    parts = {}
    for x, value in series:
        parts.setdefault(x // width, []).append(value)
    return [(step * width, measure(part)) for step, part in sorted(parts.items())]


def quarters(series, begin, end, measure):
    """`measure` of the values of each quarter of [(time, value)]."""
    width = (end - begin) / 4
    parts = [[value for at, value in series if begin + n * width <= at < begin + (n + 1) * width] for n in range(4)]
    return [measure(part) if part else None for part in parts]


def slope(series):
    """Least squares through [(x, y)], in y for one x."""
    if len(series) < 2:
        return 0.0
    mean_x = sum(x for x, _ in series) / len(series)
    mean_y = sum(y for _, y in series) / len(series)
    spread = sum((x - mean_x) ** 2 for x, _ in series)
    return sum((x - mean_x) * (y - mean_y) for x, y in series) / spread if spread else 0.0


def ratio(values):
    """Last quarter against the first."""
    return round(values[3] / values[0], 3) if values[0] and values[3] else None


def table(report):
    """The report as text."""
    def row(name, *cells):
        return "  " + f"{name:26}" + " ".join(f"{cell if cell is not None else '-':>12}" for cell in cells)

    def mib(value):
        return None if value is None else f"{value / (1 << 20):.2f} MiB"

    def micro(value):
        return None if value is None else f"{value * 1e6:.0f} us"

    lines = [f"soak: seed {report['seed']}, {report['seconds']:.0f} s, {report['events']} events: "
             f"{report['years']:.3g} years of {report['events_per_year']:g} events",
             row("", "quarter 1", "quarter 2", "quarter 3", "quarter 4", "4th / 1st"),
             row("RSS, largest", *map(mib, report["rss_bytes_by_quarter"]), ratio(report["rss_bytes_by_quarter"])),
             row("RSS, median", *map(mib, report["rss_median_bytes_by_quarter"]), ratio(report["rss_median_bytes_by_quarter"])),
             row("without files, median", *map(mib, report["rss_anon_median_bytes_by_quarter"]), ratio(report["rss_anon_median_bytes_by_quarter"])),
             row("answer, p50", *map(micro, report["latency_p50_s_by_quarter"]), ratio(report["latency_p50_s_by_quarter"])),
             row("answer, p99", *map(micro, report["latency_p99_s_by_quarter"]), ratio(report["latency_p99_s_by_quarter"])),
             row("samples answered", *report["samples_by_quarter"], ratio(report["samples_by_quarter"])),
             f"  slopes: RSS {report['rss_slope_bytes_per_hour'] / 1024:+.0f} KiB an hour, "
             f"without files {report['rss_anon_slope_bytes_per_hour'] / 1024:+.0f}; "
             f"longest run ({report['longest_run_s']:.0f} s) {report['longest_run_rss_slope_bytes_per_hour'] / 1024:+.0f} KiB an hour; "
             f"answer, p50 {report['latency_p50_slope_s_per_hour'] * 1e6:+.1f} us an hour",
             f"  RSS, last quarter above the second of the last run ({report['last_run_s']:.0f} s): "
             f"{report['rss_growth_last_run_bytes'] / 1024:+.0f} KiB" + ("" if report["rss_judged"] else " (not judged)"),
             f"  file descriptors {report['file_descriptors']}, threads {report['threads']} whenever nothing went on",
             f"  samples {report['samples']} answered of {report['samples_sent']} sent, {report['samples_before_model']} before the first model, "
             f"{report['samples_cut_off']} on their way when the agent ended; {report['samples_missed']} more while nobody listened; "
             f"labels learned {report['labels_learned']}",
             f"  sessions {report['sessions']}: kills {report['kills']}, planned stops {report['stops']}, crashes {report['crashes']}, "
             f"watchdog {report['watchdog']}; back within {report['back_p50_s']:.2f} s (p50), {report['back_max_s']:.2f} s (longest)",
             f"  broker: {report['broker_losses']} losses ({', '.join(f'{k} {v}' for k, v in sorted(report['broker'].items())) or 'none'}); "
             f"clock jumps {report['clock_jumps']}; disk full {report['disk_full']}",
             f"  telemetry: {report['messages']} messages, lost {report['lost']}: told by the device {report['lost_by']['told']}, in memory at a kill "
             f"{report['lost_by']['kill']}, forgotten by the broker {report['lost_by']['broker']}, unexplained {report['lost_by']['unexplained']}",
             f"  updates: {sum(report['updates'].values())} ended, fallbacks {report['fallbacks']}, offered again {report['retries']}"]
    lines += [f"    {times:4} {what}" for what, times in sorted(report["updates"].items())]
    lines += [f"  commands: {', '.join(f'{k} {v}' for k, v in sorted(report['commands'].items())) or 'none'}",
              f"  skipped: {', '.join(f'{k} {v}' for k, v in sorted(report['skipped'].items())) or 'nothing'}"]
    return "\n".join(lines)
