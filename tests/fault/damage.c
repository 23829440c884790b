#include "tests/fault/damage.h"

#include "lockstep/control.h"

uint8_t damage_byte(uint8_t byte, unsigned way, uint64_t random)
{
	if (way == 0)
		return 0;
	if (way == 1)
		return 0xFF;
	if (way < 10)
		return (uint8_t)(byte ^ 1u << (way - 2));
	return (uint8_t)(random >> 32);
}

uint64_t damage_number(uint64_t number, unsigned way, uint64_t random)
{
	const uint64_t ways[DAMAGE_NUMBER_WAYS] = {
		0,
		1,
		2,
		3,
		4,
		5,
		6,
		number + 1,
		number - 1,
		number + 8,
		number - 8,
		number + CONTROL_VOTE_SLOTS,
		number - CONTROL_VOTE_SLOTS,
		number + CONTROL_OUTBOX_SIZE,
		number + CONTROL_OUTBOX_SIZE + 1,
		number - CONTROL_OUTBOX_SIZE,
		number + CONTROL_EXIT_LOG,
		INT32_MAX,
		UINT64_C(1) << 31,
		UINT64_C(1) << 32,
		CHECKED_WORD_MAX,
		UINT64_C(1) << 63,
		UINT64_MAX,
		random,
	};

	return ways[way % DAMAGE_NUMBER_WAYS];
}
