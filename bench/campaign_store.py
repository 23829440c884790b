"""What a campaign keeps in its folder: parameters, golden runs, and one line of CSV for each injection."""
import csv
import fcntl
import hashlib
import io
import json
import os
import shutil
import time
from dataclasses import asdict, dataclass, fields

FSYNC_SECONDS = 5


class StoreError(Exception):
    """A folder that does not fit this campaign."""


@dataclass(frozen=True)
class Row:
    """One injection; None where something is not known. `name` is the class of the target."""
    run: int
    replicas: int
    guest: str
    name: str
    replica: int
    position: int
    target: str
    seed: int
    outcome: str
    why: str
    status: object
    end: str
    console_bytes: int
    console_sha256: str
    wall_ms: int
    kind: object
    method: object
    detect_ns: object
    repair_ns: object
    pages: object

    @property
    def spec(self):
        return f"{self.replica}:{self.target}@{self.position}"


COLUMNS = [field.name for field in fields(Row)]
NUMBERS = {"run", "replicas", "replica", "position", "seed", "status", "console_bytes", "wall_ms", "detect_ns",
           "repair_ns", "pages"}
OPTIONAL = {"status", "kind", "method", "detect_ns", "repair_ns", "pages"}


def row_of(run, replicas, guest, sample, injected):
    ended, story = injected.ended, injected.story
    end = ended.stats.get("end") if ended.stats else None
    return Row(run, replicas, guest, sample.name, sample.replica, sample.position, sample.target, sample.seed,
               injected.outcome, injected.why, ended.status, end if isinstance(end, str) else "", len(ended.console),
               hashlib.sha256(ended.console).hexdigest()[:16], round(ended.wall * 1000), story["kind"],
               story["method"], story["detect_ns"], story["repair_ns"], story["pages"])


def line_of(values):
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow("" if v is None else str(v).replace("\n", " ") for v in values)
    return text.getvalue()


def parse_row(words):
    """Errors: ValueError."""
    if len(words) != len(COLUMNS):
        raise ValueError(f"{len(words)} columns, not {len(COLUMNS)}")
    values = {}
    for name, word in zip(COLUMNS, words):
        if word == "" and name in OPTIONAL:
            values[name] = None
        else:
            values[name] = int(word) if name in NUMBERS else word
    return Row(**values)


def differences(old, new, path=""):
    """Names of the members in which two JSON objects differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        found = []
        for name in sorted(set(old) | set(new)):
            found += differences(old.get(name), new.get(name), f"{path}.{name}" if path else name)
        return found
    return [] if old == new else [path]


class Store:
    """The folder of one campaign, open for one process at a time."""

    def __init__(self, folder, fresh=False):
        self.folder = folder
        self.csv = None
        self.synced = time.monotonic()
        os.makedirs(folder, exist_ok=True)
        self.lock = open(f"{folder}/lock", "w", encoding="utf-8")
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StoreError(f"{folder}: another campaign of this name is running") from error
        if fresh:
            for name in os.listdir(folder):
                path = f"{folder}/{name}"
                if os.path.isdir(path) and not os.path.islink(path):
                    shutil.rmtree(path)
                elif name != "lock":
                    os.remove(path)

    def read_json(self, name):
        try:
            with open(f"{self.folder}/{name}", encoding="utf-8") as file:
                return json.load(file)
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise StoreError(f"{self.folder}/{name} is damaged ({error}); --fresh starts over") from error

    def write_file(self, name, text):
        """The whole file or none of it."""
        path = f"{self.folder}/{name}"
        with open(path + ".new", "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(path + ".new", path)

    def write_json(self, name, value):
        self.write_file(name, json.dumps(value, indent=1, sort_keys=True) + "\n")

    def check_parameters(self, parameters):
        """Writes the parameters where there are none. Errors: StoreError if the folder's are others."""
        parameters = json.loads(json.dumps(parameters))
        old = self.read_json("parameters.json")
        if old is None:
            self.write_json("parameters.json", parameters)
            return
        found = differences(old, parameters)
        if found:
            raise StoreError(f"{self.folder} is a campaign with another {', '.join(found)}: choose another --name, or "
                             "start over with --fresh")

    def load(self):
        """The rows that are there. A last line that was cut off is taken away."""
        path = f"{self.folder}/runs.csv"
        try:
            with open(path, "rb") as file:
                data = file.read()
        except FileNotFoundError:
            return []
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            os.truncate(path, whole)
        lines = list(csv.reader(io.StringIO(data[:whole].decode("utf-8", "replace"))))
        rows = {}
        for number, words in enumerate(lines, 1):
            try:
                if number == 1:
                    if words != COLUMNS:
                        raise ValueError("other columns")
                    continue
                row = parse_row(words)
                if row.run in rows:
                    raise ValueError(f"run {row.run} is there twice")
                rows[row.run] = row
            except ValueError as error:
                raise StoreError(f"{path}:{number}: {error}; --fresh starts over") from error
        return [rows[run] for run in sorted(rows)]

    def append(self, row):
        if self.csv is None:
            self.csv = open(f"{self.folder}/runs.csv", "a", encoding="utf-8")
            if self.csv.tell() == 0:
                self.csv.write(line_of(COLUMNS))
        self.csv.write(line_of(asdict(row).values()))
        self.csv.flush()
        if time.monotonic() - self.synced > FSYNC_SECONDS:
            os.fsync(self.csv.fileno())
            self.synced = time.monotonic()

    def close(self):
        if self.csv is not None:
            self.csv.flush()
            os.fsync(self.csv.fileno())
            self.csv.close()
            self.csv = None
        self.lock.close()
