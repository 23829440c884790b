"""The house rules of DEVELOPERS.md that a program can check.

Each rule is a function from a Tree to findings; RULES at the end lists them. tests/lint/run applies them to this
repository, less the counted exceptions in tests/lint/exceptions; tests/lint/selftest shows that each rule finds a
seeded violation and keeps quiet about its nearest lawful neighbour.
"""
import ast
import os
import re
import shutil
import subprocess
from dataclasses import dataclass

# Lowest first: a folder includes only from itself and from those before it.
FLOORS = ["base", "devices", "devices/host", "vmm", "lockstep", "manage"]
SOURCE_FOLDERS = ["base", "devices", "vmm", "lockstep", "manage", "guest-tools", "tests", "bench"]
MAX_LINES = 600
# Written for 110 columns; the last ten are for lines that would be uglier broken.
MAX_COLUMNS = 120


@dataclass(frozen=True)
class Finding:
    path: str
    line: int
    text: str


class File:
    def __init__(self, root, path):
        self.path = path
        with open(os.path.join(root, path), "rb") as stream:
            self.raw = stream.read()
        self.text = self.raw.decode("utf-8", "replace")
        self.lines = self.text.split("\n")
        self.executable = os.access(os.path.join(root, path), os.X_OK)

    @property
    def folder(self):
        return os.path.dirname(self.path)

    @property
    def is_c(self):
        return self.path.endswith((".c", ".h"))

    @property
    def interpreter(self):
        first = self.lines[0]
        if not first.startswith("#!"):
            return ""
        words = first[2:].split()
        name = os.path.basename(words[-1] if words and words[0].endswith("/env") else words[0]) if words else ""
        return name

    @property
    def is_shell(self):
        return self.interpreter in ("sh", "bash") or self.path.endswith(".sh")

    @property
    def is_python(self):
        return self.interpreter.startswith("python") or self.path.endswith(".py")

    @property
    def in_floor(self):
        """The floor that the file is on, or None."""
        return self.folder if self.folder in FLOORS else None


def code_of(text, strings=False):
    """C text with comments (and, unless `strings`, the insides of literals) blanked; lines stay where they are."""

    def blank(match):
        token = match.group(0)
        if token.startswith("/"):
            return re.sub(r"[^\n]", " ", token)
        return token if strings else token[0] + token[0]

    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, text, flags=re.S)


class Tree:
    """The text files of a repository; build folders, version control and binary files are left out."""

    def __init__(self, root):
        self.root = root
        self.files = []
        for folder, folders, names in os.walk(root):
            relative = os.path.relpath(folder, root)
            if relative == ".":
                folders[:] = [f for f in folders if f != ".git" and not f.startswith("build")]
                names = [n for n in names if n != ".git"]  # of a worktree, it is a file
            folders[:] = sorted(f for f in folders if f != "__pycache__")
            for name in sorted(names):
                path = os.path.normpath(os.path.join(relative, name))
                if os.path.isfile(os.path.join(folder, name)):
                    file = File(root, path)
                    if b"\0" not in file.raw:
                        self.files.append(file)

    def c_files(self):
        return [f for f in self.files if f.is_c and f.path.split("/")[0] in SOURCE_FOLDERS]

    def floor_files(self):
        return [f for f in self.files if f.is_c and f.in_floor]


def numbered(text):
    return enumerate(text.split("\n"), 1)


def includes_of(file):
    """(line, name, is_system) of each #include."""
    for number, line in numbered(code_of(file.text, strings=True)):
        match = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
        if match:
            yield number, match.group(2), match.group(1) == "<"


def rule_floors(tree):
    """A folder includes only from itself or lower floors, and from the repository's root."""
    known = {f.path for f in tree.files}
    for file in tree.floor_files():
        rank = FLOORS.index(file.in_floor)
        for number, name, system in includes_of(file):
            if system:
                continue
            folder = os.path.dirname(name)
            if folder not in FLOORS:
                yield Finding(file.path, number, f'"{name}" is not written from the root, or is on no floor')
            elif FLOORS.index(folder) > rank:
                yield Finding(file.path, number, f"{file.in_floor} is below {folder}: it must not include {name}")
            elif name not in known and file.in_floor == folder and not name.endswith("_dsdt.h"):
                yield Finding(file.path, number, f"there is no {name}")


# Device models are deterministic machines: no clock, file, socket, signal or thread. memcpy and friends are fine.
DEVICE_SYSTEM_HEADERS = {"stdbool.h", "stddef.h", "stdint.h", "stdlib.h", "string.h", "limits.h", "inttypes.h",
                         "stdalign.h"}


def rule_device_io(tree):
    """devices/ (without devices/host/) includes no system header with which it could do I/O or read time."""
    for file in tree.floor_files():
        if file.in_floor != "devices":
            continue
        for number, name, system in includes_of(file):
            if system and name not in DEVICE_SYSTEM_HEADERS:
                yield Finding(file.path, number, f"a device model must not include <{name}>")


def rule_include_cycles(tree):
    """No header includes itself by way of others."""
    headers = {f.path: f for f in tree.c_files() if f.path.endswith(".h")}
    state, stack = {}, []

    def visit(path):
        state[path] = "open"
        stack.append(path)
        for number, name, system in includes_of(headers[path]):
            if system or name not in headers:
                continue
            if state.get(name) == "open":
                chain = stack[stack.index(name):] + [name]
                yield Finding(path, number, "include cycle: " + " -> ".join(chain))
            elif name not in state:
                yield from visit(name)
        stack.pop()
        state[path] = "done"

    for path in headers:
        if path not in state:
            yield from visit(path)


BANNED_CALLS = {
    "assert": "is gone under NDEBUG: use invariant() or a result",
    "strcpy": "knows no bound", "strcat": "knows no bound", "sprintf": "knows no bound", "vsprintf": "knows no bound",
    "gets": "knows no bound", "strncpy": "may leave no terminator: use snprintf", "alloca": "is unbounded stack",
    "atoi": "cannot report an error", "atol": "cannot report an error", "atoll": "cannot report an error",
    "atof": "cannot report an error", "strtok": "keeps hidden state",
    "system": "runs a shell", "popen": "runs a shell",
    "rand": "is nondeterminism or a bad generator", "random": "is nondeterminism or a bad generator",
}


def rule_banned_calls(tree):
    """No call of a function that this project does without."""
    pattern = re.compile(r"(?<![\w.>])(" + "|".join(BANNED_CALLS) + r")\s*\(")
    for file in tree.c_files():
        for number, line in numbered(code_of(file.text)):
            for match in pattern.finditer(line):
                yield Finding(file.path, number, f"{match.group(1)}() {BANNED_CALLS[match.group(1)]}")


PROTOTYPE = re.compile(
    r"^[ \t]{0,200}(?P<head>[A-Za-z_][\w \t\n]*[\s*]+)"
    r"(?P<name>[a-z_]\w*)\s*\((?!\s*\*)(?P<arguments>[^;{}]*)\)\s*(?P<end>[;{])", re.M)


def functions_of(file):
    """(line, head, name, end) of each prototype (end ';') and definition (end '{') at file scope."""
    code = code_of(file.text)
    code = re.sub(r"\b(?:printf_like|__attribute__)\s*\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)",
                  lambda m: re.sub(r"[^\n]", " ", m.group(0)), code)
    code = re.sub(r"^[ \t]*#(?:[^\n\\]|\\.|\\\n)*", lambda m: re.sub(r"[^\n]", " ", m.group(0)), code, flags=re.M)
    for match in PROTOTYPE.finditer(code):
        head = " ".join(match.group("head").split())
        words = re.findall(r"\w+", head)
        if not words or words[0] in ("return", "else", "typedef", "case", "goto", "do") or head.startswith("}"):
            continue
        yield code.count("\n", 0, match.start("name")) + 1, head, match.group("name"), match.group("end")


def rule_must_check(tree):
    """Every prototype, and every public definition without one, that returns `result` is declared must_check."""
    declared = set()
    for file in tree.c_files():
        if file.path.endswith(".h"):
            for number, head, name, _ in functions_of(file):
                if re.search(r"\bresult$", head):
                    declared.add(name)
                    if "must_check" not in head:
                        yield Finding(file.path, number, f"{name} returns a result, but is not must_check")
    for file in tree.c_files():
        if file.path.endswith(".c"):
            for number, head, name, end in functions_of(file):
                if not re.search(r"\bresult$", head) or "must_check" in head or name in declared:
                    continue
                if end == ";" or "static" not in head:
                    yield Finding(file.path, number, f"{name} returns a result, but is not must_check")


def rule_dropped_results(tree):
    """No statement drops the result of a static function (a public one would not compile)."""
    for file in tree.c_files():
        names = {name for _, head, name, _ in functions_of(file)
                 if re.search(r"\bresult$", head) and "must_check" not in head}
        if not names:
            continue
        pattern = re.compile(r"(?:^|[;{}])\s*(?:\(void\)\s*)?(" + "|".join(sorted(names)) + r")\s*\(", re.M)
        code = code_of(file.text)
        for match in pattern.finditer(code):
            before = code[:match.start(1)].rstrip()
            # A continued expression is no statement: `x =\n\tname(...)`.
            if before and before[-1] in ";{})" or before.endswith("else"):
                line = code.count("\n", 0, match.start(1)) + 1
                yield Finding(file.path, line, f"the result of {match.group(1)} is dropped")


def rule_length(tree):
    """A file that is too long is two modules."""
    for file in tree.c_files():
        count = file.text.count("\n")
        if count > MAX_LINES:
            yield Finding(file.path, count, f"{count} lines, more than {MAX_LINES}: split the module")


def rule_documented(tree):
    """Each paragraph of prototypes in a header has a comment before its first prototype, or behind one."""
    for file in tree.floor_files():
        if not file.path.endswith(".h"):
            continue
        reported = set()
        for number, _, name, _ in functions_of(file):
            start = number - 1
            commented = False
            while start >= 0 and file.lines[start].strip():
                if re.search(r"\*/|^\s*(/\*|//)", file.lines[start]):
                    commented = True
                start -= 1
            end = number - 1
            while end < len(file.lines) and file.lines[end].strip() and file.lines[end - 1] != "}":
                if re.search(r";\s*/\*", file.lines[end]):
                    commented = True
                end += 1
            if not commented and start not in reported:
                reported.add(start)
                yield Finding(file.path, number, f"{name}: no comment in its paragraph says what it does")


def rule_module_prefix(tree):
    """Public functions are called after their header (i8254.h has i8254_*), its singular, or a type defined there."""
    declared = {name for file in tree.floor_files() if file.path.endswith(".h")
                for _, _, name, _ in functions_of(file)}
    for file in tree.floor_files():
        stem = os.path.splitext(os.path.basename(file.path))[0]
        types = re.findall(r"^(?:struct|enum) (\w+) \{", code_of(file.text), flags=re.M)
        prefixes = tuple(word + "_" for word in [stem, stem.removesuffix("s")] + types)
        for number, head, name, _ in functions_of(file):
            if file.path.endswith(".c") and ("static" in head.split() or name in declared):
                continue
            if name != stem and not name.startswith(prefixes):
                yield Finding(file.path, number, f"{name} is public, but does not begin with {stem}_")


def rule_include_guard(tree):
    """A header's guard is TERCET_<PATH>_H."""
    for file in tree.floor_files():
        if file.path.endswith(".h"):
            guard = "TERCET_" + re.sub(r"[^A-Z0-9]", "_", file.path.upper())
            if f"#ifndef {guard}\n#define {guard}\n" not in file.text:
                yield Finding(file.path, 1, f"its include guard is not {guard}")


def rule_white_space(tree):
    """No trailing white space, one newline at the end, tabs for indentation, no line over the limit."""
    for file in tree.files:
        if file.path == "LICENSE":
            continue
        text_file = file.is_c or file.is_shell or file.is_python
        for number, line in enumerate(file.lines, 1):
            if line != line.rstrip():
                yield Finding(file.path, number, "trailing white space")
            indent = re.match(r"[ \t]*", line).group(0)
            if " \t" in indent:
                yield Finding(file.path, number, "a space before a tab")
            if file.is_c and len(indent) >= 8 and indent.startswith(" " * 8) and line.strip() != "\\":
                yield Finding(file.path, number, "indented by spaces")
            if file.is_python and "\t" in indent:
                yield Finding(file.path, number, "indented by a tab (Python is indented by spaces)")
            if text_file and len(line.expandtabs(8)) > MAX_COLUMNS:
                yield Finding(file.path, number, f"longer than {MAX_COLUMNS} columns")
        if file.raw and (not file.raw.endswith(b"\n") or file.raw.endswith(b"\n\n")):
            yield Finding(file.path, len(file.lines), "the file does not end with exactly one newline")


def rule_unfinished(tree):
    """Nothing is marked as unfinished."""
    # Put together so that this file does not find itself.
    pattern = re.compile(r"\b(" + "|".join(["TO" "DO", "FIX" "ME", "X" "XX", "HA" "CK"]) + r")\b")
    for file in tree.files:
        for number, line in enumerate(file.lines, 1):
            if pattern.search(line):
                yield Finding(file.path, number, "marked as unfinished: do it, or write an issue")


# First parts of absolute paths that mean the same on every Debian machine, or in an initramfs of ours.
KNOWN_ROOTS = {"bin", "boot", "dev", "etc", "init", "lib", "lib64", "mnt", "proc", "run", "sbin", "scripts", "sys",
               "tmp", "usr", "var", "newroot", "host", "lab", "modules", "path"}


def rule_foreign_paths(tree):
    """No absolute path of somebody's own machine."""
    pattern = re.compile(r"(?:^|[\s=(`]|(?<![\w)}])[\"'])/([A-Za-z_][\w.-]*)/[\w.$]")
    for file in tree.files:
        if file.path == "LICENSE":
            continue
        for number, line in enumerate(file.lines, 1):
            for match in pattern.finditer(line):
                if match.group(1) not in KNOWN_ROOTS:
                    yield Finding(file.path, number, f"an absolute path of some machine: /{match.group(1)}/...")


def rule_process_words(tree):
    """Texts speak of the program, not of how or by whom it was written."""
    words = ["sess" "ions?", "assist" "ants?", "chat" "bots?", "language mod" "els?", "co-auth" "ored"]
    pattern = re.compile(r"\b(" + "|".join(words) + r")\b", re.I)
    for file in tree.files:
        for number, line in enumerate(file.lines, 1):
            match = pattern.search(line)
            if match:
                yield Finding(file.path, number, f"'{match.group(0)}' does not speak of the program")


def rule_doc_links(tree):
    """A link in a Markdown file to another file of the repository leads there."""
    for file in tree.files:
        if not file.path.endswith(".md"):
            continue
        for number, line in enumerate(file.lines, 1):
            for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", line):
                full = os.path.normpath(os.path.join(tree.root, file.folder, target))
                if "://" not in target and not os.path.exists(full):
                    yield Finding(file.path, number, f"there is no {target}")


def rule_scripts(tree):
    """Scripts are free of syntax errors and can be executed."""
    for file in tree.files:
        path = os.path.join(tree.root, file.path)
        if file.is_shell:
            shell = "sh" if file.interpreter == "sh" else "bash"
            run = subprocess.run([shell, "-n", path], capture_output=True, text=True)
            if run.returncode != 0:
                yield Finding(file.path, 1, run.stderr.strip().replace(tree.root + "/", ""))
        elif file.is_python:
            try:
                ast.parse(file.text)
            except SyntaxError as error:
                yield Finding(file.path, error.lineno or 1, f"syntax error: {error.msg}")
        if file.interpreter and not file.executable and file.folder != "docs":
            yield Finding(file.path, 1, "begins with #!, but is not executable")


def rule_shellcheck(tree):
    """shellcheck has no warning about a shell script."""
    if not shutil.which("shellcheck"):
        return
    scripts = [f.path for f in tree.files if f.is_shell]
    if not scripts:
        return
    # SC1091: a sourced file is looked at as a file of its own.
    run = subprocess.run(["shellcheck", "-S", "warning", "-e", "SC1091", "-f", "gcc"] + scripts, cwd=tree.root,
                         capture_output=True, text=True)
    for line in run.stdout.splitlines():
        match = re.match(r"([^:]+):(\d+):\d+: (.*)", line)
        if match:
            yield Finding(match.group(1), int(match.group(2)), match.group(3))


RULES = {
    "floors": rule_floors,
    "device-io": rule_device_io,
    "include-cycles": rule_include_cycles,
    "banned-calls": rule_banned_calls,
    "must-check": rule_must_check,
    "dropped-results": rule_dropped_results,
    "length": rule_length,
    "documented": rule_documented,
    "module-prefix": rule_module_prefix,
    "include-guard": rule_include_guard,
    "white-space": rule_white_space,
    "unfinished": rule_unfinished,
    "foreign-paths": rule_foreign_paths,
    "process-words": rule_process_words,
    "doc-links": rule_doc_links,
    "scripts": rule_scripts,
    "shellcheck": rule_shellcheck,
}


def read_exceptions(path):
    """{(rule, path): count} of a file of lines "rule path count reason"; raises ValueError."""
    exceptions = {}
    with open(path, encoding="utf-8") as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip() or line.startswith("#"):
                continue
            fields = line.split(None, 3)
            if len(fields) != 4 or fields[0] not in RULES or not fields[2].isdigit() or int(fields[2]) == 0:
                raise ValueError(f"{path}:{number}: not 'rule path count reason': {line.strip()}")
            if (fields[0], fields[1]) in exceptions:
                raise ValueError(f"{path}:{number}: said twice")
            exceptions[fields[0], fields[1]] = int(fields[2])
    return exceptions


def apply_rule(name, tree, exceptions):
    """What is wrong by this rule, as lines of text: findings, and exceptions whose count no longer fits."""
    by_path = {}
    for finding in RULES[name](tree):
        by_path.setdefault(finding.path, []).append(finding)
    lines = []
    for path, findings in sorted(by_path.items()):
        allowed = exceptions.get((name, path), 0)
        if len(findings) != allowed:
            lines += [f"{f.path}:{f.line}: {f.text}" for f in findings]
            if allowed:
                lines.append(f"{path}: {len(findings)} findings, but tests/lint/exceptions says {allowed}")
    for (rule, path), allowed in sorted(exceptions.items()):
        if rule == name and path not in by_path:
            lines.append(f"{path}: no finding, but tests/lint/exceptions says {allowed}: take the exception out")
    return lines
