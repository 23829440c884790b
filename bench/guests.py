"""What bench/io and bench/programs share, whose Linux guests time their work themselves: the same guest in QEMU and in
so many replicas, in turn; tables, CSV and plots of what they tell."""
import csv
import os
import random
import shutil
import statistics
import subprocess
import sys
import time

import lib

KERNEL = "build/kernels/cloud-amd64/vmlinuz"
INITRD = "build/initramfs-devices.cpio"
APPEND = "console=ttyS0 quiet loglevel=1 randomize_kstack_offset=off"
# What the lab's guests of tercet's are told of a second: as in tests/lab/check-guests.
LAB_DILATION = 10
COLOURS = {"QEMU": "#555555", "1": "#1b6ca8", "3": "#c8553d"}


def parse(name, parser, rounds, scale):
    """The options, all of which both have, with the usual number of rounds and per cent of the work."""
    parser.add_argument("--rounds", type=int, default=rounds, metavar="N", help="of all kinds (%(default)s)")
    parser.add_argument("--kinds", default="QEMU,1,3", metavar="LIST",
                        help="QEMU and numbers of replicas (%(default)s)")
    parser.add_argument("--vote-interval", metavar="TIME", help="tercet's option (10ms; 500ms in the lab)")
    parser.add_argument("--scale", type=int, default=scale, metavar="PERCENT",
                        help="of the work of each job (%(default)s)")
    parser.add_argument("--out", default=f"build/bench/{name}", metavar="FOLDER", help="(%(default)s)")
    parser.add_argument("--prepare", action="store_true",
                        help="only make what is needed: the program, the initrd and a disk")
    arguments = parser.parse_args()
    arguments.kinds = arguments.kinds.split(",")
    if not set(arguments.kinds) <= {"QEMU", "1", "2", "3", "5"} or arguments.rounds < 1 or arguments.scale < 1:
        parser.error("--kinds: QEMU, 1, 2, 3 and 5; --rounds and --scale are 1 at least")
    arguments.lab = "TERCET_LAB" in os.environ
    arguments.dilation = LAB_DILATION if arguments.lab else 1
    arguments.vote_interval = arguments.vote_interval or ("500ms" if arguments.lab else "10ms")
    return arguments


def command_of(kind, arguments, append, memory, disks):
    """The guest's words on the kernel's command line, its MiB, and its disks: (path, whether it is only read)."""
    append = f"{APPEND} {append}"
    if kind == "QEMU":
        command = ["qemu-system-x86_64", "-accel", "kvm", "-cpu", "host", "-m", str(memory), "-nodefaults",
                   "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio",
                   "-kernel", KERNEL, "-initrd", INITRD, "-append", append]
        for path, read_only in disks:
            words = "readonly=on" if read_only else "cache=writeback"
            command += ["-drive", f"if=virtio,format=raw,file={path.replace(',', ',,')},{words}"]
        return command
    command = ["build/tercet", "run", "--kernel", KERNEL, "--initrd", INITRD, "--append", append, "--memory",
               f"{memory}M", "--replicas", kind, "--vote-interval", arguments.vote_interval, "--watchdog", "8s",
               "--time-dilation", str(arguments.dilation), "--monitor", "none", "--reports", arguments.out,
               "--stats", f"{arguments.out}/stats.json", *arguments.options]
    for path, read_only in disks:
        command += ["--disk", f"{path},readonly" if read_only else path]
    return command


def run(kind, arguments, append, memory, disks):
    """One guest; what it printed. What it says of time is by its own clock: see clock_of()."""
    done = subprocess.run(command_of(kind, arguments, append, memory, disks), stdin=subprocess.DEVNULL,
                          capture_output=True, check=False)
    console = done.stdout.decode(errors="replace").replace("\r", "")
    messages = done.stderr.decode(errors="replace")
    if done.returncode != 0:
        raise lib.BenchError(f"{kind}: status {done.returncode}; its console ends:\n{console[-1000:]}\n"
                             f"{messages[-1000:]}")
    return console


def clock_of(kind, arguments):
    """Seconds of the host's in one of the guest's."""
    return 1 if kind == "QEMU" else arguments.dilation


def measure(arguments, once):
    """Samples by kind: what once(kind) gives, round by round."""
    samples = {kind: [] for kind in arguments.kinds}
    order = random.Random(1)
    for turn in range(arguments.rounds):
        kinds = list(samples)
        order.shuffle(kinds)
        for kind in kinds:
            begin = time.monotonic()
            samples[kind].append(once(kind))
            print(f"round {turn + 1} of {arguments.rounds}: {kind}, {time.monotonic() - begin:.0f} s",
                  file=sys.stderr, flush=True)
    return samples


def bench(name, arguments, image, make, once, report):
    """Makes what is needed, or measures and reports: make(image) makes the disk, once(kind, arguments, image) is a run,
    report(arguments, facts, samples) the end. Gives the exit status."""
    os.chdir(lib.ROOT)
    os.makedirs(arguments.out, exist_ok=True)
    try:
        if arguments.prepare or not os.path.exists(image):
            make(image)
        if arguments.prepare:
            subprocess.run(["make", "-s", "all", "initramfs-devices"], check=True)
            return 0
        facts = lib.machine_facts()
        report(arguments, facts, measure(arguments, lambda kind: once(kind, arguments, image)))
    except (lib.BenchError, OSError, subprocess.SubprocessError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    return 0


def write_csv(path, facts, samples, names):
    """A line for each job of each run; a run is {job: values}."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        for name, value in facts.items():
            file.write(f"# {name}: {value}\n")
        writer = csv.writer(file)
        writer.writerow(["job", "kind", "round", *names])
        for kind, column in samples.items():
            for turn, found in enumerate(column, 1):
                for job, values in found.items():
                    writer.writerow([job, kind, turn, *(f"{value:g}" for value in values)])


def name_of(kind):
    return kind if kind == "QEMU" else "1 replica" if kind == "1" else f"{kind} replicas"


def ratio(above, below, divisor=1):
    """How many times larger the first column is, with the interval where there are enough rounds."""
    text = f"{lib.ratio_of_medians(above, below) / divisor:.2f}"
    if len(above) < 3:
        return text
    low, high = lib.interval_of(lib.ratio_of_medians, above, below)
    return f"{text} ({low / divisor:.2f} to {high / divisor:.2f})"


def absolute_columns(arguments, samples, quantities):
    """(head, function of a job that gives the cell) of quantities: (name with unit, function of a run's values). None
    in the lab, where they mean nothing."""
    for kind in [] if arguments.lab else arguments.kinds:
        for name, of in quantities:
            yield (f"{name_of(kind)}, {name}",
                   lambda job, k=kind, o=of: f"{statistics.median(o(found[job]) for found in samples[k]):.3g}")


def ratio_columns(arguments, samples, quantities):
    """Likewise: replicas over QEMU and over one replica. The lab has one processor for all replicas, which do there one
    after the other what they would do at the same time: so of the first quantity, a time, its share for each, too."""
    def values(job, kind, of):
        return [of(found[job]) for found in samples[kind]]
    numbers = [kind for kind in arguments.kinds if kind.isdigit()]
    for below in [kind for kind in arguments.kinds if kind in ("QEMU", "1")]:
        for above in numbers:
            for name, of in quantities if above != below else []:
                yield (f"{name}, {name_of(above)} over {name_of(below)}",
                       lambda job, a=above, b=below, o=of: ratio(values(job, a, o), values(job, b, o)))
    name, of = quantities[0]
    for kind in numbers if arguments.lab and "1" in numbers else []:
        if kind != "1":
            yield (f"{name}, {name_of(kind)} over {kind} times 1",
                   lambda job, k=kind: ratio(values(job, k, of), values(job, "1", of), int(k)))


def print_report(title, arguments, facts, jobs, columns, more):
    """A heading, where it was measured, and the table: jobs are {name: text}."""
    print(f"## {title}\n")
    for name, value in facts.items():
        print(f"- {name}: {value}")
    print(f"- {more}vote interval {arguments.vote_interval}; rounds: {arguments.rounds}; medians"
          + (", 95 % bootstrap intervals" if arguments.rounds > 2 else "")
          + (f"; in the lab: ratios alone, time dilation {arguments.dilation}" if arguments.lab else "") + "\n")
    print(f"| job | {' | '.join(head for head, _ in columns)} |")
    print("| --- |" + " --- |" * len(columns))
    for job, text in jobs.items():
        print(f"| {text} | {' | '.join(cell(job) for _, cell in columns)} |")


def plot(arguments, name, jobs, samples, label, of):
    """Bars: of() of each job and kind, relative to the first kind."""
    first = arguments.kinds[0]
    with open(f"{arguments.out}/{name}.dat", "w", encoding="utf-8") as file:
        for job in jobs:
            base = statistics.median(of(found[job]) for found in samples[first])
            values = [statistics.median(of(found[job]) for found in samples[kind]) / base for kind in arguments.kinds]
            file.write(f"{job} {' '.join(f'{value:.4f}' for value in values)}\n")
    series = ", ".join(f"'{name}.dat' using {i + 2}:xtic(1) title '{name_of(kind)}' "
                       f"linecolor rgb '{COLOURS.get(kind, '#8e5ea2')}'" for i, kind in enumerate(arguments.kinds))
    if not shutil.which("gnuplot"):
        print("no plot: gnuplot is not installed (gnuplot-nox)", file=sys.stderr)
        return
    for terminal, suffix in (("pngcairo size 900,420", "png"), ("svg size 900,420", "svg")):
        script = (f"set terminal {terminal}\nset output '{name}.{suffix}'\nset style data histogram\n"
                  f"set style fill solid\nset yrange [0:*]\nset xtics rotate by -30\n"
                  f"set ylabel '{label}, {name_of(first)} = 1'\nplot {series}\n")
        subprocess.run(["gnuplot"], input=script, text=True, cwd=arguments.out, check=True)
