/* Fact: a payload can print and end. */
#include "guest-tools/payloads/payload.h"

const char payload_name[] = "hello";

uint32_t payload_main(struct payload *payload)
{
	(void)payload;
	payload_print("hello\n");
	return PAYLOAD_GOOD;
}
