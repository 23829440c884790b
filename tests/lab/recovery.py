"""A Linux guest under load that takes one fault after the other, each committed while it runs and all replicas are
well, and must be well again after each; its console is compared, byte for byte, with that of an undisturbed run.
"""
import json
import subprocess
import time

# Nothing of the kernel's: when it was started, and how slow the host is, shows there.
QUIET = "loglevel=0 printk.time=0 tercet.script=load"
# Exits; a guest under load makes hundreds in a second, even here.
BEHIND = 300
# A fault may be masked: overwritten before anything looks. These cannot be.
CERTAIN = "certain"
MASKABLE = "maskable"

# (name, replica: "leader" or "follower", target, whether it is certain to be detected)
TOUR = [
    ("general register", "follower", "reg:rbx:40", MASKABLE),
    ("general register", "leader", "reg:rsp:44", MASKABLE),
    ("instruction pointer", "follower", "rip:20", MASKABLE),
    ("flags", "follower", "reg:rflags:10", MASKABLE),
    ("segment", "follower", "reg:gs.base:20", MASKABLE),
    ("system register", "leader", "reg:lstar:17", MASKABLE),
    ("control register", "follower", "cr3:13", MASKABLE),
    ("descriptor table", "follower", "reg:idtr.base:14", MASKABLE),
    ("debug register", "follower", "reg:dr0:3", MASKABLE),
    ("SSE register", "follower", "fpu:xmm3:70", MASKABLE),
    ("data", "follower", None, CERTAIN),
    ("data", "leader", None, CERTAIN),
    ("code", "follower", "code:3:2", MASKABLE),
    ("page table", "follower", "page-table:1:12", MASKABLE),
    ("page table", "leader", "page-table:2:13", MASKABLE),
    ("i8259", "follower", "device:i8259:9", MASKABLE),
    ("i8254", "follower", "device:i8254:70", MASKABLE),
    ("mc146818", "follower", "device:mc146818:779", CERTAIN),
    ("uart16550", "leader", "device:uart16550:43", MASKABLE),
    ("i8042", "follower", "device:i8042:1", MASKABLE),
    ("acpi_pm", "follower", "device:acpi_pm:5", MASKABLE),
    ("death of the leader", "leader", "kill", CERTAIN),
    ("death of a follower", "follower", "kill", CERTAIN),
    ("leader stopped for 10 s", "leader", "stop:10", MASKABLE),
    ("follower stopped for 10 s", "follower", "stop:10", MASKABLE),
]


class Stuck(Exception):
    """The machine was not well again in time."""


def status(socket):
    """The status object, or what the client said instead of one."""
    done = subprocess.run(["build/tercet", "status", socket, "--json"], capture_output=True, text=True, check=False,
                          timeout=60)
    return json.loads(done.stdout) if done.returncode == 0 else done.stderr.strip()


def well(state):
    return (isinstance(state, dict) and state["state"] == "running" and
            all(replica["state"] == "running" for replica in state["replica"]))


def wait_until_well(socket, limit, more=lambda state: True):
    """Waits until all replicas run and `more` holds; gives the status."""
    until = time.monotonic() + limit
    state = None
    while time.monotonic() < until:
        state = status(socket)
        if well(state) and more(state):
            return state
        time.sleep(0.3)
    raise Stuck(f"not well again after {limit} s: {state}")


def counted(state):
    return state["repairs"] + state["respawns"] + state["failovers"]


def commit(socket, fault, data_address, limit):
    """Commits one fault of the tour and waits until all is well; gives whether it was noticed."""
    name, role, target, certainty = fault
    before = wait_until_well(socket, limit)
    replica = next(r["index"] for r in reversed(before["replica"]) if r["role"] == role)
    done = subprocess.run(["build/tercet", "inject", socket, "--replica", str(replica), "--target",
                           target or f"mem:{data_address:#x}:5"], capture_output=True, text=True, check=False,
                          timeout=60)
    if done.returncode != 0:
        raise Stuck(f"{name}: cannot be injected: {done.stderr.strip()}")
    # Agreed some way behind where the fault was committed: whatever it did has been seen by then.
    hit = status(socket)
    wanted = max(r["position"] for r in (hit if isinstance(hit, dict) else before)["replica"]) + BEHIND
    after = wait_until_well(socket, limit, lambda state: state["position"] >= wanted and
                            (certainty == MASKABLE or counted(state) > counted(before)))
    return counted(after) > counted(before)
