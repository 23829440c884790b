/* Memory work: random and sequential reads and writes, with pages dirtied at a steady rate. */
#ifndef TERCET_PAYLOADS_CHURN_H
#define TERCET_PAYLOADS_CHURN_H

#include "guest-tools/payloads/payload.h"

/* Bytes of the largest power of two within `limit` and the payload's memory; 0 if that is below 1 MiB. */
size_t churn_working_set(const struct payload *payload, uint64_t limit);

/* Fills the working set (a power of two, 1 MiB at least), then about `microseconds` of work in it. */
void churn_run(struct payload *payload, size_t working_set, uint64_t microseconds);

#endif
