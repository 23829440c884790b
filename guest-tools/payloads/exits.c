#include "guest-tools/payloads/storm.h"

const char payload_name[] = "exits";

/* 2,000 exits for each point of the scale. */
uint32_t payload_main(struct payload *payload)
{
	return storm_run(payload, payload->scale * 125);
}
