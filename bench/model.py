"""Predicts from where the time of one run went what the same would take on another number of cores.

A replica's time is made of what it computes itself (WORK), what it waits for in the guest's own time (HALT), and
what it waits for others (WAITS). The first two are its own on any host; the third is what is predicted.

Assumptions, each of which makes the prediction too good where it does not hold:
- Work takes as long beside others as alone: caches and memory bandwidth are not shared to their limits, and a replica
  was never without a core in the run that is looked at (fewer replicas than cores there, or one alone).
- Followers do the leader's work again, and at the same speed; the slowest one ends the run.
- With as many cores as replicas, nobody waits but for the last ballot of a vote: each vote costs a follower the time
  from its ballot to the verdict, which is the supervisor's work for a vote. The leader does not wait.
- With fewer cores, the work of all replicas is spread over them without loss.
- The supervisor runs where a core is free; with fewer cores than replicas and itself its time is spread, too.
"""
WORK = ("guest", "exit", "tape", "ballot", "dirty_log", "hash", "checkpoint", "repair")
ONCE = ("startup", "end")
WAITS = ("wait_leader", "wait_verdict", "wait_room", "rendezvous")
HALT = ("halt",)


def part(stages, names):
    """Seconds of some of a replica's stages."""
    return sum(stages.get(name, 0) for name in names) / 1e9


def predict(statistics, cores):
    """Seconds that the run of this statistics file would take with so many cores."""
    replicas = statistics["replica"]
    count = len(replicas)
    work = [part(r["stages"], WORK) for r in replicas]
    leader = next((r for r in replicas if r["role"] == "leader"), replicas[0])
    once = part(leader["stages"], ONCE)
    halted = part(leader["stages"], HALT)
    votes = statistics["votes"]["total"]
    supervisor = sum(statistics["supervisor"].get(name, 0) for name in ("judge", "commit")) / 1e9
    if cores >= count:
        verdicts = supervisor if count > 1 and votes > 0 else 0.0
        return once + max(work) + halted + verdicts
    return once + max(max(work), (sum(work) + supervisor) / cores) + halted


def overhead(one, many, cores):
    """The predicted ratio of a run of many replicas to a run of one of the same guest."""
    return predict(many, cores) / predict(one, cores)


def explained(statistics):
    """Which part of each replica's life its stages account for: 1 is all of it."""
    return [sum(r["stages"].values()) / statistics["life_ns"] for r in statistics["replica"]]
