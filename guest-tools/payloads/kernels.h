/* Computing work: integers, SSE2 floating point, branches, in a working set of some 300 KiB. */
#ifndef TERCET_PAYLOADS_KERNELS_H
#define TERCET_PAYLOADS_KERNELS_H

#include "guest-tools/payloads/payload.h"

/* About `microseconds` of work in five equal parts; gives PAYLOAD_WRONG if a sorted array is not sorted. */
uint32_t kernels_run(struct payload *payload, uint64_t microseconds);

#endif
