/*
 * The visits of a hunt that were nearly its stop: for people who look for the cause when it was not found.
 */
#ifndef TERCET_LOCKSTEP_NEAR_MISS_H
#define TERCET_LOCKSTEP_NEAR_MISS_H

#include <stddef.h>
#include <stdint.h>

#include "vmm/register_nearest.h"
#include "vmm/registers.h"

struct near_miss {
	struct register_nearest general; /* of the visits with other general registers than the stop's */
	/* Of the others the one with the fewest bits that differed in all registers, */
	unsigned bits;                     /* which are so many; 0: there was none */
	const struct register_info *first; /* and the first register that did, */
	uint64_t value;                    /* of which it had this, or its lower 64 bits */
};

/* Takes note of a visit with the stop's general registers, if other registers differ. */
void near_miss_note(struct near_miss *miss, const struct cpu_state *here, const struct cpu_state *stop);

/* "; ..." on both, as much as has room in `size` bytes, which is 256 at least; "" if there is nothing to say. */
void near_miss_tell(const struct near_miss *miss, const struct cpu_state *stop, char *text, size_t size);

#endif
