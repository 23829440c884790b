"""The suites of bench/run: which runs each is made of. A run is a cell; cells of a group are compared with its base."""
from dataclasses import dataclass, field

MIB = 1 << 20
# A register of the processor that no payload touches: a bit that flips there stays until a vote sees it. Each fault
# has a bit of its own, from this one on: two that are not known yet must not agree with each other.
FLIP = "reg:lstar"
FLIP_FIRST = 20
# Exits of the payload of that name for each point of its scale, and of any until its work begins.
EXITS_A_SCALE = 1205
PRINTED = 48
# Pages per second; 25,600 are 100 MiB/s.
RATES = (0, 1000, 5000, 25600, 100000, 400000)
# Small programs of the kind that people run (guest-tools/payloads/programs).
PROGRAMS = ("compress", "game", "interpret", "paths", "search", "spectrum", "tree")
# Guests that also run as machines side by side, which shows what sharing the host costs by itself.
APART = ("compute", "mixed")
IDLE_SECONDS = {True: (2, 12), False: (2, 32)}
INTERVALS = ("1ms", "10ms", "100ms")


@dataclass(frozen=True)
class Cell:
    """One kind of run: what it is called, what it is compared with, and its command without the program."""
    suite: str
    group: str
    variant: str
    program: str = "tercet"  # tercet or bare with a payload; linux (in tercet) or qemu with Debian's kernel
    payload: str = ""
    arguments: str = ""
    memory: int = 64  # MiB
    replicas: int = 1
    machines: int = 1
    options: tuple = ()
    x: float = 0.0       # where it stands in a plot
    base: bool = False   # others of the group are compared with it
    faults: int = 0      # how many are injected
    known_by: str = ""   # when they are known at the latest: a vote after `x` ms, or `x` ms themselves ("segment")

    def prints_alike(self):
        """Whether all runs of the group print the same: a Linux guest's lines have times in them."""
        return self.program in ("tercet", "bare")

    def console(self):
        """The file in a run's folder that has the guest's console."""
        return "console" if self.program in ("tercet", "linux") else "out"

    def key(self):
        return f"{self.suite}/{self.group}/{self.variant}"

    def command(self, programs, folder):
        payload = f"{programs['payloads']}/{self.payload}"
        if self.program == "bare":
            return [programs["bare"], payload, self.arguments, str(self.memory)]
        if self.program == "qemu":
            return ["qemu-system-x86_64", "-accel", programs["accel"], "-cpu", "max", "-m", f"{self.memory}M",
                    "-nographic", "-no-reboot", "-kernel", programs["kernel"], "-initrd", programs["initrd"],
                    "-append", self.arguments]
        guest = ["--payload", payload] if self.program == "tercet" else \
            ["--kernel", programs["kernel"], "--initrd", programs["initrd"]]
        return [programs["tercet"], "run", *guest, "--append", self.arguments, "--memory",
                f"{self.memory}M", "--replicas", str(self.replicas), "--console", f"file:{folder}/console",
                "--stats", f"{folder}/stats", "--reports", folder, "--monitor", "none", *self.options]


@dataclass
class Size:
    """How long runs are: a part of the payloads' usual scales, and whether this is the quick selection."""
    percent: float
    quick: bool
    lab: bool = False
    numbers: tuple = field(default=(2, 3))

    def scale(self, usual):
        return max(1, round(usual * self.percent / 100))

    def votes(self):
        # An emulated processor takes a hundred times as long for a vote.
        return ("--vote-interval", "500ms", "--watchdog", "30s") if self.lab else ()


def replicated(size, suite, group, payload, arguments, extra=(), bare=True, memory=64, **more):
    """One replica, a bare KVM program, and several replicas of the same guest."""
    shared = {"payload": payload, "arguments": arguments, "memory": memory, **more}
    options = (*size.votes(), *extra)
    yield Cell(suite, group, "1", options=options, base=True, **shared)
    if bare:
        yield Cell(suite, group, "bare", program="bare", **shared)
    for number in size.numbers:
        yield Cell(suite, group, str(number), replicas=number, options=options, **shared)


def compute(size):
    for payload, usual in (("compute", 50), ("mixed", 25)) if size.quick else \
            (("compute", 100), ("mixed", 60), ("memory", 60), ("tight", 300), *((name, 100) for name in PROGRAMS)):
        yield from replicated(size, "compute", payload, payload, f"scale={size.scale(usual)}")
        if not size.lab and payload in APART:
            for number in size.numbers:
                yield Cell("compute", payload, f"{number} apart", machines=number, payload=payload,
                           arguments=f"scale={size.scale(usual)}")


def exits(size):
    arguments = f"scale={size.scale(8 if size.quick else 40)}"
    yield from replicated(size, "exits", "storm", "exits", arguments)
    for number in size.numbers:
        yield Cell("exits", "storm", f"{number} strict", payload="exits", arguments=arguments, replicas=number,
                   options=("--sync", "strict", *size.votes()))


def memory(size):
    rates = (RATES[0], *RATES[3:5]) if size.quick else RATES
    for interval in INTERVALS[1:] if size.quick else INTERVALS:
        if size.lab:
            interval = {"1ms": "50ms", "10ms": "500ms", "100ms": "5s"}[interval]
        for rate in rates:
            arguments = f"scale={size.scale(60 if size.quick else 100)} rate={rate} bytes={32 * MIB}"
            shared = {"payload": "dirty", "arguments": arguments, "x": rate * 4096 / 1e6,
                      "options": ("--vote-interval", interval, *size.votes()[2:])}
            yield Cell("memory", f"{interval}, {rate} pages/s", "1", base=True, **shared)
            for number in size.numbers[:1] if size.quick else size.numbers:
                yield Cell("memory", f"{interval}, {rate} pages/s", str(number), replicas=number, **shared)


def detection(size):
    """Each run has faults in followers and in the leader, far enough from each other for repairs to end."""
    count = 1 if size.lab else 6 if size.quick else 12
    # With the usual budget a program that comes to another loop may have spent it: that stop then comes later.
    preempted = ("--preempt-grace", "10ms", "--preempt-budget", "80") if size.lab else ("--preempt-budget", "10")
    for number in size.numbers[:2]:
        for milliseconds in (500,) if size.lab else (10, 100):
            # Six votes from one fault to the next, at some 20 exits for each ms of the guest.
            apart = 4000 if size.lab else 120 * milliseconds
            yield detecting(size, number, f"exits all the time, a vote each {milliseconds} ms", "exits",
                            f"scale={(count + 1) * apart // EXITS_A_SCALE + 2}",
                            [i * apart for i in range(1, count + 1)], milliseconds, "vote")
        # What it prints at first are exits; then each stop for a vote is a position. A leader is some votes ahead.
        for milliseconds in (500,) if size.lab else (50, 250):
            yield detecting(size, number, f"never exits, `--max-segment {milliseconds}ms`", "compute",
                            f"scale={size.scale(milliseconds * count / 3)} step=0",
                            [PRINTED + i * 4 for i in range((count + 1) // 2)], milliseconds, "segment",
                            ("--max-segment", f"{milliseconds}ms", *preempted))


def detecting(size, number, group, payload, arguments, positions, milliseconds, known_by, extra=()):
    faults = []
    for i, position in enumerate(positions, 1):
        # Of two, the leader is taken to be the wrong one. If all faults are in one, those found in it are its own.
        faults += ["--inject", f"{i % number if number > 2 else 0}:{FLIP}:{FLIP_FIRST + i}@{position}"]
    return Cell("detection", group, str(number), payload=payload, arguments=arguments, replicas=number,
                x=milliseconds, faults=len(positions), known_by=known_by,
                options=("--vote-interval", f"{milliseconds}ms", "--core-faults", "0", *size.votes()[2:], *extra,
                         *faults))


def scale(size):
    numbers = (1, 3) if size.quick else (1, 2, 3, 5)
    for mib in (64, 256) if size.lab else (64, 1024) if size.quick else (64, 256, 1024, 4096, 8192):
        for number in numbers:
            yield Cell("scale", f"{mib} MiB", str(number), payload="compute", arguments=f"scale={size.scale(10)}",
                       memory=mib, replicas=number, options=size.votes(), x=mib, base=number == 1)


def linux(size, suite, group, seconds, **more):
    """Debian's kernel, an initramfs, a sleep of so many seconds, and power-off."""
    shared = {"arguments": f"console=ttyS0 quiet tercet.script=idle tercet.seconds={seconds}", "memory": 256, **more}
    yield Cell(suite, group, "1", program="linux", options=size.votes(), base=True, **shared)
    for number in size.numbers:
        yield Cell(suite, group, str(number), program="linux", replicas=number, options=size.votes(), **shared)


def boot(size):
    yield from linux(size, "boot", "Debian's kernel", 0)
    yield Cell("boot", "Debian's kernel", "QEMU", program="qemu", memory=256,
               arguments="console=ttyS0 quiet tercet.script=idle tercet.seconds=0")


def idle(size):
    """A short sleep and a long one: what the difference costs is what an idle guest costs."""
    for seconds in IDLE_SECONDS[size.quick]:
        yield from linux(size, "idle", f"{seconds} s", seconds, x=seconds)


SUITES = {"compute": compute, "exits": exits, "memory": memory, "detection": detection, "scale": scale}
# Where Linux guests run.
LINUX_SUITES = {"boot": boot, "idle": idle}
