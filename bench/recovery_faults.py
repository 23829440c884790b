"""Which pause of a guest belongs to which fault. Pure functions of what a run printed and counted.

All times are nanoseconds since the machine's start: the guest's own (its PM timer), those of the statistics file, and
those of requests, which the monitor's `uptime_ns` ties to this program's clock.
"""
import bisect
import random
from dataclasses import dataclass

# A pause may begin before a fault is done with and be seen only after: a leader that takes part again finds work.
AFTERMATH_NS = 50_000_000
# From a fault's detection until others know of it.
NOTICE_NS = 1_000_000


class ConsoleError(Exception):
    """A console that is not that of a pulse payload that ended well."""


@dataclass(frozen=True)
class Pause:
    """The guest read the time at `start`, and not again before `start + length`."""
    start: int
    length: int


@dataclass(frozen=True)
class Watch:
    """What a pulse payload printed."""
    written: int  # guest-physical address of the first page that it writes all the time
    pages: int
    ready: int
    end: int
    pauses: tuple  # of Pause, by start
    readings: int
    checksum: str


@dataclass(frozen=True)
class Request:
    """A fault that was asked for: of which replica, when, and when the machine was whole again."""
    replica: int
    was_leader: bool
    asked: int
    whole: int


@dataclass(frozen=True)
class Fault:
    """One that was asked for, as the machine booked it."""
    request: Request
    kind: str  # as in the statistics: outvoted, died ...
    injected: int
    detected: int
    repaired: int
    method: str
    pages: int

    @property
    def window(self):
        return self.injected, self.repaired + AFTERMATH_NS

    @property
    def change(self):
        """The window in which the guest stands still where another replica has to lead from now on."""
        return self.injected, self.detected + NOTICE_NS


def number(words, base=10):
    """The next word, as a number."""
    try:
        return int(next(words), base)
    except (StopIteration, ValueError) as error:
        raise ConsoleError("the guest's console has a line without its numbers") from error


def parse_written(text):
    """(address, pages) that the guest writes, as far as it has printed that; else None."""
    for line in text.split("\n")[:-1]:
        words = iter(line.split())
        if next(words, None) == "written":
            pages = number(words)
            return number(words, 16), pages
    return None


def parse_console(text):
    """The Watch of a whole console. Errors: ConsoleError."""
    found, pauses = {}, []
    for line in text.split("\n")[:-1]:
        words = iter(line.split())
        name = next(words, None)
        if name == "pause":
            pauses.append(Pause(number(words), number(words)))
        elif name == "ready":
            found["ready"] = number(words)
        elif name == "end":
            found["end"], found["readings"], lost = number(words), number(words), number(words)
            if lost > 0:
                raise ConsoleError(f"the guest had no room for {lost} pauses: take a larger --gap")
        elif name == "checksum":
            found["checksum"] = next(words, "")
    written = parse_written(text)
    missing = {"ready", "end", "checksum"} - set(found) | (set() if written else {"written"})
    if missing:
        raise ConsoleError(f"the guest's console lacks {', '.join(sorted(missing))}")
    for before, after in zip(pauses, pauses[1:]):
        if after.start < before.start + before.length:
            raise ConsoleError("the guest's pauses overlap")
    return Watch(written[0], written[1], found["ready"], found["end"], tuple(pauses), found["readings"],
                 found["checksum"])


def match(requests, booked):
    """(faults, requests without a fault, booked without a request).

    A request's fault is that of its replica which was committed between the request and the machine's being whole
    again. Where a fault led to another one (a replica that died while it was repaired) the last of them tells when
    it was over, and the first what it was.
    """
    faults, missing, rest = [], [], list(booked)
    for request in requests:
        mine = [entry for entry in rest if entry["replica"] == request.replica and
                request.asked <= entry.get("injected_ns", -1) <= request.whole and "repaired_ns" in entry]
        if not mine:
            missing.append(request)
            continue
        first, last = mine[0], mine[-1]
        faults.append(Fault(request, first["kind"], first["injected_ns"], first["detected_ns"], last["repaired_ns"],
                            last["method"], sum(entry.get("pages", 0) for entry in mine)))
        rest = [entry for entry in rest if entry not in mine]
    return faults, missing, rest


def longest_pause(pauses, window):
    """The longest of the pauses that overlap with the window (begin, end); None where there is none."""
    begin, end = window
    # They are in order and do not overlap, so but for the last one before the window they all begin in it.
    first = max(0, bisect.bisect_right(pauses, begin, key=lambda pause: pause.start) - 1)
    last = bisect.bisect_left(pauses, end, key=lambda pause: pause.start)
    mine = [pause for pause in pauses[first:last] if pause.start + pause.length > begin]
    return max(mine, key=lambda pause: pause.length, default=None)


def length_of(pause):
    """0 where nothing was longer than what the guest notes."""
    return pause.length if pause else 0


def undisturbed(watches, lengths, draws, seed):
    """Longest pauses in `draws` windows at random times in runs without faults, as long as windows of faults were:
    what the host does to a guest in that time anyway. Windows longer than all runs are cut to the longest."""
    generator = random.Random(seed)
    longest = []
    room = max((watch.end - watch.ready for watch in watches), default=0)
    if not lengths or room == 0:
        return longest
    for _ in range(draws):
        length = min(generator.choice(lengths), room)
        begins = [max(0, watch.end - watch.ready - length + 1) for watch in watches]
        watch, = generator.choices(watches, weights=begins)
        begin = watch.ready + generator.randrange(max(1, watch.end - watch.ready - length + 1))
        longest.append(length_of(longest_pause(watch.pauses, (begin, begin + length))))
    return longest
