"""What bench/recovery writes: samples as CSV, tables as Markdown, a plot of the distributions."""
import csv
import shutil
import subprocess
from dataclasses import dataclass

import recovery_faults as faults
from campaign_statistics import quantile

PARTS = (0.5, 0.9, 0.99, 1.0)
PART_NAMES = ("p50", "p90", "p99", "max")
COLOURS = ("#1b6ca8", "#c8553d", "#3c8d2f", "#8e5ea2", "#d9a404", "#555555", "#17a2a2")
# Windows at random times in undisturbed runs, for one kind.
DRAWS = 2000


@dataclass
class Row:
    """One fault and the guest's longest pause around it."""
    run: int
    kind: str
    fault: faults.Fault
    pause: object  # faults.Pause or None
    change_ns: int  # the guest's longest pause from the fault to its detection

    @property
    def pause_ns(self):
        return faults.length_of(self.pause)


@dataclass
class Summary:
    """All faults of one kind, and what windows as long as theirs hold where there was no fault."""
    name: str
    kind: object
    rows: list
    undisturbed: list  # ns

    def column(self, function):
        return [function(row) for row in self.rows]

    @property
    def pauses(self):
        return self.column(lambda row: row.pause_ns)


def summaries(kinds, rows, watches, seed):
    """One for each kind that has rows. `watches`: the undisturbed runs by guest."""
    found = []
    for name, kind in kinds.items():
        mine = [row for row in rows if row.kind == name]
        if mine:
            lengths = [row.fault.window[1] - row.fault.window[0] for row in mine]
            found.append(Summary(name, kind, mine, faults.undisturbed(watches[kind.guest], lengths, DRAWS, seed)))
    return found


def milliseconds(value):
    if value is None:
        return "-"
    text = f"{value / 1e6:.3g}" if value < 1e9 else f"{value / 1e6:.0f}"
    return text


def quantiles(values, show=milliseconds):
    return [show(quantile(values, part)) for part in PARTS]


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |"]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def within(summary, aim_ns):
    good = sum(pause < aim_ns for pause in summary.pauses)
    usual = sum(pause < aim_ns for pause in summary.undisturbed)
    share = f"{100 * usual / len(summary.undisturbed):.0f} %" if summary.undisturbed else "-"
    return f"{good} of {len(summary.rows)}", share


def pause_table(found, aims):
    body = []
    for summary in found:
        aim = aims.get(summary.name)
        body.append([summary.kind.title, len(summary.rows), *quantiles(summary.pauses),
                     *quantiles(summary.undisturbed), milliseconds(aim) if aim else "none longer",
                     *(within(summary, aim) if aim else ("-", "-"))])
    return table(["fault", "faults", *PART_NAMES, *(f"undisturbed {name}" for name in PART_NAMES), "aim", "within",
                  "undisturbed within"], body)


def change_table(found, aims):
    """Of faults in leaders: the pause in which another one takes over, without what a new process costs later."""
    body = []
    for summary in found:
        if summary.kind.leader:
            aim, changes = aims.get(summary.name), summary.column(lambda row: row.change_ns)
            good = f"{sum(pause < aim for pause in changes)} of {len(changes)}" if aim else "-"
            body.append([summary.kind.title, *quantiles(changes), milliseconds(aim) if aim else "-", good])
    if not body:
        return ""
    return ("The pause in which another replica takes over alone: the longest one that overlaps with the time from "
            "the fault to its detection.\n\n" + table(["fault", *PART_NAMES, "aim", "within"], body))


def phase_table(found):
    body = []
    for summary in found:
        body.append([summary.kind.title,
                     *quantiles(summary.column(lambda row: row.fault.detected - row.fault.injected)),
                     *quantiles(summary.column(lambda row: row.fault.repaired - row.fault.detected)),
                     quantile(summary.column(lambda row: row.fault.pages), 0.5),
                     max(summary.column(lambda row: row.fault.pages))])
    return table(["fault", *(f"detection {name}" for name in PART_NAMES),
                  *(f"repair {name}" for name in PART_NAMES), "pages p50", "pages max"], body)


def stray_text(strays):
    if not strays:
        return ""
    lines = ["## Faults that nobody asked for\n", "The machine booked them beside those of this table; it survived "
             "them, too.\n"]
    lines += [f"- run {run}: replica {stray['replica']} {stray['kind']} at {stray['detected_ns'] / 1e9:.3f} s"
              for run, stray in strays]
    return "\n".join(lines) + "\n"


def markdown(facts, found, aims, gap_ns, strays, picture):
    parts = ["# Pauses of a guest whose replicas fail\n", "\n".join(f"- {name}: {value}" for name, value in
                                                                       facts.items()) + "\n",
             f"Milliseconds. *Pause* is the guest's longest one that overlaps with the time from the fault to "
             f"{faults.AFTERMATH_NS / 1e6:.0f} ms after its repair, as the guest itself sees it; 0 stands for anything "
             f"below {milliseconds(gap_ns)} ms. *Undisturbed* is the same in windows as long, at random times in runs "
             f"without faults ({DRAWS} windows): what the host and the lockstep do to a guest anyway.\n",
             pause_table(found, aims),
             change_table(found, aims),
             "*Detection* is from the fault to its detection, *repair* from there until the replica takes part again; "
             "pages of 4 KiB that were copied.\n", phase_table(found), stray_text(strays)]
    if picture:
        parts.append(f"![pauses]({picture})\n")
    return "\n".join(part for part in parts if part)


def write_rows(path, facts, rows):
    with open(path, "w", newline="", encoding="utf-8") as file:
        for name, value in facts.items():
            file.write(f"# {name}: {value}\n")
        writer = csv.writer(file)
        writer.writerow(["kind", "run", "replica", "role", "booked_as", "method", "injected_ns", "detected_ns",
                         "repaired_ns", "pages", "pause_start_ns", "pause_ns", "change_ns"])
        for row in rows:
            fault = row.fault
            writer.writerow([row.kind, row.run, fault.request.replica,
                             "leader" if fault.request.was_leader else "follower", fault.kind, fault.method,
                             fault.injected, fault.detected, fault.repaired, fault.pages,
                             row.pause.start if row.pause else "", row.pause_ns, row.change_ns])


def write_pauses(path, runs):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["run", "guest", "faults", "start_ns", "length_ns"])
        for run, guest, count, watch in runs:
            writer.writerows([run, guest, count, pause.start, pause.length] for pause in watch.pauses)


def curve(values, least_ns):
    """Points (ms, percent) of a distribution function; what is below the smallest noted pause stands at that."""
    ordered = sorted(max(value, least_ns) for value in values)
    points = [(ordered[0] / 1e6, 0.0)] if ordered else []
    for index, value in enumerate(ordered, 1):
        points.append((value / 1e6, 100 * index / len(ordered)))
    return points


def plot_script(found, aims, gap_ns, output):
    text = ["set terminal svg size 900,520 font 'sans,12' background '#ffffff'", f"set output '{output}'",
            "set title 'Longest pause of the guest around a fault; dotted: the same without one'",
            "set logscale x", "set xlabel 'ms'", "set ylabel '% of faults'", "set yrange [0:100]",
            "set grid", "set key outside right top noenhanced"]
    plots = []
    for index, summary in enumerate(found):
        for kind, values, style in (("fault", summary.pauses, "linewidth 2"),
                                    ("usual", summary.undisturbed, "linewidth 1 dashtype 3")):
            points = curve(values, gap_ns)
            if points:
                text += [f"${kind}{index} << END"] + [f"{x:.6f} {y:.3f}" for x, y in points] + ["END"]
                title = f"title '{summary.kind.title}'" if kind == "fault" else "notitle"
                plots.append(f"${kind}{index} with steps {style} linecolor rgb '{COLOURS[index % len(COLOURS)]}' "
                             f"{title}")
    for index, aim in enumerate(sorted({aims[summary.name] for summary in found if summary.name in aims}), 1):
        text.append(f"set arrow {index} from {aim / 1e6},0 to {aim / 1e6},100 nohead linecolor rgb '#999999'")
    return "\n".join(text) + "\nplot " + ", \\\n     ".join(plots) + "\n"


def plot(folder, found, aims, gap_ns):
    """Writes recovery.gp and recovery.svg; gives the picture's name, or None and why there is none."""
    with open(f"{folder}/recovery.gp", "w", encoding="utf-8") as file:
        file.write(plot_script(found, aims, gap_ns, "recovery.svg"))
    if not shutil.which("gnuplot"):
        return None, "gnuplot is not installed (gnuplot-nox)"
    run = subprocess.run(["gnuplot", "recovery.gp"], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True,
                         text=True)
    if run.returncode != 0:
        return None, f"gnuplot failed: {run.stderr.strip()}"
    return "recovery.svg", None
