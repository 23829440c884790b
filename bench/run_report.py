"""The report of bench/run: tables, where the time goes, predictions, CSV and plots, from samples.json alone."""
import collections
import csv
import json
import shutil
import statistics
import subprocess

import lib
import model
import quoted
from campaign_statistics import quantile

CORES = (1, 2, 4, 8)
STAGES = (*model.ONCE, *model.WORK, *model.WAITS, *model.HALT)


def column(cell, name="wall"):
    return [row[name] for row in cell["rows"]]


def base_of(cells, cell):
    return next((c for c in cells if c["suite"] == cell["suite"] and c["group"] == cell["group"] and c["base"]), None)


def number_of(cell):
    return cell["replicas"] * cell["machines"]


def ratio(above, below, divisor=1):
    """Median ratio with its interval, as text."""
    def function(a, b):
        return lib.ratio_of_medians(a, b) / divisor
    low, high = lib.interval_of(function, above, below)
    return f"{function(above, below):.3f} ({low:.3f} to {high:.3f})"


def limit(number, cores):
    return number / min(number, cores)


def compared(data, cells):
    """Wall and CPU time against one replica. In the lab: over N times that of one, and no seconds."""
    cores = data["facts"]["cores"]
    if data["lab"]:
        yield "| guest | variant | time over N x time of one |"
        yield "| --- | --- | --- |"
    else:
        yield "| guest | variant | wall, s | wall ratio | limit | CPU ratio | others |"
        yield "| --- | --- | --- | --- | --- | --- | --- |"
    for cell in cells:
        base = base_of(cells, cell)
        wall, cpu = column(cell), column(cell, "cpu")
        if base is None or not wall:
            continue
        number = number_of(cell)
        same = cell is base
        if data["lab"]:
            text = "1" if same else ratio(wall, column(base), number)
            yield f"| {cell['group']} | {cell['variant']} | {text} |"
            continue
        ratios = ("1", "1") if same else (ratio(wall, column(base)), ratio(cpu, column(base, "cpu")))
        yield (f"| {cell['group']} | {cell['variant']} | {statistics.median(wall):.3f} | {ratios[0]} | "
               f"{limit(number, cores):.2f} | {ratios[1]} | {statistics.median(column(cell, 'others')):.2f} |")


def passed(cells):
    """Runs that were done again because a replica did not find a stop."""
    found = [f"{cell['group']}: {cell['variant']} ({cell['passed']})" for cell in cells if cell.get("passed")]
    return [f"Done again, since a replica did not find a stop: {', '.join(found)}.", ""] if found else []


def over_guests(cells):
    """Of each variant, the median over the guests' ratios to one replica."""
    yield "| all guests | ratio to one replica, median over the guests | guests |"
    yield "| --- | --- | --- |"
    for variant in dict.fromkeys(cell["variant"] for cell in cells if not cell["base"]):
        pairs = [(column(cell), column(base_of(cells, cell))) for cell in cells
                 if cell["variant"] == variant and base_of(cells, cell)]
        columns = [rows for pair in pairs for rows in pair]
        if not columns or not all(columns):
            continue

        def median(*columns):
            return statistics.median(map(lib.ratio_of_medians, columns[::2], columns[1::2]))
        low, high = lib.interval_of(median, *columns)
        yield f"| {variant} | {median(*columns):.3f} ({low:.3f} to {high:.3f}) | {len(pairs)} |"


def middle(cell):
    """The row with the median wall time."""
    rows = sorted(cell["rows"], key=lambda row: row["wall"])
    return rows[(len(rows) - 1) // 2] if rows else None


def shares(cells):
    """Where the time goes, in the run with the median wall time: the mean over its replicas."""
    used = [name for name in STAGES if any(replica["stages"].get(name, 0) > 0 for cell in cells
                                           for row in cell["rows"] if row["stats"]
                                           for replica in row["stats"]["replica"])]
    yield "| guest | variant | " + " | ".join(used) + " | sum |"
    yield "| --- | --- |" + " --- |" * (len(used) + 1)
    for cell in cells:
        row = middle(cell)
        if row is None or row["stats"] is None:
            continue
        life, replicas = row["stats"]["life_ns"], row["stats"]["replica"]
        parts = [sum(r["stages"].get(name, 0) for r in replicas) / len(replicas) / life for name in used]
        yield (f"| {cell['group']} | {cell['variant']} | " + " | ".join(f"{100 * part:.1f}" for part in parts) +
               f" | {100 * statistics.mean(model.explained(row['stats'])):.1f} |")


def predictions(cells):
    yield "| guest | variant | " + " | ".join(f"{cores} cores" for cores in CORES) + " |"
    yield "| --- | --- |" + " --- |" * len(CORES)
    for cell in cells:
        base, row = base_of(cells, cell), middle(cell)
        if base is None or cell is base or row is None or row["stats"] is None or "strict" in cell["variant"] or \
                cell["machines"] > 1 or middle(base) is None:
            continue
        values = [model.overhead(middle(base)["stats"], row["stats"], cores) for cores in CORES]
        yield f"| {cell['group']} | {cell['variant']} | " + " | ".join(f"{v:.2f}" for v in values) + " |"


def known(cell):
    """What became known of faults: a stop that a follower cannot find, since a register differs, is not a fault yet."""
    return [fault for row in cell["rows"] for name in ("faults", "overshoots") for fault in row["stats"][name]]


def latencies(cell):
    """ns from each fault to its being known."""
    return [fault["detected_ns"] - fault["injected_ns"] for fault in known(cell)
            if "injected_ns" in fault and fault["kind"] in ("outvoted", "overshot", "unfound")]


def vote_time(cell):
    """ns that 99 of 100 votes take at most, from their first ballot to the verdict: an upper bound."""
    counts = collections.Counter()
    for row in cell["rows"]:
        for bucket in row["stats"]["vote_latency"]["histogram"]:
            counts[bucket["le_ns"]] += bucket["count"]
    return quantile(sorted(counts.elements()), 0.99) or 0


def detection(data, cells):
    if data["lab"]:
        yield "Times of the lab mean nothing; here, in votes' intervals, or in parts of `--max-segment`."
        yield ""
    unit_name = "" if data["lab"] else ", ms"
    yield ("A fault is to be known within an interval and the time of a vote (p99, from the first ballot to the "
           "verdict), or within `--max-segment`.")
    yield ""
    names = [f"{name}{unit_name}" for name in ("median", "p99", "longest", "a vote's p99", "limit")]
    yield "| guest | replicas | faults | found | of these, timed | " + " | ".join(names) + " | within |"
    yield "| --- " * (len(names) + 6) + "|"
    for cell in cells:
        values = latencies(cell)
        counts = f"{cell.get('faults', 0) * len(cell['rows'])} | {len(known(cell))} | {len(values)}"
        if not values:
            yield f"| {cell['group']} | {cell['variant']} | {counts} | - | - | - | - | - | - |"
            continue
        unit = (cell["x"] if data["lab"] else 1) * 1e6
        vote = vote_time(cell)
        limit_ns = cell["x"] * 1e6 + (vote if cell["known_by"] == "vote" else 0)
        shown = [f"{value / unit:.2f}" for value in
                 (statistics.median(values), quantile(values, 0.99), max(values), vote, limit_ns)]
        within = sum(value <= limit_ns for value in values)
        yield (f"| {cell['group']} | {cell['variant']} | {counts} | " + " | ".join(shown) +
               f" | {within} of {len(values)} |")


def idle(cells):
    """CPU time of a longer sleep less that of a shorter one, for each second between, in per cent of a core."""
    yield "| replicas | per cent of a core |"
    yield "| --- | --- |"
    for variant in dict.fromkeys(cell["variant"] for cell in cells):
        short, long = sorted((cell for cell in cells if cell["variant"] == variant), key=lambda cell: cell["x"])
        if not short["rows"] or not long["rows"]:
            continue
        seconds = long["x"] - short["x"]

        def share(a, b, seconds=seconds):
            return 100 * (statistics.median(a) - statistics.median(b)) / seconds
        low, high = lib.interval_of(share, column(long, "cpu"), column(short, "cpu"))
        middle_share = share(column(long, "cpu"), column(short, "cpu"))
        yield f"| {variant} | {middle_share:.2f} ({low:.2f} to {high:.2f}) |"


def text_of(data):
    facts, cells = data["facts"], data["cells"]
    lines = ["# What replication costs", ""]
    if data["lab"]:
        lines += ["**From the lab, an emulated machine that runs one processor at a time: ratios only.** A ratio of "
                  "1 is N replicas in N times the time of one.", ""]
    lines += [f"- {name}: {value}" for name, value in facts.items()]
    lines += ["- medians, 95 % bootstrap intervals", ""]
    for suite in dict.fromkeys(cell["suite"] for cell in cells):
        chosen = [cell for cell in cells if cell["suite"] == suite]
        rounds = max(len(cell["rows"]) for cell in chosen)
        lines += [f"## {suite}", "", f"{rounds} rounds after one to warm up.", ""]
        if suite == "detection":
            lines += [*detection(data, chosen), ""]
            continue
        if suite == "idle":
            lines += [*idle(chosen), ""]
            continue
        lines += [*compared(data, chosen), "", *passed(chosen)]
        if not data["lab"] and suite == "compute":
            lines += [*over_guests(chosen), ""]
        lines += ["Where it goes, per cent of a replica's life:", "", *shares(chosen), ""]
        if not data["lab"] and suite in ("compute", "exits"):
            lines += ["Predicted ratio to one replica by bench/model.py:", "", *predictions(chosen), ""]
    lines += ["## Published figures of others", "", "Quoted, not measured here, of other machines and guests:", "",
              quoted.table(), ""]
    return "\n".join(lines)


def write_csv(path, data):
    with open(path, "w", newline="", encoding="utf-8") as file:
        for name, value in data["facts"].items():
            file.write(f"# {name}: {value}\n")
        file.write(f"# lab: {data['lab']}\n")
        writer = csv.writer(file)
        writer.writerow(["suite", "group", "variant", "x", "round", "wall_s", "cpu_s", "others_cores", "positions",
                         "votes", *STAGES])
        for cell in data["cells"]:
            for number, row in enumerate(cell["rows"], 1):
                stats = row["stats"]
                stages = [sum(r["stages"].get(name, 0) for r in stats["replica"]) for name in STAGES] if stats else []
                writer.writerow([cell["suite"], cell["group"], cell["variant"], cell["x"], number,
                                 f"{row['wall']:.6f}", f"{row['cpu']:.6f}", f"{row['others']:.3f}",
                                 stats["positions"] if stats else "", stats["votes"]["total"] if stats else "",
                                 *stages])


def plot_rows(data, suite):
    """(label, ratio, low, high) of every cell that has a base and is none."""
    cells = [cell for cell in data["cells"] if cell["suite"] == suite]
    for cell in cells:
        base = base_of(cells, cell)
        if base is None or cell is base or not cell["rows"] or not base["rows"]:
            continue
        divisor = number_of(cell) if data["lab"] else 1
        low, high = lib.interval_of(lib.ratio_of_medians, column(cell), column(base))
        yield (f"{cell['group']}: {cell['variant']}", lib.ratio_of_medians(column(cell), column(base)) / divisor,
               low / divisor, high / divisor)


def plot(data, suite, out):
    """Draws a suite's ratios; says so where there is no gnuplot."""
    rows = list(plot_rows(data, suite))
    if not rows or shutil.which("gnuplot") is None:
        return bool(rows)
    with open(f"{out}/{suite}.dat", "w", encoding="utf-8") as file:
        for label, value, low, high in rows:
            file.write(f'"{label}" {value:.5f} {low:.5f} {high:.5f}\n')
    title = "time over N x time of one (lab)" if data["lab"] else "wall time over that of one replica"
    for terminal, suffix in (("pngcairo size 1000,600", "png"), ("svg size 1000,600", "svg")):
        script = (f'set terminal {terminal}\nset output "{out}/{suite}.{suffix}"\nset title "{suite}"\n'
                  f'set ylabel "{title}"\nset yrange [0:*]\nset xtics rotate by -45\nset grid y\nset bmargin 10\n'
                  f'plot "{out}/{suite}.dat" using 0:2:3:4:xtic(1) with yerrorbars pt 7 notitle\n')
        subprocess.run(["gnuplot"], input=script, text=True, check=True)
    return True


def write(samples, out):
    """report.md, samples.csv and the plots of a samples.json."""
    with open(samples, encoding="utf-8") as file:
        data = json.load(file)
    write_csv(f"{out}/samples.csv", data)
    for suite in dict.fromkeys(cell["suite"] for cell in data["cells"]):
        if plot(data, suite, out) and shutil.which("gnuplot") is None:
            print("run: gnuplot is not installed: no plots")
    text = text_of(data)
    with open(f"{out}/report.md", "w", encoding="utf-8") as file:
        file.write(text)
    print(text)
