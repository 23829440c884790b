"""What a soak counts: rows from status objects as they come, and the verdict from the statistics at the end."""

# What stands in the CSV, in order. Divergences here are votes that were not unanimous, less overshoots; which of them
# were injected is known at the end only.
COLUMNS = ("seconds", "position", "votes", "preemptions", "found", "overshoots", "late_ticks", "divergences",
           "repairs", "failovers", "respawns", "rollbacks")
# Sums of counters of a process; they begin anew with a new one. Who came to an exit or was lost has passed a stop.
COUNTERS = {"preemptions": ("stops",), "found": ("found",), "overshoots": ("exited", "lost"),
            "late_ticks": ("late_ticks",)}
# A replica that was silent for too long was perhaps only not let run; the others are differences, or deaths.
SILENT = "hung"


class Counters:
    """Sums over all replicas and all of their processes."""

    def __init__(self):
        self.sums = dict.fromkeys(COUNTERS, 0)
        self.seen = {}

    def add(self, replica, counted):
        """What a replica's process has counted since it was looked at last."""
        for column, names in COUNTERS.items():
            now = sum(counted[name] for name in names)
            before = self.seen.get((replica, column), 0)
            # Less than before: another process counts.
            self.sums[column] += now - before if now >= before else now
            self.seen[replica, column] = now

    def row(self, seconds, status):
        """The row of a status object (docs/events.md)."""
        for replica in status["replica"]:
            self.add(replica["index"], replica["preemption"])
        votes = status["votes"]
        differed = votes["minority"] + votes["no_majority"]
        row = {"seconds": round(seconds), "position": status["position"], "votes": votes["total"],
               "divergences": max(0, differed - self.sums["overshoots"]), **self.sums}
        for name in "repairs", "failovers", "respawns", "rollbacks":
            row[name] = status[name]
        return row

    def finish(self, seconds, stats):
        """The row of the statistics at the end (docs/statistics.md)."""
        return self.row(seconds, {**stats, "position": stats["positions"]})


def csv_line(row):
    return ",".join(str(row[column]) for column in COLUMNS)


def text_line(row):
    return "  ".join(f"{column} {row[column]}" for column in COLUMNS)


def sort_faults(faults):
    """(injected, silent, unexplained) of the list of faults in the statistics."""
    sorts = {"injected": [], "silent": [], "unexplained": []}
    for fault in faults:
        if "injected_ns" in fault:
            sorts["injected"].append(fault)
        elif fault["kind"] == SILENT:
            sorts["silent"].append(fault)
        else:
            sorts["unexplained"].append(fault)
    return sorts


def complaints(stats, last, wanted_ends, preempts):
    """What is wrong with a run, one sentence each; `last` is its last row."""
    wrong = []
    sorts = sort_faults(stats["faults"])
    for fault in sorts["unexplained"]:
        wrong.append(f"replica {fault['replica']} {fault['kind']} at position {fault['position']}, which nobody "
                     "asked for")
    if stats["votes"]["no_majority"] > 0 and not sorts["injected"]:
        wrong.append(f"{stats['votes']['no_majority']} votes without a majority")
    if stats["ram_check"]["differing"] > 0:
        wrong.append(f"{stats['ram_check']['differing']} pages of memory differ at the end")
    if stats["end"] not in wanted_ends:
        wrong.append(f"the machine's end is {stats['end']}")
    if stats["retired"]:
        wrong.append(f"replicas were given up: {[r['replica'] for r in stats['retired']]}")
    if stats["replicas"] > 1 and stats["votes"]["unanimous"] == 0:
        wrong.append("nobody voted")
    # A soak that tries nothing proves nothing.
    if preempts and last["preemptions"] == 0:
        wrong.append("nothing was preempted")
    return wrong


def verdict(stats, last, wrong):
    """The last line of a soak."""
    sorts = sort_faults(stats["faults"])
    return (f"{'FAILED' if wrong else 'passed'}: {last['position']} positions, {last['votes']} votes, "
            f"{last['preemptions']} preemptions, {last['overshoots']} overshoots, "
            f"{len(sorts['injected'])} injected faults, {len(sorts['silent'])} replicas silent for a time, "
            f"{len(sorts['unexplained'])} unexplained divergences")
