/*
 * A guest whose work is one loop of few instructions: the worst case for whoever wants to find a certain moment in it.
 * 10 million turns for each point of the scale, about 5 ms.
 */
#include "guest-tools/payloads/payload.h"

enum { TURNS = 10 * 1000 * 1000 };

const char payload_name[] = "tight";

uint32_t payload_main(struct payload *payload)
{
	uint64_t sum = payload->seed;

	/* One loop, for which no compiler finds a formula. */
	for (uint64_t turns = payload->scale * TURNS; turns > 0; turns--) {
		sum += turns;
		__asm__ volatile("" : "+r"(sum));
	}
	payload_check(payload, sum);
	return PAYLOAD_GOOD;
}
