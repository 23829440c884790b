#!/usr/bin/env python3
"""Pure functions of bench/run and bench/compare: measure_cases.py CASE. Says what is wrong and ends with status 1."""
import argparse
import math
import os
import random
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "bench"))
import guests  # noqa: E402 (found by the line above)
import lib  # noqa: E402
import model  # noqa: E402
import run_report  # noqa: E402
import significance  # noqa: E402
import suites  # noqa: E402


def must(what, condition):
    if not condition:
        print(f"not so: {what}")
        sys.exit(1)


def near(what, got, wanted, tolerance=1e-9):
    must(f"{what}: {got}, wanted {wanted}", abs(got - wanted) <= tolerance)


def published():
    """Values that others published for the same test."""
    # SciPy's reference manual, scipy.stats.mannwhitneyu, example (ages at diagnosis of diabetes).
    males, females = [19, 22, 16, 29, 24], [20, 11, 17, 12]
    u, p = significance.mann_whitney(males, females)
    near("U", u, 17)
    near("p", p, 1 / 9)
    near("U from the other side", significance.mann_whitney(females, males)[0], 3)
    # Critical values of U, two-sided, 0.05, as tables of the test have them.
    for number, critical in ((5, 2), (6, 5), (7, 8), (8, 13), (9, 17), (10, 23), (15, 64), (20, 127)):
        total = math.comb(2 * number, number)
        below = [2 * sum(significance.arrangements(i, number, number) for i in range(u + 1)) / total
                 for u in (critical, critical + 1)]
        must(f"{number} and {number}: {below}", below[0] <= 0.05 < below[1])


def ties():
    """Equal values, large samples: the normal limit."""
    must("equal samples", significance.mann_whitney([1, 1, 1], [1, 1]) == (3, 1.0))
    ranked, groups = significance.ranks([3, 1, 3, 2])
    must(f"{ranked} {groups}", ranked == [3.5, 1, 3.5, 2] and groups == [2])
    # The same data by both ways: without ties they must nearly agree.
    first, second = [2 * i for i in range(20)], [2 * i + 9 for i in range(20)]
    u, exact = significance.mann_whitney(first, second)
    spread = math.sqrt(20 * 20 * 41 / 12)
    near("exact and normal", exact, math.erfc((abs(u - 200) - 0.5) / spread / math.sqrt(2)), 0.005)
    # Samples of the same thing differ significantly as often as they should.
    generator = random.Random(3)
    hits = sum(significance.mann_whitney([generator.random() for _ in range(10)],
                                         [generator.random() for _ in range(10)])[1] < 0.05 for _ in range(2000))
    must(f"{hits} of 2000 at 0.05", 60 <= hits <= 125)
    must("far apart", significance.mann_whitney(range(10), range(100, 110))[1] < 0.0001)


def bootstrap():
    low, high = lib.interval_of(lib.ratio_of_medians, [2, 2, 2], [1, 1, 1])
    must("no spread, no interval", low == high == 2)
    # An interval of 95 % covers the true ratio about so often.
    generator = random.Random(5)
    hits = 0
    for _ in range(200):
        low, high = lib.interval_of(lib.ratio_of_medians, [generator.gauss(2, 0.1) for _ in range(15)],
                                    [generator.gauss(1, 0.05) for _ in range(15)], draws=300)
        hits += low <= 2 <= high
    must(f"{hits} of 200 intervals cover", hits >= 175)


def run_of(count, stages, judge=0, votes=10):
    replica = [{"role": "follower" if i else "leader", "stages": {k: v * 1e9 for k, v in stages.items()}}
               for i in range(count)]
    return {"replica": replica, "votes": {"total": votes}, "supervisor": {"judge": judge * 1e9, "commit": 0},
            "life_ns": sum(stages.values()) * 1e9}


def prediction():
    one = run_of(1, {"startup": 1, "guest": 8, "exit": 1}, votes=0)
    three = run_of(3, {"startup": 1, "guest": 8, "exit": 1, "hash": 1, "wait_verdict": 5}, judge=0.5)
    near("one on any host", model.predict(one, 1), 10)
    near("one on any host", model.predict(one, 8), 10)
    near("three on three", model.predict(three, 3), 1 + 10 + 0.5)
    near("three on one", model.predict(three, 1), 1 + 30.5)
    near("three on two", model.overhead(one, three, 2), (1 + 15.25) / 10)
    must("no fewer cores are better", model.predict(three, 1) > model.predict(three, 2) > model.predict(three, 3))
    near("explained", model.explained(three)[0], 1)


def cells():
    """Every suite: each group has just one base, keys are unique, bare runs print what tercet's do."""
    for quick in (True, False):
        for lab in (True, False):
            for name, suite in (suites.SUITES | suites.LINUX_SUITES).items():
                found = list(suite(suites.Size(percent=2, quick=quick, lab=lab, numbers=(3,) if lab else (2, 3))))
                must(f"{name}: keys", len({cell.key() for cell in found}) == len(found) > 0)
                for group in {cell.group for cell in found} if name != "detection" else ():
                    must(f"{name}/{group}: bases", sum(c.base for c in found if c.group == group) == 1)
                must(f"{name}: options", all(word for cell in found for word in cell.command(
                    {"tercet": "t", "bare": "b", "payloads": "p", "kernel": "k", "initrd": "i", "accel": "tcg"}, "/f")))
    found = list(suites.detection(suites.Size(100, True)))
    for cell in found:
        hit = {word[0] for word in cell.options if "@" in word}
        must("faults hit all of three replicas", hit == set("012" if cell.replicas > 2 else "0"))
        must("as many as it says", sum("@" in word for word in cell.options) == cell.faults > 0)
        must("what is promised", cell.known_by == ("segment" if "--max-segment" in cell.options else "vote"))
    must("guests that never exit", any("--max-segment" in cell.options for cell in found))
    silent = [cell for cell in suites.detection(suites.Size(100, True, lab=True)) if "--max-segment" in cell.options]
    must("in the lab they are preempted only if told", silent and all("--preempt-grace" in c.options for c in silent))


def report():
    data = {"facts": {"cores": 2}, "lab": True, "cells": [
        {"suite": "exits", "group": "g", "variant": "1", "base": True, "replicas": 1, "machines": 1, "x": 0,
         "rows": [{"wall": 2.0, "cpu": 1, "others": 0, "stats": None}] * 3},
        {"suite": "exits", "group": "g", "variant": "3", "base": False, "replicas": 3, "machines": 1, "x": 0,
         "rows": [{"wall": 9.0, "cpu": 3, "others": 0, "stats": None}] * 3}]}
    fault = {"kind": "outvoted", "injected_ns": 10 ** 6, "detected_ns": 4 * 10 ** 6}
    late = fault | {"detected_ns": 14 * 10 ** 6}
    votes = {"histogram": [{"le_ns": 2 * 10 ** 6, "count": 49}, {"le_ns": 10 ** 6, "count": 50}]}
    rare = {"histogram": [{"le_ns": 9 * 10 ** 6, "count": 1}]}
    searched = [{"suite": "detection", "group": "g", "variant": "3", "faults": 3, "x": 10, "known_by": "vote", "rows": [
        {"stats": {"faults": faults, "overshoots": passed, "vote_latency": times}} for faults, passed, times in
        (([fault, {"kind": "outvoted", "detected_ns": 5}], [late | {"kind": "overshot"}], votes), ([], [], rare))]}]
    table = "\n".join(run_report.detection({"lab": False}, searched))
    must(f"faults that nobody found, or late, are told: {table}",
         "| g | 3 | 6 | 3 | 2 | 8.00 | 13.00 | 13.00 | 2.00 | 12.00 | 1 of 2 |" in table)
    searched[0] |= {"known_by": "segment", "x": 13}
    table = "\n".join(run_report.detection({"lab": False}, searched))
    must(f"without votes' time: {table}", "| 2.00 | 13.00 | 2 of 2 |" in table)
    searched[0]["rows"] = searched[0]["rows"][1:]
    table = "\n".join(run_report.detection({"lab": False}, searched))
    must(f"likewise where there are no others: {table}", "| g | 3 | 3 | 0 | 0 | - | - | - | - | - | - |" in table)
    lines = "\n".join(run_report.compared(data, data["cells"]))
    must(f"the lab's ratio is over N times that of one: {lines}", "| g | 3 | 1.500 (1.500 to 1.500) |" in lines)
    must("the lab shows no seconds", "wall, s" not in lines and "9.0" not in lines)
    data["lab"] = False
    lines = "\n".join(run_report.compared(data, data["cells"]))
    must(f"wall: {lines}", "| g | 3 | 9.000 | 4.500 (4.500 to 4.500) | 1.50 | 3.000 (3.000 to 3.000) |" in lines)
    several = [dict(cell, group=group, rows=[dict(row, wall=row["wall"] * factor) for row in cell["rows"]])
               for group, factors in (("a", (1, 2)), ("b", (1, 0.5)), ("c", (1, 1))) for cell, factor in
               zip(data["cells"], factors)]
    lines = list(run_report.over_guests(several))
    must(f"the median over guests: {lines}", lines[2:] == ["| 3 | 4.500 (4.500 to 4.500) | 3 |"])


def idle():
    cells = [{"suite": "idle", "group": f"{x} s", "variant": "3", "x": x,
              "rows": [{"cpu": 1 + 0.01 * x, "wall": 1, "others": 0}] * 3} for x in (2, 22)]
    lines = list(run_report.idle(cells))
    must(f"one per cent: {lines}", lines[-1] == "| 3 | 1.00 (1.00 to 1.00) |")


def guest_tables():
    """What guests of bench/io and bench/programs tell, in a table: ratios alone in the lab."""
    arguments = argparse.Namespace(lab=True, kinds=["QEMU", "1", "3"], dilation=10)
    samples = {"QEMU": [{"job": (1.0, 5)}] * 2, "1": [{"job": (2.0, 5)}] * 2, "3": [{"job": (9.0, 10)}] * 2}
    quantities = [("time", lambda values: values[0]), ("latency", lambda values: values[1])]
    must("no seconds of the lab's", not list(guests.absolute_columns(arguments, samples, quantities)))
    must("a guest's clock", guests.clock_of("3", arguments) == 10 and guests.clock_of("QEMU", arguments) == 1)
    found = {head: cell("job") for head, cell in guests.ratio_columns(arguments, samples, quantities)}
    must(str(found), found == {"time, 1 replica over QEMU": "2.00", "latency, 1 replica over QEMU": "1.00",
                               "time, 3 replicas over QEMU": "9.00", "latency, 3 replicas over QEMU": "2.00",
                               "time, 3 replicas over 1 replica": "4.50", "latency, 3 replicas over 1 replica": "2.00",
                               "time, 3 replicas over 3 times 1": "1.50"})
    arguments.lab = False
    heads = [head for head, _ in guests.absolute_columns(arguments, samples, quantities)]
    must(str(heads), heads[0] == "QEMU, time" and len(heads) == 6)
    must("intervals from three rounds on", guests.ratio([2.0] * 3, [1.0] * 3) == "2.00 (2.00 to 2.00)")


CASES = {function.__name__: function for function in (published, ties, bootstrap, prediction, cells, report, idle,
                                              guest_tables)}
CASES[sys.argv[1]]()
