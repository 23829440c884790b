/*
 * A hunt on its way (hunt.h): what hunt.c and hunt_near.c share.
 */
#ifndef TERCET_LOCKSTEP_HUNT_STATE_H
#define TERCET_LOCKSTEP_HUNT_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "lockstep/aim.h"
#include "lockstep/hunt.h"
#include "lockstep/near_miss.h"
#include "lockstep/replica_state.h"
#include "lockstep/run_meter.h"
#include "vmm/machine_stop.h"

struct hunt {
	struct replica *replica;
	const struct stop_point *stop;
	struct run_meter meter; /* of all the time since the segment began */
	uint64_t guest_ns;      /* of it, inside the guest, at least */
	uint64_t step_ns;       /* what it takes to get past the place, at least; to come out at it takes as long */
	uint64_t passing_ns;    /* what it took to go from visit to visit, */
	uint64_t passed;        /* so many times */
	uint64_t blind_ns;      /* what it ran without looking */
	uint64_t visits;
	uint64_t trial_at;  /* visits */
	uint64_t trial_gap; /* likewise */
	uint64_t executed;  /* instructions in place */
	uint64_t passes;    /* of the stop's instruction, there */
	uint64_t looped;    /* of those executed, in loops that are one piece of code */
	uint64_t ps_each;   /* what one took of late, in picoseconds */
	struct aim aim;     /* registers on the way in place, by instructions */
	bool in_place;      /* that was cheaper somewhere */
	bool aside;         /* in place it cannot go on: the vCPU must, and nobody knows where that leads */
	bool at_once;       /* in place it stands where it was not compared yet */
	uint64_t lead_at;   /* instructions in place, behind which registers are asked for the way, if ever */
	struct near_miss near;
	bool over;
	enum hunt_end end;
};

/* The replica's. */
static inline struct breakpoints *hunt_breakpoints(const struct hunt *hunt)
{
	return &hunt->replica->preempt.breakpoints;
}

/* Likewise. */
static inline struct pace *hunt_pace(const struct hunt *hunt)
{
	return &hunt->replica->preempt.pace;
}

/* The registers that may lead. The leader has seen all of the way, a follower only where it is; but where the leader
 * found none, some may still lead at the stop's place. */
static inline uint32_t hunt_leads(const struct hunt *hunt)
{
	return hunt->stop->leads != 0 ? (uint32_t)hunt->stop->leads : UINT32_MAX;
}

/* It is over, and how. */
void hunt_finish(struct hunt *hunt, enum hunt_end end);

/* The guest runs for `span` ns without breakpoints; what alarms are late is learned. */
must_check result hunt_run_blind(struct hunt *hunt, uint64_t span);

/* Plants the breakpoint, as soon as the stop's code stands there. */
must_check result hunt_plant(struct hunt *hunt);

/* Runs to the next breakpoint, exit or signal. */
must_check result hunt_run_on(struct hunt *hunt, enum machine_stop *stop);

/* From a visit at which breakpoints were lifted goes as near to the stop as registers lead, if they do. */
must_check result hunt_come_near(struct hunt *hunt);

#endif
