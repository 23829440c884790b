"""Linux guests that work with disks and a network: what they write is on the image, whoever dies meanwhile.

`check` is tests/lab/check-guests, whose `Run` and expectations these cases use.
"""
import ctypes
import hashlib
import os
import random
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import threading
import time

import recovery

INITRD = "build/initramfs-devices.cpio"
QUIET = "quiet loglevel=1 randomize_kstack_offset=off"
# Of guest-tools/initramfs/scripts/traffic.
PEER, DOWNLOADS, UPLOADS = "10.9.0.1", 9001, 9002
CLONE_NEWNET = 0x40000000  # sched.h

# The hash of the first image of each size that was written, which all others are compared with.
first_images = {}


def hash_of(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while data := file.read(1 << 20):
            digest.update(data)
    return digest.hexdigest()


def kernel():
    return "build/kernels/cloud-amd64/vmlinux"


def sound_end(check, run, faults=()):
    """Power-off, with these kinds of faults and no others, and all memories alike."""
    check.expect(run.status == 0 and run.stats["end"] == "power_off", f"status {run.status}, end {run.stats['end']}")
    check.expect(run.stats["ram_check"]["differing"] == 0, f"memory: {run.stats['ram_check']}")
    check.expect(all(fault["kind"] in faults for fault in run.stats["faults"]), f"faults: {run.stats['faults']}")
    check.expect(run.stats["retired"] == [], f"retired: {run.stats['retired']}")


def case_copy(check, name, replicas, mebibytes):
    """dd from one disk to another and sha256sum of what was written; the image is that of any number of replicas."""
    source, image = f"{check.IMAGES}/{name}.source", f"{check.IMAGES}/{name}.img"
    other = f"{check.LOGS}/{name}/virtio-console.log"
    chance = random.Random(mebibytes)
    # By the MiB: random takes no number of bits that does not fit into a C int.
    data = b"".join(chance.randbytes(1 << 20) for _ in range(mebibytes))
    os.makedirs(check.IMAGES, exist_ok=True)
    with open(source, "wb") as file:
        file.write(data)
    with open(image, "wb") as file:
        file.truncate(mebibytes << 20)
    run = check.Run(name, kernel(), replicas, f"{QUIET} tercet.script=copy",
                    limit=2 * check.LIMIT + 20 * mebibytes, initrd=INITRD,
                    options=["--disk", image, "--disk", f"{source},readonly", "--virtio-console", f"file:{other}"])
    try:
        console = run.finish()
    finally:
        run.close()
    sound_end(check, run)
    wanted = hashlib.sha256(data).hexdigest()
    check.expect(f"copied {mebibytes}+0\n" in console, f"the console ends: {console[-300:]!r}")
    check.expect(f"sha256 {wanted}\n" in console, f"the guest reads other data than {wanted}: {console[-300:]!r}")
    with open(other, encoding="utf-8") as file:
        said = check.text_of(file.read().encode())
    check.expect(said == f"sha256 {wanted}\n", f"on the virtio console stands {said!r}")
    got = hash_of(image)
    check.expect(got == wanted, f"{image} has the hash {got}, not {wanted}")
    first_name, first = first_images.setdefault(mebibytes, (name, got))
    check.expect(got == first, f"{image} is not that of {first_name}")
    disk = run.stats["devices"][0]
    check.expect(disk["bytes_written"] >= mebibytes << 20 and disk["failures"] == 0, f"the disk: {disk}")
    os.remove(source)
    os.remove(image)


# --- the death of everything ---

def check_database(check, image, committed):
    """What is in a database after a cut, as whoever starts the guest again would find it; gives its last entry. The
    image itself is left as it is, for the guest's kernel to mend."""
    copy = f"{image}.copy"
    subprocess.run(["cp", "--sparse=always", image, copy], check=True, timeout=check.LIMIT)
    image = copy
    tool = subprocess.run(["/sbin/e2fsck", "-f", "-p", image], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=check.LIMIT, check=False)
    # e2fsck(8): 1 says that it mended something, as the journal's replay does.
    check.expect(tool.returncode in (0, 1), f"e2fsck -p (status {tool.returncode}): {tool.stdout[-500:]!r}")
    check.file_system_is_sound(image)
    folder = f"{image}.files"
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    # With its journal: what belongs to no committed transaction is undone when it is opened.
    for file in "database", "database-journal":
        subprocess.run(["/sbin/debugfs", "-R", f"dump {file} {folder}/{file}", image], stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, timeout=check.LIMIT, check=True)
    database = sqlite3.connect(f"{folder}/database")
    try:
        said = database.execute("PRAGMA integrity_check").fetchall()
        check.expect(said == [("ok",)], f"integrity_check says {said[:5]}")
        rows = database.execute("SELECT n, part, words FROM entries ORDER BY n, part").fetchall()
    finally:
        database.close()
    last = rows[-1][0] if rows else 0
    wanted = [(n, part, f"transaction {n}, part {part}") for n in range(1, last + 1) for part in (1, 2, 3)]
    check.expect(rows == wanted, f"{len(rows)} rows that are not those of transactions 1 to {last}")
    check.expect(last >= committed, f"transaction {committed} was told to be committed; the last one is {last}")
    shutil.rmtree(folder)
    os.remove(copy)
    return last


def empty_file_system(check, image):
    os.makedirs(check.IMAGES, exist_ok=True)
    with open(image, "wb") as file:
        file.truncate(16 << 20)
    subprocess.run(["/sbin/mke2fs", "-q", "-t", "ext4", image], check=True, timeout=check.LIMIT)


def committed_lines(console):
    return [int(word) for word in re.findall(r"^committed (\d+)$", console, re.MULTILINE)]


def kill_all(run):
    """SIGKILL for the supervisor and whatever it started, at once."""
    found = subprocess.run(["pgrep", "-P", str(run.process.pid)], capture_output=True, text=True, check=False)
    for pid in [run.process.pid, *map(int, found.stdout.split())]:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    run.process.wait()


def case_power_cut(check, name, cuts, seed):
    """Everything is killed at a random moment of a journalling workload, again and again on the same image."""
    image = f"{check.IMAGES}/{name}.img"
    empty_file_system(check, image)
    chance = random.Random(seed)
    last = 0
    for cut in range(cuts):
        replicas = (3, 1)[cut % 2]
        # What is written is voted on at once, whatever the interval is; without more votes it boots sooner.
        run = check.Run(f"{name}.{cut}", kernel(), replicas, f"{QUIET} tercet.script=commits",
                        limit=2 * check.LIMIT, initrd=INITRD, options=["--disk", image, "--vote-interval", "2s"])
        try:
            run.wait_for(f"commits: begin behind {last}\n", 0)
            run.wait_for(f"committed {last + 1}\n", 0)
            run.read_for(chance.uniform(0, 8))
            kill_all(run)
            # What was told before it died may still be in the pipe.
            while run.read_some("the end of the console"):
                pass
            told = committed_lines(check.text_of(run.output))
        finally:
            run.close()
        check.expect(told == list(range(last + 1, told[-1] + 1)), f"these were told to be committed: {told}")
        last = check_database(check, image, told[-1])
        print(f"     cut {cut + 1}: {replicas} replicas, {len(told)} commits told, the last one is {last}", flush=True)
    run = check.Run(f"{name}.end", kernel(), 3, f"{QUIET} tercet.script=commits tercet.commits=3",
                    limit=2 * check.LIMIT, initrd=INITRD, options=["--disk", image])
    try:
        console = run.finish()
    finally:
        run.close()
    sound_end(check, run)
    check.expect("commits: end" in console, f"the console ends: {console[-300:]!r}")
    check_database(check, image, last + 3)
    os.remove(image)


# --- kills under load ---

class Peer:
    """The other side of the guest's network: a network namespace with a tap, in which two ports answer."""

    def __init__(self, name, size):
        self.name = name
        self.size = size
        self.sent, self.received = [], []  # hashes, transfer by transfer
        self.wrong = ""
        self.closing = False
        self.listeners = []
        self.command(["ip", "netns", "add", name])
        inside = ["ip", "-n", name]
        self.command([*inside, "link", "set", "lo", "up"])
        self.command([*inside, "tuntap", "add", "dev", "tap0", "mode", "tap"])
        self.command([*inside, "addr", "add", f"{PEER}/24", "dev", "tap0"])
        self.command([*inside, "link", "set", "tap0", "up"])
        self.threads = [threading.Thread(target=self.serve, args=arguments, daemon=True)
                        for arguments in ((DOWNLOADS, self.send), (UPLOADS, self.receive))]
        for thread in self.threads:
            thread.start()

    @staticmethod
    def command(words):
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False)
        if done.returncode != 0:
            raise OSError(f"{' '.join(words)}: {done.stdout.decode(errors='replace').strip()}")

    def data(self, number):
        return random.Random(number).randbytes(self.size)

    def serve(self, port, answer):
        try:
            # A thread's own affair (setns(2)).
            libc = ctypes.CDLL(None, use_errno=True)
            with open(f"/run/netns/{self.name}", "rb") as space:
                if libc.setns(space.fileno(), CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
            listener = socket.create_server((PEER, port))
            self.listeners.append(listener)
            while True:
                connection = listener.accept()[0]
                with connection:
                    answer(connection)
        except OSError as error:
            if not self.closing:
                self.wrong = f"port {port}: {error}"

    def send(self, connection):
        data = self.data(len(self.sent))
        connection.sendall(data)
        self.sent.append(hashlib.sha256(data).hexdigest())

    def receive(self, connection):
        digest = hashlib.sha256()
        while data := connection.recv(65536):
            digest.update(data)
        self.received.append(digest.hexdigest())
        connection.sendall(digest.hexdigest().encode())

    def close(self):
        self.closing = True
        for listener in self.listeners:
            listener.close()
        subprocess.run(["ip", "netns", "del", self.name], check=False)


def kill_leaders(check, run, monitor, kills):
    """Kills the leader, again and again, each time when all replicas are live."""
    victims = set()
    for kill in range(kills):
        begin = time.monotonic()
        state = recovery.wait_until_well(monitor, check.LIMIT, lambda state: not victims & {
            replica["pid"] for replica in state["replica"]})
        run.read_for(random.uniform(0, 3))
        leader = next(replica for replica in state["replica"] if replica["role"] == "leader")
        victims.add(leader["pid"])
        os.kill(leader["pid"], signal.SIGKILL)
        print(f"     kill {kill + 1}: replica {leader['index']}, after {time.monotonic() - begin:.0f} s", flush=True)
    recovery.wait_until_well(monitor, check.LIMIT, lambda state: not victims & {
        replica["pid"] for replica in state["replica"]})


def case_traffic(check, name, kills, size):
    """Leaders die while the guest copies from the network to its disk and back."""
    image, monitor = f"{check.IMAGES}/{name}.img", f"/tmp/tercet-{os.getpid()}.sock"
    os.makedirs(check.IMAGES, exist_ok=True)
    with open(image, "wb") as file:
        file.truncate(size)
    peer = Peer(f"tercet-{os.getpid()}", size)
    try:
        run = check.Run(name, kernel(), 3, f"{QUIET} tercet.script=traffic", limit=4 * check.LIMIT + 120 * kills,
                        initrd=INITRD, before=["ip", "netns", "exec", peer.name],
                        options=["--disk", image, "--net", "tap=tap0", "--monitor", monitor, "--core-faults", "0"])
        try:
            run.wait_for("traffic: begin", 0)
            kill_leaders(check, run, monitor, kills)
            run.type("enough")
            console = run.finish()
        except recovery.Stuck as error:
            raise check.Wrong(str(error)) from error
        finally:
            run.close()
    finally:
        peer.close()
    check.expect(peer.wrong == "", f"the other side of the network: {peer.wrong}")
    sound_end(check, run, ("died",))
    check.expect(len(run.stats["faults"]) == kills and run.stats["failovers"] == kills,
                 f"{kills} leaders were killed; failovers: {run.stats['failovers']}, faults: {run.stats['faults']}")
    rounds = re.findall(r"^round (\d+): disk (\w*)\nround \1: sent (\w*)$", console, re.MULTILINE)
    check.expect("traffic: end" in console and rounds != [], f"the console ends: {console[-300:]!r}")
    wanted = [(str(n + 1), digest, digest) for n, digest in enumerate(peer.sent)]
    check.expect(rounds == wanted, f"rounds: {rounds}, not {wanted}")
    check.expect(peer.received == peer.sent, f"came back: {peer.received}, not {peer.sent}")
    check.expect(hash_of(image) == peer.sent[-1], f"{image} has not what was sent last")
    os.remove(image)


def quick_cases(check):
    return [("copy-1", lambda name: case_copy(check, name, 1, 8))]


def long_cases(check):
    cases = [(f"copy-{replicas}", lambda name, n=replicas: case_copy(check, name, n, 256)) for replicas in (1, 2, 3)]
    # A few first: they take minutes, and say early what is wrong.
    for rounds in 3, 100:
        cases.append((f"power-cut-{rounds}", lambda name, n=rounds: case_power_cut(check, name, n, time.time_ns())))
        cases.append((f"traffic-{rounds}", lambda name, n=rounds: case_traffic(check, name, n, 1 << 20)))
    return cases
