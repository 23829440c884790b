/*
 * Guest memory as the guest's CPU would reach it, for executing the guest's instructions in this process: its tables
 * are walked with the rights that the CPU demands, and what was found is kept for as long as it cannot have changed.
 *
 * Nothing here changes the guest's tables: an access for which the CPU would have to (accessed and dirty bits), or
 * that it would refuse, is refused.
 */
#ifndef TERCET_VMM_NATIVE_MEMORY_H
#define TERCET_VMM_NATIVE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/ram.h"
#include "vmm/registers.h"

enum native_access { NATIVE_READ, NATIVE_WRITE, NATIVE_FETCH, NATIVE_ACCESSES };

/* What a page of RAM holds that must not be written unnoticed. */
enum {
	NATIVE_HOLDS_CODE = 1 << 0,  /* that was decoded */
	NATIVE_HOLDS_TABLE = 1 << 1, /* that a translation was read from */
};

enum { NATIVE_TRANSLATIONS = 256 }; /* of each kind of access; a power of two */

struct native_translation {
	uint64_t page;  /* linear address / RAM_PAGE_SIZE */
	uint64_t epoch; /* 0: none */
	uint8_t *host;
	uint8_t holds; /* for writes: NATIVE_HOLDS_ */
};

struct native_memory {
	struct ram *ram;
	uint8_t *holds; /* one byte a page of RAM */
	/* What is known holds in one epoch only. The code's ends with the translations', and when code is written. */
	uint64_t epoch;
	uint64_t code_epoch;
	uint8_t written; /* NATIVE_HOLDS_ of the pages that native_memory_reach has given for writing */
	/* How the CPU is set: from the state, for one run. */
	uint64_t root;
	bool user, write_protect, no_execute, smep, smap;
	struct native_translation known[NATIVE_ACCESSES][NATIVE_TRANSLATIONS];
};

/* Errors: no memory. */
must_check result native_memory_create(struct native_memory *memory, struct ram *ram);
void native_memory_destroy(struct native_memory *memory);

/*
 * Takes over what the CPU's state says of address translation, and forgets what was known. False: not 64-bit code with
 * 4 levels of tables, or a mode of protection that is not known here.
 */
bool native_memory_begin(struct native_memory *memory, const struct cpu_state *state);

/* RFLAGS.AC has changed, which SMAP looks at. */
void native_memory_set_access(struct native_memory *memory, const struct cpu_state *state);

/* To be called after pages that hold something were written (`written` is not 0): forgets what they held. */
void native_memory_forget(struct native_memory *memory);

/* Says that code was decoded from the page of RAM at this offset; writes to it are noticed from now on. */
void native_memory_hold_code(struct native_memory *memory, uint64_t offset);

/* Forgets that any page holds code. */
void native_memory_release_code(struct native_memory *memory);

/* As native_memory_reach, which calls it for what is not known yet. */
uint8_t *native_memory_find(struct native_memory *memory, uint64_t linear, enum native_access access);

/*
 * Where `size` bytes (1 to RAM_PAGE_SIZE) at a linear address are in this process; NULL where the CPU would raise an
 * exception or change a table, where it is no RAM, and where they lie in two pages. What is asked for to be written is
 * booked as dirty.
 */
static inline uint8_t *native_memory_reach(struct native_memory *memory, uint64_t linear, unsigned size,
					   enum native_access access)
{
	uint64_t page = linear / RAM_PAGE_SIZE;
	uint64_t offset = linear % RAM_PAGE_SIZE;
	const struct native_translation *known = &memory->known[access][page % NATIVE_TRANSLATIONS];

	if (__builtin_expect(offset + size > RAM_PAGE_SIZE, 0))
		return NULL;
	if (__builtin_expect(known->page != page || known->epoch != memory->epoch, 0))
		return native_memory_find(memory, linear, access);
	if (access == NATIVE_WRITE)
		memory->written |= known->holds;
	return known->host + offset;
}

/* The offset into RAM of an address that native_memory_reach gave. */
static inline uint64_t native_memory_offset(const struct native_memory *memory, const uint8_t *host)
{
	return (uint64_t)(host - memory->ram->memory);
}

#endif
