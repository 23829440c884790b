"""A Linux guest under load that takes one fault after the other, each committed while it runs and all replicas are
well, and must be well again after each; its console is compared, byte for byte, with that of an undisturbed run.
"""
import json
import os
import subprocess
import time

# Nothing of the kernel's: when it was started, and how slow the host is, shows there.
QUIET = "loglevel=0 printk.time=0 tercet.script=load"
# Exits; a guest under load makes hundreds in a second, even here.
BEHIND = 300
# A fault in what the guest writes again and again may be overwritten before anything looks. The others must be
# noticed.
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
    ("debug register", "follower", "reg:dr0:3", CERTAIN),
    ("x87 register", "follower", "fpu:st2:33", MASKABLE),
    ("SSE register", "follower", "fpu:xmm3:70", MASKABLE),
    ("data", "follower", None, CERTAIN),
    ("data", "leader", None, CERTAIN),
    ("code", "follower", "code:3:2", MASKABLE),
    ("page table", "follower", "page-table:1:12", MASKABLE),
    ("page table", "leader", "page-table:2:13", MASKABLE),
    # Their bits are those of what each saves: an edge of IRQ 1, channel 0's counting element, a cell of memory, the
    # scratch register, the last command, an event that is not enabled, the last code, the gate of address line 20.
    ("i8259", "follower", "device:i8259:9", MASKABLE),
    ("i8254", "follower", "device:i8254:115", MASKABLE),
    ("mc146818", "follower", "device:mc146818:779", CERTAIN),
    ("uart16550", "leader", "device:uart16550:43", CERTAIN),
    ("i8042", "follower", "device:i8042:25", CERTAIN),
    ("acpi_pm", "follower", "device:acpi_pm:5", CERTAIN),
    ("debug_exit", "leader", "device:debug_exit:5", MASKABLE),
    ("reset_control", "follower", "device:reset_control:1", CERTAIN),
    ("death of the leader", "leader", "kill", CERTAIN),
    ("death of a follower", "follower", "kill", CERTAIN),
    ("leader stopped for 10 s", "leader", "stop:10", MASKABLE),
    ("follower stopped for 10 s", "follower", "stop:10", MASKABLE),
]

# Leaders that are outvoted. What their followers do in that moment is a matter of chance.
LEADERS = [fault for fault in TOUR if fault[0] in ("data", "uart16550") and fault[1] == "leader"]


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
        if not os.path.exists(socket):
            raise Stuck("tercet has ended; its messages say why")
        state = status(socket)
        if well(state) and more(state):
            return state
        time.sleep(0.3)
    raise Stuck(f"not well again after {limit} s: {state}")


def cares(state, replica):
    """How often a replica was repaired or replaced."""
    return state["replica"][replica]["repairs"] + state["replica"][replica]["respawns"]


def said(messages, text):
    """How often tercet's messages say `text`."""
    with open(messages, encoding="utf-8", errors="replace") as file:
        return file.read().count(text)


def is_stopped(pid):
    """Whether a process is stopped, or no more."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            # proc(5): the state follows the name, which is in parentheses and may hold anything.
            return file.read().rpartition(")")[2].split()[0] == "T"
    except FileNotFoundError:
        return True


def inject(socket, messages, replica, target, limit):
    """Has a replica commit a fault, and waits until it has; `replica` is its object in the status."""
    index = replica["index"]
    good, bad = f"tercet[replica {index}]: injected a fault", "is not committed"
    said_before = said(messages, good)
    done = subprocess.run(["build/tercet", "inject", socket, "--replica", str(index), "--target", target],
                          capture_output=True, text=True, check=False, timeout=60)
    if done.returncode != 0:
        raise Stuck(f"{target} cannot be injected: {done.stderr.strip()}")
    until = time.monotonic() + limit
    while time.monotonic() < until:
        # One that is killed says nothing of it; that it died must be noticed anyway.
        if target == "kill" or said(messages, good) > said_before or \
                (target.startswith("stop:") and is_stopped(replica["pid"])):
            return
        if said(messages, bad) > 0:
            raise Stuck(f"{target} {bad}; see {messages}")
        time.sleep(0.1)
    raise Stuck(f"{target} was not committed for {limit} s")


def commit(socket, messages, fault, data_address, limit):
    """Commits one fault of the tour and waits until all is well; gives whether it was noticed."""
    name, role, target, certainty = fault
    before = wait_until_well(socket, limit)
    replica = next(r for r in reversed(before["replica"]) if r["role"] == role)
    hit = replica["index"]
    inject(socket, messages, replica, target or f"mem:{data_address:#x}:5", limit)
    # Agreed some way behind where the fault was committed: whatever it did has been seen by then.
    now = status(socket)
    wanted = max(r["position"] for r in (now if isinstance(now, dict) else before)["replica"]) + BEHIND
    after = wait_until_well(socket, limit, lambda state: state["position"] >= wanted and
                            (certainty == MASKABLE or cares(state, hit) > cares(before, hit)))
    for replica in after["replica"]:
        index = replica["index"]
        if index != hit and cares(after, index) > cares(before, index):
            raise Stuck(f"{name}: replica {hit} was hit, but replica {index} was lost, too: {replica['last_fault']!r} "
                        "(one that is silent or owes its ballot may be so because the host had no time for it)")
    if cares(after, hit) > cares(before, hit) + 1:
        raise Stuck(f"{name}: replica {hit} was lost more than once: {after['replica'][hit]['last_fault']!r}")
    return cares(after, hit) > cares(before, hit)
