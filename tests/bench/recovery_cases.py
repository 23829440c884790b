#!/usr/bin/env python3
"""The cases of tests/bench/recovery-selftest that are pure functions: recovery_cases.py NAME."""
import os
import random
import sys
import tempfile
from dataclasses import replace

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../bench"))
import recovery_report as report  # noqa: E402 (found by the line above)
from recovery_faults import (AFTERMATH_NS, NOTICE_NS, ConsoleError, Fault, Pause, Request, Watch,  # noqa: E402
                             length_of, longest_pause, match, parse_console, parse_written, undisturbed)

CONSOLE = """pulse scale=1 seed=1 step=200 bytes=8388608
written 64 0000000000280000
ready 1000
pause 1500 300
pause 1800 20
pause 5000 7000
end 20000 77 0
checksum 7d522418ac227e57
"""


def refused(kind, action):
    """What the error of this kind says; nothing if there is none."""
    try:
        action()
    except kind as error:
        return str(error)
    return ""


def case_console():
    watch = parse_console(CONSOLE)
    assert watch == Watch(0x280000, 64, 1000, 20000, (Pause(1500, 300), Pause(1800, 20), Pause(5000, 7000)), 77,
                          "7d522418ac227e57"), watch
    # Cut off anywhere it is no whole console, and says where the guest writes as soon as that line is there.
    for length in range(len(CONSOLE)):
        text = CONSOLE[:length]
        assert refused(ConsoleError, lambda text=text: parse_console(text)), text
        assert parse_written(text) == ((0x280000, 64) if "written 64 0000000000280000\n" in text else None), text
    for old, new, what in (("pause 1800 20", "pause 1799 20", "overlap"), ("77 0", "77 3", "room for 3"),
                           ("pause 1500 300", "pause 1500", "without its numbers"),
                           ("ready 1000", "ready soon", "without its numbers"), ("written", "wrote", "lacks written"),
                           ("checksum", "sum", "lacks checksum"), ("end", "END", "lacks end")):
        assert what in refused(ConsoleError, lambda old=old, new=new: parse_console(CONSOLE.replace(old, new))), old


def case_pulse_output():
    """What the payload printed, watching 100 ms and noting every pause."""
    with open(os.environ["CASE_FOLDER"] + "/console", encoding="utf-8") as file:
        watch = parse_console(file.read())
    assert watch.pauses and watch.end - watch.ready >= 100_000_000, watch
    assert watch.pages == 64 and watch.written % 4096 == 0 and len(watch.pauses) <= watch.readings, watch
    # Every reading ends a pause, if only of a tick: they follow each other without a hole, up to the end.
    at = watch.pauses[0].start
    assert at >= watch.ready, watch
    for pause in watch.pauses:
        # Rounding to nanoseconds, twice.
        assert 0 <= pause.start - at <= 2, (at, pause)
        at = pause.start + pause.length
    assert abs(at - watch.end) <= 2, (at, watch.end)


def booked(replica, injected, detected, repaired, **more):
    entry = {"replica": replica, "kind": "died", "position": 1, "detected_ns": detected} | more
    if injected is not None:
        entry["injected_ns"] = injected
    if repaired is not None:
        entry |= {"repaired_ns": repaired, "method": "respawn", "pages": 5}
    return entry


def case_match():
    first, second = Request(1, False, 100, 200), Request(1, False, 300, 400)
    entries = [booked(1, 110, 120, 150), booked(1, 310, 320, 350, kind="outvoted")]
    faults, missing, rest = match([first, second], entries)
    assert (missing, rest) == ([], [])
    assert faults == [Fault(first, "died", 110, 120, 150, "respawn", 5),
                      Fault(second, "outvoted", 310, 320, 350, "respawn", 5)], faults
    assert faults[0].window == (110, 150 + AFTERMATH_NS)
    assert faults[0].change == (110, 120 + NOTICE_NS)
    # Another replica, another time, no time at all, and one that is not over: nobody asked for them.
    others = [booked(0, 110, 120, 150), booked(1, 250, 260, 290), booked(1, None, 120, 150), booked(1, 110, 120, None)]
    for other in others:
        faults, missing, rest = match([first], [other])
        assert (faults, missing, rest) == ([], [first], [other]), other
        faults, missing, rest = match([first], [other, entries[0]])
        assert [f.injected for f in faults] == [110] and missing == [] and rest == [other], other
    # A fault that led to another: what it was comes from the first, when it was over from the last.
    twice = [booked(1, 110, 120, 130, kind="outvoted"), booked(1, 110, 140, 160)]
    faults, missing, rest = match([first], twice)
    assert faults == [Fault(first, "outvoted", 110, 120, 160, "respawn", 10)] and not missing and not rest, faults


def case_longest_pause():
    pauses = (Pause(100, 50), Pause(150, 10), Pause(200, 5), Pause(300, 100))
    for window, wanted in (((0, 100), None), ((0, 101), 50), ((149, 151), 50), ((150, 151), 10), ((160, 200), None),
                           ((160, 301), 100), ((399, 500), 100), ((400, 500), None), ((201, 202), 5),
                           ((0, 1000), 100), ((155, 205), 10)):
        got = longest_pause(pauses, window)
        assert length_of(got) == (wanted or 0), (window, got)
    assert longest_pause((), (0, 1)) is None and length_of(None) == 0
    # The same as looking at all of them.
    generator = random.Random(7)
    for _ in range(300):
        at, many = 0, []
        for _ in range(generator.randrange(1, 12)):
            at += generator.randrange(30)
            many.append(Pause(at, generator.randrange(1, 40)))
            at += many[-1].length
        begin = generator.randrange(at + 20)
        end = begin + generator.randrange(1, 60)
        plain = [pause.length for pause in many if pause.start < end and pause.start + pause.length > begin]
        assert length_of(longest_pause(tuple(many), (begin, end))) == max(plain, default=0), (many, begin, end)


def case_undisturbed():
    calm = Watch(0, 0, 1000, 11000, (), 1, "")
    # One pause of 100 in 10,000: a window of 400 at a random place meets it with probability 499 / 9601.
    rare = replace(calm, pauses=(Pause(5000, 100),))
    assert undisturbed([calm], [400], 50, 1) == [0] * 50
    got = undisturbed([rare], [400], 20000, 1)
    assert set(got) == {0, 100} and 0.042 < got.count(100) / 20000 < 0.062, got.count(100)
    # Windows as long as the run see all of it; longer ones are cut; a shorter run is drawn from less.
    assert undisturbed([rare], [10**9], 30, 1) == [100] * 30
    assert 0.4 < undisturbed([rare], [1, 10000], 2000, 1).count(100) / 2000 < 0.6
    assert undisturbed([rare, replace(calm, end=1100)], [10000], 30, 1) == [100] * 30
    short = replace(calm, end=6000, pauses=(Pause(1000, 5000),))
    assert 0.2 < undisturbed([rare, short], [10], 4000, 1).count(5000) / 4000 < 0.47
    assert undisturbed([], [5], 9, 1) == [] and undisturbed([rare], [], 9, 1) == []
    assert undisturbed([rare], [400], 50, 2) != undisturbed([rare], [400], 50, 3)


class Kind:
    """As in bench/recovery, as far as the report looks."""

    def __init__(self, title, guest, leader=False):
        self.title = title
        self.guest = guest
        self.leader = leader


def row(kind, injected, pause):
    fault = Fault(Request(0, True, injected - 5, injected + 10**7), "died", injected, injected + 3_000_000,
                  injected + 8_000_000, "respawn", 7)
    return report.Row(0, kind, fault, pause, 6_000_000 * (injected // 10**9))


def case_report():
    kinds = {"one": Kind("first", "small", True), "two": Kind("second", "large"), "three": Kind("third", "small")}
    rows = [row("one", 10**9, Pause(10**9, 15_000_000)), row("one", 2 * 10**9, Pause(2 * 10**9, 25_000_000)),
            row("one", 3 * 10**9, None), row("two", 10**9, Pause(10**9, 2_000_000_000))]
    watches = {"small": [Watch(0, 0, 0, 10**10, (Pause(0, 10**10),), 1, "")], "large": []}
    found = report.summaries(kinds, rows, watches, 1)
    assert [summary.name for summary in found] == ["one", "two"]
    assert found[0].pauses == [15_000_000, 25_000_000, 0] and set(found[0].undisturbed) == {10**10}
    aims = {"one": 20_000_000}
    text = report.markdown({"cores": 2}, found, aims, 1_000_000, [(4, booked(2, None, 5 * 10**8, None))], "x.svg")
    for wanted in ("| first | 3 | 15 | 25 | 25 | 25 | 10000 | 10000 | 10000 | 10000 | 20 | 2 of 3 | 0 % |",
                   "| first | 12 | 18 | 18 | 18 | 20 | 3 of 3 |",
                   "| second | 1 | 2000 | 2000 | 2000 | 2000 | - | - | - | - | none longer | - | - |",
                   "| first | 3 | 3 | 3 | 3 | 5 | 5 | 5 | 5 | 7 | 7 |", "run 4: replica 2 died at 0.500 s", "cores: 2",
                   "below 1 ms", "](x.svg)"):
        assert wanted in text, (wanted, text)
    assert "nobody asked" not in report.markdown({}, found, aims, 1_000_000, [], None)
    # A distribution function: up to 100 %, from the smallest that can be seen.
    assert report.curve([4_000_000, 0, 2_000_000, 0], 1_000_000) == [
        (1.0, 0.0), (1.0, 25.0), (1.0, 50.0), (2.0, 75.0), (4.0, 100.0)]
    assert report.curve([], 1) == []
    folder = tempfile.mkdtemp(dir=os.environ.get("CASE_FOLDER"))
    report.write_rows(folder + "/rows", {"cores": 2}, rows)
    with open(folder + "/rows", encoding="utf-8") as file:
        lines = file.read().split("\n")
    assert lines[0] == "# cores: 2" and lines[1].startswith("kind,run,replica,role,")
    assert lines[2] == ("one,0,0,leader,died,respawn,1000000000,1003000000,1008000000,7,1000000000,15000000,"
                        "6000000"), lines[2]
    assert lines[4].endswith(",7,,0,18000000"), lines[4]
    report.write_pauses(folder + "/pauses", [(3, "small", 0, watches["small"][0])])
    with open(folder + "/pauses", encoding="utf-8") as file:
        assert file.read().split("\n")[1] == "3,small,0,0,10000000000"
    picture, why = report.plot(folder, found, aims, 1_000_000)
    assert (picture is None) == bool(why), (picture, why)
    if picture:
        with open(f"{folder}/{picture}", encoding="utf-8") as file:
            drawn = file.read()
        assert "first" in drawn and "second" in drawn and "third" not in drawn
    else:
        assert "not installed" in why, why


def main():
    if not __debug__:
        sys.exit("these cases are made of assertions: run them without -O")
    globals()["case_" + sys.argv[1].replace("-", "_")]()


main()
