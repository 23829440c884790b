#include "guest-tools/payloads/kernels.h"

const char payload_name[] = "compute";

uint32_t payload_main(struct payload *payload)
{
	return kernels_run(payload, payload->scale * 20000);
}
