#include "guest-tools/payloads/churn.h"

const char payload_name[] = "memory";

/* The working set grows with the scale, so that a small scale is a short run: 64 MiB from scale 32 on. */
uint32_t payload_main(struct payload *payload)
{
	uint64_t limit = payload->scale < 32 ? payload->scale << 21 : 64 << 20;
	size_t working_set = churn_working_set(payload, limit);

	if (working_set == 0) {
		payload_print("memory: needs 5 MiB of RAM\n");
		return PAYLOAD_ARGUMENTS;
	}
	payload_print("working set ");
	payload_print_decimal(working_set >> 20);
	payload_print(" MiB\n");
	churn_run(payload, working_set, payload->scale * 20000);
	return PAYLOAD_GOOD;
}
