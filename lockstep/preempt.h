/*
 * Preemption: ends segments in which the guest computes without an exit. The leader's part: when it is worth while,
 * where to stop, and what followers need to find that place (hunt.h is theirs).
 */
#ifndef TERCET_LOCKSTEP_PREEMPT_H
#define TERCET_LOCKSTEP_PREEMPT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/result.h"
#include "lockstep/alarm.h"
#include "lockstep/run_meter.h"
#include "vmm/breakpoint.h"
#include "vmm/native_step.h"

struct replica;
struct source_view;

enum { PREEMPT_PLACES = 8, PREEMPT_DENSE = 64 };

struct preempt {
	bool works; /* there are breakpoints by which a stop is found again */
	struct breakpoints breakpoints;
	struct native_step *native;
	struct alarm alarm;
	uint64_t segment_begin; /* host ns */
	uint64_t metered;       /* position of the segment that `meter` is about, plus 1; 0: none */
	struct run_meter meter;
	uint64_t spent_ns;      /* by this replica, on its own preemptions */
	uint64_t cost_seen;     /* of all preemptions, when it was looked at last */
	int64_t credit;         /* ns that may be spent on preemptions */
	uint64_t credit_at;     /* host time at which that was so */
	uint64_t dense[PREEMPT_DENSE]; /* places that are no good */
	unsigned dense_next;
	uint64_t dense_since;   /* host time at which these were forgotten last */
	struct breakpoint places[PREEMPT_PLACES]; /* that were good to stop at; the last one first */
};

/* Makes ready for a machine that exists, as the configuration says. Errors: the host cannot. */
must_check result preempt_create(struct replica *replica);
void preempt_destroy(struct replica *replica);

/* A segment begins at host time `now`; to be called by whoever leads. */
void preempt_enter(struct replica *replica, uint64_t now);

/* The leader was taken out of its guest inside a segment, where `view` is what it tells its source. If the segment is
 * over now, by a stop that was booked and written down or by an exit that the guest came to meanwhile, `*ended` is true
 * and the exit is at hand. */
must_check result preempt_kicked(struct replica *replica, const struct source_view *view, bool *ended);

#endif
