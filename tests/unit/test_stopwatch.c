/* One stage at any time: stages add up to the time that went by. */
#include "tests/unit/fixture.h"

#include "base/futex.h"
#include "lockstep/stopwatch.h"

START_TEST(stages_add_up)
{
	struct stopwatch watch = { 0 };

	stopwatch_enter_at(&watch, STAGE_STARTUP, 1000);
	stopwatch_enter_at(&watch, STAGE_GUEST, 1500);
	stopwatch_enter_at(&watch, STAGE_EXIT, 1700);
	stopwatch_enter_at(&watch, STAGE_GUEST, 1750);
	stopwatch_enter_at(&watch, STAGE_GUEST, 1760); /* the same again is no change */
	stopwatch_enter_at(&watch, STAGE_END, 2000);
	ck_assert_uint_eq(watch.ns[STAGE_STARTUP], 500);
	ck_assert_uint_eq(watch.ns[STAGE_GUEST], 450);
	ck_assert_uint_eq(watch.ns[STAGE_EXIT], 50);
	ck_assert_uint_eq(watch.ns[STAGE_END], 0);
	ck_assert_uint_eq(watch.stage, STAGE_END);
	ck_assert_uint_eq(stopwatch_total(&watch), 1000);
}
END_TEST

/* Whatever changes of stage there are, in whatever order, the total is the time from the first to the last. */
START_TEST(any_story_adds_up)
{
	struct stopwatch watch = { 0 };
	uint64_t now = 77, state = (uint64_t)_i + 1;

	stopwatch_enter_at(&watch, STAGE_STARTUP, now);
	for (unsigned i = 0; i < 10000; i++) {
		state = state * 6364136223846793005u + 1442695040888963407u;
		now += state >> 50;
		stopwatch_enter_at(&watch, (unsigned)(state >> 33) % STAGES, now);
	}
	ck_assert_uint_eq(stopwatch_total(&watch), now - 77);
	for (unsigned i = 0; i < STAGES; i++)
		ck_assert_uint_gt(watch.ns[i], 0);
}
END_TEST

/* Before it was started, and after it was stopped, nothing counts. */
START_TEST(runs_only_when_it_runs)
{
	struct stopwatch watch = { 0 };
	uint64_t total;

	ck_assert_uint_eq(stopwatch_total(&watch), 0);
	stopwatch_stop(&watch);
	ck_assert_uint_eq(stopwatch_total(&watch), 0);
	(void)stopwatch_enter(&watch, STAGE_TAPE);
	ck_assert_uint_eq(stopwatch_total(&watch), 0);
	stopwatch_stop(&watch);
	total = stopwatch_total(&watch);
	stopwatch_enter_at(&watch, STAGE_HASH, clock_monotonic_ns() + NS_PER_S);
	ck_assert_uint_eq(stopwatch_total(&watch), total);
}
END_TEST

/* A clock that a caller read earlier does not take back what was counted. */
START_TEST(never_goes_back)
{
	struct stopwatch watch = { 0 };

	stopwatch_enter_at(&watch, STAGE_GUEST, 5000);
	stopwatch_enter_at(&watch, STAGE_EXIT, 4000);
	stopwatch_enter_at(&watch, STAGE_GUEST, 6000);
	ck_assert_uint_eq(watch.ns[STAGE_GUEST], 0);
	ck_assert_uint_eq(watch.ns[STAGE_EXIT], 1000);
	ck_assert_uint_eq(stopwatch_total(&watch), 1000);
}
END_TEST

/* It gives the time that it counts by. */
START_TEST(tells_the_time)
{
	struct stopwatch watch = { 0 };
	uint64_t before = clock_monotonic_ns();
	uint64_t began = stopwatch_enter(&watch, STAGE_GUEST);
	uint64_t ended = stopwatch_enter(&watch, STAGE_EXIT);

	ck_assert_uint_ge(began, before);
	ck_assert_uint_ge(ended, began);
	ck_assert_uint_eq(watch.ns[STAGE_GUEST], ended - began);
}
END_TEST

START_TEST(sums)
{
	struct stopwatch watch = { 0 };

	for (unsigned i = 0; i < STAGES; i++)
		watch.ns[i] = 1ull << i;
	ck_assert_uint_eq(stopwatch_votes(&watch), 1u << STAGE_BALLOT | 1u << STAGE_DIRTY_LOG | 1u << STAGE_HASH);
	ck_assert_uint_eq(stopwatch_waits(&watch), 1u << STAGE_WAIT_LEADER | 1u << STAGE_WAIT_VERDICT |
							   1u << STAGE_WAIT_ROOM | 1u << STAGE_RENDEZVOUS);
}
END_TEST

START_TEST(names)
{
	for (unsigned i = 0; i < STAGES; i++)
		for (unsigned k = 0; k < i; k++)
			ck_assert_str_ne(stage_name((enum stage)i), stage_name((enum stage)k));
	for (unsigned i = 0; i < DUTIES; i++)
		for (unsigned k = 0; k < i; k++)
			ck_assert_str_ne(duty_name((enum duty)i), duty_name((enum duty)k));
	ck_assert_str_eq(stage_name(STAGES), "unknown");
	ck_assert_str_eq(duty_name(DUTIES), "unknown");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("stopwatch");
	TCase *all = tcase_create("all");

	tcase_add_test(all, stages_add_up);
	tcase_add_loop_test(all, any_story_adds_up, 0, 5);
	tcase_add_test(all, runs_only_when_it_runs);
	tcase_add_test(all, never_goes_back);
	tcase_add_test(all, tells_the_time);
	tcase_add_test(all, sums);
	tcase_add_test(all, names);
	suite_add_tcase(suite, all);
	return fixture_run(suite);
}
