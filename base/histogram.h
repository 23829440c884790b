/*
 * A histogram of durations with four buckets a power of two: any range, no more than a quarter too high.
 */
#ifndef TERCET_BASE_HISTOGRAM_H
#define TERCET_BASE_HISTOGRAM_H

#include <stdint.h>

enum { HISTOGRAM_BUCKETS = 256 };

struct histogram {
	uint64_t count;
	uint64_t sum;
	uint64_t max;
	uint64_t buckets[HISTOGRAM_BUCKETS];
};

/* Books one sample. */
void histogram_add(struct histogram *histogram, uint64_t value);

/* The largest value that falls into a bucket. */
uint64_t histogram_upper_bound(unsigned bucket);

/* An upper bound of the value below which `per_mille` of 1000 samples lie; 0 without samples. */
uint64_t histogram_quantile(const struct histogram *histogram, unsigned per_mille);

#endif
