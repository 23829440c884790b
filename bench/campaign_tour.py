"""Faults in a Linux guest that runs on: one machine under load takes one fault after the other.

A boot for each fault would cost minutes where Linux guests are slow. A guest runs rounds of a load whose lines are
known beforehand (guest-tools/initramfs/scripts/load), and each fault is judged by what tercet says of it and by the
lines that come meanwhile. The next one follows when all replicas are well and have agreed about a position some way
behind it. A guest lives for LIFE faults at most, or until something goes wrong; then it has to end as it should, with
all memories alike, and another one is booted.
"""
import dataclasses
import hashlib
import re
import shutil
import tempfile
import time
from dataclasses import dataclass

import campaign_guest
import campaign_machine
import campaign_outcome as outcome
import campaign_run
import campaign_space as space

LIFE = 50
GOLDEN_ROUNDS = 3
# Positions: a fault comes so far at most behind where the leader stands when it is ordered, so that any place of a
# round may be hit; a guest under load makes hundreds in a second, even where processors are emulated.
SPREAD = 1000
# Agreed so far behind where it was committed, whatever a fault did has been seen by a vote.
BEHIND = 300
# Without a vote only the console shows what a fault did: a whole round of the load after it must be right.
ROUNDS_BEHIND = 2
POLL = 0.3  # seconds
GRACE = 10  # seconds that a machine that printed something wrong has to end by itself
ENOUGH = b"enough"

# lockstep/booking.c
WORDS = {"was outvoted": "outvoted", "could not follow": "complained", "misled": "misled", "lost a stop": "overshot",
         "was stopped where": "unfound", "died": "died", "hung": "hung", "failed": "failed", "go back": "rollback"}
FOUND = ("LOCKSTEP_DIVERGENCE", "LOCKSTEP_DEGRADED", "LOCKSTEP_ROLLBACK")
MENDED = {"LOCKSTEP_REPAIRED": "resync", "LOCKSTEP_RESTORED": "respawn"}
PAGES = re.compile(r"(\d+) pages were copied")


# --- what the console shows ---

def round_lines(number):
    """What round `number` of the load prints, calculated here."""
    total = number
    for i in range(1, 301):
        total = (total * 31 + i * i) % 1000003
    numbers = [str(i) for i in range(number, number + 2001)]
    text = "\n".join(numbers) + "\n"
    backwards = "\n".join(sorted(numbers, reverse=True)) + "\n"
    x = number / 1000
    for _ in range(1000):
        x = 3.9 * x * (1 - x)
    return [f"round {number}: {line}".encode() for line in
            (f"arithmetic {total}", f"sha256 {hashlib.sha256(text.encode()).hexdigest()}",
             f"sort {hashlib.md5(backwards.encode()).hexdigest()}", f"awk {x:.12f}", "gzip same")]


FIRST = (re.compile(rb"Linux \S+ on x86_64"), b"tercet: guest is up", b"load: begin")
LAST = (b"load: end", b"tercet: script load ended with status 0")


class Console:
    """What the load must print, compared as it comes. The kernel's own lines hang on time, and do not count."""

    def __init__(self):
        self.line = b""
        self.offset = 0
        self.awaited = list(FIRST)
        self.begun = False   # the load runs
        self.rounds = 0      # finished
        self.ending = False  # something was typed
        self.ended = False   # and the load has ended
        self.wrong = ""

    def take(self, data):
        *lines, self.line = (self.line + data).split(b"\n")
        for line in lines:
            if not self.wrong and not campaign_guest.KERNEL_LINE.match(line):
                self.check(line)
            self.offset += len(line) + 1

    def check(self, line):
        if self.ended and not self.awaited:
            self.wrong = f"byte {self.offset}: {line[:80]!r} behind the end"
            return
        wanted = self.awaited[0]
        if self.ending and wanted == round_lines(self.rounds + 1)[0] and line == LAST[0] + b"\r":
            self.awaited, self.ended, wanted = list(LAST), True, LAST[0]
        good = wanted.fullmatch(line[:-1]) and line.endswith(b"\r") if isinstance(wanted, re.Pattern) else \
            line == wanted + b"\r"
        if not good:
            self.wrong = f"byte {self.offset}: {line[:80]!r}, not {getattr(wanted, 'pattern', wanted)!r}"
            return
        del self.awaited[0]
        if not self.awaited and not self.ended:
            self.rounds += self.begun
            self.begun = True
            self.awaited = round_lines(self.rounds + 1)

    def whole(self):
        """Whether the load has ended and all was right."""
        return self.ended and not self.awaited and not self.line and not self.wrong


# --- what came of a fault ---

@dataclass(frozen=True)
class Look:
    """A machine some time after a fault was ordered."""
    wrong: str = ""           # of the console
    over: bool = False        # the machine has ended
    status: object = None     # then: its exit status
    end: str = ""             # and the statistics' word for it
    refused: bool = False     # the fault found no place
    committed: bool = False
    passed: bool = False      # agreed, all well, some way behind the fault
    replaced: bool = False    # the process was replaced before the fault was due
    late: bool = False        # the time is up
    cares: tuple = ()         # what tercet did meanwhile
    trouble: str = ""         # why it is not well


def come_of(look, replicas):
    """(outcome, why), or None while it is not decided."""
    if look.over and look.status in (outcome.STATUS_USAGE, outcome.STATUS_INPUT, outcome.STATUS_HOST):
        return outcome.INVALID, f"exit status {look.status}"
    # With a voter what has left must be right, however the machine ends. One replica that breaks down may say so.
    if look.wrong and (replicas > 1 or not look.over or look.status == outcome.STATUS_OK and look.end == "power_off"):
        return outcome.SILENT, look.wrong
    if look.over:
        if look.status is not None and look.status < 0:
            return outcome.CRASH, f"tercet was ended by signal {-look.status}"
        if look.status == outcome.STATUS_NO_MAJORITY and replicas > 1:
            return outcome.STOPPED, "no majority"
        if look.status == outcome.STATUS_OK and look.end == "power_off":
            return outcome.SILENT, "a good end that nobody asked for"
        return outcome.CRASH, f"exit status {look.status}, end {look.end or 'unknown'}"
    if look.refused:
        return outcome.NOT_INJECTED, "the machine had no place for it"
    if look.passed and look.committed:
        return (outcome.CORRECTED, ", ".join(look.cares)) if look.cares and replicas > 1 else (outcome.MASKED, "")
    if look.passed and look.replaced:
        return outcome.NOT_INJECTED, "the process was replaced before"
    if look.late:
        return outcome.HANG, look.trouble or "no end within the limit"
    return None


def well(state):
    return state["state"] == "running" and all(r["state"] == "running" for r in state["replica"])


def counts(state):
    """What tercet has done about faults, by name."""
    numbers = {name: state["votes"][name] for name in ("minority", "no_majority")}
    return numbers | {name: state[name] for name in ("repairs", "failovers", "respawns", "rollbacks")}


def grown(before, after):
    return tuple(name for name, count in counts(after).items() if count > counts(before)[name])


def events_story(events, replica, zero, injected):
    """Kind, method, ns from injection to detection and from there to the end of the repair, and pages, by the events
    since the fault was ordered; `injected`: when its message came, None if it said nothing; both by our clock."""
    story = {"kind": None, "method": None, "detect_ns": None, "repair_ns": None, "pages": None}
    found = [e for e in events if e["event"] in FOUND]
    mine = [e for e in found if e["data"].get("replica") in (replica, None)] or found
    if not mine:
        return story
    first = mine[0]
    story["kind"] = next((kind for words, kind in WORDS.items() if words in first["data"]["text"]), None)
    if injected is not None:
        late = first["data"]["ns"] - round((injected - zero) * 1e9)
        story["detect_ns"] = late if late > 0 else None
    patient = first["data"].get("replica")
    for event in events[events.index(first):]:
        if event["event"] in MENDED and patient in (event["data"]["replica"], None):
            story["method"] = MENDED[event["event"]]
            story["repair_ns"] = event["data"]["ns"] - first["data"]["ns"]
            pages = PAGES.search(event["data"]["text"])
            story["pages"] = int(pages[1]) if pages else None
            break
    return story


# --- the guest ---

def boot(setup, guest, replicas):
    """A machine that has just begun with its load, and its console. Errors: RunError."""
    folder = tempfile.mkdtemp(prefix="tercet-campaign.")
    console = Console()
    command = campaign_run.command_of(setup, guest, replicas)
    at = command.index("--monitor")
    del command[at:at + 2]
    # Faults are many here, and no sign of a bad core.
    machine = campaign_machine.Machine(command + ["--core-faults", "0"], campaign_run.files_of(setup, guest), folder,
                                       console.take)
    try:
        machine.connect()
        if not machine.wait(lambda: console.begun or console.wrong, guest.golden_limit) or console.wrong:
            raise campaign_machine.MachineError(f"the load did not begin; the console ({console.wrong}) ends "
                                                f"{machine.console[-200:]!r}")
    except campaign_machine.MachineError as error:
        said = machine.last_messages()
        discard(machine)
        raise campaign_run.RunError(f"{guest.name}/{replicas}: {error}: {campaign_run.shown(command)}\n"
                                    f"{said}") from error
    return machine, console


def discard(machine):
    if machine is not None:
        machine.close(0)
        shutil.rmtree(machine.folder, ignore_errors=True)


def reached(state):
    """Where the leader stands."""
    return state["replica"][state["leader"]]["position"]


def end_well(machine, console, replicas, limit):
    """Has the load end and the guest power off; what is wrong with that, empty if nothing is."""
    console.ending = True
    machine.type(ENOUGH)
    machine.wait(machine.over, limit)
    if not machine.over():
        return "the guest does not end"
    status = machine.close()
    stats = machine.stats()
    if console.wrong or not console.whole():
        return console.wrong or "the console is not complete"
    if status != 0 or outcome.end_of(stats) != "power_off":
        return f"exit status {status}, end {outcome.end_of(stats)}"
    check = outcome.member(stats, "ram_check")
    if replicas > 1 and (check.get("differing") != 0 or not check.get("pages")):
        return f"memories at the end: {check}"
    return ""


def golden(setup, guest, replicas):
    """An undisturbed guest: GOLDEN_ROUNDS rounds of the load, which are the run whose fault space is sampled. Errors:
    RunError."""
    machine, console = boot(setup, guest, replicas)
    finder = campaign_run.MemoryFinder(machine)
    try:
        first, begin, rounds = machine.state(), time.monotonic(), console.rounds
        if not machine.wait(lambda: console.rounds >= rounds + GOLDEN_ROUNDS or console.wrong, guest.golden_limit):
            raise campaign_run.RunError(f"{guest.name}/{replicas}: no {GOLDEN_ROUNDS} rounds in {guest.golden_limit} "
                                        f"s: {machine.last_messages()}")
        wall = time.monotonic() - begin
        last = machine.state()
        positions = reached(last) - reached(first)
        finder()
        wrong = end_well(machine, console, replicas, guest.golden_limit)
        cares = outcome.interventions(machine.stats())
        if wrong or cares:
            raise campaign_run.RunError(f"the golden run of {guest.name}/{replicas}: {wrong} {cares}: "
                                        f"{machine.last_messages()}")
        memory = campaign_run.touched_ranges(finder.descriptor) if finder.descriptor is not None else ()
        tape = outcome.number(outcome.member(machine.stats(), "tape").get("bytes"))
    finally:
        finder.close()
        discard(machine)
    memory = campaign_run.whole_memory(setup.memory) if setup.whole_memory else memory
    if not memory or positions <= 0:
        raise campaign_run.RunError(f"{guest.name}/{replicas}: {positions} positions, {len(memory)} ranges of memory")
    # Its lines are checked as they come, and differ in number: there is nothing left to compare.
    return campaign_run.Reference(outcome.Golden(0, "power_off", b""), positions, wall, memory, tape)


class Tour:
    """The guest that is at hand, and the faults that it takes."""

    def __init__(self, setup):
        self.setup = setup
        self.machine = None
        self.console = None
        self.replicas = 0
        self.taken = 0

    def close(self):
        discard(self.machine)
        self.machine = None

    def inject(self, guest, reference, replicas, sample, keep, last, always=False):
        """Commits one fault in the guest at hand, or in a new one, and waits for what comes of it; gives the sample
        with its position in that guest, and an Injected. `last`: no other fault of as many replicas follows now. The
        folder of a guest of several replicas that came to harm is kept as `keep`; or `always`. Errors: RunError."""
        if self.machine is None or self.replicas != replicas:
            self.close()
            self.machine, self.console = boot(self.setup, guest, replicas)
            self.replicas, self.taken = replicas, 0
        begin = time.monotonic()
        limit = campaign_run.limit_of(self.setup, reference, sample)
        fault = Fault(self.machine, self.console, replicas, sample, limit)
        found, why = fault.commit()
        if campaign_run.processes.closed:
            raise campaign_run.RunError("interrupted")
        self.taken += 1
        over = found not in outcome.HARMLESS
        if not over and (last or self.taken >= LIFE):
            over = True
            wrong = self.end(replicas, limit)
            found, why = wrong or (found, why)
        machine = self.machine
        if over:
            machine.close(0)
        stats = machine.stats() if over else None
        ended = campaign_run.Ended(machine.status if over else None, time.monotonic() - begin, machine.console, stats,
                                   "\n".join(line for _, line in machine.messages[fault.messages:]) + "\n")
        injected = campaign_run.Injected(found, why, ended, fault.story())
        if always or replicas > 1 and found not in outcome.HARMLESS:
            self.keep(guest, fault, keep)
        if over:
            self.close()
        return fault.sample, injected

    def end(self, replicas, limit):
        """Ends the guest as it should end; None, or what became of it instead."""
        try:
            wrong = end_well(self.machine, self.console, replicas, limit)
        except campaign_machine.MachineError as error:
            wrong = str(error)
        if not wrong:
            return None
        over = self.machine.over()
        status = self.machine.close(0)
        end = outcome.end_of(self.machine.stats())
        # A good end, but not with all that belongs to one.
        bad = wrong if status == 0 and end == "power_off" else self.console.wrong
        look = Look(wrong=bad, over=over, status=status, end=end, late=True, trouble=wrong)
        found, why = come_of(look, replicas)
        return found, f"at the end of the guest: {why}" + ("" if wrong in why else f", {wrong}")

    def keep(self, guest, fault, folder):
        self.machine.write()
        with open(f"{self.machine.folder}/command", "w", encoding="utf-8") as file:
            file.write(f"{campaign_run.shown(campaign_run.command_of(self.setup, guest, self.replicas))}\n"
                       f"# fault {self.taken} of this guest: {fault.sample.spec}\n")
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.machine.folder, folder, ignore=lambda _, names: {"monitor"} & set(names))


class Fault:
    """One fault in a guest that runs."""

    def __init__(self, machine, console, replicas, sample, limit):
        self.machine, self.console, self.replicas, self.limit = machine, console, replicas, limit
        self.sample = sample
        self.messages, self.events, self.rounds = len(machine.messages), len(machine.events), console.rounds
        self.before = self.state = None
        self.injected = None  # seconds and position
        self.pid = 0
        self.until = 0.0

    def commit(self):
        """(outcome, why)"""
        self.until = time.monotonic() + self.limit
        try:
            self.before = self.machine.state()
            refusal = self.order()
            if refusal:
                return outcome.INVALID, refusal
        except campaign_machine.MachineError as error:
            return self.trouble(error)
        while True:
            try:
                look = self.look()
                come = come_of(look, self.replicas)
                if come and look.wrong and not look.over and self.replicas == 1:
                    # It may be about to break down, and that would be the name for it.
                    self.machine.wait(self.machine.over, GRACE)
                    come = come_of(self.look(), 1)
                if come:
                    return come
            except campaign_machine.MachineError as error:
                return self.trouble(error)
            self.machine.step(POLL)

    def trouble(self, error):
        """The monitor has gone, or is silent."""
        self.machine.wait(self.machine.over, GRACE)
        look = self.look() if self.machine.over() else Look(wrong=self.console.wrong, late=True, trouble=str(error))
        return come_of(look, self.replicas)

    def order(self):
        """Has the fault committed soon; what the monitor says against it, empty if nothing."""
        sample = self.sample
        # Nobody reads a follower's tape.
        replica = self.before["leader"] if sample.name == "tape" else sample.replica
        self.sample = dataclasses.replace(sample, replica=replica,
                                          position=reached(self.before) + sample.position % SPREAD)
        self.pid = self.before["replica"][replica]["pid"]
        answer = self.machine.ask("tercet-inject", {"replica": replica, "target": sample.target,
                                                    "at": self.sample.position})
        return "" if "return" in answer else f"{answer.get('error', {}).get('desc', answer)}"

    def mine(self, *names):
        return [event for event in self.machine.events[self.events:]
                if event["event"] in names and event["data"].get("replica") == self.sample.replica]

    def look(self):
        machine = self.machine
        over = machine.over()
        if over:
            status = machine.close()
            return Look(wrong=self.console.wrong, over=True, status=status, end=outcome.end_of(machine.stats()))
        self.state = state = machine.state()
        if self.injected is None:
            said = machine.said(self.messages, campaign_machine.INJECTED, self.sample.replica)
            self.injected = said and (said[0], int(said[1][2]))
        lost = bool(self.mine("LOCKSTEP_DEGRADED"))
        # One that is killed or hangs says nothing of it; that it is lost must be noticed.
        silent = self.sample.name in ("kill", "hang")
        committed = lost if silent else self.injected is not None
        at = self.injected[1] if self.injected else self.sample.position
        if self.replicas > 1:
            passed = well(state) and state["position"] >= at + BEHIND
        else:
            # Counted from when it was seen to be committed.
            if not committed:
                self.rounds = self.console.rounds
            passed = self.console.rounds >= self.rounds + ROUNDS_BEHIND and reached(state) > at
        return Look(wrong=self.console.wrong, committed=committed, passed=passed, replaced=lost and not silent,
                    refused=machine.said(self.messages, campaign_machine.REFUSED, self.sample.replica) is not None,
                    late=time.monotonic() > self.until, cares=grown(self.before, state) + self.others(),
                    trouble="" if passed else f"not well again: {describe(state)}")

    def others(self):
        """Other replicas that were lost or repaired meanwhile; of two nobody can tell which was wrong."""
        if self.replicas == 2:
            return ()
        seen = sorted({event["data"]["replica"] for event in self.machine.events[self.events:]
                       if event["event"] in ("LOCKSTEP_DIVERGENCE", "LOCKSTEP_DEGRADED") and
                       event["data"].get("replica") not in (self.sample.replica, None)})
        return tuple(f"also replica {replica}" for replica in seen)

    def story(self):
        zero = self.machine.zero
        return events_story(self.machine.events[self.events:], self.sample.replica, zero,
                            self.injected[0] if self.injected else None)


def describe(state):
    return f"position {state['position']}, " + ", ".join(
        f"{r['index']} {r['state']} at {r['position']} ({r['last_fault']})" for r in state["replica"])
