/*
 * Status objects as OpenMetrics text (openmetrics.io, 1.0), of which the older Prometheus text format understands all:
 * counters and gauges only.
 */
#ifndef TERCET_MANAGE_METRICS_H
#define TERCET_MANAGE_METRICS_H

#include <jansson.h>

/* `machines` is a list of {"name": ..., "status": the status object, or null where there was no answer}. Values that
 * are missing or no numbers are left out. The text is the caller's to free; NULL without memory. */
char *metrics_text(const json_t *machines);

#endif
