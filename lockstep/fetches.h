/*
 * Fetches: what a leader's devices ask of the outside before any vote, because it changes nothing there. A ring in the
 * leader's area; the supervisor takes them from there, and answers through the inbox (lockstep/inbox.h).
 *
 * A fetch belongs to a leadership: its answer is void in any other, whose guest may have asked for something else.
 * What is lost - the ring was full, a slot was damaged - is asked for again (board_fetch_again).
 */
#ifndef TERCET_LOCKSTEP_FETCHES_H
#define TERCET_LOCKSTEP_FETCHES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/result.h"
#include "devices/device.h"

struct control;

enum { FETCHES = 1024 }; /* in the ring, a power of two; more than all devices can have outstanding */

struct fetch_slot {
	struct device_fetch fetch;
	uint32_t epoch; /* the leadership that asks */
	uint32_t crc;   /* of all of this */
};

/* A check over all members of a fetch. */
uint32_t fetches_check(const struct device_fetch *fetch);

/* Appends a fetch to this replica's own ring, behind the `*made` that it has made and of which the supervisor has taken
 * `taken`, and counts it. False: there is no room. */
must_check bool fetches_put(struct control *own, uint64_t *made, uint64_t taken, uint32_t epoch,
			    const struct device_fetch *fetch);

/* Copies the fetch behind the `*taken` that were taken from a replica's ring, and counts it; `*there` is false where
 * nothing is yet. Errors: it was damaged or overwritten, and is counted; what is lost must be asked for again. */
must_check result fetches_take(const struct control *control, uint64_t *taken, struct fetch_slot *slot, bool *there);

#endif
