#include "vmm/page_walk.h"

enum {
	PTE_PRESENT = 1 << 0,
	PTE_WRITABLE = 1 << 1,
	PTE_LARGE = 1 << 7,
	LEVELS = 4,
};
#define PTE_ADDRESS 0x000FFFFFFFFFF000ull
#define CR0_PG (1ull << 31)
#define CR4_LA57 (1ull << 12)
#define EFER_LMA (1ull << 10)
#define EFER_NXE (1ull << 11)
#define PTE_NO_EXECUTE (1ull << 63)

/* `refused`: bits that make an entry of any level as good as none. `common`: those that all entries have. */
static bool walk(const struct ram *ram, const struct cpu_state *state, uint64_t linear, uint64_t refused,
		 uint64_t *common, uint64_t *physical)
{
	uint64_t table = state->cr3 & PTE_ADDRESS;

	*common = UINT64_MAX;

	if (!(state->cr0 & CR0_PG)) {
		*physical = linear;
		return true;
	}
	if (!(state->efer & EFER_LMA) || (state->cr4 & CR4_LA57))
		return false;
	for (unsigned level = LEVELS; level >= 1; level--) {
		unsigned shift = 12 + 9 * (level - 1);
		uint64_t entry;

		if (failed(ram_read(ram, table + 8 * (linear >> shift & 511), &entry, sizeof(entry))) ||
		    !(entry & PTE_PRESENT) || (entry & refused))
			return false;
		*common &= entry;
		if (level == 1 || (level < LEVELS && (entry & PTE_LARGE))) {
			uint64_t offset = (1ull << shift) - 1;

			*physical = (entry & PTE_ADDRESS & ~offset) | (linear & offset);
			return true;
		}
		table = entry & PTE_ADDRESS;
	}
	return false;
}

bool page_walk(const struct ram *ram, const struct cpu_state *state, uint64_t linear, uint64_t *physical)
{
	uint64_t common;

	return walk(ram, state, linear, 0, &common, physical);
}

static uint64_t refused_for_code(const struct cpu_state *state)
{
	return state->efer & EFER_NXE ? PTE_NO_EXECUTE : 0;
}

bool page_walk_code(const struct ram *ram, const struct cpu_state *state, uint64_t linear, uint64_t *physical)
{
	uint64_t common;

	return walk(ram, state, linear, refused_for_code(state), &common, physical);
}

bool page_walk_constant_code(const struct ram *ram, const struct cpu_state *state, uint64_t linear,
			     uint64_t *physical)
{
	uint64_t common;

	return walk(ram, state, linear, refused_for_code(state), &common, physical) && !(common & PTE_WRITABLE);
}

size_t page_walk_read(const struct ram *ram, const struct cpu_state *state, uint64_t linear, void *data,
		      size_t length)
{
	size_t done = 0;

	while (done < length) {
		uint64_t physical;
		uint64_t in_page = RAM_PAGE_SIZE - (linear + done) % RAM_PAGE_SIZE;
		uint64_t part = length - done < in_page ? length - done : in_page;

		if (!page_walk(ram, state, linear + done, &physical) ||
		    failed(ram_read(ram, physical, (uint8_t *)data + done, part)))
			break;
		done += part;
	}
	return done;
}
