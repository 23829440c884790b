#include "guest-tools/payloads/churn.h"
#include "guest-tools/payloads/kernels.h"
#include "guest-tools/payloads/storm.h"

enum {
	PHASES = 4,
	WORKING_SET = 8 << 20,
};

const char payload_name[] = "mixed";

static void say(const char *what, uint64_t phase)
{
	payload_print("phase ");
	payload_print_decimal(phase);
	payload_print(": ");
	payload_print(what);
	payload_print("\n");
}

uint32_t payload_main(struct payload *payload)
{
	uint64_t share = payload->scale * 20000 / PHASES / 3;
	size_t working_set = churn_working_set(payload, WORKING_SET);

	if (working_set == 0) {
		payload_print("mixed: needs 5 MiB of RAM\n");
		return PAYLOAD_ARGUMENTS;
	}
	for (uint64_t phase = 1; phase <= PHASES; phase++) {
		uint32_t status;

		say("computing", phase);
		status = kernels_run(payload, share);
		if (status != PAYLOAD_GOOD)
			return status;
		say("memory", phase);
		churn_run(payload, working_set, share);
		say("ports", phase);
		status = storm_run(payload, payload->scale * 125 / PHASES / 3);
		if (status != PAYLOAD_GOOD)
			return status;
	}
	return PAYLOAD_GOOD;
}
