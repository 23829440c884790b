#!/usr/bin/env python3
"""Cases of tests/lab/soak-selftest: tests/lab/soak_cases.py CASE RECORDS; exit status 1, and why, if one fails."""
import importlib.machinery
import importlib.util
import json
import os
import sys

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import soak_counters as counters  # noqa: E402 (found by the line above)


class Record:
    """A recorded run: status objects, and the statistics at its end."""

    def __init__(self, folder, name):
        with open(f"{folder}/{name}.jsonl", encoding="utf-8") as file:
            *self.states, self.stats = [json.loads(line) for line in file]

    def judge(self, preempts=True):
        """(rows, complaints, verdict)."""
        counted = counters.Counters()
        rows = [counted.row(second, state) for second, state in enumerate(self.states)]
        rows.append(counted.finish(len(rows), self.stats))
        wrong = counters.complaints(self.stats, rows[-1], {"exit"}, preempts)
        return rows, wrong, counters.verdict(self.stats, rows[-1], wrong)


def expect(good, text):
    if not good:
        print(text, file=sys.stderr)
        sys.exit(1)


def expect_wrong(record, *words):
    """One complaint that has these words, and no other."""
    _, wrong, verdict = record.judge()
    expect(len(wrong) == 1 and all(word in wrong[0] for word in words), f"complaints: {wrong}")
    expect(verdict.startswith("FAILED: "), verdict)


def case_calm(folder):
    record = Record(folder, "calm")
    rows, wrong, verdict = record.judge()
    expect(wrong == [], f"complaints: {wrong}")
    expect(verdict.startswith("passed: ") and verdict.endswith(" 0 unexplained divergences"), verdict)
    expect(rows[-1]["position"] == record.stats["positions"], f"rows: {rows}")
    expect(rows[-1]["preemptions"] == sum(r["preemption"]["stops"] for r in record.stats["replica"]) > 0, f"{rows}")
    expect(all(row["divergences"] == 0 for row in rows), f"rows: {rows}")
    expect(counters.csv_line(rows[0]).count(",") + 1 == len(counters.COLUMNS), counters.csv_line(rows[0]))


def case_injected(folder):
    rows, wrong, verdict = Record(folder, "injected").judge()
    expect(wrong == [], f"complaints: {wrong}")
    expect(" 2 injected faults" in verdict, verdict)
    expect(rows[-1]["divergences"] == 1 and rows[-1]["respawns"] == 1, f"the last row: {rows[-1]}")


def case_not_injected(folder):
    record = Record(folder, "injected")
    del record.stats["faults"][0]["injected_ns"]
    expect_wrong(record, "outvoted", "nobody asked for")
    record = Record(folder, "injected")
    del record.stats["faults"][1]["injected_ns"]
    expect_wrong(record, "died")


def case_overshoot(folder):
    """Counted apart: no divergence. A kind of fault that nobody knows is one."""
    record = Record(folder, "injected")
    record.stats["faults"] = []
    for replica in record.stats["replica"]:
        replica["preemption"]["lost"] = int(replica["index"] == 1)
    rows, wrong, verdict = record.judge()
    expect(wrong == [] and " 1 overshoots" in verdict, f"{wrong} {verdict}")
    expect(rows[-2]["divergences"] == 1 and rows[-1]["divergences"] == 0, f"rows: {rows[-2:]}")
    record = Record(folder, "injected")
    record.stats["faults"] = [{"replica": 1, "kind": "eclipse", "position": 3}]
    expect_wrong(record, "eclipse")


def case_silent(folder):
    """A replica that was not let run is told, and is no divergence."""
    record = Record(folder, "calm")
    record.stats["faults"] = [{"replica": 2, "kind": "hung", "position": 3}]
    _, wrong, verdict = record.judge()
    expect(wrong == [] and " 1 replicas silent" in verdict, f"{wrong} {verdict}")


def case_other_end(folder):
    record = Record(folder, "calm")
    record.stats["end"] = "crashed"
    expect_wrong(record, "crashed")


def case_memory(folder):
    record = Record(folder, "calm")
    record.stats["ram_check"]["differing"] = 2
    expect_wrong(record, "2 pages of memory")


def case_no_majority(folder):
    record = Record(folder, "calm")
    record.stats["votes"]["no_majority"] = 1
    expect_wrong(record, "without a majority")
    record = Record(folder, "calm")
    record.stats["votes"]["unanimous"] = 0
    expect_wrong(record, "nobody voted")


def case_nothing_preempted(folder):
    record = Record(folder, "calm")
    for state in record.states + [record.stats]:
        for replica in state["replica"]:
            replica["preemption"]["stops"] = 0
    expect_wrong(record, "nothing was preempted")
    expect(record.judge(preempts=False)[1] == [], "without preemption nothing is expected of it")


def case_new_process(folder):
    """What a process had counted is not lost with it."""
    record = Record(folder, "injected")
    stops = [state["replica"][0]["preemption"]["stops"] for state in record.states]
    expect(max(stops) > stops[-1], f"the record's leader was not replaced after it had preempted: {stops}")
    rows = record.judge()[0]
    expect(rows[-1]["preemptions"] >= max(stops), f"rows: {rows}")
    expect(all(a["preemptions"] <= b["preemptions"] for a, b in zip(rows, rows[1:])), f"rows: {rows}")


def case_console(_):
    loader = importlib.machinery.SourceFileLoader("soak_guest", f"{HERE}/soak-guest")
    spec = importlib.util.spec_from_loader("soak_guest", loader)
    guest = importlib.util.module_from_spec(spec)
    loader.exec_module(guest)
    good = "soak: begin\nsoak: rounds loop 0 forks 0\nsoak: rounds loop 3 forks 1\nsoak: end\n"
    expect(guest.console_complaints(good) == [], f"{guest.console_complaints(good)}")
    for text, words in [(good.replace("forks 1", "forks 0"), "no work: forks"),
                        (good.replace("soak: end", ""), "its end"),
                        ("soak: begin\nsoak: end\n", "none of it"),
                        (good + "soak: WRONG loop: 1, not 2\n", "WRONG loop: 1, not 2")]:
        wrong = guest.console_complaints(text)
        expect(len(wrong) == 1 and words in wrong[0], f"{text!r}: {wrong}")


def main():
    case, folder = sys.argv[1:]
    globals()["case_" + case.replace("-", "_")](folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
