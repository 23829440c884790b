/* Budgets: their share of the time on average, a second's share at once, and debts that are waited for. */
#include <check.h>
#undef fail

#include "base/futex.h"
#include "lockstep/budget.h"
#include "tests/unit/fixture.h"

enum { SHARE = 50 }; /* thousandths */

START_TEST(grows_and_is_spent)
{
	struct budget budget;

	budget_begin(&budget, NS_PER_S);
	ck_assert(!budget_affords(&budget, 0, SHARE, NS_PER_S));
	ck_assert(budget_affords(&budget, 0, SHARE, NS_PER_S + 20 * NS_PER_MS));
	/* 10 ms are 200 ms' share. */
	ck_assert(!budget_affords(&budget, 11 * NS_PER_MS, SHARE, NS_PER_S + 200 * NS_PER_MS));
	ck_assert(budget_affords(&budget, 11 * NS_PER_MS, SHARE, NS_PER_S + 230 * NS_PER_MS));
}
END_TEST

START_TEST(saves_no_more_than_a_second)
{
	struct budget budget;

	budget_begin(&budget, 0);
	ck_assert(budget_affords(&budget, 0, SHARE, 100 * NS_PER_S));
	ck_assert(budget_affords(&budget, 49 * NS_PER_MS, SHARE, 100 * NS_PER_S));
	ck_assert(!budget_affords(&budget, 51 * NS_PER_MS, SHARE, 100 * NS_PER_S));
}
END_TEST

/* What a replica counts starts from nothing when it gets another process. */
START_TEST(counts_that_start_again)
{
	struct budget budget;

	budget_begin(&budget, 0);
	ck_assert(budget_affords(&budget, 40 * NS_PER_MS, SHARE, NS_PER_S));
	ck_assert(budget_affords(&budget, 0, SHARE, NS_PER_S));
	ck_assert(!budget_affords(&budget, 11 * NS_PER_MS, SHARE, NS_PER_S));
}
END_TEST

START_TEST(nothing_at_all)
{
	struct budget budget;

	budget_begin(&budget, 0);
	ck_assert(!budget_affords(&budget, 0, 0, 3600 * NS_PER_S));
}
END_TEST

/* The first one counts whole, the next ones little by little; nothing overflows. */
START_TEST(prices)
{
	uint32_t price = budget_price(0, 30 * NS_PER_MS, 10 * NS_PER_MS);

	ck_assert_uint_eq(price, 3000);
	price = budget_price(price, 0, 10 * NS_PER_MS);
	ck_assert_uint_eq(price, 2250);
	ck_assert_uint_eq(budget_price(price, 2250, 1000), 2250);
	ck_assert_uint_eq(budget_price(0, UINT64_MAX, 1), 1000000);
	ck_assert_uint_eq(budget_price(0, 0, 1000), 1);
	ck_assert_uint_eq(budget_price(1, 0, 1000), 1);
	ck_assert_uint_eq(budget_price(1000000, UINT64_MAX, 0), 1000000);
}
END_TEST

/* At three ways' cost a machine that waits spends three quarters of its time on it. */
START_TEST(what_a_share_covers)
{
	ck_assert(budget_covers(750, 3000));
	ck_assert(!budget_covers(749, 3000));
	ck_assert(budget_covers(50, 52));
	ck_assert(!budget_covers(50, 53));
	ck_assert(budget_covers(1000, 1000000));
	ck_assert(!budget_covers(1000, 0));
	ck_assert(!budget_covers(0, 1));
}
END_TEST

/* Only what was spent in advance is owed; time pays it back. */
START_TEST(debts)
{
	struct budget budget;

	budget_begin(&budget, 0);
	(void)budget_affords(&budget, 0, SHARE, NS_PER_S);
	ck_assert_uint_eq(budget_owes(&budget), 0);
	(void)budget_affords(&budget, 50 * NS_PER_MS, SHARE, NS_PER_S);
	ck_assert_uint_eq(budget_owes(&budget), 0);
	(void)budget_affords(&budget, 150 * NS_PER_MS, SHARE, NS_PER_S);
	ck_assert_uint_eq(budget_owes(&budget), 100 * NS_PER_MS);
	(void)budget_affords(&budget, 150 * NS_PER_MS, SHARE, 2 * NS_PER_S);
	ck_assert_uint_eq(budget_owes(&budget), 50 * NS_PER_MS);
}
END_TEST

/* Of 19 ms one is the share's, and twice that may be spent; never more than eight ways. */
START_TEST(for_a_way)
{
	ck_assert_uint_eq(budget_for_way(SHARE, 19 * NS_PER_MS), 2 * NS_PER_MS);
	ck_assert_uint_eq(budget_for_way(0, NS_PER_S), 0);
	ck_assert_uint_eq(budget_for_way(500, NS_PER_S), 2 * NS_PER_S);
	ck_assert_uint_eq(budget_for_way(800, NS_PER_S), 8 * NS_PER_S);
	ck_assert_uint_eq(budget_for_way(999, NS_PER_S), 8 * NS_PER_S);
	ck_assert_uint_eq(budget_for_way(1000, NS_PER_S), 8 * NS_PER_S);
	ck_assert(budget_is_large(500, NS_PER_S));
	ck_assert(!budget_is_large(499, NS_PER_S));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("budget");
	TCase *all = tcase_create("all");

	tcase_add_test(all, grows_and_is_spent);
	tcase_add_test(all, saves_no_more_than_a_second);
	tcase_add_test(all, counts_that_start_again);
	tcase_add_test(all, nothing_at_all);
	tcase_add_test(all, prices);
	tcase_add_test(all, what_a_share_covers);
	tcase_add_test(all, debts);
	tcase_add_test(all, for_a_way);
	suite_add_tcase(suite, all);
	return fixture_run(suite);
}
