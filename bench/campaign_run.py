"""Runs of tercet for a campaign: one run with a limit of time, the golden run, one injection."""
import dataclasses
import errno
import json
import os
import re
import select
import shlex
import shutil
import signal
import statistics
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass

import campaign_guest
import campaign_outcome as outcome
import campaign_space as space
import lib

MESSAGES_MAX = 1 << 20
# What a replica says when it has committed a fault (lockstep/replica.c).
COMMITTED = re.compile(r"\binjected\b")


class RunError(Exception):
    """A run without which there is no campaign."""


@dataclass(frozen=True)
class Setup:
    """What all runs of a campaign have in common."""
    tercet: str
    seed: int
    memory: int  # MiB
    vote_interval: str
    watchdog: str
    options: tuple
    hang_factor: float
    hang_floor: float  # seconds
    whole_memory: bool


@dataclass(frozen=True)
class Reference:
    """What the golden runs of a guest with a number of replicas showed."""
    golden: outcome.Golden
    positions: int
    wall: float  # seconds
    memory: tuple  # (guest-physical address, bytes) that are sampled
    tape: int  # bytes that the leader wrote

    @property
    def memory_bytes(self):
        return sum(size for _, size in self.memory)


@dataclass
class Ended:
    """How a run ended; `status` is None if its limit ended it."""
    status: object
    wall: float
    console: bytes
    stats: object
    messages: str


class Processes:
    """The runs that are under way, so that an interrupt ends them all and strands nothing."""

    def __init__(self):
        self.lock = threading.Lock()
        self.groups = set()
        self.closed = False

    def start(self, command, **options):
        with self.lock:
            if self.closed:
                raise RunError("interrupted")
            process = subprocess.Popen(command, start_new_session=True, **options)
            self.groups.add(process.pid)
        return process

    def end(self, process):
        """Ends what is left of its group."""
        # The group's number cannot be given away before its leader is waited for.
        self.kill(process.pid)
        process.wait()
        with self.lock:
            self.groups.discard(process.pid)

    @staticmethod
    def kill(group):
        try:
            os.killpg(group, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def close(self):
        with self.lock:
            self.closed = True
            for group in self.groups:
                self.kill(group)


processes = Processes()


def wait_for(process, seconds, meanwhile=None):
    """The exit status, or None after so many seconds; calls `meanwhile` each millisecond until it says True."""
    deadline = time.monotonic() + seconds
    descriptor = os.pidfd_open(process.pid)
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        while meanwhile and time.monotonic() < deadline:
            if poll.poll(1):
                break
            if meanwhile():
                meanwhile = None
        left = deadline - time.monotonic()
        if not poll.poll(max(0, int(left * 1000))):
            return None
    finally:
        os.close(descriptor)
    # Not waited for yet: the group is still ours to end.
    status = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    return status.si_status if status.si_code == os.CLD_EXITED else -status.si_status


def read_file(path, limit=None):
    try:
        with open(path, "rb") as file:
            return file.read() if limit is None else file.read(limit)
    except FileNotFoundError:
        return b""


def read_stats(path):
    try:
        value = json.loads(read_file(path))
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def absolute(word, files):
    return os.path.join(lib.ROOT, word) if word in files else word


def run(command, files, folder, limit, meanwhile=None):
    """Runs a command, whose `files` are named from the repository's root, in a folder of its own."""
    command = [absolute(word, files) for word in command] + ["--stats", f"{folder}/stats.json"]
    if shutil.which("setpriv"):
        command = ["setpriv", "--pdeathsig", "KILL", *command]
    begin = time.monotonic()
    with open(f"{folder}/console", "wb") as console, open(f"{folder}/messages", "wb") as messages:
        process = processes.start(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=console, stderr=messages)
    try:
        status = wait_for(process, limit, meanwhile(process) if meanwhile else None)
        wall = time.monotonic() - begin
    finally:
        processes.end(process)
    return Ended(status, wall, read_file(f"{folder}/console"), read_stats(f"{folder}/stats.json"),
                 read_file(f"{folder}/messages", MESSAGES_MAX).decode("utf-8", "replace"))


def command_of(setup, guest, replicas, sample=None):
    command = [setup.tercet, "run", *guest.command(), "--memory", f"{setup.memory}M", "--replicas", str(replicas),
               "--vote-interval", setup.vote_interval, "--watchdog", setup.watchdog, "--seed", str(setup.seed),
               "--monitor", "none", *setup.options]
    return command + ["--inject", sample.spec] if sample else command


def shown(command):
    return shlex.join(command)


def files_of(setup, guest):
    return guest.files() | {setup.tercet}


class MemoryFinder:
    """Holds the memory of a machine open while it runs, to see afterwards what its guest made of it."""

    def __init__(self, process):
        self.pid = process.pid
        self.descriptor = None

    def __call__(self):
        folder = f"/proc/{self.pid}/fd"
        try:
            for name in os.listdir(folder):
                if os.readlink(f"{folder}/{name}").startswith("/memfd:tercet-ram-0"):
                    self.descriptor = os.open(f"{folder}/{name}", os.O_RDONLY | os.O_CLOEXEC)
                    return True
        except OSError:
            pass  # it has just ended, or closed that descriptor
        return False

    def close(self):
        if self.descriptor is not None:
            os.close(self.descriptor)


def touched_ranges(descriptor):
    """(guest-physical address, bytes) of the pages that hold anything but zeros, neighbours joined."""
    ranges, offset, zeros = [], 0, bytes(space.PAGE)
    end = os.fstat(descriptor).st_size
    while offset < end:
        try:
            offset = os.lseek(descriptor, offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole from here on (lseek(2))
                break
            raise
        page = os.pread(descriptor, space.PAGE, offset)
        if page != zeros[:len(page)]:
            address = space.address_of(offset)
            if ranges and sum(ranges[-1]) == address:
                ranges[-1] = (ranges[-1][0], ranges[-1][1] + len(page))
            else:
                ranges.append((address, len(page)))
        offset += space.PAGE
    return tuple(ranges)


def whole_memory(mebibytes):
    size = mebibytes << 20
    low = min(size, space.HOLE_START)
    return ((0, low),) + (((space.HOLE_END, size - low),) if size > low else ())


def good_end(ended, what, command):
    if ended.status is None:
        raise RunError(f"{what} did not end: {shown(command)}\n{ended.messages[-2000:]}")
    if ended.status != 0 or not isinstance(ended.stats, dict) or outcome.interventions(ended.stats):
        raise RunError(f"{what}: status {ended.status}, {outcome.interventions(ended.stats)}: {shown(command)}\n"
                       f"{ended.messages[-2000:]}")


def golden(setup, guest, replicas):
    """Undisturbed runs of the guest. Errors: RunError, GuestError if they are not alike or not right."""
    command = command_of(setup, guest, replicas)
    walls, positions, tape, memory, reference = [], [], [], (), None
    for _ in range(guest.golden_runs):
        folder = tempfile.mkdtemp(prefix="tercet-campaign.")
        finders = []

        def find(process, finders=finders):
            finders.append(MemoryFinder(process))
            return finders[-1]

        try:
            ended = run(command, files_of(setup, guest), folder, guest.golden_limit, meanwhile=find)
            good_end(ended, f"the golden run of {guest.name}/{replicas}", command)
            if finders[0].descriptor is not None:
                memory = touched_ranges(finders[0].descriptor)
        finally:
            for finder in finders:
                finder.close()
            shutil.rmtree(folder, ignore_errors=True)
        seen = outcome.Golden(ended.status, outcome.end_of(ended.stats), guest.comparable(ended.console))
        campaign_guest.check_golden(guest, seen.console)
        if reference is not None and reference != seen:
            raise RunError(f"two golden runs of {guest.name}/{replicas} are not alike: {shown(command)}")
        reference = seen
        walls.append(ended.wall)
        positions.append(outcome.number(ended.stats.get("positions")))
        tape.append(outcome.number(outcome.member(ended.stats, "tape").get("bytes")))
    if setup.whole_memory:
        memory = whole_memory(setup.memory)
    if not memory:
        raise RunError(f"{guest.name} ended before its memory could be looked at: give it more to do")
    if min(positions) == 0:
        raise RunError(f"{guest.name} has no positions")
    return Reference(reference, min(positions), statistics.median(walls), memory, min(tape))


def limit_of(setup, reference, sample):
    """Seconds after which a run hangs."""
    limit = max(setup.hang_floor, setup.hang_factor * reference.wall)
    if sample.name == "stop":
        limit += int(sample.target.split(":")[1])
    return limit


@dataclass
class Injected:
    """A finished injection."""
    outcome: str
    why: str
    ended: Ended
    story: dict


def judge(guest, reference, replicas, sample, ended):
    """What came of the injection, of how its run ended."""
    seen = outcome.Observation(ended.status, guest.comparable(ended.console), guest.begun(ended.console), ended.stats)
    found, why = outcome.classify(seen, reference.golden, replicas)
    if found == outcome.SILENT:
        why += f", from byte {len(os.path.commonprefix([seen.console, reference.golden.console]))} on"
    if found == outcome.MASKED and sample.name not in space.PROCESS_CLASSES and not COMMITTED.search(ended.messages):
        found, why = outcome.NOT_INJECTED, "the machine had no place for it, or ended before"
    return Injected(found, why, ended, outcome.account(ended.stats, sample.replica))


def inject(setup, guest, reference, replicas, sample, keep, always=False):
    """Runs one injection. The folder of a run of several replicas that is neither masked nor corrected is kept as
    `keep`; or `always`."""
    folder = tempfile.mkdtemp(prefix="tercet-campaign.")
    try:
        command = command_of(setup, guest, replicas, sample)
        ended = run(command, files_of(setup, guest), folder, limit_of(setup, reference, sample))
        injected = judge(guest, reference, replicas, sample, ended)
        if always or replicas > 1 and injected.outcome not in outcome.HARMLESS:
            with open(f"{folder}/command", "w", encoding="utf-8") as file:
                file.write(shown(command) + "\n")
            shutil.rmtree(keep, ignore_errors=True)
            shutil.copytree(folder, keep)
        return injected
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def read_space(setup, path):
    """The fault space of the program, or of a file. Errors: RunError, SpaceError."""
    if path:
        try:
            with open(path, encoding="utf-8") as file:
                return space.parse(file.read())
        except OSError as error:
            raise RunError(f"{path}: {error.strerror}") from error
    command = [absolute(setup.tercet, {setup.tercet}), "inject", "--list", "--json"]
    try:
        answer = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RunError(f"{setup.tercet}: {error}; is it built?") from error
    if answer.returncode != 0:
        raise RunError(f"{setup.tercet} inject --list --json: {answer.stderr.strip()}")
    return space.parse(answer.stdout)


def reference_to_json(reference):
    return {"status": reference.golden.status, "end": reference.golden.end, "positions": reference.positions,
            "console": reference.golden.console.decode("latin-1"), "wall": reference.wall,
            "memory": [list(part) for part in reference.memory], "tape": reference.tape}


def reference_from_json(j):
    console = j["console"].encode("latin-1")
    return Reference(outcome.Golden(j["status"], j["end"], console), j["positions"], j["wall"],
                     tuple((address, size) for address, size in j["memory"]), j["tape"])


def setup_to_json(setup):
    return dataclasses.asdict(setup) | {"options": list(setup.options), "tercet": campaign_guest.hash_of(setup.tercet)}
