/* Which backend tells progress: counters of every kind are tried, and refused, with the reason, if they are no good. */
#include "tests/unit/fake_counter.h"
#include "tests/unit/guest_machine.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

static struct progress progress;

static void create(struct fake_counter *fake)
{
	struct progress_track track = fake_counter_track(fake);

	progress_create_with(&progress, &fake_counter_calls, fake, &track);
}

/* Destroys it, and sees that nothing is left open. */
static void end(const struct fake_counter *fake)
{
	progress_destroy(&progress);
	ck_assert_uint_eq(fake->opened, fake->closed);
}

static void expect_refused(struct fake_counter *fake, const char *why)
{
	create(fake);
	ck_assert_int_eq(progress.unit, PROGRESS_TIME);
	ck_assert_msg(strstr(progress.reason, why), "'%s' does not say '%s'", progress.reason, why);
	end(fake);
}

static void expect_used(struct fake_counter *fake, enum progress_unit unit)
{
	create(fake);
	ck_assert_msg(progress.unit == unit, "%s: %s", progress_unit_name(progress.unit), progress.reason);
	ck_assert_str_eq(progress.reason, "");
	ck_assert_uint_eq(fake->opened, fake->closed + 1);
	ck_assert(!fake->armed);
}

START_TEST(exact)
{
	struct fake_counter fake = { .skid = 0 };

	expect_used(&fake, PROGRESS_BRANCHES);
	ck_assert_uint_eq(progress.quality.error, 0);
	ck_assert_uint_eq(progress.quality.skid, 0);
	ck_assert_uint_gt(progress_margin(&progress, 0), 0);
	end(&fake);
}
END_TEST

START_TEST(late_signals)
{
	struct fake_counter fake = { .skid = 700 };

	expect_used(&fake, PROGRESS_BRANCHES);
	ck_assert_uint_eq(progress.quality.error, 0);
	ck_assert_uint_eq(progress.quality.skid, 700);
	ck_assert_uint_gt(progress_margin(&progress, 0), 2 * 700);
	end(&fake);
}
END_TEST

START_TEST(very_late_signals)
{
	struct fake_counter fake = { .skid = 200000 };

	expect_refused(&fake, "the counter's signal does not stop a guest in time");
}
END_TEST

START_TEST(no_signals)
{
	struct fake_counter fake = { .mute = true };

	expect_refused(&fake, "does not stop a guest in time");
}
END_TEST

START_TEST(loses_some)
{
	struct fake_counter fake = { .loses = 1000 };

	expect_used(&fake, PROGRESS_BRANCHES);
	ck_assert_uint_ge(progress.quality.error, 1000);
	ck_assert_uint_le(progress.quality.error, 1100);
	end(&fake);
}
END_TEST

START_TEST(loses_many)
{
	struct fake_counter fake = { .loses = 100 };

	expect_refused(&fake, "the counter counts 1038");
}
END_TEST

START_TEST(is_shared)
{
	struct fake_counter fake = { .shared = true };

	expect_refused(&fake, "shared with others");
}
END_TEST

START_TEST(stops_counting)
{
	struct fake_counter fake = { .stops_at = 400000 };

	expect_refused(&fake, "the counter counts 400000 where there are 1048576");
}
END_TEST

START_TEST(counts_the_host)
{
	/* Too little to be seen in a run of the guest. */
	struct fake_counter fake = { .host = 2000 };

	expect_refused(&fake, "counts what the host does, too");
	fake = (struct fake_counter){ .host = 500 };
	expect_used(&fake, PROGRESS_BRANCHES);
	ck_assert_uint_ge(progress.quality.error, 500);
	end(&fake);
}
END_TEST

START_TEST(not_permitted)
{
	static const int errors[] = { EACCES, EPERM };
	struct fake_counter fake = {
		.open_error = { [PROGRESS_BRANCHES] = errors[_i], [PROGRESS_INSTRUCTIONS] = errors[_i] },
	};

	expect_refused(&fake, "perf_event_paranoid");
	ck_assert_int_eq(progress.open_error, errors[_i]);
}
END_TEST

START_TEST(not_there)
{
	static const int errors[] = { ENOENT, ENODEV, EOPNOTSUPP, ENOSYS, EINVAL };
	struct fake_counter fake = {
		.open_error = { [PROGRESS_BRANCHES] = errors[_i], [PROGRESS_INSTRUCTIONS] = errors[_i] },
	};

	expect_refused(&fake, "this host has no counters");
	ck_assert_int_eq(progress.open_error, errors[_i]);
}
END_TEST

START_TEST(other_errors)
{
	struct fake_counter fake = { .open_error = { 0, EMFILE, EMFILE } };

	expect_refused(&fake, strerror(EMFILE));
	fake = (struct fake_counter){ .read_error = EIO };
	expect_refused(&fake, strerror(EIO));
	fake = (struct fake_counter){ .arm_error = EIO };
	expect_refused(&fake, "no signal");
	fake = (struct fake_counter){ .disarm_error = EIO };
	expect_refused(&fake, "quiet");
}
END_TEST

START_TEST(instructions_instead)
{
	struct fake_counter fake = { .open_error = { [PROGRESS_BRANCHES] = ENOENT }, .skid = 10 };

	expect_used(&fake, PROGRESS_INSTRUCTIONS);
	ck_assert_uint_eq(progress.quality.skid, 20 + 1); /* it was due in the middle of a round */
	end(&fake);
}
END_TEST

/* The first refusal is the one that is told. */
START_TEST(first_reason)
{
	struct fake_counter fake = { .open_error = { [PROGRESS_INSTRUCTIONS] = ENOENT }, .mute = true };

	expect_refused(&fake, "the counter's signal");
}
END_TEST

START_TEST(signals_of_others)
{
	struct fake_counter fake = { .strangers = 100 };

	expect_used(&fake, PROGRESS_BRANCHES);
	end(&fake);
}
END_TEST

START_TEST(endless_guest)
{
	struct fake_counter fake = { .endless = true };

	expect_refused(&fake, "the trial's guest does not end");
}
END_TEST

/* --- the guest on KVM --- */

static void run_out(const struct progress_track *track, uint64_t rounds)
{
	uint64_t done = 0;
	bool ended = false;

	must_succeed(track->begin(track->context, rounds));
	while (!ended)
		must_succeed(track->run(track->context, &ended));
	must_succeed(track->completed(track->context, &done));
	ck_assert_uint_eq(done, rounds);
}

START_TEST(track_ends)
{
	struct progress_track track;
	struct sigaction before, after;

	ck_assert_int_eq(sigaction(SIGUSR1, NULL, &before), 0);
	must_succeed(progress_track_open(&track, SIGUSR1));
	run_out(&track, 1);
	run_out(&track, 1 << 20);
	run_out(&track, 3);
	progress_track_close(&track);
	ck_assert_int_eq(sigaction(SIGUSR1, NULL, &after), 0);
	ck_assert(before.sa_handler == after.sa_handler);
}
END_TEST

/* A signal stops it in the middle, and then it is somewhere: the track's own timer is one. */
START_TEST(track_is_stopped)
{
	const uint64_t rounds = UINT64_C(1) << 50;
	struct progress_track track;
	uint64_t first = 0, second = 0;
	bool ended = false;

	must_succeed(progress_track_open(&track, SIGUSR1));
	must_succeed(track.begin(track.context, rounds));
	while (first == 0) {
		must_succeed(track.run(track.context, &ended));
		ck_assert(!ended);
		must_succeed(track.completed(track.context, &first));
	}
	while (second <= first) {
		must_succeed(track.run(track.context, &ended));
		ck_assert(!ended);
		must_succeed(track.completed(track.context, &second));
		ck_assert_uint_ge(second, first);
	}
	/* Begun anew from where it was. */
	run_out(&track, 1000);
	progress_track_close(&track);
}
END_TEST

START_TEST(track_that_hangs)
{
	struct progress_track track;
	bool ended = false;
	result r = OK;

	must_succeed(progress_track_open(&track, SIGUSR1));
	must_succeed(track.begin(track.context, UINT64_MAX));
	while (!failed(r) && !ended)
		r = track.run(track.context, &ended);
	ck_assert(failed(r));
	ck_assert_ptr_nonnull(strstr(r.failure->message, "too long"));
	progress_track_close(&track);
}
END_TEST

/* Whatever this host has: one of the two is used, and the reason fits. */
START_TEST(this_host)
{
	progress_create(&progress, SIGUSR1, false);
	ck_assert_int_eq(progress.unit == PROGRESS_TIME, progress.reason[0] != '\0');
	progress_destroy(&progress);
	progress_create_time(&progress, "nobody asked");
	ck_assert_int_eq(progress.unit, PROGRESS_TIME);
	ck_assert_str_eq(progress.reason, "nobody asked");
	progress_destroy(&progress);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("progress_trial");
	TCase *tests = tcase_create("trial");
	SRunner *runner = srunner_create(suite);

	tcase_add_test(tests, exact);
	tcase_add_test(tests, late_signals);
	tcase_add_test(tests, very_late_signals);
	tcase_add_test(tests, no_signals);
	tcase_add_test(tests, loses_some);
	tcase_add_test(tests, loses_many);
	tcase_add_test(tests, is_shared);
	tcase_add_test(tests, stops_counting);
	tcase_add_test(tests, counts_the_host);
	tcase_add_loop_test(tests, not_permitted, 0, 2);
	tcase_add_loop_test(tests, not_there, 0, 5);
	tcase_add_test(tests, other_errors);
	tcase_add_test(tests, instructions_instead);
	tcase_add_test(tests, first_reason);
	tcase_add_test(tests, signals_of_others);
	tcase_add_test(tests, endless_guest);
	if (guest_machine_available("progress of a guest of known length")) {
		tcase_add_test(tests, track_ends);
		tcase_add_test(tests, track_is_stopped);
		tcase_add_test(tests, track_that_hangs);
	}
	tcase_add_test(tests, this_host);
	tcase_set_timeout(tests, 60);
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_NORMAL);
	int failures = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
