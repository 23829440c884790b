/*
 * Of the times when the guest was at an instruction with other general registers than those that are sought, the one
 * with the fewest that differed: for people who look for the cause when it never had the right ones.
 */
#ifndef TERCET_VMM_REGISTER_NEAREST_H
#define TERCET_VMM_REGISTER_NEAREST_H

#include <stddef.h>
#include <stdint.h>

#include "vmm/registers.h"

struct register_nearest {
	unsigned differing; /* registers; 0: there was no such time */
	uint64_t gpr[GPR_COUNT];
};

/* Takes note of these registers, as far as they differ from those that are sought. */
void register_nearest_note(struct register_nearest *nearest, const uint64_t gpr[GPR_COUNT],
			   const uint64_t sought[GPR_COUNT]);

/* "rax 0x1 not 0x2, rcx ...", as many as have room in `size` bytes, which is 64 at least; "" if there is none. */
void register_nearest_tell(const struct register_nearest *nearest, const uint64_t sought[GPR_COUNT], char *text,
			   size_t size);

#endif
