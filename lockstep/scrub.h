/*
 * The patrol over memory that nobody writes: should it rot, that is found like any other difference.
 */
#ifndef TERCET_LOCKSTEP_SCRUB_H
#define TERCET_LOCKSTEP_SCRUB_H

#include "lockstep/replica_state.h"

/* Adds pages that nobody is known to have written to those of the next vote, as many as are due at the rate of
 * config.scrub, as far as that is affordable. */
void scrub_add(struct replica *replica);

#endif
