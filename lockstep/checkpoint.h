/*
 * A checkpoint: the state of a machine at a vote that was agreed, kept by a replica to go back to. Two replicas that
 * differ cannot tell which of them is right, but both were right there.
 */
#ifndef TERCET_LOCKSTEP_CHECKPOINT_H
#define TERCET_LOCKSTEP_CHECKPOINT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/result.h"
#include "lockstep/control.h"
#include "vmm/ram.h"

struct checkpoint {
	uint8_t *memory;            /* as much as there is RAM; NULL: no checkpoint is kept */
	struct digest *table;       /* of its pages */
	struct vote_record *record; /* everything else */
	uint64_t pages;
	bool valid;
};

/* Makes room for the checkpoint of a machine with so much RAM. Errors: no memory. */
must_check result checkpoint_create(struct checkpoint *checkpoint, const struct ram *ram);
void checkpoint_destroy(struct checkpoint *checkpoint);

/* Keeps `count` pages from `first` on as they are now, so that the next checkpoint_take needs only those that change
 * until then. There is nothing to go back to before that; `area`'s hashes are those of `ram`. */
void checkpoint_prepare(struct checkpoint *checkpoint, const struct area *area, const struct ram *ram, uint64_t first,
			uint64_t count);

/* Takes the state that `area`'s owner voted as `record`, whose vote was agreed, and at which its `ram` still is.
 * Costs only the pages that changed since the vote before, if that was taken, too. */
void checkpoint_take(struct checkpoint *checkpoint, const struct area *area, const struct ram *ram,
		     const struct vote_record *record);

#endif
