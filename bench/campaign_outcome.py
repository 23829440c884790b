"""What came of one injection: a pure function of how the run ended, what it printed and its statistics.

The statistics file is read as a stranger's: whatever is missing or of another type counts as not said.
"""
from dataclasses import dataclass

MASKED = "masked"
CORRECTED = "corrected"
STOPPED = "detected and stopped"
SILENT = "silent corruption"
CRASH = "crash"
HANG = "hang"
# Not an outcome of a fault: tercet did not take the command, or the host cannot do it.
INVALID = "invalid"
# A fault that found no place: a register that cannot hold the bit, or a machine that ended before.
NOT_INJECTED = "not injected"

OUTCOMES = (MASKED, CORRECTED, STOPPED, SILENT, CRASH, HANG)
HARMLESS = (MASKED, CORRECTED, NOT_INJECTED)

# base/result.h, enum status
STATUS_OK = 0
STATUS_USAGE, STATUS_INPUT, STATUS_HOST = 2, 3, 4
STATUS_NO_MAJORITY = 5
STATUS_GUEST = 6


@dataclass(frozen=True)
class Golden:
    """How a run without a fault ends; `console` as the guest's `comparable` makes it."""
    status: int
    end: str
    console: bytes


@dataclass(frozen=True)
class Observation:
    """How a run ended: `status` is None if it did not, negative if a signal ended it; `stats` is None if there are
    none. `console` is comparable, `begun` the same for a console that may be cut off anywhere."""
    status: object
    console: bytes
    begun: bytes
    stats: object


def number(value):
    """A count of the statistics file, 0 if it is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0


def objects(value):
    return [x for x in value if isinstance(x, dict)] if isinstance(value, list) else []


def member(stats, name):
    """An object of the statistics file, empty if it is none."""
    value = stats.get(name) if isinstance(stats, dict) else None
    return value if isinstance(value, dict) else {}


def interventions(stats):
    """What tercet says that it did about faults, by name; nothing in an undisturbed run."""
    if not isinstance(stats, dict):
        return []
    counts = {name: number(member(stats, "votes").get(name)) for name in ("minority", "no_majority")}
    counts.update((name, number(stats.get(name))) for name in ("repairs", "failovers", "respawns", "rollbacks"))
    counts.update((name, len(objects(stats.get(name)))) for name in ("faults", "retired", "differences"))
    counts["input_faults"] = sum(number(r.get("input_faults")) for r in objects(stats.get("replica")))
    return [name for name, count in counts.items() if count > 0]


def end_of(stats):
    end = stats.get("end") if isinstance(stats, dict) else None
    return end if isinstance(end, str) else ""


def classify(seen, golden, replicas):
    """(outcome, why)."""
    if seen.status in (STATUS_USAGE, STATUS_INPUT, STATUS_HOST):
        return INVALID, f"exit status {seen.status}"
    same = seen.console == golden.console
    # With a voter, what has left must be right however the machine ended. Without one a guest that finds itself wrong
    # may say so on the console.
    if replicas > 1 and not same and not golden.console.startswith(seen.begun):
        return SILENT, "bytes left that are not the golden run's"
    if seen.status is None:
        return HANG, "no end within the limit"
    if seen.status < 0:
        return CRASH, f"tercet was ended by signal {-seen.status}"
    if not isinstance(seen.stats, dict):
        return CRASH, f"exit status {seen.status}, and no statistics"
    end = end_of(seen.stats)
    if seen.status == golden.status and end == golden.end:
        if not same:
            return SILENT, "a good end, but not the golden run's output"
        found = interventions(seen.stats) if replicas > 1 else []
        return (CORRECTED, ", ".join(found)) if found else (MASKED, "")
    if seen.status == STATUS_NO_MAJORITY and replicas > 1:
        return STOPPED, "no majority"
    if seen.status == STATUS_GUEST and end == "exit" and replicas == 1:
        return STOPPED, "the guest's own check"
    return CRASH, f"exit status {seen.status}, end {end or 'unknown'}"


def account(stats, replica):
    """What the statistics tell of the fault in this replica: its kind, method, ns from injection to detection, ns from
    there to the end of the repair, pages copied. A member that is not known is None."""
    story = {"kind": None, "method": None, "detect_ns": None, "repair_ns": None, "pages": None}
    # A guest that the fault took into a loop is found at its stop, where preemption finds it first.
    faults = objects(stats.get("faults")) + objects(stats.get("overshoots")) if isinstance(stats, dict) else []
    # A fault in a leader's tape may be found in those who read it.
    mine = [f for f in faults if f.get("replica") == replica] or faults
    if not mine:
        return story
    fault = mine[0]
    for name in ("kind", "method"):
        if isinstance(fault.get(name), str):
            story[name] = fault[name]
    times = [fault.get(name) for name in ("injected_ns", "detected_ns", "repaired_ns")]
    times = [t if isinstance(t, int) and t > 0 else None for t in times]
    if times[0] is not None and times[1] is not None and times[1] >= times[0]:
        story["detect_ns"] = times[1] - times[0]
    if times[1] is not None and times[2] is not None and times[2] >= times[1]:
        story["repair_ns"] = times[2] - times[1]
    if isinstance(fault.get("pages"), int) and fault["pages"] >= 0:
        story["pages"] = fault["pages"]
    return story


def broken_expectations(rows):
    """Of finished runs (objects with .replicas, .outcome), those that a machine with more than one replica must not
    show: with two no silent corruption, crash or hang; with three or more nothing but masked and corrected."""
    broken = []
    for row in rows:
        if row.outcome == INVALID or row.replicas > 1 and row.outcome in (SILENT, CRASH, HANG) or \
                row.replicas > 2 and row.outcome == STOPPED:
            broken.append(row)
    return broken
