/*
 * On which of the host's cores replicas run, and which core is left because it loses votes.
 *
 * A *core* is a logical CPU by the host's numbers. Threads of one physical core share what may be defective, so two
 * replicas are put on one physical core only where there is no other. Where there are enough cores each replica has
 * its own; else they take turns (lockstep/turns.h) on the cores that have not been left, or the scheduler decides.
 *
 * Everything but cores_open and cores_apply depends on nothing but what it is given.
 */
#ifndef TERCET_LOCKSTEP_CORES_H
#define TERCET_LOCKSTEP_CORES_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/futex.h"
#include "base/result.h"
#include "lockstep/vote.h"

enum {
	CORES_MAX = 8192,      /* numbers of cores are below it: NR_CPUS of Linux on x86 is no greater */
	CORES_LIST_MAX = 256,  /* cores in a list */
	CORES_FAULTS_MAX = 1000,
	CORES_FAULTS_DEFAULT = 3,
};

/* Faults count together for an hour. */
#define CORES_WINDOW_NS (3600 * NS_PER_S)

enum cores_mode {
	CORES_AUTO, /* each replica has its own core if there are enough of them; else they take turns */
	CORES_NONE, /* the host's scheduler decides */
	CORES_LIST, /* the first replica on the first core of a list, and so on; the others are spare */
};

/* What the user wants. */
struct cores_policy {
	enum cores_mode mode;
	unsigned threshold; /* faults within CORES_WINDOW_NS after which a core is left; 0: never */
	unsigned count;
	uint16_t list[CORES_LIST_MAX];
};

/* The policy of a user who says nothing. */
#define CORES_POLICY_DEFAULT ((struct cores_policy){ .mode = CORES_AUTO, .threshold = CORES_FAULTS_DEFAULT })

/* One core of the host that this process may use. */
struct cores_place {
	uint16_t number;
	uint16_t physical; /* the lowest number among the threads of its physical core */
};

struct cores_state {
	struct cores_place place;
	bool left;
	uint64_t faults; /* since the start */
};

struct cores {
	struct cores_policy policy;
	unsigned replicas;
	unsigned count;
	struct cores_state *core;  /* those that may be used, in the order in which they are preferred */
	uint64_t *fault_at;        /* ns: `threshold` of them for each core, a ring */
	bool pinned;               /* each replica has its own core */
	int of[VOTE_REPLICAS_MAX]; /* index into `core`, or -1 */
};

/* Reads --pin's value: "auto", "none" or a list such as "0,2,4-6"; the threshold stays as it is.
 * Errors: STATUS_USAGE, with what would be right. */
must_check result cores_parse(const char *text, struct cores_policy *policy);

/* Reads --core-faults' value: a number up to CORES_FAULTS_MAX, 0 for never. Errors: STATUS_USAGE. */
must_check result cores_parse_faults(const char *text, struct cores_policy *policy);

/* Gives `replicas` replicas their cores, among those that this process may use (sched_getaffinity(2)).
 * Errors: STATUS_USAGE a list that has too few cores, or one that may not be used; STATUS_HOST cores cannot be read. */
must_check result cores_open(struct cores *cores, const struct cores_policy *policy, unsigned replicas);

/* The same, on a host with these cores (at least one; the first are preferred). */
must_check result cores_open_on(struct cores *cores, const struct cores_policy *policy, unsigned replicas,
				const struct cores_place *places, unsigned count);
void cores_close(struct cores *cores);

/* How many replicas share a core, rounded up: 1 where there is one for each. */
unsigned cores_crowding(const struct cores *cores);

/* How many cores all replicas share, moved by us: 0 where each replica has its own, or the scheduler decides. */
unsigned cores_shared(const struct cores *cores);

/* The core to which a replica is pinned, or -1: it has none for itself. */
int cores_of(const struct cores *cores, unsigned replica);

/* Lets a replica's process run where it should (sched_setaffinity(2)): its first thread, and what that starts later.
 * To be called for each new process, and for all of them when a core has been left. Errors: STATUS_FAILED the
 * process is gone, or the core is. */
must_check result cores_apply(const struct cores *cores, unsigned replica, pid_t pid);

/* Moves a process to the `index`th of the shared cores, and keeps it there. Errors: STATUS_FAILED likewise. */
must_check result cores_seat(const struct cores *cores, unsigned index, pid_t pid);

/* Lets it run on all of them again. Errors: likewise. */
must_check result cores_unseat(const struct cores *cores, pid_t pid);

/* Books a lost vote to the core on which the replica ran; any number that is no core of
 * ours is ignored. True if the core is left now: then replicas have other cores. The last core is never left. */
bool cores_book_fault(struct cores *cores, int core, uint64_t now_ns);

/* For status and statistics, a new object (NULL without memory):
 *   {"pin": "auto", "pinned": true, "core_faults": 3, "replica": [0, 1, null], "left": [2],
 *    "faults": [{"core": 2, "faults": 3}]} */
json_t *cores_json(const struct cores *cores);

#endif
