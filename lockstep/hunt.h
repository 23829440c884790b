/*
 * Hunt: a follower finds the place inside a segment at which its leader was stopped. A breakpoint takes it to each
 * visit of the stop's instruction, or the guest's code is executed in place; there all registers and the digest of all
 * memory must be equal: equal states have equal futures. What part of the way is run without looking, pace.h tells.
 */
#ifndef TERCET_LOCKSTEP_HUNT_H
#define TERCET_LOCKSTEP_HUNT_H

#include "base/result.h"
#include "lockstep/stop_point.h"

struct replica;

enum hunt_end {
	HUNT_FOUND,  /* the stop is booked, its exit at hand */
	HUNT_EXITED, /* the guest came to an exit first: it is at hand; the stop was passed, or the leader lies */
	HUNT_LOST,   /* it has run for so long that the stop must have been passed, or can never come to it */
	HUNT_LEFT,   /* the supervisor had other plans */
};

/* Enters the guest, and stops it at `stop`. */
must_check result hunt_run(struct replica *replica, const struct stop_point *stop, enum hunt_end *end);

#endif
