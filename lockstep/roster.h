/*
 * The roster: which replicas take part, which phase each of them is in; it starts their processes and calls them.
 */
#ifndef TERCET_LOCKSTEP_ROSTER_H
#define TERCET_LOCKSTEP_ROSTER_H

#include <stdint.h>

#include "base/result.h"
#include "lockstep/supervisor_state.h"

/* Bit i: replica i takes part in votes. */
uint32_t roster_live_set(const struct supervisor *supervisor);

/* How many these are. */
unsigned roster_live_count(const struct supervisor *supervisor);

/* From now on a replica is in this phase; it takes part in votes in CARE_LIVE alone. */
void roster_set_phase(struct supervisor *supervisor, unsigned replica, enum care_phase phase);

/* Has a replica look at what it is told at once, wherever it is: asleep, or inside its guest. */
void roster_call(struct supervisor *supervisor, unsigned replica);
void roster_call_all(struct supervisor *supervisor);

/* Starts a replica's process, of whose death the supervisor will hear; on no core of its own. Errors: the host
 * cannot. */
must_check result roster_launch(struct supervisor *supervisor, unsigned replica, const struct replica_config *config);

/* Likewise, on its core; if it cannot be put there, it runs where it can. */
must_check result roster_start(struct supervisor *supervisor, unsigned replica, const struct replica_config *config);

#endif
