#include "vmm/native_memory.h"

#include <stdlib.h>
#include <string.h>

#include "vmm/amd64.h"

/* Page table entries (AMD64 APM vol. 2, 5.3.3 and 5.4). */
enum {
	PTE_PRESENT = 1 << 0,
	PTE_WRITABLE = 1 << 1,
	PTE_USER = 1 << 2,
	PTE_ACCESSED = 1 << 5,
	PTE_DIRTY = 1 << 6,
	PTE_LARGE = 1 << 7,
	PTE_LARGE_PAT = 1 << 12,
	LEVELS = 4,
};
#define PTE_ADDRESS 0x000FFFFFFFFFF000ull
#define PTE_NO_EXECUTE (1ull << 63)
#define CR0_PE (1ull << 0)
#define CR0_WP (1ull << 16)
#define CR0_PG (1ull << 31)
#define CR4_PAE (1ull << 5)
#define CR4_SMEP (1ull << 20)
#define CR4_SMAP (1ull << 21)
/* Those that mean nothing to instructions that are executed here: VME PVI TSD DE PSE PAE MCE PGE PCE OSFXSR OSXMMEXCPT
 * UMIP FSGSBASE PCIDE OSXSAVE SMEP SMAP. Not LA57, protection keys, CET. */
#define CR4_KNOWN 0x370FFFull
#define EFER_LMA (1ull << 10)
#define EFER_NXE (1ull << 11)
#define RFLAGS_AC (1ull << 18)
enum { SEGMENT_DPL_SHIFT = 5, SEGMENT_L = 1 << 9, RING_USER = 3 };

result native_memory_create(struct native_memory *memory, struct ram *ram)
{
	*memory = (struct native_memory){ .ram = ram, .epoch = 1, .code_epoch = 1 };
	memory->holds = calloc(ram_pages(ram), 1);
	if (!memory->holds)
		return fail(STATUS_FAILED, "no memory to watch %llu pages of guest RAM",
			    (unsigned long long)ram_pages(ram));
	return OK;
}

void native_memory_destroy(struct native_memory *memory)
{
	free(memory->holds);
	*memory = (struct native_memory){ 0 };
}

static void forget_all(struct native_memory *memory)
{
	memory->epoch++;
	memory->code_epoch++;
}

void native_memory_set_access(struct native_memory *memory, const struct cpu_state *state)
{
	memory->smap = (state->cr4 & CR4_SMAP) && !(state->rflags & RFLAGS_AC);
	forget_all(memory);
}

bool native_memory_begin(struct native_memory *memory, const struct cpu_state *state)
{
	const uint64_t paging = CR0_PE | CR0_PG;
	unsigned ring = state->segment[SEG_SS].attributes >> SEGMENT_DPL_SHIFT & 3;

	if ((state->cr0 & paging) != paging || !(state->cr4 & CR4_PAE) || (state->cr4 & ~CR4_KNOWN) ||
	    !(state->efer & EFER_LMA) || !(state->segment[SEG_CS].attributes & SEGMENT_L))
		return false;
	memory->root = state->cr3 & PTE_ADDRESS;
	memory->user = ring == RING_USER;
	memory->write_protect = state->cr0 & CR0_WP;
	memory->no_execute = state->efer & EFER_NXE;
	memory->smep = state->cr4 & CR4_SMEP;
	memory->written = 0;
	native_memory_set_access(memory, state);
	return true;
}

void native_memory_forget(struct native_memory *memory)
{
	if (memory->written & NATIVE_HOLDS_TABLE)
		memory->epoch++;
	memory->code_epoch++;
	memory->written = 0;
}

/* Translations for writing that were made before would not tell. */
static void hold(struct native_memory *memory, uint64_t offset, uint8_t what)
{
	uint8_t *holds = &memory->holds[offset / RAM_PAGE_SIZE];

	if (*holds & what)
		return;
	*holds |= what;
	memory->epoch++;
}

void native_memory_hold_code(struct native_memory *memory, uint64_t offset)
{
	hold(memory, offset, NATIVE_HOLDS_CODE);
}

void native_memory_release_code(struct native_memory *memory)
{
	for (uint64_t page = 0; page < ram_pages(memory->ram); page++)
		memory->holds[page] &= (uint8_t)~NATIVE_HOLDS_CODE;
	forget_all(memory);
}

/* What all entries on the way to a page say together. */
struct rights {
	bool writable, user, no_execute;
};

static bool permitted(const struct native_memory *memory, const struct rights *rights, enum native_access access)
{
	if (memory->user && !rights->user)
		return false;
	switch (access) {
	case NATIVE_FETCH:
		return !rights->no_execute && !(memory->smep && !memory->user && rights->user);
	case NATIVE_WRITE:
		if (!rights->writable && (memory->user || memory->write_protect))
			return false;
		break;
	default:
		break;
	}
	return memory->user || !rights->user || !memory->smap;
}

/* Whether an entry has bits set that the CPU has no use for, at which it would raise an exception. */
static bool reserved_bits(const struct native_memory *memory, uint64_t entry, unsigned level)
{
	uint64_t offset = (1ull << (12 + 9 * (level - 1))) - 1;

	if ((entry & PTE_NO_EXECUTE) && !memory->no_execute)
		return true;
	if (level == 1 || !(entry & PTE_LARGE))
		return false;
	return level == LEVELS || (entry & PTE_ADDRESS & offset & ~(uint64_t)PTE_LARGE_PAT);
}

static bool walk(struct native_memory *memory, uint64_t linear, enum native_access access, uint64_t *physical)
{
	struct rights rights = { .writable = true, .user = true };
	uint64_t table = memory->root;

	for (unsigned level = LEVELS; level >= 1; level--) {
		unsigned shift = 12 + 9 * (level - 1);
		uint64_t entry, page;

		if (failed(ram_read(memory->ram, table + 8 * (linear >> shift & 511), &entry, sizeof(entry))) ||
		    !ram_page_of(memory->ram, table, &page))
			return false;
		hold(memory, page * RAM_PAGE_SIZE, NATIVE_HOLDS_TABLE);
		if (!(entry & PTE_PRESENT) || !(entry & PTE_ACCESSED) || reserved_bits(memory, entry, level))
			return false;
		rights.writable = rights.writable && (entry & PTE_WRITABLE);
		rights.user = rights.user && (entry & PTE_USER);
		rights.no_execute = rights.no_execute || (entry & PTE_NO_EXECUTE);
		if (level == 1 || (entry & PTE_LARGE)) {
			uint64_t offset = (1ull << shift) - 1;

			*physical = (entry & PTE_ADDRESS & ~offset) | (linear & offset);
			return permitted(memory, &rights, access) &&
			       (access != NATIVE_WRITE || (entry & PTE_DIRTY));
		}
		table = entry & PTE_ADDRESS;
	}
	return false;
}

/* Through the door, so that the page is booked as dirty. */
static bool book_dirty(struct ram *ram, uint64_t physical)
{
	uint8_t byte;

	return !failed(ram_read(ram, physical, &byte, 1)) && !failed(ram_write(ram, physical, &byte, 1));
}

uint8_t *native_memory_find(struct native_memory *memory, uint64_t linear, enum native_access access)
{
	uint64_t physical, page;

	if (!amd64_canonical(linear) || !walk(memory, linear, access, &physical) ||
	    !ram_page_of(memory->ram, physical, &page) ||
	    (access == NATIVE_WRITE && !book_dirty(memory->ram, physical)))
		return NULL;
	struct native_translation *known = &memory->known[access][linear / RAM_PAGE_SIZE % NATIVE_TRANSLATIONS];

	*known = (struct native_translation){
		.page = linear / RAM_PAGE_SIZE,
		.epoch = memory->epoch,
		.host = memory->ram->memory + page * RAM_PAGE_SIZE,
		.holds = memory->holds[page],
	};
	if (access == NATIVE_WRITE)
		memory->written |= known->holds;
	return known->host + linear % RAM_PAGE_SIZE;
}
