/*
 * Whether a kernel spins: whenever it was looked at of late it was in the same few instructions, and what moved were
 * few registers, none with an address. Pure.
 */
#ifndef TERCET_LOCKSTEP_SPIN_H
#define TERCET_LOCKSTEP_SPIN_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/registers.h"

enum { SPIN_LOOKS = 8 };

struct spin {
	uint64_t rip[SPIN_LOOKS]; /* the last looks */
	uint64_t gpr[SPIN_LOOKS][GPR_COUNT];
	unsigned count; /* of all looks */
};

/* Forgets all looks. */
void spin_begin(struct spin *spin);

/* The guest was found with these general registers at `rip`. */
void spin_look(struct spin *spin, uint64_t rip, const uint64_t gpr[GPR_COUNT]);

/* Whether it spins, by the last SPIN_LOOKS looks; false while there are fewer. */
bool spin_seen(const struct spin *spin);

#endif
