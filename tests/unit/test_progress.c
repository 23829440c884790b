/* On the way to a place that somebody else has marked, by counters of every kind: one comes near it and not past it,
 * and a counter that fails on the way is turned off. */
#include "tests/unit/fake_counter.h"

#include <errno.h>
#include <string.h>

#include "base/futex.h"

enum { BLIND_PERCENT = 50, LOOKS_MAX = 10000 };

static struct fake_counter fake;
static struct progress progress;
static uint64_t began; /* rounds done when the segment began */

static void set_up(void)
{
	struct progress_track track = fake_counter_track(&fake);

	fake = (struct fake_counter){ .skid = 100 };
	progress_create_with(&progress, &fake_counter_calls, &fake, &track);
	ck_assert_int_eq(progress.unit, PROGRESS_BRANCHES);
}

static void tear_down(void)
{
	progress_destroy(&progress);
	ck_assert_uint_eq(fake.opened, fake.closed);
}

/* What a leader tells that stopped after so many rounds of the same guest, at the same speed. */
static struct progress_mark mark_at(uint64_t rounds)
{
	return (struct progress_mark){ .run_ns = rounds, .count = rounds, .unit = PROGRESS_BRANCHES };
}

/* The guest goes there; gives how that ended. */
static enum progress_place travel(const struct progress_mark *goal)
{
	enum progress_place place;
	uint64_t left = 0;
	unsigned looks = 0;

	began = fake.done;
	progress_head_for(&progress, goal, BLIND_PERCENT);
	while ((place = progress_look(&progress, &left)) == PROGRESS_BEFORE) {
		ck_assert_uint_gt(left, 0);
		ck_assert_uint_lt(++looks, LOOKS_MAX);
		(void)fake_counter_run(&fake, left);
	}
	progress_halt(&progress);
	ck_assert(!fake.armed);
	return place;
}

static uint64_t went(void)
{
	return fake.done - began;
}

/* Near, and not past; with a counter, very near. */
static void expect_near(uint64_t rounds)
{
	ck_assert_uint_le(went(), rounds);
	ck_assert_uint_ge(went() + progress_margin(&progress, rounds), rounds);
}

static void expect_time(const char *why)
{
	ck_assert_int_eq(progress.unit, PROGRESS_TIME);
	ck_assert_msg(strstr(progress.reason, why), "'%s' does not say '%s'", progress.reason, why);
}

START_TEST(comes_near)
{
	static const uint64_t ways[] = { 0, 1, 100, 1000, 20000, 1000000, 50000000 };
	struct progress_mark goal = mark_at(ways[_i]);

	/* What was before the segment is no part of it. */
	(void)fake_counter_run(&fake, 12345);
	ck_assert_int_eq(travel(&goal), PROGRESS_NEAR);
	expect_near(ways[_i]);
	ck_assert_uint_lt(progress_margin(&progress, ways[_i]), 1000 + ways[_i] / 500);
}
END_TEST

START_TEST(by_time)
{
	struct progress_mark goal = mark_at(10000000);

	goal.unit = _i == 0 ? PROGRESS_TIME : _i == 1 ? PROGRESS_INSTRUCTIONS : PROGRESS_UNITS;
	ck_assert_int_eq(travel(&goal), PROGRESS_NEAR);
	ck_assert_uint_eq(went(), goal.run_ns / 100 * BLIND_PERCENT);
	ck_assert_int_eq(progress.unit, PROGRESS_BRANCHES);
	(void)fake_counter_run(&fake, goal.run_ns);
	ck_assert(!progress_past(&progress));
}
END_TEST

/* Without a counter, whatever the other one has. */
START_TEST(no_counter)
{
	struct fake_counter world = { .open_error = { 0, ENOENT, ENOENT } };
	struct progress_mark goal = mark_at(10000000);

	progress_destroy(&progress);
	fake = world;
	progress_create_with(&progress, &fake_counter_calls, &fake, NULL);
	ck_assert_int_eq(travel(&goal), PROGRESS_NEAR);
	ck_assert_uint_eq(went(), goal.run_ns / 100 * BLIND_PERCENT);
	progress_mark(&progress, &goal);
	ck_assert_int_eq(goal.unit, PROGRESS_TIME);
	ck_assert_uint_eq(goal.run_ns, went());
	ck_assert_uint_eq(goal.count, 0);
}
END_TEST

/* A host that is three times as slow as the leader's, or faster. */
START_TEST(other_speeds)
{
	struct progress_mark goal = mark_at(30000000);

	goal.run_ns = _i == 0 ? goal.count / 3 : goal.count * 3;
	ck_assert_int_eq(travel(&goal), PROGRESS_NEAR);
	expect_near(goal.count);
	ck_assert_int_eq(progress.unit, PROGRESS_BRANCHES);
}
END_TEST

START_TEST(later_than_in_the_trial)
{
	struct progress_mark goal = mark_at(30000000);

	fake.skid = 350;
	ck_assert_int_eq(travel(&goal), PROGRESS_NEAR);
	expect_near(goal.count);
}
END_TEST

START_TEST(loses_events)
{
	struct progress_mark goal = mark_at(30000000);

	fake.loses = 5000;
	ck_assert_int_eq(travel(&goal), PROGRESS_NEAR);
	expect_near(goal.count);
}
END_TEST

/* So many that it comes too late, and cannot know that. */
START_TEST(loses_many_events)
{
	struct progress_mark goal = mark_at(30000000);

	fake.loses = 100;
	ck_assert_int_eq(travel(&goal), PROGRESS_NEAR);
	ck_assert_uint_gt(went(), goal.count);
}
END_TEST

START_TEST(is_shared)
{
	struct progress_mark goal = mark_at(10000000);

	fake.shared = true;
	ck_assert_int_eq(travel(&goal), PROGRESS_NEAR);
	expect_time("shared with others");
	/* The signal was on before that was seen. */
	ck_assert_uint_le(went(), goal.count);
	/* And from now on it is told by time. */
	ck_assert_int_eq(travel(&goal), PROGRESS_NEAR);
	ck_assert_uint_eq(went(), goal.run_ns / 100 * BLIND_PERCENT);
}
END_TEST

START_TEST(cannot_be_read)
{
	static const int errors[] = { ENODATA, EIO };
	struct progress_mark goal = mark_at(10000000);

	fake.read_error = errors[_i];
	ck_assert_int_eq(travel(&goal), PROGRESS_NEAR);
	ck_assert_uint_eq(went(), goal.run_ns / 100 * BLIND_PERCENT);
	expect_time(_i == 0 ? "lost its place" : "cannot be read");
}
END_TEST

START_TEST(gives_no_signal)
{
	struct progress_mark goal = mark_at(10000000);

	fake.arm_error = EIO;
	ck_assert_int_eq(travel(&goal), PROGRESS_NEAR);
	ck_assert_uint_eq(went(), goal.run_ns / 100 * BLIND_PERCENT);
	expect_time("no signal");
}
END_TEST

START_TEST(stops_counting)
{
	struct progress_mark goal = mark_at(10000000);

	fake.stops_at = fake.count + 1000;
	ck_assert_int_eq(travel(&goal), PROGRESS_NEAR);
	ck_assert_uint_eq(went(), goal.run_ns / 100 * BLIND_PERCENT);
	/* Whose counter it is that stands still is not known before it counts nothing at all. */
	ck_assert_int_eq(progress.unit, PROGRESS_BRANCHES);
	ck_assert_int_eq(travel(&goal), PROGRESS_NEAR);
	ck_assert_uint_eq(went(), goal.run_ns / 100 * BLIND_PERCENT);
	goal = mark_at(50000000);
	ck_assert_int_eq(travel(&goal), PROGRESS_NEAR);
	ck_assert_uint_eq(went(), goal.run_ns / 100 * BLIND_PERCENT);
	expect_time("stood still");
}
END_TEST

/* Late on the way, where only the time tells it. */
START_TEST(stops_counting_late)
{
	struct progress_mark goal = mark_at(10000000);

	fake.stops_at = fake.count + 9000000;
	ck_assert_int_eq(travel(&goal), PROGRESS_NEAR);
	ck_assert_uint_lt(went(), 4 * goal.run_ns + NS_PER_S);
}
END_TEST

/* The signal is lost: that one is past is seen at the next look. */
START_TEST(passes)
{
	struct progress_mark goal = mark_at(30000000);

	fake.mute = true;
	ck_assert_int_eq(travel(&goal), PROGRESS_PAST);
	ck_assert_uint_gt(went(), goal.count);
	ck_assert_uint_lt(went(), 4 * goal.count);
	ck_assert(progress_past(&progress));
}
END_TEST

START_TEST(passes_while_looking)
{
	struct progress_mark goal = mark_at(30000000);

	ck_assert_int_eq(travel(&goal), PROGRESS_NEAR);
	ck_assert(!progress_past(&progress));
	(void)fake_counter_run(&fake, goal.count - went() + progress_margin(&progress, goal.count));
	ck_assert(!progress_past(&progress)); /* not for certain */
	(void)fake_counter_run(&fake, goal.count / 50);
	ck_assert(progress_past(&progress));
}
END_TEST

/* What no honest leader says costs time, and no more. */
START_TEST(absurd_goals)
{
	static const struct progress_mark goals[] = {
		{ .run_ns = 1000000, .count = UINT64_MAX, .unit = PROGRESS_BRANCHES },
		{ .run_ns = 0, .count = UINT64_MAX, .unit = PROGRESS_BRANCHES },
		{ .run_ns = 0, .count = 0, .unit = PROGRESS_BRANCHES },
		{ .run_ns = 0, .count = 0, .unit = PROGRESS_TIME },
		{ .run_ns = 100000000, .count = 1, .unit = PROGRESS_BRANCHES },
		{ .run_ns = 1000000, .count = 100000000, .unit = PROGRESS_BRANCHES },
	};

	ck_assert_int_eq(travel(&goals[_i]), PROGRESS_NEAR);
	ck_assert_int_eq(progress.unit, PROGRESS_BRANCHES);
	ck_assert_uint_le(went(), 4 * goals[_i].run_ns + 400 * NS_PER_MS);
}
END_TEST

/* A leader whose counter stands still tells a count that is far too small: nobody believes to have passed it. */
START_TEST(count_too_small)
{
	struct progress_mark goal = { .run_ns = 40000000, .count = 5000, .unit = PROGRESS_BRANCHES };

	ck_assert_int_eq(travel(&goal), PROGRESS_NEAR);
	ck_assert_uint_eq(went(), goal.run_ns / 100 * BLIND_PERCENT);
	ck_assert(!progress_past(&progress));
	ck_assert_int_eq(progress.unit, PROGRESS_BRANCHES);
}
END_TEST

/* --- the leader --- */

START_TEST(marks)
{
	struct progress_mark mark;

	(void)fake_counter_run(&fake, 777);
	progress_begin(&progress);
	(void)fake_counter_run(&fake, 1000);
	progress_start_clock(&progress);
	(void)fake_counter_run(&fake, 5000);
	progress_mark(&progress, &mark);
	ck_assert_int_eq(mark.unit, PROGRESS_BRANCHES);
	ck_assert_uint_eq(mark.count, 6000);
	ck_assert_uint_eq(mark.run_ns, 5000);
}
END_TEST

START_TEST(marks_without_count)
{
	static const char *const reasons[] = { "stood still", "lost its place", "shared" };
	struct progress_mark mark;

	progress_begin(&progress);
	progress_start_clock(&progress);
	fake.stops_at = _i == 0 ? fake.count : 0;
	fake.read_error = _i == 1 ? ENODATA : 0;
	fake.shared = _i == 2;
	(void)fake_counter_run(&fake, 20000000);
	progress_mark(&progress, &mark);
	ck_assert_int_eq(mark.unit, PROGRESS_TIME);
	ck_assert_uint_eq(mark.count, 0);
	ck_assert_uint_eq(mark.run_ns, 20000000);
	expect_time(reasons[_i]);
	/* Nothing is asked of it any more. */
	fake.read_error = 0;
	progress_begin(&progress);
	progress_mark(&progress, &mark);
	ck_assert_int_eq(mark.unit, PROGRESS_TIME);
}
END_TEST

START_TEST(goes_backwards)
{
	struct progress_mark mark;

	(void)fake_counter_run(&fake, 777);
	progress_begin(&progress);
	fake.count -= 100;
	progress_mark(&progress, &mark);
	ck_assert_int_eq(mark.unit, PROGRESS_TIME);
	expect_time("backwards");
}
END_TEST

START_TEST(cannot_be_kept_quiet)
{
	struct progress_mark goal = mark_at(30000000);

	fake.disarm_error = EIO;
	ck_assert_int_eq(travel(&goal), PROGRESS_NEAR);
	expect_time("kept quiet");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("progress");
	TCase *tests = tcase_create("ways");
	SRunner *runner = srunner_create(suite);

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_loop_test(tests, comes_near, 0, 7);
	tcase_add_loop_test(tests, by_time, 0, 3);
	tcase_add_test(tests, no_counter);
	tcase_add_loop_test(tests, other_speeds, 0, 2);
	tcase_add_test(tests, later_than_in_the_trial);
	tcase_add_test(tests, loses_events);
	tcase_add_test(tests, loses_many_events);
	tcase_add_test(tests, is_shared);
	tcase_add_loop_test(tests, cannot_be_read, 0, 2);
	tcase_add_test(tests, gives_no_signal);
	tcase_add_test(tests, stops_counting);
	tcase_add_test(tests, stops_counting_late);
	tcase_add_test(tests, passes);
	tcase_add_test(tests, passes_while_looking);
	tcase_add_loop_test(tests, absurd_goals, 0, 6);
	tcase_add_test(tests, count_too_small);
	tcase_add_test(tests, marks);
	tcase_add_loop_test(tests, marks_without_count, 0, 3);
	tcase_add_test(tests, goes_backwards);
	tcase_add_test(tests, cannot_be_kept_quiet);
	tcase_set_timeout(tests, 60);
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_NORMAL);
	int failures = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
