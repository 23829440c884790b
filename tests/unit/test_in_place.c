/* What stops in place cost: by pieces of code, more at once and less little by little. */
#include <check.h>
#undef fail

#include "base/futex.h"
#include "lockstep/in_place.h"
#include "tests/unit/fixture.h"

#define WAY_NS NS_PER_MS
#define HERE UINT64_C(0x401234)
#define BESIDE UINT64_C(0x4012ff)
#define ELSEWHERE UINT64_C(0x401300)

static struct in_place in_place;

static void setup(void)
{
	in_place_begin(&in_place);
}

static void learn(uint64_t rip, uint64_t times)
{
	in_place_learn(&in_place, rip, times * WAY_NS, WAY_NS);
}

static uint64_t times(uint64_t rip)
{
	return in_place_cost(&in_place, rip, WAY_NS) / WAY_NS;
}

START_TEST(unknown)
{
	ck_assert_uint_eq(times(0), 30);
	ck_assert_uint_eq(times(HERE), 30);
	ck_assert_uint_eq(in_place_cost(&in_place, HERE, 0), 0);
}
END_TEST

/* A cheap loop is believed where it is, and not below the least; others stay what they were. */
START_TEST(cheap)
{
	learn(HERE, 10);
	ck_assert_uint_eq(times(HERE), 10);
	ck_assert_uint_eq(times(BESIDE), 10);
	for (unsigned i = 0; i < 100; i++)
		learn(HERE, 0);
	ck_assert_uint_eq(times(HERE), 8);
	ck_assert_uint_eq(times(ELSEWHERE), 30);
}
END_TEST

/* A dear one is believed at once, everywhere; it is forgotten faster in its piece than elsewhere. */
START_TEST(dear)
{
	learn(HERE, 10);
	learn(BESIDE, 250);
	ck_assert_uint_eq(times(HERE), 250);
	ck_assert_uint_eq(times(ELSEWHERE), 250);
	learn(HERE, 10);
	ck_assert_uint_eq(times(HERE), 190);
	ck_assert_uint_eq(times(ELSEWHERE), 235);
	for (unsigned i = 0; i < 100; i++)
		learn(HERE, 10);
	ck_assert_uint_eq(times(ELSEWHERE), 30);
}
END_TEST

/* There is room for so many pages; the one that was learned first makes room for another. */
START_TEST(many)
{
	for (uint64_t page = 0; page < IN_PLACE_PIECES; page++)
		learn(page << 12, 10 + page);
	for (uint64_t page = 0; page < IN_PLACE_PIECES; page++)
		ck_assert_uint_eq(times(page << 12), 10 + page);
	learn(IN_PLACE_PIECES << 12, 9);
	ck_assert_uint_eq(times(IN_PLACE_PIECES << 12), 9);
	ck_assert_uint_eq(times(1 << 12), 11);
	ck_assert_uint_ge(times(0), 30);
}
END_TEST

/* No cost is too large to be told. */
START_TEST(enormous)
{
	in_place_learn(&in_place, HERE, UINT64_MAX, 1);
	ck_assert_uint_eq(times(HERE), 1000);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("in_place");
	TCase *all = tcase_create("all");

	tcase_add_checked_fixture(all, setup, NULL);
	tcase_add_test(all, unknown);
	tcase_add_test(all, cheap);
	tcase_add_test(all, dear);
	tcase_add_test(all, many);
	tcase_add_test(all, enormous);
	suite_add_tcase(suite, all);
	return fixture_run(suite);
}
