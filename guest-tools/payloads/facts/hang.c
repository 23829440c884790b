/* Fact: code that never exits and never ends does not take the supervisor with it. */
#include "guest-tools/payloads/payload.h"

const char payload_name[] = "hang";

uint32_t payload_main(struct payload *payload)
{
	(void)payload;
	for (;;)
		__asm__ volatile("");
}
