/*
 * Resync: a replica takes over the state of a donor that stands at a vote point, or that of its own checkpoint. Only
 * what differs is copied, by the per-page hash tables; nothing is believed before its digests are those of the vote.
 */
#ifndef TERCET_LOCKSTEP_RESYNC_H
#define TERCET_LOCKSTEP_RESYNC_H

#include <stdint.h>

#include "base/result.h"
#include "lockstep/control.h"
#include "lockstep/replica_state.h"

/* Where state comes from; everything is read once and checked. */
struct resync_origin {
	const uint8_t *memory;      /* as much as the replica's RAM */
	const struct digest *table; /* of its pages */
	const struct vote_record *record;
};

/* Copies those of `count` pages from `first` on whose hashes differ, while the donor may be running: what is torn will
 * differ again. Returns the number of pages that were copied. */
uint64_t resync_copy(struct replica *replica, const struct resync_origin *origin, uint64_t first, uint64_t count);

/* Takes over the origin's whole state and casts its vote anew as the replica's own. The machine then stands at that
 * vote point. Errors: the origin's state is not what was voted, or cannot be taken over; the replica's own state is
 * lost then. */
must_check result resync_take(struct replica *replica, const struct resync_origin *origin);

#endif
