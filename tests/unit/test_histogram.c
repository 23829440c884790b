/* Histograms: every value finds a bucket that fits it closely, and quantiles are those of the sorted samples. */
#include "tests/unit/fixture.h"

#include <string.h>

#include "base/histogram.h"

/* The bucket that a value alone falls into. */
static unsigned bucket_of(uint64_t value)
{
	struct histogram histogram = { 0 };
	unsigned bucket = 0;

	histogram_add(&histogram, value);
	while (bucket < HISTOGRAM_BUCKETS && histogram.buckets[bucket] != 1)
		bucket++;
	return bucket;
}

static void check_value(uint64_t value)
{
	unsigned bucket = bucket_of(value);
	uint64_t bound = histogram_upper_bound(bucket);

	/* An assertion is a system call: only for those that fail. */
	if (bound < value || bound - value > value / 4 ||
	    (bucket > 0 && histogram_upper_bound(bucket - 1) >= value))
		ck_abort_msg("%ju fell into bucket %u, up to %ju", (uintmax_t)value, bucket, (uintmax_t)bound);
}

START_TEST(every_value_fits)
{
	uint64_t seed = 1;

	for (uint64_t value = 0; value < 5000; value++)
		check_value(value);
	for (unsigned power = 0; power < 64; power++)
		for (int step = -2; step <= 2; step++)
			check_value((UINT64_C(1) << power) + (uint64_t)step);
	for (unsigned i = 0; i < 50000; i++)
		check_value(fixture_random(&seed) >> (i % 64));
	check_value(UINT64_MAX);
}
END_TEST

START_TEST(bounds_ascend)
{
	unsigned last = bucket_of(UINT64_MAX);

	for (unsigned bucket = 1; bucket <= last; bucket++)
		ck_assert_uint_gt(histogram_upper_bound(bucket), histogram_upper_bound(bucket - 1));
	ck_assert_uint_eq(histogram_upper_bound(last), UINT64_MAX);
	ck_assert_uint_eq(histogram_upper_bound(HISTOGRAM_BUCKETS - 1), UINT64_MAX);
}
END_TEST

START_TEST(sums)
{
	struct histogram histogram = { 0 };

	histogram_add(&histogram, 5);
	histogram_add(&histogram, 1000);
	histogram_add(&histogram, 7);
	ck_assert_uint_eq(histogram.count, 3);
	ck_assert_uint_eq(histogram.sum, 1012);
	ck_assert_uint_eq(histogram.max, 1000);
}
END_TEST

static int ascending(const void *a, const void *b)
{
	uint64_t x, y;

	memcpy(&x, a, sizeof(x));
	memcpy(&y, b, sizeof(y));
	return (x > y) - (x < y);
}

START_TEST(quantiles)
{
	enum { SAMPLES = 3000 };
	static uint64_t samples[SAMPLES];
	uint64_t seed = 42;

	for (unsigned count = 1; count <= SAMPLES; count = count * 2 + 1) {
		struct histogram histogram = { 0 };

		for (unsigned i = 0; i < count; i++) {
			samples[i] = fixture_random(&seed) >> (fixture_random(&seed) % 60);
			histogram_add(&histogram, samples[i]);
		}
		qsort(samples, count, sizeof(samples[0]), ascending);
		for (unsigned per_mille = 1; per_mille <= 1000; per_mille++) {
			uint64_t exact = samples[(count * per_mille + 999) / 1000 - 1];
			uint64_t told = histogram_quantile(&histogram, per_mille);

			ck_assert_uint_ge(told, exact);
			ck_assert_uint_le(told - exact, exact / 4);
			ck_assert_uint_le(told, histogram.max);
		}
		ck_assert_uint_eq(histogram_quantile(&histogram, 1000), histogram.max);
	}
}
END_TEST

START_TEST(empty)
{
	const struct histogram histogram = { 0 };

	ck_assert_uint_eq(histogram_quantile(&histogram, 500), 0);
	ck_assert_uint_eq(histogram_quantile(&histogram, 1000), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("histogram");
	TCase *tests = tcase_create("buckets");

	tcase_add_test(tests, every_value_fits);
	tcase_add_test(tests, bounds_ascend);
	tcase_add_test(tests, sums);
	tcase_add_test(tests, quantiles);
	tcase_add_test(tests, empty);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
