/*
 * Replicas that share cores take turns: where a core has nothing to do, one of those that share another one moves
 * there, and while every core has work without the leader, the leader, which nobody waits for, rests.
 *
 * The host's scheduler would do the first by and by, but replicas wait for each other at each vote: until it has
 * looked around, a core has stood still for milliseconds. For the second it cannot know who is waited for. Where votes
 * are further apart it does well by itself, and better, since it sees waits of which nobody tells the supervisor.
 */
#ifndef TERCET_LOCKSTEP_TURNS_H
#define TERCET_LOCKSTEP_TURNS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lockstep/vote.h"

enum { TURNS_CORES_MAX = VOTE_REPLICAS_MAX - 1 };

/* For so long nobody needs to ring before the scheduler is trusted, and for so many votes in quick succession it is. */
enum { TURNS_WAIT_MS = 25, TURNS_VOTES = 4 };

/* Zero at first: nobody has a seat. */
struct turns {
	struct turns_seat {
		pid_t pid;     /* of the process that was put there; 0: none was */
		unsigned core; /* below the number of cores */
	} seat[VOTE_REPLICAS_MAX];
	uint64_t verdicts; /* when votes were last far apart */
};

/* Who has something to do. Pure data. */
struct turns_view {
	unsigned cores;    /* 1 to TURNS_CORES_MAX */
	unsigned replicas;
	unsigned leader;
	uint32_t runs;     /* bit i: replica i has something to do, or will have in a moment */
	bool ahead;        /* the leader is so far ahead that followers will not wait for it soon */
};

/* Whether every core has work without the leader. Pure. */
bool turns_busy(const struct turns_view *view);

/* The next move: `*replica` is to be on `*core`; those of `seat` without a process have none yet, and the caller
 * notes the new seat. False: everybody who runs has a seat, and no core is idle, or has two less than another. Where
 * the leader shares a core, it moves itself if it is ahead; else it is left alone. Pure. */
bool turns_next(const struct turns *turns, const struct turns_view *view, unsigned *replica, unsigned *core);

struct supervisor;

/* Looks who waits, and says on the supervisor's page whether the leader may be far ahead: nobody rests where each
 * replica has a core of its own, there is but one core, users want the scheduler to decide, or replicas meet at each
 * exit. To be called before a verdict is told. */
void turns_tell(struct supervisor *supervisor);

/* Moves replicas (sched_setaffinity(2)), and tells, likewise. To be called behind the votes, whenever a replica
 * rang. */
void turns_take(struct supervisor *supervisor);

/* For how long to wait for events, in ms, before turns_free is called; -1: for ever. */
int turns_wait(const struct supervisor *supervisor);

/* Nobody rang for so long: lets everybody run wherever there is room. */
void turns_free(struct supervisor *supervisor);

/* Everybody is where cores_apply put them: seats are given anew. */
void turns_forget(struct supervisor *supervisor);

#endif
