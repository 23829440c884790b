/* Fact: a payload's status reaches the outside. */
#include "guest-tools/payloads/payload.h"

const char payload_name[] = "fail";

uint32_t payload_main(struct payload *payload)
{
	(void)payload;
	return 3;
}
