/* Places: the last good one first, none twice; dense ones for a second. */
#include <check.h>
#undef fail

#include "base/futex.h"
#include "lockstep/places.h"
#include "tests/unit/fixture.h"

static struct places places;

static void remember(uint64_t address)
{
	places_remember(&places, &(struct breakpoint){ .linear = address, .physical = address }, address / 16);
}

static void setup(void)
{
	places = (struct places){ .dense_next = 0 };
	places_forget_dense(&places, 10 * NS_PER_S);
}

static void teardown(void)
{
}

START_TEST(the_last_comes_first)
{
	for (uint64_t i = 1; i <= PLACES_GOOD + 2; i++)
		remember(i * 16);
	for (unsigned i = 0; i < PLACES_GOOD; i++) {
		ck_assert_uint_eq(places.good[i].physical, (PLACES_GOOD + 2 - i) * 16);
		ck_assert_uint_eq(places.recurs_ns[i], PLACES_GOOD + 2 - i);
	}
	/* What is the front's already, or in its midst, is there once. */
	places_remember(&places, &places.good[3], 5);
	ck_assert_uint_eq(places.recurs_ns[0], 5);
	ck_assert_uint_eq(places.recurs_ns[1], PLACES_GOOD + 2);
	ck_assert_uint_eq(places.good[0].physical, (PLACES_GOOD - 1) * 16);
	for (unsigned i = 1; i < PLACES_GOOD; i++)
		ck_assert_uint_ne(places.good[i].physical, places.good[0].physical);
}
END_TEST

START_TEST(dense_for_a_second)
{
	places_note_dense(&places, 77);
	ck_assert(places_known_dense(&places, 77));
	ck_assert(!places_known_dense(&places, 0));
	places_forget_dense(&places, 11 * NS_PER_S - 1);
	ck_assert(places_known_dense(&places, 77));
	places_forget_dense(&places, 11 * NS_PER_S);
	ck_assert(!places_known_dense(&places, 77));
}
END_TEST

START_TEST(too_many_dense)
{
	for (unsigned i = 0; i <= PLACES_DENSE; i++)
		places_note_dense(&places, i);
	ck_assert(!places_known_dense(&places, 0));
	ck_assert(places_known_dense(&places, 1));
	ck_assert(places_known_dense(&places, PLACES_DENSE));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("places");
	TCase *all = tcase_create("all");

	tcase_add_checked_fixture(all, setup, teardown);
	tcase_add_test(all, the_last_comes_first);
	tcase_add_test(all, dense_for_a_second);
	tcase_add_test(all, too_many_dense);
	suite_add_tcase(suite, all);
	return fixture_run(suite);
}
