"""A running machine for bench/recovery: started, spoken to by its monitor, damaged, and ended."""
import json
import os
import select
import shutil
import socket
import subprocess
import tempfile
import time

import lib
import recovery_faults as faults

START_SECONDS = 300
RECOVERY_SECONDS = 120
END_SECONDS = 120
LINE_MAX = 1 << 20
RECOVERED = ("LOCKSTEP_REPAIRED", "LOCKSTEP_RESTORED")
LOST_FOR_GOOD = ("LOCKSTEP_RETIRED", "LOCKSTEP_STOPPED", "LOCKSTEP_ENDED")


class Monitor:
    """A client of a machine's monitor (docs/events.md). It sleeps until something happens, so it takes no processor
    from the replicas."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.buffer = b""
        self.events = []
        try:
            self.socket.connect(path)
            self.line(time.monotonic() + START_SECONDS)
            self.command("qmp_capabilities")
        except BaseException:
            self.close()
            raise

    def close(self):
        self.socket.close()

    def line(self, until):
        """The next object, or None if there is none by then."""
        while b"\n" not in self.buffer:
            left = until - time.monotonic()
            if left <= 0 or not select.select([self.socket], [], [], left)[0]:
                return None
            data = self.socket.recv(1 << 16)
            if not data or len(self.buffer) > LINE_MAX:
                raise lib.BenchError("the machine's monitor has closed its socket")
            self.buffer += data
        text, self.buffer = self.buffer.split(b"\n", 1)
        return json.loads(text)

    def command(self, name, **arguments):
        request = {"execute": name} | ({"arguments": arguments} if arguments else {})
        self.socket.sendall(json.dumps(request).encode() + b"\n")
        until = time.monotonic() + RECOVERY_SECONDS
        while (reply := self.line(until)) is not None:
            if "event" in reply:
                self.events.append(reply)
            elif "error" in reply:
                raise lib.BenchError(f"{name}: {reply['error']['desc']}")
            else:
                return reply["return"]
        raise lib.BenchError(f"{name}: no reply")

    def next_event(self, until):
        if self.events:
            return self.events.pop(0)
        while (reply := self.line(until)) is not None:
            if "event" in reply:
                return reply
        return None


class Machine:
    """A pulse payload in replicas; a context manager that leaves no process and no folder behind."""

    def __init__(self, setup, memory, touch):
        self.folder = tempfile.mkdtemp(prefix="tercet-recovery.")
        self.process = None
        self.monitor = None
        self.zero = 0
        self.written = (0, 0)
        self.command = [setup.tercet, "run", "--payload", setup.payload,
                        "--append", f"scale=1000000 bytes={touch << 20} step={setup.gap_us}",
                        "--replicas", str(setup.replicas), "--memory", f"{memory}M",
                        "--vote-interval", setup.vote_interval,
                        # Faults are many, and none of them is the core's.
                        "--core-faults", "0", "--name", f"recovery-{os.getpid()}",
                        "--monitor", f"{self.folder}/monitor", "--reports", self.folder,
                        "--stats", f"{self.folder}/stats", *setup.options]

    def __enter__(self):
        self.busy = lib.busy_seconds()
        self.begin = time.monotonic()
        try:
            with open(f"{self.folder}/console", "wb") as console, open(f"{self.folder}/messages", "wb") as messages:
                self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=console, stderr=messages)
            self.await_guest()
            self.monitor = Monitor(f"{self.folder}/monitor")
            self.zero = self.read_zero()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.monitor:
            self.monitor.close()
        if self.process:
            if self.process.returncode is None:
                self.process.kill()
                self.process.wait()
            self.process.stdin.close()
        shutil.rmtree(self.folder)

    def read(self, name):
        with open(f"{self.folder}/{name}", encoding="utf-8", errors="replace") as file:
            return file.read()

    def complain(self, what):
        return lib.BenchError(f"{what}\n{' '.join(self.command)}\n{self.read('messages')[-4000:]}")

    def await_guest(self):
        """Until it has filled its memory and watches the clock."""
        until = time.monotonic() + START_SECONDS
        while "\nready " not in (text := self.read("console")):
            if self.process.poll() is not None:
                raise self.complain(f"the machine ended with status {self.process.returncode}: {text}")
            if time.monotonic() > until:
                raise self.complain("the guest is not ready")
            time.sleep(0.05)
        self.written = faults.parse_written(text)

    def read_zero(self):
        """The moment of the machine's start on this program's clock, in ns; not before it, and late by one reply: by
        the fastest of some."""
        return min(-self.monitor.command("tercet-status")["uptime_ns"] + time.monotonic_ns() for _ in range(5))

    def now(self):
        """Nanoseconds since the machine's start, or a little less."""
        return time.monotonic_ns() - self.zero

    def hit(self, target, choose):
        """Injects a fault and waits until all replicas take part again: a Request. `choose` takes the leader's index
        and gives that of the replica to hit."""
        leader = self.await_whole()["leader"]
        replica = choose(leader)
        self.monitor.events.clear()
        asked = self.now()
        self.monitor.command("tercet-inject", replica=replica, target=target)
        until = time.monotonic() + RECOVERY_SECONDS
        while (event := self.monitor.next_event(until)) is not None:
            if event["event"] in LOST_FOR_GOOD:
                raise self.complain(f"the machine did not survive {target} in replica {replica}")
            if event["event"] in RECOVERED and event["data"].get("replica") == replica:
                break
        else:
            raise self.complain(f"replica {replica} has not recovered from {target}")
        self.await_whole()
        return faults.Request(replica, replica == leader, asked, self.now())

    def await_whole(self):
        """The status of a machine of which all replicas run."""
        until = time.monotonic() + RECOVERY_SECONDS
        while time.monotonic() < until:
            status = self.monitor.command("tercet-status")
            if all(replica["state"] == "running" for replica in status["replica"]):
                return status
            self.monitor.next_event(time.monotonic() + 0.05)
        raise self.complain("the machine is not whole")

    def end(self):
        """Ends the guest: (Watch, statistics, cores that others kept busy)."""
        self.process.stdin.write(b"q")
        self.process.stdin.flush()
        descriptor = os.pidfd_open(self.process.pid)
        try:
            if not select.select([descriptor], [], [], END_SECONDS)[0]:
                raise self.complain("the machine does not end")
        finally:
            os.close(descriptor)
        _, status, usage = os.wait4(self.process.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.monotonic() - self.begin
        others = max(0.0, lib.busy_seconds() - self.busy - usage.ru_utime - usage.ru_stime) / wall
        if self.process.returncode != 0:
            raise self.complain(f"the machine ended with status {self.process.returncode}")
        try:
            return faults.parse_console(self.read("console")), json.loads(self.read("stats")), others
        except faults.ConsoleError as error:
            raise self.complain(str(error)) from error
