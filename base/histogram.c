#include "base/histogram.h"

#include "base/result.h"

/* Values below 4 have a bucket each; from there on, 4 buckets a power of two. */
static unsigned bucket_of(uint64_t value)
{
	if (value < 4)
		return (unsigned)value;
	unsigned power = 63u - (unsigned)__builtin_clzll(value);

	return 4 * (power - 1) + (unsigned)(value >> (power - 2) & 3);
}

uint64_t histogram_upper_bound(unsigned bucket)
{
	invariant(bucket < HISTOGRAM_BUCKETS);
	if (bucket < 4)
		return bucket;
	unsigned power = bucket / 4 + 1;

	if (power > 63)
		return UINT64_MAX;
	return (1ull << power) + ((uint64_t)(bucket % 4 + 1) << (power - 2)) - 1;
}

void histogram_add(struct histogram *histogram, uint64_t value)
{
	histogram->count++;
	histogram->sum += value;
	if (value > histogram->max)
		histogram->max = value;
	histogram->buckets[bucket_of(value)]++;
}

uint64_t histogram_quantile(const struct histogram *histogram, unsigned per_mille)
{
	uint64_t wanted = (histogram->count * per_mille + 999) / 1000;
	uint64_t seen = 0;

	if (histogram->count == 0)
		return 0;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		seen += histogram->buckets[i];
		if (seen >= wanted && seen > 0)
			return histogram_upper_bound(i) < histogram->max ? histogram_upper_bound(i) : histogram->max;
	}
	return histogram->max;
}
