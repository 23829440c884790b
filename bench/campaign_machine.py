"""A machine that runs for long, as a campaign deals with it: its console, messages and monitor (docs/events.md)."""
import json
import os
import re
import selectors
import shutil
import socket
import subprocess
import time

import campaign_run

SOCKET_MAX = 100  # bytes of a path: sun_path has 108 (unix(7))
ANSWER_LIMIT = 60  # seconds
INJECTED = re.compile(r"tercet\[replica (\d+)\]: injected a fault at position (\d+)")
REFUSED = re.compile(r"tercet\[replica (\d+)\]: .*is not committed")


class MachineError(Exception):
    """A machine that does not answer as it should."""


class Ended(MachineError):
    """The machine has ended, or its monitor is gone."""


class Machine:
    """One run of tercet. All that it says is taken by `step`, with the moment at which it came: `console` (bytes),
    `messages` (seconds, line), `events` (the monitor's objects, in order)."""

    def __init__(self, command, files, folder, on_console):
        self.folder = folder
        self.path = f"{folder}/monitor"
        if len(self.path) > SOCKET_MAX:
            raise MachineError(f"{self.path} is too long for a socket: set TMPDIR")
        command = [campaign_run.absolute(word, files) for word in command]
        command += ["--monitor", self.path, "--stats", f"{folder}/stats.json", "--reports", folder]
        if shutil.which("setpriv"):
            command = ["setpriv", "--pdeathsig", "KILL", *command]
        self.on_console = on_console
        self.console, self.messages, self.events = b"", [], []
        self.line = b""
        self.begin = time.monotonic()
        self.process = campaign_run.processes.start(command, cwd=folder, stdin=subprocess.PIPE,
                                                    stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.process.stdout, selectors.EVENT_READ, self.take_console)
        self.selector.register(self.process.stderr, selectors.EVENT_READ, self.take_messages)
        self.monitor, self.received, self.answers, self.asked = None, b"", {}, 0
        self.zero = None  # when the replicas were started, by our clock
        self.status, self.closed = None, False

    @property
    def pid(self):
        return self.process.pid

    def over(self):
        """Whether it has said all that it had to say."""
        return self.closed or not any(key.data != self.take_answers for key in self.selector.get_map().values())

    def step(self, seconds):
        """Takes what comes, for so long or until something came."""
        if not self.selector.get_map():
            time.sleep(seconds)
            return
        for key, _ in self.selector.select(seconds):
            try:
                data = os.read(key.fd, 65536)
            except ConnectionResetError:
                data = b""
            if data:
                key.data(data)
            else:
                self.selector.unregister(key.fileobj)

    def rest(self, seconds):
        """Takes what comes, for so long or until all is over."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self.over():
            self.step(left)

    def wait(self, condition, seconds):
        """Steps until the condition holds, the machine is over, or the time; gives whether it held."""
        until = time.monotonic() + seconds
        while not condition():
            left = until - time.monotonic()
            if left <= 0 or self.over():
                return condition()
            self.step(min(left, 0.5))
        return True

    def take_console(self, data):
        self.console += data
        self.on_console(data)

    def take_messages(self, data):
        now = time.monotonic()
        *lines, self.line = (self.line + data).split(b"\n")
        self.messages += [(now, line.decode("utf-8", "replace")) for line in lines]

    def take_answers(self, data):
        *lines, self.received = (self.received + data).split(b"\n")
        for line in lines:
            try:
                answer = json.loads(line)
            except ValueError as error:
                raise MachineError(f"the monitor said {line[:200]!r}") from error
            if "event" in answer:
                self.events.append(answer)
            elif "id" in answer:
                self.answers[answer["id"]] = answer

    def connect(self):
        """Opens the monitor."""
        until = time.monotonic() + ANSWER_LIMIT
        while True:
            monitor = socket.socket(socket.AF_UNIX)
            try:
                monitor.connect(self.path)
                break
            except OSError as error:
                monitor.close()
                if self.over() or time.monotonic() > until:
                    raise MachineError(f"{self.path}: {error.strerror}: {self.last_messages()}") from error
                self.step(0.1)
        self.monitor = monitor
        self.selector.register(monitor, selectors.EVENT_READ, self.take_answers)
        self.ask("qmp_capabilities")
        state = self.state()
        self.zero = time.monotonic() - state["uptime_ns"] / 1e9

    def ask(self, command, arguments=None):
        """The monitor's answer: an object with `return` or `error`."""
        self.asked += 1
        serial = self.asked
        request = {"execute": command, "id": serial} | ({"arguments": arguments} if arguments else {})
        try:
            self.monitor.sendall(json.dumps(request).encode() + b"\n")
        except OSError as error:
            raise Ended(f"the monitor is gone: {error.strerror}") from error
        until = time.monotonic() + ANSWER_LIMIT
        while serial not in self.answers:
            if self.monitor not in [key.fileobj for key in self.selector.get_map().values()]:
                raise Ended("the monitor is gone")
            if time.monotonic() > until:
                raise MachineError(f"the monitor did not answer within {ANSWER_LIMIT} s")
            self.step(0.5)
        return self.answers.pop(serial)

    def state(self):
        """The status object (docs/events.md)."""
        answer = self.ask("tercet-status")
        if "return" not in answer:
            raise MachineError(f"tercet-status: {answer}")
        return answer["return"]

    def type(self, line):
        try:
            self.process.stdin.write(line + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError as error:
            raise Ended("nobody reads what is typed") from error

    def said(self, since, pattern, replica):
        """The first of the messages from number `since` on of this replica that matches: (seconds, match), or None."""
        for moment, line in self.messages[since:]:
            match = pattern.search(line)
            if match and int(match[1]) == replica:
                return moment, match
        return None

    def last_messages(self):
        return "\n".join(line for _, line in self.messages[-20:])

    def close(self, seconds=5):
        """Waits so long for its end, and ends it; its exit status, None if it had to be ended."""
        if self.closed:
            return self.status
        self.closed = True
        try:
            self.status = campaign_run.wait_for(self.process, seconds)
        finally:
            campaign_run.processes.end(self.process)
        for file in (self.process.stdin, self.process.stdout, self.process.stderr, self.monitor):
            try:
                if file is not None:
                    file.close()
            except BrokenPipeError:
                pass
        self.selector.close()
        return self.status

    def stats(self):
        return campaign_run.read_stats(f"{self.folder}/stats.json")

    def write(self):
        """Leaves all that it said in its folder."""
        with open(f"{self.folder}/console", "wb") as file:
            file.write(self.console)
        with open(f"{self.folder}/messages", "w", encoding="utf-8") as file:
            file.writelines(f"{moment - self.begin:.3f} {line}\n" for moment, line in self.messages)
        with open(f"{self.folder}/events", "w", encoding="utf-8") as file:
            file.writelines(json.dumps(event) + "\n" for event in self.events)
