"""The fault space of a campaign, and samples of it.

What can be hit is told by `tercet inject --list --json` (docs/injection.md): registers with their meaningful bits,
devices with the bits of their saved state, and the ranges of the other targets' parameters. The guest's memory is
measured in the golden run.

Three kinds of classes:
  state    bits of one replica's machine: reg, mem and device make up the fault space, without overlap. code and
           page-table are bits of memory too, picked where they hurt; they are shown, but not added to the others.
  engine   bits of the lockstep's own shared memory: tape, control.
  process  what happens to a whole replica: kill, stop, hang, slow.
"""
import hashlib
import json
import random
from dataclasses import dataclass

SPACE_CLASSES = ("reg", "mem", "device")
AIMED_CLASSES = ("code", "page-table")
STATE_CLASSES = SPACE_CLASSES + AIMED_CLASSES
ENGINE_CLASSES = ("tape", "control")
PROCESS_CLASSES = ("kill", "stop", "hang", "slow")
CLASSES = STATE_CLASSES + ENGINE_CLASSES + PROCESS_CLASSES

# Shares of the injections. Each class is estimated on its own, so these set precision, not results: most for the two
# classes that decide the totals, enough for each of the others to show what it does, and few of those whose runs take
# a watchdog's time.
DEFAULT_MIX = {"reg": 30.0, "mem": 30.0, "device": 14.0, "code": 8.0, "page-table": 6.0, "tape": 4.0, "control": 4.0,
               "kill": 2.0, "stop": 1.0, "hang": 1.0}

# vmm/ram.h: RAM goes on at 4 GiB behind a hole that begins at 3 GiB.
HOLE_START, HOLE_END = 3 << 30, 4 << 30
PAGE = 4096


class SpaceError(Exception):
    """A fault space or a mix that cannot be understood."""


@dataclass(frozen=True)
class Range:
    """A parameter from `low` to `high`, both possible."""
    low: int
    high: int

    @property
    def size(self):
        return self.high - self.low + 1

    def draw(self, generator):
        return generator.randint(self.low, self.high)


@dataclass(frozen=True)
class Space:
    """registers: (name, numbers of its meaningful bits); devices: (name, bits of state); ranges: by class, those of the
    class's parameters in their order."""
    registers: tuple
    devices: tuple
    ranges: dict

    def has(self, name):
        if name == "reg":
            return bool(self.registers)
        if name == "device":
            return bool(self.devices)
        return name in self.ranges

    def bits(self, name, memory_bytes):
        """Bits of one replica that the class may hit at one position; None for a class that is no bits."""
        if name == "reg":
            return sum(len(bits) for _, bits in self.registers)
        if name == "device":
            return sum(bits for _, bits in self.devices)
        if name == "mem":
            return 8 * memory_bytes
        if name in PROCESS_CLASSES or name not in self.ranges:
            return None
        size = 1
        for part in self.ranges[name]:
            size *= part.size
        return size

    def draw(self, name, generator, memory, tape):
        """A target of the class, as --inject takes it; uniform over the class's bits. `memory`: (address, bytes);
        `tape`: bytes that the tape holds by then."""
        if name == "reg":
            at = generator.randrange(self.bits(name, 0))
            for register, bits in self.registers:
                if at < len(bits):
                    return f"reg:{register}:{bits[at]}"
                at -= len(bits)
        if name == "device":
            at = generator.randrange(self.bits(name, 0))
            for device, bits in self.devices:
                if at < bits:
                    return f"device:{device}:{at}"
                at -= bits
        if name == "mem":
            at = generator.randrange(sum(size for _, size in memory))
            for address, size in memory:
                if at < size:
                    return f"mem:{address + at:#x}:{generator.randrange(8)}"
                at -= size
        ranges = self.ranges[name]
        if name == "tape" and ranges:
            # Counted back from the end of what is written.
            ranges = (Range(0, max(0, min(ranges[0].high, tape - 1))), *ranges[1:])
        return ":".join([name] + [str(part.draw(generator)) for part in ranges])


def address_of(offset):
    """The guest-physical address of an offset into the file of guest memory."""
    return offset if offset < HOLE_START else offset - HOLE_START + HOLE_END


def meaningful_bits(register):
    """Numbers of the bits in a register's mask. Errors: ValueError if they are not as many as it says."""
    mask = int(register["mask"], 16)
    bits = tuple(bit for bit in range(mask.bit_length()) if mask >> bit & 1)
    if len(bits) != register["bits"]:
        raise ValueError(f"{register}")
    return bits


def read_ranges(parameters):
    ranges = []
    for parameter in parameters:
        low, high = int(parameter["least"]), int(parameter["most"])
        if low > high or low < 0:
            raise ValueError(f"{parameter}")
        ranges.append(Range(low, high))
    return tuple(ranges)


# Of what a class may do, that which a campaign asks for.
NARROWED = {"stop": (Range(1, 3),), "slow": (Range(2, 20),)}


def parse(text):
    """The space of what `tercet inject --list --json` prints. Errors: SpaceError."""
    try:
        j = json.loads(text)
        registers = tuple((r["name"], meaningful_bits(r)) for r in j["registers"])
        devices = tuple((d["name"], int(d["bits"])) for d in j["devices"])
        ranges = {}
        for target in j["targets"]:
            name = target["name"]
            if name in CLASSES and name not in SPACE_CLASSES:
                ranges[name] = NARROWED.get(name) or read_ranges(target["parameters"])
            elif name == "mem":
                ranges[name] = ()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SpaceError(f"the list of targets cannot be understood: {type(error).__name__} {error}") from error
    space = Space(tuple(r for r in registers if r[1]), tuple(d for d in devices if d[1] > 0), ranges)
    if not space.registers and not space.devices and not space.ranges:
        raise SpaceError("the list of targets is empty")
    return space


def parse_mix(text):
    """{class: share} of "reg=4,mem=4"; a class that is not named gets nothing."""
    mix = {}
    for part in text.split(","):
        name, equals, share = part.partition("=")
        try:
            value = float(share)
        except ValueError:
            value = -1.0
        if name not in CLASSES or not equals or name in mix or not 0 <= value < 1e9:
            raise SpaceError(f"'{part}' is not CLASS=SHARE, each class once; classes are {', '.join(CLASSES)}")
        mix[name] = value
    mix = {name: share for name, share in mix.items() if share > 0}
    if not mix:
        raise SpaceError("no class has a share")
    return mix


def mix_for(mix, replicas, space):
    """The shares that a number of replicas is sampled with. Without an explicit mix one replica is spared the classes
    that are no faults of its machine: nobody reads its tape, and nobody outlives it."""
    shares = dict(DEFAULT_MIX) if mix is None else dict(mix)
    if mix is None and replicas == 1:
        shares = {name: share for name, share in shares.items() if name in STATE_CLASSES}
    return {name: share for name, share in shares.items() if space.has(name)}


@dataclass(frozen=True)
class Sample:
    """One injection."""
    name: str  # of its class
    replica: int
    position: int
    target: str
    seed: int

    @property
    def spec(self):
        return f"{self.replica}:{self.target}@{self.position}"


def seed_of(seed, run):
    """The seed of one run's sample: it hangs on the campaign's seed and on the run's number alone."""
    return int.from_bytes(hashlib.sha256(f"{seed} {run}".encode()).digest()[:8], "little")


def draw(space, shares, memory, positions, tape, replicas, seed):
    """One injection: a class by its share, then replica, position and bit, each uniform. `tape`: its bytes at the end
    of a run."""
    generator = random.Random(seed)
    names = sorted(shares)
    name = generator.choices(names, [shares[n] for n in names])[0]
    replica = generator.randrange(replicas)
    position = generator.randrange(positions)
    if name == "tape":
        replica = 0  # the first leader: a follower's tape is empty
    return Sample(name, replica, position, space.draw(name, generator, memory, tape * position // positions), seed)
