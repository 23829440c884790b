/* Fact: a division by zero without an IDT is a triple fault, and that is noticed. */
#include "guest-tools/payloads/payload.h"

const char payload_name[] = "crash";

uint32_t payload_main(struct payload *payload)
{
	uint32_t quotient = 1, remainder = 0;

	(void)payload;
	/* In assembly: a compiler may leave out a division that C does not define. */
	__asm__ volatile("divl %2" : "+a"(quotient), "+d"(remainder) : "r"(0) : "cc");
	payload_print("crash: still alive\n");
	return PAYLOAD_WRONG;
}
