/* Pace: nothing is run blindly before enough was seen, the fastest way counts, and an overshoot makes it start
 * again. */
#include <check.h>
#undef fail

#include "base/futex.h"
#include "lockstep/pace.h"
#include "tests/unit/fixture.h"

#define WAY (100 * NS_PER_MS)

static struct pace pace;

static void setup(void)
{
	pace_begin(&pace);
}

static void find(unsigned hunts, uint64_t own_ns)
{
	for (unsigned i = 0; i < hunts; i++)
		pace_found(&pace, own_ns, WAY);
}

START_TEST(nothing_at_first)
{
	ck_assert_uint_eq(pace_blind(&pace, 3600 * NS_PER_S), 0);
	find(PACE_HUNTS_MIN - 1, WAY);
	ck_assert_uint_eq(pace_blind(&pace, 3600 * NS_PER_S), 0);
	find(1, WAY);
	ck_assert_uint_eq(pace_blind(&pace, WAY), WAY / 2);
}
END_TEST

/* However seldom it was, until it is forgotten. */
START_TEST(the_fastest_counts)
{
	find(PACE_HUNTS_MIN, WAY);
	find(1, WAY / 4);
	find(PACE_HUNTS - 1, WAY);
	ck_assert_uint_eq(pace_blind(&pace, WAY), WAY / 8);
	find(1, WAY);
	ck_assert_uint_eq(pace_blind(&pace, WAY), WAY / 2);
}
END_TEST

/* A slow follower is no reason to run on beyond half of its leader's way. */
START_TEST(never_more_than_half)
{
	find(PACE_HUNTS, 10 * WAY);
	ck_assert_uint_eq(pace_blind(&pace, WAY), WAY / 2);
	find(PACE_HUNTS, UINT64_MAX);
	ck_assert_uint_eq(pace_blind(&pace, WAY), WAY / 2);
}
END_TEST

START_TEST(overshoots)
{
	unsigned needed = PACE_HUNTS_MIN;

	find(PACE_HUNTS, WAY);
	for (unsigned i = 0; i < 20; i++) {
		pace_passed(&pace);
		needed = needed < PACE_HUNTS_MOST ? 2 * needed : needed;
		find(needed - 1, WAY);
		ck_assert_uint_eq(pace_blind(&pace, WAY), 0);
		find(1, WAY);
		ck_assert_uint_ne(pace_blind(&pace, WAY), 0);
	}
	ck_assert_uint_eq(needed, PACE_HUNTS_MOST);
}
END_TEST

/* Half of what is estimated otherwise, less after each overshoot, and more again where all goes well. */
START_TEST(parts)
{
	ck_assert_uint_eq(pace_part(&pace), 4);
	pace_passed(&pace);
	pace_passed(&pace);
	ck_assert_uint_eq(pace_part(&pace), 16);
	find(PACE_HUNTS, WAY);
	ck_assert_uint_eq(pace_part(&pace), 8);
	find(5 * PACE_HUNTS, WAY);
	ck_assert_uint_eq(pace_part(&pace), 4);
	for (unsigned i = 0; i < 100; i++)
		pace_passed(&pace);
	ck_assert_uint_eq(pace_part(&pace), 32);
}
END_TEST

START_TEST(late_alarms)
{
	find(PACE_HUNTS, WAY);
	pace_late(&pace, 10 * NS_PER_MS);
	pace_late(&pace, NS_PER_MS);
	ck_assert_uint_gt(pace_blind(&pace, WAY), WAY / 2 - 20 * NS_PER_MS);
	ck_assert_uint_le(pace_blind(&pace, WAY), WAY / 2 - 19 * NS_PER_MS);
	/* Too short a way to spare anything. */
	ck_assert_uint_eq(pace_blind(&pace, 40 * NS_PER_MS), 0);
	for (unsigned i = 0; i < 1000; i++)
		pace_late(&pace, 0);
	ck_assert_uint_gt(pace_blind(&pace, WAY), WAY / 2 - NS_PER_MS);
}
END_TEST

/* What is too short to be measured teaches nothing. */
START_TEST(short_ways)
{
	for (unsigned i = 0; i < PACE_HUNTS; i++)
		pace_found(&pace, i, NS_PER_MS - 1);
	pace_found(&pace, 0, 0);
	ck_assert_uint_eq(pace.found, 0);
	find(PACE_HUNTS_MIN, WAY);
	ck_assert_uint_eq(pace_blind(&pace, 3 * NS_PER_MS), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("pace");
	TCase *all = tcase_create("all");

	tcase_add_checked_fixture(all, setup, NULL);
	tcase_add_test(all, nothing_at_first);
	tcase_add_test(all, the_fastest_counts);
	tcase_add_test(all, never_more_than_half);
	tcase_add_test(all, overshoots);
	tcase_add_test(all, parts);
	tcase_add_test(all, late_alarms);
	tcase_add_test(all, short_ways);
	suite_add_tcase(suite, all);
	return fixture_run(suite);
}
