/*
 * Pace: how much of a leader's way a follower may run without looking. Run time is a measure where processors are calm
 * and busy with nothing else; where the host is itself a guest, or an emulator that runs one virtual processor at a
 * time, two replicas need times that differ several times over for the same way. So nothing is taken for granted: at
 * first every visit is looked at, which tells how long the way was by the follower's own time, and what the shortest of
 * those was makes the part that is run without looking. Pure: all times are given.
 */
#ifndef TERCET_LOCKSTEP_PACE_H
#define TERCET_LOCKSTEP_PACE_H

#include <stdint.h>

enum {
	PACE_HUNTS = 64,       /* what is remembered */
	PACE_HUNTS_MIN = 16,   /* hunts after which it counts; as many again after each overshoot, twice as many, ... */
	PACE_HUNTS_MOST = 512, /* up to this */
};

struct pace {
	uint32_t ratios[PACE_HUNTS]; /* a follower's own way, in thousandths of its leader's; the last ones */
	uint32_t found;              /* in a row, since the last overshoot */
	uint32_t needed;             /* before any of it counts */
	uint32_t part;               /* see pace_part */
	uint64_t late_ns;            /* by which alarms come late, at most, of late */
};

/* Nothing is known yet. */
void pace_begin(struct pace *pace);

/* A stop was found: `own_ns` is the follower's time to it, `leader_ns` the leader's. */
void pace_found(struct pace *pace, uint64_t own_ns, uint64_t leader_ns);

/* One was passed. */
void pace_passed(struct pace *pace);

/* An alarm came so late. The longest one counts, and is forgotten little by little. */
void pace_late(struct pace *pace, uint64_t ns);

/* About what the latest of the last alarms was late, ns. */
uint64_t pace_lateness(const struct pace *pace);

/* ns of a leader's way of `leader_ns` that may be run without looking; 0: none. */
uint64_t pace_blind(const struct pace *pace, uint64_t leader_ns);

/* Of a distance that is estimated otherwise, one part in so many may be run without looking. */
unsigned pace_part(const struct pace *pace);

#endif
