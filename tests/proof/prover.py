"""Runs Frama-C's WP over one C file and says what it proved. Used by tests/proof/run.

Everything that Frama-C and Why3 write goes into a folder of the caller's: neither a configuration nor a cache of the
user's has a say in what counts as proved.
"""
import csv
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lint"))
import lints  # noqa: E402 (found by the line above)

TOOLS = {"frama-c": "frama-c-base", "why3": "why3", "cvc4": "cvc4"}
# What the prover may spend on one goal, counted in steps of its own: the same on every machine, so that no broken copy
# is refused, nor the right one, for want of time. The hardest goal takes 77,000.
GOAL_STEPS = 150000
# Seconds for one goal, only so that everything comes to an end: it takes less than one.
GOAL_LIMIT = 120
# Seconds in which a smoke test looks for a contradiction.
SMOKE_LIMIT = 2
RUN_LIMIT = 900
# A function without one of these is a function without a contract. The prover adds no `assigns` by itself.
CONTRACT = {"postcondition": "ensures", "assigns clause": "assigns", "termination clause": "terminates"}


class Trouble(Exception):
    """The prover did not get as far as an answer."""


@dataclass
class Outcome:
    proved: int = 0
    goals: int = 0
    # function ("" for the file): what is not as it should be
    problems: dict = field(default_factory=dict)
    # function: how many properties are proved
    properties: dict = field(default_factory=dict)

    def blame(self, function, text):
        self.problems.setdefault(function, []).append(text)

    @property
    def is_proof(self):
        return self.goals > 0 and self.proved == self.goals and not self.problems


def missing_packages():
    return sorted(package for tool, package in TOOLS.items() if not shutil.which(tool))


def copy_source(root, source, folder):
    """Copies the file and the headers of ours that it includes, so that the copy can be changed."""
    names = [source]
    for name in names:
        os.makedirs(os.path.join(folder, os.path.dirname(name)), exist_ok=True)
        shutil.copy(os.path.join(root, name), os.path.join(folder, name))
        names += [found for _, found, system in lints.includes_of(lints.File(root, name))
                  if not system and found not in names]


def functions_in(folder, source):
    """The functions that a C file defines, found without the prover's help."""
    return [name for _, _, name, end in lints.functions_of(lints.File(folder, source)) if end == "{"]


def headers_in(folder):
    return [os.path.relpath(os.path.join(path, name), folder)
            for path, _, names in os.walk(folder) for name in names if name.endswith(".h")]


def assumptions(folder, source):
    """What is taken for granted, and code that the compiler would not see as the prover does."""
    for name in [source, *headers_in(folder)]:
        guard = "TERCET_" + re.sub(r"[^A-Z0-9]", "_", name.upper())
        for number, line in enumerate(lints.File(folder, name).lines, 1):
            if re.search(r"\b(axiom|axiomatic|admit)\b", line):
                yield f"{name}:{number}: is assumed: {line.strip()}"
            directive = re.match(r"\s*#\s*(\w+)\s*(.*)", line)
            if directive and directive.group(1) not in ("include", "endif") and directive.group(2) != guard:
                yield f"{name}:{number}: not the same for all who read it: {line.strip()}"


def environment(folder):
    variables = {name: value for name, value in os.environ.items()
                 if not name.startswith(("FRAMAC", "WHY3", "XDG_"))}
    # Frama-C takes relative paths from PWD, not from where it stands.
    variables.update(HOME=folder, PWD=folder, WHY3CONFIG=os.path.join(folder, "why3.conf"), LC_ALL="C.UTF-8")
    return variables


def execute(folder, log, command):
    """Runs a command in the folder, with its words in the log, and returns them."""
    with open(os.path.join(folder, log), "w+", encoding="utf-8", errors="replace") as stream:
        try:
            status = subprocess.run(command, cwd=folder, env=environment(folder), stdin=subprocess.DEVNULL,
                                    stdout=stream, stderr=subprocess.STDOUT, timeout=RUN_LIMIT).returncode
        except subprocess.TimeoutExpired as error:
            raise Trouble(f"{command[0]}: ended after {RUN_LIMIT} s") from error
        stream.seek(0)
        text = stream.read()
    if status != 0:
        last = "; ".join(text.strip().splitlines()[-3:])
        raise Trouble(f"{command[0]}: exit status {status}: {last}")
    return text


def prove(folder, source, only=None, goal=None):
    """Tries to prove the file in the folder. With `only`, a function's name, that function alone; with `goal`, too, a
    property's name, that property alone, and only the count of goals says whether it is proved. Raises Trouble."""
    if not os.path.exists(os.path.join(folder, "why3.conf")):
        execute(folder, "why3.log", ["why3", "config", "detect"])
    options = ["-wp", "-wp-rte", "-wp-prover", "cvc4", "-wp-steps", str(GOAL_STEPS), "-wp-timeout", str(GOAL_LIMIT),
               "-wp-par", "2", "-wp-cache", "none"]
    if only:
        options += ["-wp-fct", only]
    if goal:
        options += ["-wp-prop", goal]
    else:
        options += ["-wp-smoke-tests", "-wp-smoke-timeout", str(SMOKE_LIMIT)]
    text = execute(folder, "frama-c.log", [
        "frama-c", "-machdep", "gcc_x86_64", "-cpp-extra-args=-I. -D_GNU_SOURCE",
        # Asks for the sources of a returned pointer, which WP cannot prove anyway.
        "-wp-warn-key", "pedantic-assigns=inactive",
        *options, source, "-then", "-report", "-report-csv", "properties.csv"])
    outcome = Outcome()
    counts = re.search(r"^\[wp\] Proved goals: +(\d+) / (\d+)$", text, re.M)
    if not counts:
        raise Trouble("frama-c: does not say how many goals are proved")
    outcome.proved, outcome.goals = int(counts.group(1)), int(counts.group(2))
    for line in text.splitlines():
        # Among the warnings are hypotheses that WP makes and does not prove.
        if re.search(r"\bWarning\b", line):
            outcome.blame("", line)
        elif re.match(r"\[wp\] \[Failed\] (?!Goal)", line):
            outcome.blame("", line)
    if goal:
        return outcome
    for line in assumptions(folder, source):
        outcome.blame("", line)
    if not only:
        read_summary(text, outcome)
    read_properties(os.path.join(folder, "properties.csv"), functions_in(folder, source), only, outcome)
    return outcome


def read_summary(text, outcome):
    """Every property must be proved, or be one of Frama-C's own headers: those are looked at in the table."""
    summary = text.rpartition("--- Status Report Summary")[2]
    kinds = re.findall(r"^ +(\d+) (\S.*)$", summary, re.M)
    if not any(kind == "Completely validated" for _, kind in kinds):
        outcome.blame("", "no property is completely validated")
    for count, kind in kinds:
        if kind not in ("Completely validated", "Considered valid", "Total"):
            outcome.blame("", f"{count} properties: {kind.lower()}")


def read_properties(path, functions, only, outcome):
    """What the table of properties says of each function, and of what is in none; those of Frama-C's own headers are
    of functions that the file does not call."""
    kinds = {name: set() for name in functions if not only or name == only}
    with open(path, encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))
    for row in rows:
        if row["directory"].startswith("FRAMAC_SHARE"):
            continue
        name = row["function"]
        if only and name not in ("", only):
            continue
        if row["status"] != "Valid":
            place = f"{row['file']}:{row['line']}"
            outcome.blame(name, f"{place}: {row['property kind']}: {row['status'].lower()}: {row['property']}")
            continue
        outcome.properties[name] = outcome.properties.get(name, 0) + 1
        if name in kinds:
            kinds[name].add(row["property kind"])
    for name, found in kinds.items():
        for kind, clause in CONTRACT.items():
            if kind not in found:
                outcome.blame(name, f"no {clause} of its contract is proved")
