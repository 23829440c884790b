"""What the benchmarks share: one measured run of tercet, medians with their uncertainty, and where it was measured."""
import json
import os
import platform
import random
import shutil
import statistics
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class BenchError(Exception):
    """A run that cannot be measured."""


class Sample:
    """One run: wall and CPU seconds, cores that others kept busy, the statistics file, and the console's bytes."""

    def __init__(self, wall, cpu, others, stats, console):
        self.wall = wall
        self.cpu = cpu
        self.others = others
        self.stats = stats
        self.console = console

    def part(self, name):
        """Seconds of guest, vote, wait or supervisor, over all processes; all but the last are wall time of each."""
        if name == "supervisor":
            return self.cpu - sum(r["cpu_ns"] for r in self.stats["replica"]) / 1e9
        return self.stats["time"][f"{name}_ns"] / 1e9


def busy_seconds():
    """CPU seconds that all cores together were not idle, or were stolen (proc(5), /proc/stat)."""
    with open("/proc/stat", encoding="utf-8") as file:
        user, nice, system, _, _, irq, softirq, steal = (int(x) for x in file.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def start_payload(tercet, payload, arguments, replicas, extra, folder):
    command = [tercet, "run", "--payload", payload, "--append", arguments, "--replicas", str(replicas),
               "--console", f"file:{folder}/console", "--stats", f"{folder}/stats", *extra]
    with open(f"{folder}/messages", "wb") as messages:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=messages, stderr=messages)


def finish_payload(process, folder):
    """CPU seconds, statistics and console. A run whose end, votes or memory are not in order is an error."""
    # Not getrusage(), which sums up all children there ever were. tercet waits for its replicas, so they count.
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        with open(f"{folder}/messages", encoding="utf-8", errors="replace") as messages:
            raise BenchError(f"{' '.join(process.args)}: status {process.returncode}\n{messages.read()}")
    with open(f"{folder}/stats", encoding="utf-8") as file:
        stats = json.load(file)
    with open(f"{folder}/console", "rb") as file:
        console = file.read()
    votes = stats["votes"]
    if votes["unanimous"] != votes["total"] or stats["ram_check"]["differing"] != 0:
        raise BenchError(f"{' '.join(process.args)}: replicas differed: {votes}, {stats['ram_check']}")
    return usage.ru_utime + usage.ru_stime, stats, console


def run_payload(tercet, payload, arguments, replicas, extra=(), machines=1):
    """Runs a payload in so many machines side by side, and waits for all: wall time until the last, CPU time of all."""
    folders = [tempfile.mkdtemp(prefix="tercet-bench.") for _ in range(machines)]
    processes, results = [], []
    try:
        busy = busy_seconds()
        begin = time.monotonic()
        for folder in folders:
            processes.append(start_payload(tercet, payload, arguments, replicas, extra, folder))
        for process, folder in zip(processes, folders):
            results.append(finish_payload(process, folder))
        wall = time.monotonic() - begin
        busy = busy_seconds() - busy
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
                process.wait()
        for folder in folders:
            shutil.rmtree(folder)
    if len({console for _, _, console in results}) != 1:
        raise BenchError(f"{payload}: machines side by side printed different things")
    cpu = sum(result[0] for result in results)
    _, stats, console = results[0]
    return Sample(wall, cpu, max(0.0, busy - cpu) / wall, stats, console)


def interval_of(function, *columns, confidence=0.95, draws=2000):
    """Bootstrap interval of function(*columns): each draw resamples every column with replacement.

    Efron's percentile method; the generator is seeded, so that the same samples give the same interval.
    """
    generator = random.Random(1)
    values = sorted(function(*(generator.choices(column, k=len(column)) for column in columns)) for _ in range(draws))
    tail = (1 - confidence) / 2
    return values[int(tail * draws)], values[min(draws - 1, int((1 - tail) * draws))]


def ratio_of_medians(above, below):
    return statistics.median(above) / statistics.median(below)


def first_line(command):
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")[0]
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def machine_facts():
    """What a figure means nothing without."""
    processor = "unknown"
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                processor = line.split(":", 1)[1].strip()
                break
    changed = first_line(["git", "status", "--porcelain", "--untracked-files=no"])
    return {
        "processor": processor,
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "compiler": first_line(["gcc", "--version"]),
        "commit": first_line(["git", "rev-parse", "--short=12", "HEAD"]) + (" with changes" if changed else ""),
        "time": time.strftime("%Y-%m-%d %H:%M:%S %z"),
    }
