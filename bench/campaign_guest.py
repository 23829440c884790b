"""The guests of a campaign: their commands, and what of their consoles must be the same in each run."""
import hashlib
import os
import re
import shlex
import subprocess

import lib

# About 100 ms of one replica each: one that computes, one that writes memory all the time, one that exits all the time,
# one that prints.
DEFAULT_PAYLOADS = ("compute:scale=1", "memory:scale=2", "exits:scale=1", "output:bytes=600")
PAYLOAD_MEMORY = 16  # MiB
LINUX_MEMORY = 256

KERNEL_LINE = re.compile(rb"^\[ *\d+\.\d{6}\]")
SCRIPT_END = b"tercet: script check ended with status 0"


class GuestError(Exception):
    """A guest that cannot be run, or does not do what it should."""


def hash_of(path):
    digest = hashlib.sha256()
    try:
        with open(os.path.join(lib.ROOT, path), "rb") as file:
            while data := file.read(1 << 20):
                digest.update(data)
    except OSError as error:
        raise GuestError(f"{path}: {error.strerror}; is it built?") from error
    return digest.hexdigest()


class Payload:
    """A payload: all of its console is a function of its arguments. "NAME" or "NAME:ARGUMENTS"."""
    memory = PAYLOAD_MEMORY
    vote_interval = "10ms"
    watchdog = "1s"
    hang_factor = 20
    golden_runs = 3
    golden_limit = 300  # seconds

    def __init__(self, text, folder):
        name, _, self.arguments = text.partition(":")
        if not re.fullmatch(r"[a-z][a-z0-9_-]*", name):
            raise GuestError(f"'{text}' is no payload: NAME or NAME:ARGUMENTS")
        self.name = name
        self.program = f"{folder}/{name}"
        self.native = f"{folder}/native/{name}"

    def identity(self):
        return {"payload": self.name, "arguments": self.arguments, "program": hash_of(self.program)}

    def files(self):
        return {self.program}

    def command(self):
        command = ["--payload", self.program]
        return command + ["--append", self.arguments] if self.arguments else command

    def expected(self):
        """What it has to print, from outside of any machine."""
        run = subprocess.run([self.native, f"ram={self.memory}", *shlex.split(self.arguments)], cwd=lib.ROOT,
                             stdin=subprocess.DEVNULL, capture_output=True)
        if run.returncode != 0:
            raise GuestError(f"{self.native} {self.arguments}: status {run.returncode}; it must end well")
        return run.stdout

    def comparable(self, console):
        return console

    def begun(self, console):
        return console


LINUX_APPEND = "console=ttyS0 loglevel=1 oops=panic panic=-1"
CHECK_APPEND = f"{LINUX_APPEND} tercet.script=check"
LOAD_APPEND = f"{LINUX_APPEND} tercet.script=load tercet.rounds=0"


class Linux:
    """Debian's kernel with a script of the demonstration's initramfs. The kernel's own lines hang on time, so they do
    not count; a kernel that finds itself broken resets the machine."""
    memory = LINUX_MEMORY
    # In the lab a hash costs a hundred times what it costs on a processor, and whoever shares its two processors with
    # many others may be silent for seconds.
    vote_interval = "500ms"
    watchdog = "8s"
    hang_factor = 5
    golden_runs = 2
    golden_limit = 1800

    def __init__(self, kernel, initrd, append):
        self.name = "linux"
        self.kernel = kernel
        self.initrd = initrd
        self.append = append

    def identity(self):
        return {"kernel": hash_of(self.kernel), "initrd": hash_of(self.initrd), "append": self.append}

    def files(self):
        return {self.kernel, self.initrd}

    def command(self):
        return ["--kernel", self.kernel, "--initrd", self.initrd, "--append", self.append]

    def expected(self):
        return None

    def comparable(self, console):
        """All lines that are not the kernel's."""
        return b"".join(line for line in lines_of(console) if not KERNEL_LINE.match(line))

    def begun(self, console):
        lines = lines_of(console)
        # What is cut off may be the beginning of a line of the kernel.
        if lines and not lines[-1].endswith(b"\n") and lines[-1].startswith(b"["):
            lines.pop()
        return self.comparable(b"".join(lines))


def lines_of(console):
    return [line for line in re.split(rb"(?<=\n)", console) if line]


def check_golden(guest, console):
    """Errors: GuestError if this is no right output of an undisturbed run."""
    expected = guest.expected()
    if expected is not None and console != guest.comparable(expected):
        raise GuestError(f"{guest.name} prints something else in a machine than outside of one")
    if expected is None and SCRIPT_END not in console:
        raise GuestError(f"{guest.name}: the console lacks '{SCRIPT_END.decode()}'; it ends: {console[-300:]!r}")
