/*
 * A stop: the instruction boundary inside a segment at which the leader was preempted, in a form by which a follower
 * finds it again. Part of the tape's byte format: little-endian, no padding.
 */
#ifndef TERCET_LOCKSTEP_STOP_POINT_H
#define TERCET_LOCKSTEP_STOP_POINT_H

#include <stdint.h>

#include "lockstep/digest_value.h"
#include "vmm/registers.h"

enum { STOP_POINT_CODE = 16 };

struct stop_point {
	struct cpu_state cpu;  /* canonical; the instruction at RIP is the next to run */
	struct digest ram;     /* of all memory */
	uint64_t code_at;      /* guest-physical address of the instruction */
	uint8_t code[STOP_POINT_CODE]; /* what stands there; zeros behind the end of its page */
	uint64_t run_ns;       /* that the leader was inside its guest, from the segment's beginning on */
	uint64_t recurs_ns;    /* that the guest runs between two visits of this instruction, where that is long enough
	                        * to look at each of them; 0: they come too often, or nobody knows */
	uint64_t leads;        /* the general registers, by bit, that moved steadily on the way here; 0: nobody knows */
};

_Static_assert(sizeof(struct stop_point) == sizeof(struct cpu_state) + sizeof(struct digest) + 48,
	       "a stop has no padding");

#endif
