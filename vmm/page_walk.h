/*
 * The guest's own address translation, for the few places where user space must read what the guest executes.
 */
#ifndef TERCET_VMM_PAGE_WALK_H
#define TERCET_VMM_PAGE_WALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/ram.h"
#include "vmm/registers.h"

/* Translates a linear address by the guest's tables in long mode with 4 levels (AMD64 APM vol. 2, 5.3), or
 * returns it as it is where paging is off. False: not mapped, or another paging mode. */
bool page_walk(const struct ram *ram, const struct cpu_state *state, uint64_t linear, uint64_t *physical);

/* As page_walk; false also where a no-execute bit of any level counts (5.6.1). */
bool page_walk_code(const struct ram *ram, const struct cpu_state *state, uint64_t linear, uint64_t *physical);

/* As page_walk_code; false also where it can be written, by any ring that may write there (5.6.3): such memory may hold
 * anything. Without paging all of it can. */
bool page_walk_constant_code(const struct ram *ram, const struct cpu_state *state, uint64_t linear,
			     uint64_t *physical);

/* Copies up to `length` bytes of guest code or data at a linear address; gives how many could be read. */
size_t page_walk_read(const struct ram *ram, const struct cpu_state *state, uint64_t linear, void *data,
		      size_t length);

#endif
