#include "lockstep/spin.h"

#include <string.h>

/* Loops that wait for something are no longer than so many bytes, and have no more than so many registers that move: a
 * delay's counter, and those of who calls it. They count; loops that work on memory have addresses that move. */
enum { SPIN_BYTES = 256, SPIN_REGISTERS = 4 };
/* The upper half of the canonical addresses (AMD64 APM vol. 2, 5.3.1). */
#define KERNEL_ADDRESSES UINT64_C(0xFFFF800000000000)

void spin_begin(struct spin *spin)
{
	spin->count = 0;
}

void spin_look(struct spin *spin, uint64_t rip, const uint64_t gpr[GPR_COUNT])
{
	const unsigned n = spin->count++ % SPIN_LOOKS;

	spin->rip[n] = rip;
	memcpy(spin->gpr[n], gpr, sizeof(spin->gpr[n]));
}

static bool moved(const struct spin *spin, unsigned gpr)
{
	for (unsigned i = 1; i < SPIN_LOOKS; i++)
		if (spin->gpr[i][gpr] != spin->gpr[0][gpr])
			return true;
	return false;
}

static bool held_address(const struct spin *spin, unsigned gpr)
{
	for (unsigned i = 0; i < SPIN_LOOKS; i++)
		if (spin->gpr[i][gpr] >= KERNEL_ADDRESSES)
			return true;
	return false;
}

bool spin_seen(const struct spin *spin)
{
	uint64_t low = UINT64_MAX, high = 0;
	unsigned registers = 0;

	if (spin->count < SPIN_LOOKS)
		return false;
	for (unsigned i = 0; i < SPIN_LOOKS; i++) {
		low = spin->rip[i] < low ? spin->rip[i] : low;
		high = spin->rip[i] > high ? spin->rip[i] : high;
	}
	for (unsigned gpr = 0; gpr < GPR_COUNT; gpr++) {
		if (!moved(spin, gpr))
			continue;
		if (held_address(spin, gpr))
			return false;
		registers++;
	}
	return high - low < SPIN_BYTES && registers <= SPIN_REGISTERS;
}
