#!/usr/bin/env python3
"""The cases of tests/bench/campaign-selftest that are pure functions: campaign_cases.py NAME."""
import collections
import json
import os
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../bench"))
import campaign_space as space  # noqa: E402 (found by the line above)
from campaign_guest import GuestError, Linux, check_golden  # noqa: E402
from campaign_outcome import (CORRECTED, CRASH, HANG, INVALID, MASKED, NOT_INJECTED, OUTCOMES, SILENT,  # noqa: E402
                              STOPPED, Golden, Observation, account, broken_expectations, classify)
from campaign_run import touched_ranges, whole_memory  # noqa: E402
from campaign_statistics import extrapolate, margin_of_error, quantile, sample_size, wilson  # noqa: E402
from campaign_store import Row, Store, StoreError, differences  # noqa: E402
from campaign_tour import (BEHIND, LAST, Console, Look, come_of, events_story, grown, round_lines,  # noqa: E402
                           well)


def refused(kind, action):
    """What the error of this kind says; nothing if there is none."""
    try:
        action()
    except kind as error:
        return str(error)
    return ""


def case_wilson():
    # Newcombe, Two-sided confidence intervals for the single proportion, Stat. Med. 17 (1998), table I, method 3.
    for hits, count, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611),
                                   (1, 29, 0.0061, 0.1718), (29, 29, 0.8830, 1)):
        got = wilson(hits, count)
        assert abs(got[0] - low) < 6e-5 and abs(got[1] - high) < 6e-5, (hits, count, got)
    assert wilson(0, 0) == (0, 1)
    assert wilson(0, 10000)[0] == 0 and 3.8e-4 < wilson(0, 10000)[1] < 3.9e-4


def case_sample_size():
    # Leveugle et al. 2009: 9,604 and 384 (here rounded up) are the limits for 1 % and 5 % at 95 %.
    assert sample_size(None, 0.01) == 9604 and sample_size(None, 0.05) == 385
    assert sample_size(10**12, 0.01) == 9604
    assert sample_size(10000, 0.01) == 4900 and sample_size(1, 0.01) == 1
    assert abs(margin_of_error(9604) - 0.01) < 1e-6 and margin_of_error(0) == 1
    assert margin_of_error(500, 500) == 0 and margin_of_error(400, 500) < margin_of_error(400)
    for population in 1000, 54321, 10**9:
        assert margin_of_error(sample_size(population, 0.02), population) <= 0.02
        assert margin_of_error(sample_size(population, 0.02) - 1, population) > 0.02


def case_extrapolation():
    # One stratum is Wilson's interval times its size; a census of two adds up.
    low, high = wilson(3, 100)
    got = extrapolate([(3, 100, 1000)])
    assert all(abs(a - b) < 1e-9 for a, b in zip(got, (30, low * 1000, high * 1000))), got
    estimate, below, above = extrapolate([(3, 100, 1000), (10, 20, 50)])
    assert abs(estimate - 55) < 1e-9
    one, two = 30 - low * 1000, 25 - wilson(10, 20)[0] * 50
    assert abs(estimate - below - (one ** 2 + two ** 2) ** 0.5) < 1e-9
    one, two = high * 1000 - 30, wilson(10, 20)[1] * 50 - 25
    assert abs(above - estimate - (one ** 2 + two ** 2) ** 0.5) < 1e-9
    # What was not sampled may fail.
    assert extrapolate([(0, 0, 7)]) == (0, 0, 7)
    # A class that is sampled often and small does not outweigh one that is large.
    assert extrapolate([(90, 100, 10), (0, 100, 10**6)])[0] == 9
    assert quantile([], 0.5) is None and quantile([5, 1, 3], 0.5) == 3 and quantile([5, 1, 3], 1) == 5
    assert quantile(range(1, 101), 0.99) == 99


def case_classes():
    golden = Golden(0, "exit", b"one\ntwo\n")
    right, part, wrong = b"one\ntwo\n", b"one\n", b"one\ntwe\n"
    no, minority = {}, {"votes": {"minority": 1}}
    table = (
        # status, console, end, statistics besides, with 1 replica, with 2 and more
        (0, right, "exit", no, MASKED, MASKED),
        (0, right, "exit", minority, MASKED, CORRECTED),
        (0, right, "exit", {"faults": [{"replica": 1}]}, MASKED, CORRECTED),
        (0, right, "exit", {"repairs": 1}, MASKED, CORRECTED),
        (0, right, "exit", {"failovers": 1}, MASKED, CORRECTED),
        (0, right, "exit", {"respawns": 1}, MASKED, CORRECTED),
        (0, right, "exit", {"rollbacks": 1}, MASKED, CORRECTED),
        (0, right, "exit", {"retired": [{}]}, MASKED, CORRECTED),
        (0, right, "exit", {"replica": [{"input_faults": 1}]}, MASKED, CORRECTED),
        (0, right, "exit", {"repairs": "many", "votes": [], "faults": 3}, MASKED, MASKED),
        (0, wrong, "exit", no, SILENT, SILENT),
        (0, wrong, "exit", minority, SILENT, SILENT),
        (0, part, "exit", no, SILENT, SILENT),
        (0, right + b"x", "exit", no, SILENT, SILENT),
        (0, right, "reset", no, CRASH, CRASH),
        (5, part, "stopped", minority, CRASH, STOPPED),
        (5, right, "stopped", minority, CRASH, STOPPED),
        (5, wrong, "stopped", minority, CRASH, SILENT),
        (6, part, "exit", no, STOPPED, CRASH),
        (6, wrong, "exit", no, STOPPED, SILENT),
        (6, part, "crashed", no, CRASH, CRASH),
        (6, part, "halted", no, CRASH, CRASH),
        (1, part, "stopped", no, CRASH, CRASH),
        (-9, right, "exit", no, CRASH, CRASH),
        (None, right, "exit", no, HANG, HANG),
        (None, wrong, "exit", no, HANG, SILENT),
        (2, b"", "stopped", no, INVALID, INVALID),
        (4, b"", "stopped", no, INVALID, INVALID),
    )
    for status, console, end, stats, one, more in table:
        seen = Observation(status, console, console, stats | {"end": end})
        for replicas, wanted in (1, one), (2, more), (3, more):
            got = classify(seen, golden, replicas)[0]
            assert got == wanted, (status, console, end, stats, replicas, got)
    assert classify(Observation(0, right, right, None), golden, 3)[0] == CRASH
    assert {wanted for line in table for wanted in line[4:]} == set(OUTCOMES) | {INVALID}


def case_account():
    fault = {"replica": 2, "kind": "died", "method": "respawn", "injected_ns": 100, "detected_ns": 350,
             "repaired_ns": 1350, "pages": 9}
    wanted = {"kind": "died", "method": "respawn", "detect_ns": 250, "repair_ns": 1000, "pages": 9}
    assert account({"faults": [{"replica": 1, "kind": "hung"}, fault]}, 2) == wanted
    assert account({"faults": [fault]}, 0) == wanted
    empty = dict.fromkeys(wanted)
    for stats in None, [], {}, {"faults": 3}, {"faults": [7]}:
        assert account(stats, 0) == empty, stats
    assert account({"faults": [fault | {"detected_ns": 50, "pages": "x", "kind": 1}]}, 2) == \
        empty | {"method": "respawn", "repair_ns": 1300}
    assert account({"faults": [fault | {"repaired_ns": None}]}, 2)["repair_ns"] is None
    Pair = collections.namedtuple("Pair", "replicas outcome")
    for replicas, bad in (1, {INVALID}), (2, {SILENT, CRASH, HANG, INVALID}), \
            (3, {SILENT, CRASH, HANG, INVALID, STOPPED}):
        rows = [Pair(replicas, name) for name in OUTCOMES + (INVALID,)]
        assert {row.outcome for row in broken_expectations(rows)} == bad, replicas


def case_samples():
    text = json.dumps({
        "targets": [{"name": "reg", "parameters": [{"name": "NAME", "from": "registers"}]},
                    {"name": "mem", "parameters": []}, {"name": "device", "parameters": []},
                    {"name": "code", "parameters": [{"least": 0, "most": 63}, {"least": 0, "most": 7}]},
                    {"name": "tape", "parameters": [{"least": 0, "most": 1 << 20}, {"least": 0, "most": 7}]},
                    {"name": "kill", "parameters": []}, {"name": "rip", "parameters": []},
                    {"name": "stop", "parameters": [{"least": 1, "most": 3600}]}],
        "registers": [{"name": "a", "bits": 3, "mask": "0x8000000000000011"},
                      {"name": "x", "bits": 128, "mask": "0x" + "ff" * 16}],
        "devices": [{"name": "d", "bits": 5}, {"name": "none", "bits": 0}]})
    s = space.parse(text)
    assert s.bits("reg", 0) == 131 and s.bits("device", 0) == 5 and s.bits("mem", 100) == 800
    assert s.bits("code", 0) == 512 and s.bits("kill", 0) is None and s.bits("control", 0) is None
    memory = ((0x1000, 4096), (space.HOLE_END, 4096))
    def targets(name, count, replicas=3, position=50):
        return collections.Counter(space.draw(s, {name: 1}, memory, position, 800, replicas, seed).target
                                   for seed in range(count))
    # Every meaningful bit and nothing else, evenly: 131 cells of about 100.
    seen = targets("reg", 13100)
    assert set(seen) == {f"reg:a:{b}" for b in (0, 4, 63)} | {f"reg:x:{b}" for b in range(128)}
    assert sum((n - 100) ** 2 / 100 for n in seen.values()) < 200, "chi square, 130 degrees of freedom, p < 1e-4"
    assert set(targets("device", 200)) == {f"device:d:{b}" for b in range(5)}
    assert set(targets("kill", 9)) == {"kill"} and set(targets("stop", 99)) == {f"stop:{n}" for n in (1, 2, 3)}
    places = [int(t.split(":")[1], 16) for t in targets("mem", 4000)]
    assert all(0x1000 <= a < 0x2000 or 0 <= a - space.HOLE_END < 4096 for a in places)
    assert 1700 < sum(a < 0x2000 for a in places) < 2300
    bits = {t.split(":")[2] for t in targets("mem", 400)}
    assert bits == set("01234567")
    # Replicas and positions are all met; the tape is hit where it is written, and in the leader.
    drawn = [space.draw(s, {"reg": 1}, memory, 50, 800, 3, seed) for seed in range(3000)]
    assert {d.replica for d in drawn} == {0, 1, 2} and {d.position for d in drawn} == set(range(50))
    for seed in range(500):
        d = space.draw(s, {"tape": 1}, memory, 50, 800, 3, seed)
        assert d.replica == 0 and int(d.target.split(":")[1]) <= max(0, 800 * d.position // 50 - 1), d
    # The same seed is the same sample; the run's number makes another.
    assert drawn[7] == space.draw(s, {"reg": 1}, memory, 50, 800, 3, 7) and drawn[7].spec.count(":") == 3
    assert len({space.seed_of(1, run) for run in range(1000)} | {space.seed_of(2, 0)}) == 1001
    # The shares of the mix.
    shares = {"reg": 3, "kill": 1}
    names = collections.Counter(space.draw(s, shares, memory, 50, 800, 1, seed).name for seed in range(4000))
    assert 2850 < names["reg"] < 3150 and names["kill"] == 4000 - names["reg"]
    assert set(space.mix_for(None, 1, s)) == {"reg", "mem", "device", "code"}
    assert set(space.mix_for(None, 3, s)) == {"reg", "mem", "device", "code", "tape", "kill", "stop"}
    assert space.mix_for({"kill": 1.0}, 1, s) == {"kill": 1.0}
    assert space.parse_mix("reg=4,mem=0,kill=.5") == {"reg": 4, "kill": 0.5}
    for bad in "", "reg", "reg=", "reg=x", "reg=-1", "rog=1", "reg=1,reg=2", "reg=0", "reg=nan", "reg=inf":
        assert refused(space.SpaceError, lambda bad=bad: space.parse_mix(bad)), bad
    whole = json.loads(text)
    for change in {"registers": 3}, {"registers": [{"name": "a", "bits": 4, "mask": "0x11"}]}, {"devices": [{}]}, \
            {"targets": [{"name": "code", "parameters": [{"least": 3, "most": 2}]}]}, \
            {"targets": [], "registers": [], "devices": []}:
        assert refused(space.SpaceError, lambda change=change: space.parse(json.dumps(whole | change))), change
    assert space.address_of(5) == 5 and space.address_of(space.HOLE_START + 5) == (4 << 30) + 5


def case_linux_console():
    guest = Linux("", "", "")
    console = b"[    0.5] boot\nnumbers 1\n[   12.000001] middle\ntercet: script check ended with status 0\n"
    right = b"numbers 1\ntercet: script check ended with status 0\n"
    console = console.replace(b"[    0.5]", b"[    0.500000]")
    assert guest.comparable(console) == right
    # Whatever is cut off is a beginning; a line that is not the kernel's counts from its first byte.
    for length in range(len(console)):
        assert right.startswith(guest.begun(console[:length])), length
    assert guest.comparable(console + b"x") != right and guest.comparable(b"y" + console) != right
    assert guest.begun(b"numbers 2") == b"numbers 2"
    check_golden(guest, right)
    assert refused(GuestError, lambda: check_golden(guest, b"numbers 1\n"))


def case_touched_memory():
    memory = os.memfd_create("x")
    os.ftruncate(memory, 64 * 4096)
    assert touched_ranges(memory) == ()
    os.pwrite(memory, b"\0" * 4096, 3 * 4096)
    os.pwrite(memory, b"a" * 8192, 5 * 4096)
    os.pwrite(memory, b"z", 64 * 4096 - 1)
    assert touched_ranges(memory) == ((5 * 4096, 8192), (63 * 4096, 4096))
    assert whole_memory(16) == ((0, 16 << 20),) and whole_memory(4096) == ((0, 3 << 30), (4 << 30, 1 << 30))


def case_load_lines():
    # What a guest printed.
    assert round_lines(1) == [
        b"round 1: arithmetic 135525",
        b"round 1: sha256 2c3792a767d198224d921e01f8c7d7038d36806ab343e346764370c328061dc8",
        b"round 1: sort 6344d0430a5f78e4292367b6f89d9ddd", b"round 1: awk 0.439390387976", b"round 1: gzip same"]
    assert round_lines(2)[:2] + round_lines(2)[3:4] == [
        b"round 2: arithmetic 842755",
        b"round 2: sha256 de880a3c916ad78df08c85ac307cf94fd8ba933b1000ad814b90c2205aceffc6",
        b"round 2: awk 0.360331029768"]


def load_console(rounds, end=True):
    lines = [b"Linux 6.1 on x86_64", b"tercet: guest is up", b"[    9.000001] something of the kernel", b"load: begin"]
    for number in range(1, rounds + 1):
        lines += round_lines(number)
    return b"".join(line + b"\r\n" for line in lines + list(LAST if end else ()))


def console_of(data, ending=True, size=7):
    console = Console()
    console.ending = ending
    for at in range(0, len(data), size):
        console.take(data[at:at + size])
    return console


def case_load_console():
    for size in 1, 7, 1 << 20:
        console = console_of(load_console(3), size=size)
        assert console.whole() and console.rounds == 3 and not console.wrong, console.wrong
    part = console_of(load_console(2, end=False))
    assert part.begun and part.rounds == 2 and not part.wrong and not part.whole()
    assert not console_of(load_console(2)[:-1]).whole()
    assert console_of(load_console(2), ending=False).wrong, "an end that nobody asked for"
    assert console_of(load_console(2) + b"x\r\n").wrong and not console_of(load_console(2) + b"x").whole()
    # Any bit of the load's own lines is missed nowhere.
    good = load_console(1)
    begin = good.index(b"load: begin")
    for at in range(begin, len(good)):
        for bit in 0, 3, 6:
            bad = bytearray(good)
            bad[at] ^= 1 << bit
            assert not console_of(bytes(bad)).whole(), (at, bit)
    for bad in (b"gzip same\r\nround 1: gzip", b""):
        assert console_of(good.replace(b"gzip", bad)).wrong
    wrong = console_of(good.replace(b"135525", b"135524")).wrong
    assert wrong.startswith(f"byte {good.index(b'round 1')}: "), wrong


def case_tour_classes():
    passed = {"committed": True, "passed": True}
    table = (
        # what is seen, with 1 replica, with 2 and more
        ({}, None, None),
        ({"committed": True}, None, None),
        ({"passed": True}, None, None),
        (passed, MASKED, MASKED),
        (passed | {"cares": ("repairs",)}, MASKED, CORRECTED),
        (passed | {"late": True}, MASKED, MASKED),
        ({"late": True, "committed": True}, HANG, HANG),
        ({"late": True}, HANG, HANG),
        ({"refused": True}, NOT_INJECTED, NOT_INJECTED),
        ({"passed": True, "replaced": True}, NOT_INJECTED, NOT_INJECTED),
        (passed | {"wrong": "x"}, SILENT, SILENT),
        ({"wrong": "x", "over": True, "status": 0, "end": "power_off"}, SILENT, SILENT),
        ({"wrong": "x", "over": True, "status": 0, "end": "reset"}, CRASH, SILENT),
        ({"wrong": "x", "over": True, "status": 5, "end": "stopped"}, CRASH, SILENT),
        ({"over": True, "status": 5, "end": "stopped"}, CRASH, STOPPED),
        ({"over": True, "status": 0, "end": "power_off"}, SILENT, SILENT),
        ({"over": True, "status": 0, "end": "reset"} | passed, CRASH, CRASH),
        ({"over": True, "status": 6, "end": "crashed"}, CRASH, CRASH),
        ({"over": True, "status": -11}, CRASH, CRASH),
        ({"over": True, "status": None}, CRASH, CRASH),
        ({"over": True, "status": 4}, INVALID, INVALID),
    )
    for seen, one, more in table:
        for replicas, wanted in (1, one), (2, more), (3, more):
            got = come_of(Look(**seen), replicas)
            assert (got and got[0]) == wanted, (seen, replicas, got)
    state = {"state": "running", "votes": {"minority": 1, "no_majority": 0}, "repairs": 1, "failovers": 0,
             "respawns": 0, "rollbacks": 0, "replica": [{"state": "running"}, {"state": "running"}]}
    assert well(state) and not well(state | {"state": "degraded"}) and BEHIND > 0
    assert not well(state | {"replica": [{"state": "running"}, {"state": "joining"}]})
    assert grown(state, state) == ()
    assert grown(state, state | {"repairs": 2, "failovers": 1}) == ("repairs", "failovers")


def case_tour_story():
    def event(name, replica, ms, text):
        data = {"ns": ms * 10**6, "text": text, "position": 1} | ({} if replica is None else {"replica": replica})
        return {"event": f"LOCKSTEP_{name}", "data": data}

    events = [event("FAILOVER", 1, 5, "x"),
              event("DIVERGENCE", 2, 20, "replica 2 was outvoted at position 7: y"),
              event("DEGRADED", 0, 30, "replica 0 died at position 9: z"),
              event("RESTORED", 0, 50, "replica 0 is part of it, 9 pages were copied"),
              event("REPAIRED", 2, 60, "replica 2 is part of it: 4 pages were copied")]
    empty = {"kind": None, "method": None, "detect_ns": None, "repair_ns": None, "pages": None}
    # The machine's clock began at 100 s of ours.
    assert events_story(events, 2, 100.0, 100.015) == {
        "kind": "outvoted", "method": "resync", "detect_ns": 5 * 10**6, "repair_ns": 40 * 10**6, "pages": 4}
    assert events_story(events, 0, 100.0, None) == {
        "kind": "died", "method": "respawn", "detect_ns": None, "repair_ns": 20 * 10**6, "pages": 9}
    assert events_story(events[:1], 2, 100.0, 100.0) == empty and events_story([], 2, 0.0, None) == empty
    # Who says after the event that it was committed is late, not early.
    assert events_story(events, 2, 100.0, 100.5)["detect_ns"] is None
    back = [event("ROLLBACK", None, 7, "the replicas go back to vote 3, position 4"),
            event("DIVERGENCE", 0, 7, "replica 0 was outvoted at position 4: q"),
            event("REPAIRED", 0, 9, "1 pages were copied")]
    assert events_story(back, 1, 0.0, 0.003) == {
        "kind": "rollback", "method": "resync", "detect_ns": 4 * 10**6, "repair_ns": 2 * 10**6, "pages": 1}


def case_store():
    folder = tempfile.mkdtemp(dir=os.environ.get("CASE_FOLDER")) + "/x"
    def row(run, why):
        return Row(run, 3, "g", "reg", 1, 5, "reg:a:1", 2**63 + 1, "masked", why, None, "exit", 4, "ab", 12, None,
                   "resync", None, 7, 0)
    store = Store(folder)
    store.check_parameters({"a": {"b": 1, "c": (1, 2)}})
    rows = [row(1, 'a, "b"\nc'), row(0, "")]
    for r in rows:
        store.append(r)
    assert "is running" in refused(StoreError, lambda: Store(folder))
    store.close()
    store = Store(folder)
    store.check_parameters({"a": {"b": 1, "c": [1, 2]}})
    got = store.load()
    assert got == [rows[1], row(1, 'a, "b" c')], got
    assert got[0].spec == "1:reg:a:1@5"
    store.close()
    # A line that was cut off is taken away, and the next one is whole.
    size = os.path.getsize(folder + "/runs.csv")
    with open(folder + "/runs.csv", "a") as file:
        file.write("2,3,g,reg,1,5")
    store = Store(folder)
    assert [r.run for r in store.load()] == [0, 1] and os.path.getsize(folder + "/runs.csv") == size
    store.append(row(2, ""))
    store.close()
    store = Store(folder)
    assert [r.run for r in store.load()] == [0, 1, 2]
    assert "another a.b:" in refused(StoreError, lambda: store.check_parameters({"a": {"b": 2, "c": [1, 2]}}))
    store.append(row(2, ""))
    assert "twice" in refused(StoreError, store.load)
    store.close()
    store = Store(folder, fresh=True)
    assert store.load() == [] and not os.path.exists(folder + "/parameters.json")
    with open(folder + "/runs.csv", "w") as file:
        file.write("nonsense\n")
    assert refused(StoreError, store.load)
    assert differences({"a": 1, "b": {"c": 2}}, {"b": {"c": 3}, "d": 1}) == ["a", "b.c", "d"]


def main():
    if not __debug__:
        sys.exit("these cases are made of assertions: run them without -O")
    globals()["case_" + sys.argv[1].replace("-", "_")]()


main()
