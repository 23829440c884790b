/* Places: the last good one first, none twice; dense ones for a second. */
#include <check.h>
#undef fail

#include "base/futex.h"
#include "lockstep/places.h"
#include "tests/unit/guest_memory.h"

enum { MEMORY = 1 << 20 };

static struct places places;
static struct ram ram;

static void remember(uint64_t address)
{
	places_remember(&places, &ram, &(struct breakpoint){ .linear = address, .physical = address }, address / 16);
}

static void setup(void)
{
	places = (struct places){ .dense_next = 0 };
	places_forget_dense(&places, 10 * NS_PER_S);
	guest_memory_make(&ram, MEMORY);
	for (uint64_t i = 0; i < MEMORY; i++)
		ram.memory[i] = (uint8_t)(i % 251);
}

static void teardown(void)
{
	ram_unmap(&ram);
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
	places_remember(&places, &ram, &places.good[3], 5);
	ck_assert_uint_eq(places.recurs_ns[0], 5);
	ck_assert_uint_eq(places.recurs_ns[1], PLACES_GOOD + 2);
	ck_assert_uint_eq(places.good[0].physical, (PLACES_GOOD - 1) * 16);
	for (unsigned i = 1; i < PLACES_GOOD; i++)
		ck_assert_uint_ne(places.good[i].physical, places.good[0].physical);
}
END_TEST

/* Where other bytes stand by now there is no place any more; up to a page's end, and where there is no memory. */
START_TEST(the_same_code)
{
	struct breakpoint known[PLACES_GOOD];
	uint64_t recurs_ns[PLACES_GOOD];

	remember(0x1000);
	remember(0x2FF8);
	remember(0x4000);
	ck_assert_uint_eq(places_known(&places, &ram, known, recurs_ns, PLACES_GOOD), 3);
	ck_assert_uint_eq(known[0].linear, 0x4000);
	ck_assert_uint_eq(recurs_ns[2], 0x100);
	ck_assert_uint_eq(places_known(&places, &ram, known, recurs_ns, 2), 2);
	ram.memory[0x3000] ^= 1;
	ck_assert_uint_eq(places_known(&places, &ram, known, recurs_ns, PLACES_GOOD), 3);
	ram.memory[0x2FFF] ^= 1;
	ram.memory[0x4000 + PLACES_CODE - 1] ^= 1;
	ck_assert_uint_eq(places_known(&places, &ram, known, recurs_ns, PLACES_GOOD), 1);
	ck_assert_uint_eq(known[0].linear, 0x1000);
	ck_assert_uint_eq(recurs_ns[0], 0x100);
	remember(MEMORY);
	ck_assert_uint_eq(places_known(&places, &ram, known, recurs_ns, PLACES_GOOD), 1);
}
END_TEST

START_TEST(dense_for_a_second)
{
	const unsigned order = places_note_dense(&places, 78, 5);

	ck_assert_uint_gt(places_note_dense(&places, 77, 1234), order);
	ck_assert_uint_gt(places_known_dense(&places, 77)->order, places_known_dense(&places, 78)->order);
	ck_assert_ptr_nonnull(places_known_dense(&places, 77));
	ck_assert_uint_eq(places_known_dense(&places, 77)->recurs_ns, 1234);
	ck_assert_ptr_null(places_known_dense(&places, 0));
	places_forget_dense(&places, 11 * NS_PER_S - 1);
	ck_assert_ptr_nonnull(places_known_dense(&places, 77));
	places_forget_dense(&places, 11 * NS_PER_S);
	ck_assert_ptr_null(places_known_dense(&places, 77));
}
END_TEST

START_TEST(too_many_dense)
{
	for (unsigned i = 0; i <= PLACES_DENSE; i++)
		(void)places_note_dense(&places, i, i);
	ck_assert_ptr_null(places_known_dense(&places, 0));
	ck_assert_ptr_nonnull(places_known_dense(&places, 1));
	ck_assert_ptr_nonnull(places_known_dense(&places, PLACES_DENSE));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("places");
	TCase *all = tcase_create("all");

	tcase_add_checked_fixture(all, setup, teardown);
	tcase_add_test(all, the_last_comes_first);
	tcase_add_test(all, the_same_code);
	tcase_add_test(all, dense_for_a_second);
	tcase_add_test(all, too_many_dense);
	suite_add_tcase(suite, all);
	return fixture_run(suite);
}
