/*
 * The books of what went wrong with replicas, and when it was right again: statistics, events, and the cores on which
 * it happened.
 */
#ifndef TERCET_LOCKSTEP_BOOKING_H
#define TERCET_LOCKSTEP_BOOKING_H

#include <stdint.h>

#include "lockstep/supervisor_state.h"

/* Books a fault of a replica that was found at `position`. `kind` is "outvoted", "complained", "misled", "died", "hung"
 * or "failed"; `why` says more. */
void booking_fault(struct supervisor *supervisor, unsigned replica, const char *kind, uint64_t position,
		   const char *why);

/* Books that the two replicas of a machine differ: their leader is the one in doubt, but where its only follower says
 * that it has passed a stop, that is no fault. */
void booking_of_two(struct supervisor *supervisor, unsigned leader, unsigned follower);

/* Books that it is part of the machine again, from the repair's vote on. `method` is "resync" or "respawn". */
void booking_repaired(struct supervisor *supervisor, unsigned replica, const char *method);

#endif
