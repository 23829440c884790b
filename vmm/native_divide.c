#include "vmm/native_divide.h"

#include <string.h>

#include "vmm/amd64.h"

typedef unsigned __int128 double_word;

static bool fits_unsigned(double_word dividend, uint64_t divisor, unsigned bits)
{
	return divisor != 0 && (uint64_t)(dividend >> bits) < divisor;
}

static bool fits_signed(double_word dividend, uint64_t divisor, unsigned bits)
{
	uint64_t limit = 1ull << (bits - 1); /* of a quotient's magnitude */
	double_word sign = (double_word)1 << (2 * bits - 1);
	bool negative = false;

	if (dividend & sign) {
		dividend = (~dividend & (sign - 1)) + 1;
		negative = true;
	}
	if (divisor & limit) {
		divisor = amd64_low_bits(~divisor + 1, bits);
		negative = !negative;
	}
	/* A quotient that does not even fit without a sign need not be calculated. */
	if (!fits_unsigned(dividend, divisor, bits))
		return false;
	uint64_t quotient =
		dividend >> 64 ? (uint64_t)(dividend / divisor) : (uint64_t)dividend / divisor;

	return negative ? quotient <= limit : quotient < limit;
}

bool native_divide_allowed(const struct native_cpu *cpu, const struct native_op *op, const uint8_t *memory)
{
	unsigned bytes = op->other, bits = 8 * bytes;
	uint64_t divisor = 0;
	double_word dividend;

	if (memory)
		memcpy(&divisor, memory, bytes);
	else
		divisor = amd64_low_bits(cpu->r[op->reg] >> (op->high ? 8 : 0), bits);
	if (bytes == 1)
		dividend = amd64_low_bits(cpu->r[GPR_RAX], 16);
	else
		dividend = (double_word)amd64_low_bits(cpu->r[GPR_RDX], bits) << bits |
			   amd64_low_bits(cpu->r[GPR_RAX], bits);
	return op->check == NATIVE_CHECK_DIVIDE_SIGNED ? fits_signed(dividend, divisor, bits) :
							 fits_unsigned(dividend, divisor, bits);
}
