/*
 * Preemption: ends segments in which the guest computes without an exit. The leader's part: when it is worth while,
 * where to stop, and what followers need to find that place (hunt.h is theirs).
 */
#ifndef TERCET_LOCKSTEP_PREEMPT_H
#define TERCET_LOCKSTEP_PREEMPT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/result.h"
#include "lockstep/aim.h"
#include "lockstep/alarm.h"
#include "lockstep/budget.h"
#include "lockstep/in_place.h"
#include "lockstep/pace.h"
#include "lockstep/places.h"
#include "lockstep/spin.h"
#include "vmm/breakpoint.h"
#include "vmm/native_step.h"

struct replica;
struct source_view;

struct preempt {
	bool works;    /* there are breakpoints by which a stop is found again */
	bool patches;  /* breakpoints are bytes in a kernel's code */
	bool programs; /* the guest has begun to run them, or nobody cares */
	struct breakpoints breakpoints;
	struct native_step *native;
	struct alarm alarm;
	uint64_t segment_begin; /* host ns */
	uint64_t metered;       /* position of the segment that `meter` is about, plus 1; 0: none */
	uint64_t charted;       /* and that of the one in which a good place was found, likewise, */
	uint64_t charted_way;   /* which is good up to this way, in ns */
	uint64_t ran;           /* ns in that segment, since it was first seen to be long; no more than it was */
	uint64_t before;        /* ns in it before that, at most; */
	uint64_t begin_cpu;     /* the thread's time then */
	uint64_t entered_cpu;   /* the thread's time, */
	uint64_t entered_at;    /* and the host's, when the guest went on last */
	struct aim aim;         /* registers when it was taken out in that segment, the last times */
	struct aim_way way;     /* and all the time */
	struct spin spin;       /* and whether it spins there */
	uint64_t rip;           /* where it was the last time */
	uint64_t spent_ns;      /* by this replica, on its own preemptions */
	struct budget budget;
	uint64_t stop_position; /* of the last stop: where followers come out of it; */
	uint64_t stop_way;      /* ns from its segment's beginning, at most; 0: what it cost is booked */
	uint64_t stopped_at;    /* host ns */
	uint64_t stop_cost;     /* what all had cost before, ns */
	bool stop_in_place;     /* it is found in place, without a register that leads there */
	uint64_t stop_rip;      /* where it is, */
	struct aim stops;       /* and registers there, at it and at those right before it */
	uint32_t price;         /* of a stop, in thousandths of its way, */
	struct in_place prices; /* and of one that is found in place */
	struct places places;
	struct pace pace; /* of this replica as a follower */
};

/* On a processor a trial takes 2 ms of its time, on one that is emulated 50: from here on stops are dear. */
#define PREEMPT_DEAR_NS (15 * NS_PER_MS)
/* A choice that is still to be made. */
enum { PREEMPT_UNTRIED = 0 };

/* Tries how guests that need the trap shim, or those that do not, can be preempted here, on a guest of its own:
 * `*choice` is the way that works, for a replica's configuration. `*cost_ns` of the processor's time that took, which
 * tells how dear stops are. Errors: why none works. */
must_check result preempt_choose(bool has_shim, uint32_t *choice, uint64_t *cost_ns);

/* Makes ready for a machine that exists, as the configuration says. Errors: the host cannot. */
must_check result preempt_create(struct replica *replica);
void preempt_destroy(struct replica *replica);

/* The guest boots, whatever ran before. */
void preempt_boot(struct preempt *preempt);

/* This replica leads from here on: what others have spent until now is not its debt. */
void preempt_lead(struct replica *replica);

/* A segment begins at host time `now`; to be called by whoever leads. */
void preempt_enter(struct replica *replica, uint64_t now);

/* The guest goes on until the alarm goes off at host time `at`; what it has run since then, in ns, at least. */
void preempt_go_until(struct preempt *preempt, uint64_t at);
uint64_t preempt_ran_since(const struct preempt *preempt);

/* Whether there is a register that moves steadily, on the way as a whole and from one look to the next. */
bool preempt_shows_the_way(const struct preempt *preempt);

/* The leader was taken out of its guest inside a segment, where `view` is what it tells its source. If the segment is
 * over now, by a stop that was booked and written down or by an exit that the guest came to meanwhile, `*ended` is true
 * and the exit is at hand. */
must_check result preempt_kicked(struct replica *replica, const struct source_view *view, bool *ended);

#endif
