"""The report of a campaign: Markdown tables, and a plot of stacked bars by gnuplot."""
import collections
import shutil
import subprocess

import campaign_outcome as outcome
import campaign_space as space
import campaign_statistics as statistics

# Colours that stay apart for the colour-blind (Okabe and Ito, 2008).
COLOURS = {outcome.MASKED: "#bbbbbb", outcome.CORRECTED: "#009e73", outcome.STOPPED: "#56b4e9",
           outcome.SILENT: "#d55e00", outcome.CRASH: "#e69f00", outcome.HANG: "#000000"}
# What the user of a machine is spared or not; a machine that stops by itself has done no harm, but is gone.
HARM = ((outcome.SILENT,), (outcome.CRASH, outcome.HANG), (outcome.STOPPED,))
EXCEPTIONS_MAX, EXAMPLES_MAX = 200, 20


def counted(rows):
    """Those that are a sample: the fault took place, or might have."""
    return [row for row in rows if row.outcome in outcome.OUTCOMES]


def table(header, lines):
    text = ["| " + " | ".join(header) + " |", "| " + " | ".join("---" for _ in header) + " |"]
    text += ["| " + " | ".join(str(cell) for cell in line) + " |" for line in lines]
    return "\n".join(text) + "\n"


def share_text(hits, count):
    if count == 0:
        return "-"
    low, high = statistics.wilson(hits, count)
    return f"{hits} ({100 * hits / count:.2f} %; {100 * low:.2f} to {100 * high:.2f})"


def size_text(value):
    return "0" if value == 0 else f"{value:.3g}"


def time_text(value):
    if value is None:
        return "-"
    for unit, factor in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if value >= factor:
            return f"{value / factor:.3g} {unit}"
    return f"{value} ns"


def replicas_of(rows):
    return sorted({row.replicas for row in rows})


def names_of(rows):
    present = {row.name for row in rows}
    return [name for name in space.CLASSES if name in present]


def outcome_table(rows):
    lines = []
    for replicas in replicas_of(rows):
        mine = [row for row in rows if row.replicas == replicas]
        sample = counted(mine)
        counts = collections.Counter(row.outcome for row in mine)
        lines.append([replicas, len(sample)] + [share_text(counts[o], len(sample)) for o in outcome.OUTCOMES] +
                     [counts[outcome.NOT_INJECTED], counts[outcome.INVALID]])
    return table(["replicas", "injections", *outcome.OUTCOMES, outcome.NOT_INJECTED, outcome.INVALID], lines)


def class_table(rows):
    lines = []
    for replicas in replicas_of(rows):
        for name in names_of(rows):
            mine = [row for row in rows if row.replicas == replicas and row.name == name]
            sample = counted(mine)
            if mine:
                counts = collections.Counter(row.outcome for row in mine)
                lines.append([replicas, name, len(sample)] + [counts[o] for o in outcome.OUTCOMES] +
                             [counts[outcome.NOT_INJECTED]])
    return table(["replicas", "class", "injections", *outcome.OUTCOMES, outcome.NOT_INJECTED], lines)


class Exposure:
    """The fault space of each variant: bits that can flip, for as long as the golden run takes."""

    def __init__(self, fault_space, references):
        self.space = fault_space
        self.references = references  # by (guest, replicas)

    def bits(self, guest, replicas, name):
        reference = self.references[guest, replicas]
        bits = self.space.bits(name, reference.memory_bytes)
        return None if bits is None else bits * replicas

    def size(self, guest, replicas, name, clock):
        """In bit-positions or bit-seconds."""
        bits = self.bits(guest, replicas, name)
        reference = self.references[guest, replicas]
        return bits * (reference.positions if clock == "positions" else reference.wall)

    def strata(self, rows, replicas, names, hits, clock):
        """(hits, count, size) of each guest and class."""
        found = []
        for guest, number in self.references:
            if number != replicas:
                continue
            for name in names:
                if self.bits(guest, replicas, name) is None:
                    continue
                sample = counted(row for row in rows
                                 if (row.guest, row.replicas, row.name) == (guest, replicas, name))
                found.append((sum(row.outcome in hits for row in sample), len(sample),
                              self.size(guest, replicas, name, clock)))
        return found

    def population(self, replicas):
        """Possible single faults: bits x positions x replicas, over all guests."""
        return sum(self.size(guest, number, name, "positions") for guest, number in self.references
                   if number == replicas for name in space.SPACE_CLASSES)


def estimate_text(strata):
    estimate, low, high = statistics.extrapolate(strata)
    return f"{size_text(estimate)} ({size_text(low)} to {size_text(high)})"


def ratio_text(mine, one):
    """Against one replica; of a 0 only the upper limit says something."""
    estimate, _, high = statistics.extrapolate(mine)
    base = statistics.extrapolate(one)[0]
    if base == 0:
        return "-"
    return f"{estimate / base:.2g}" if estimate > 0 else f"below {high / base:.2g}"


def extrapolation_table(rows, exposure):
    lines = []
    for replicas in replicas_of(rows):
        for hits in HARM:
            by_time = exposure.strata(rows, replicas, space.SPACE_CLASSES, hits, "time")
            by_position = exposure.strata(rows, replicas, space.SPACE_CLASSES, hits, "positions")
            one = exposure.strata(rows, 1, space.SPACE_CLASSES, hits, "time")
            lines.append([replicas, " or ".join(hits), size_text(sum(s[2] for s in by_time)), estimate_text(by_time),
                          ratio_text(by_time, one) if replicas > 1 and one else "-",
                          size_text(sum(s[2] for s in by_position)), estimate_text(by_position)])
    return table(["replicas", "outcome", "bit-seconds", "failures", "times one replica", "bit-positions",
                  "failures"], lines)


def space_table(exposure):
    lines = []
    for (guest, replicas), reference in exposure.references.items():
        sizes = [exposure.bits(guest, replicas, name) for name in space.STATE_CLASSES]
        lines.append([guest, replicas, reference.positions, f"{reference.wall:.3f}"] +
                     ["-" if size is None or not exposure.space.has(name) else size
                      for name, size in zip(space.STATE_CLASSES, sizes)])
    return table(["guest", "replicas", "positions", "golden run, s"] +
                 [f"{name}, bits" for name in space.STATE_CLASSES], lines)


def precision_table(rows, exposure):
    lines = []
    for replicas in replicas_of(rows):
        population = exposure.population(replicas)
        groups = [("all", counted(row for row in rows if row.replicas == replicas))]
        groups += [(name, counted(row for row in rows if row.replicas == replicas and row.name == name))
                   for name in names_of(rows)]
        for name, sample in groups:
            if sample:
                margin = statistics.margin_of_error(len(sample), max(population, len(sample)) if population else None)
                lines.append([replicas, name, len(sample), f"{100 * margin:.2f} %",
                              statistics.sample_size(population or None, 0.01)])
    return table(["replicas", "class", "injections", "margin of error", "needed for 1 %"], lines)


def latency_table(rows):
    lines = []
    groups = collections.OrderedDict()
    for row in rows:
        if row.detect_ns is not None or row.repair_ns is not None:
            groups.setdefault((row.replicas, row.kind or "-", row.method or "-"), []).append(row)
    for (replicas, kind, method), mine in sorted(groups.items()):
        line = [replicas, kind, method]
        for member in "detect_ns", "repair_ns":
            values = [getattr(row, member) for row in mine if getattr(row, member) is not None]
            line += [len(values)] + [time_text(statistics.quantile(values, part)) for part in (0.5, 0.99, 1)]
        lines.append(line)
    if not lines:
        return "The statistics name no times: nothing was detected, or this version of tercet does not say when.\n"
    return table(["replicas", "found as", "repaired by", "detected", "median", "99 %", "longest", "repaired", "median",
                  "99 %", "longest"], lines)


def exceptions_text(rows, command_of, replay):
    """Fault by fault: all that is neither masked nor corrected, with `command_of(row)`."""
    harm = [row for row in rows if row.outcome not in outcome.HARMLESS]
    if not harm:
        return "None: every injection was masked or corrected.\n"
    parts = [f"To run one of them again, with all that it says: `{replay} --again RUN`.\n"]
    # With a voter each is a case of its own. Of a single replica they are what is expected: some for a look.
    groups = (("More than one replica", [row for row in harm if row.replicas > 1], EXCEPTIONS_MAX),
              ("One replica", [row for row in harm if row.replicas == 1], EXAMPLES_MAX))
    for title, mine, limit in groups:
        if mine:
            parts.append(f"### {title}\n")
            parts.append(table(["run", "replicas", "guest", "outcome", "why", "command"],
                               [[row.run, row.replicas, row.guest, row.outcome, row.why, f"`{command_of(row)}`"]
                                for row in mine[:limit]]))
            if len(mine) > limit:
                parts.append(f"and {len(mine) - limit} more of {len(mine)}: in runs.csv.\n")
    return "\n".join(parts)


def markdown(title, facts, rows, exposure, command_of, replay, picture):
    numbers = replicas_of(rows)
    parts = [f"# {title}\n", "\n".join(f"- {name}: {value}" for name, value in facts.items()) + "\n",
             "## Outcomes\n",
             "Injections by what came of them: number (share; 95 % Wilson interval). The shares are those of this mix "
             "of classes, and the variants differ in time and size: compare them by the table of the fault space, "
             "not by this one. Injections that found no place are not counted.\n",
             outcome_table(rows), class_table(rows)]
    if picture:
        parts.append(f"![outcomes by class]({picture})\n")
    parts += ["## In each variant's own fault space\n",
              "Failures if every bit of every replica's registers, memory and devices were hit once at each moment: "
              "share in a class x the class's fault space, summed over classes and guests, with 95 % intervals. In "
              "bit-seconds (faults come with time, and more replicas have more bits and may take longer) and in "
              "bit-positions.\n", extrapolation_table(rows, exposure), space_table(exposure),
              "## Precision\n",
              "Margin of error of a share at 95 %, and the injections that a margin of 1 % needs (Leveugle 2009).\n",
              precision_table(rows, exposure)]
    if any(number > 1 for number in numbers):
        parts += ["## Time\n",
                  "From injection to detection, and from there to the end of the repair (`-`: the run ended before).\n",
                  latency_table(rows)]
    parts += ["## Neither masked nor corrected\n", exceptions_text(rows, command_of, replay)]
    return "\n".join(parts)


def plot_data(rows):
    """Blocks for gnuplot, one for each number of replicas: class, then the percentage of each outcome."""
    blocks = []
    for replicas in replicas_of(rows):
        lines = []
        for name in names_of(rows):
            sample = counted(row for row in rows if row.replicas == replicas and row.name == name)
            if sample:
                counts = collections.Counter(row.outcome for row in sample)
                shares = [f"{100 * counts[o] / len(sample):.3f}" for o in outcome.OUTCOMES]
                lines.append(" ".join([f'"{name} ({len(sample)})"'] + shares))
        if lines:
            blocks.append((replicas, lines))
    return blocks


def plot_script(title, blocks, output):
    bars = sum(len(lines) + 2 for _, lines in blocks)
    text = [f"set terminal svg size {240 + 36 * bars},480 font 'sans,12' background '#ffffff'",
            f"set output '{output}'", f"set title \"{title}\" noenhanced",
            "set style data histograms", "set style histogram rowstacked title offset character 0,-1",
            "set boxwidth 0.8",
            "set style fill solid 1 noborder", "set ylabel '% of injections'", "set yrange [0:100]",
            "set xtics rotate by -60 scale 0 noenhanced", "set bmargin 10", "set key outside right top noenhanced",
            "set grid ytics"]
    plots = []
    for index, (replicas, lines) in enumerate(blocks):
        text.append(f"$block{index} << END")
        text += lines + ["END"]
        plots.append(f"newhistogram '{replicas} replica{'s' if replicas > 1 else ''}'")
        for column, name in enumerate(outcome.OUTCOMES, 2):
            label = f"title '{name}'" if index == 0 else "notitle"
            plots.append(f"$block{index} using {column}:xtic(1) linecolor rgb '{COLOURS[name]}' {label}")
    return "\n".join(text) + "\nplot " + ", \\\n     ".join(plots) + "\n"


def plot(store, title, rows):
    """Writes plot.gp and plot.svg; gives the picture's name, or None and why there is none."""
    blocks = plot_data(rows)
    if not blocks:
        return None, "nothing to show"
    store.write_file("plot.gp", plot_script(title, blocks, "plot.svg"))
    if not shutil.which("gnuplot"):
        return None, "gnuplot is not installed (gnuplot-nox)"
    run = subprocess.run(["gnuplot", "plot.gp"], cwd=store.folder, stdin=subprocess.DEVNULL, capture_output=True,
                         text=True)
    if run.returncode != 0:
        return None, f"gnuplot failed: {run.stderr.strip()}"
    return "plot.svg", None
