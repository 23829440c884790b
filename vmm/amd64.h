/*
 * Rules of the CPU that everybody needs who reads guest code.
 */
#ifndef TERCET_VMM_AMD64_H
#define TERCET_VMM_AMD64_H

#include <stdbool.h>
#include <stdint.h>

/* The lower `bits` bits, 1 to 64, of a value. */
static inline uint64_t amd64_low_bits(uint64_t value, unsigned bits)
{
	return bits >= 64 ? value : value & ((1ull << bits) - 1);
}

/* Whether it is an address at all in 64-bit code: 48 bits are translated, and the others equal the last of them (AMD64
 * APM vol. 2, 5.3.1). */
static inline bool amd64_canonical(uint64_t linear)
{
	uint64_t top = linear >> 47;

	return top == 0 || top == 0x1FFFF;
}

/* In which of the 32 states of the flags, CF | PF << 1 | ZF << 2 | SF << 3 | OF << 4, each is set. */
#define AMD64_IN_CF 0xAAAAAAAAu
#define AMD64_IN_PF 0xCCCCCCCCu
#define AMD64_IN_ZF 0xF0F0F0F0u
#define AMD64_IN_SF 0xFF00FF00u
#define AMD64_IN_OF 0xFFFF0000u

/* Whether the condition of Jcc holds, by the low four bits of its opcode, the low byte of RFLAGS, and OF (AMD64 APM
 * vol. 3, 1.5 and table A-1). */
static inline bool amd64_condition(unsigned condition, unsigned flags, bool overflow)
{
	/* In which states; the last bit of the condition negates it. */
	static const uint32_t holds[8] = {
		AMD64_IN_OF, AMD64_IN_CF, AMD64_IN_ZF,               AMD64_IN_CF | AMD64_IN_ZF,
		AMD64_IN_SF, AMD64_IN_PF, AMD64_IN_SF ^ AMD64_IN_OF, (AMD64_IN_SF ^ AMD64_IN_OF) | AMD64_IN_ZF,
	};
	unsigned state = (flags & 1) | (flags >> 1 & 2) | (flags >> 4 & 12) | (unsigned)overflow << 4;

	return (holds[condition >> 1 & 7] >> state & 1) != (condition & 1);
}

#endif
