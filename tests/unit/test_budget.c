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

int main(void)
{
	Suite *suite = suite_create("budget");
	TCase *all = tcase_create("all");

	tcase_add_test(all, grows_and_is_spent);
	tcase_add_test(all, saves_no_more_than_a_second);
	tcase_add_test(all, counts_that_start_again);
	tcase_add_test(all, nothing_at_all);
	suite_add_tcase(suite, all);
	return fixture_run(suite);
}
