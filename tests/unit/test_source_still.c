/* A machine that is to stand still, and one that is to be reset: its leader makes it so, its followers see to it. */
#include "tests/unit/replicas.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

#include "devices/device.h"
#include "lockstep/guest_time.h"

static struct replicas replicas;
static struct source_live live;
static struct source_tape follower;
static struct tape_reader tape;

static void setup(void)
{
	replicas_make(&replicas, 2);
	const struct source_links leader = replicas_links(&replicas, 0);
	const struct source_links other = replicas_links(&replicas, 1);

	source_live_init(&live, &leader, 1000 * NS_PER_S);
	source_tape_init(&follower, &other, 0, 0);
	tape = (struct tape_reader){
		.ring = replicas.own[0].tape,
		.mirror = replicas.own[0].tape_mirror,
		.written = &replicas.own[0].control->tape_written,
	};
}

static struct input next(const struct source_view *view)
{
	return replicas_next(&live.source, view);
}

static struct input follow(const struct source_view *view)
{
	return replicas_next(&follower.source, view);
}

/* At a position at which so much was done since the last vote. */
static struct source_view view_at(uint64_t position, uint64_t unvoted)
{
	struct source_view view = replicas_view(position, 0);

	view.exits_unvoted = unvoted;
	view.may_vote = true;
	return view;
}

static void *call_later(void *unused)
{
	const struct timespec span = { .tv_nsec = 50 * NS_PER_MS };

	(void)unused;
	(void)nanosleep(&span, NULL);
	replicas_call(&replicas, 0);
	return NULL;
}

/* Whether the leader stays where it is until somebody calls it. */
static bool stays(const struct source_view *view)
{
	pthread_t caller;
	struct input input;

	ck_assert_int_eq(pthread_create(&caller, NULL, call_later, NULL), 0);
	input = next(view);
	ck_assert_int_eq(pthread_join(caller, NULL), 0);
	replicas.attention_seen[0] = atomic_load(&replicas.supervisor->attention[0]);
	return input.kind == INPUT_ATTENTION;
}

/* A vote, so that all output leaves, and then nothing: no time, no keys, no button, no next position. */
START_TEST(stands_still)
{
	struct source_view view = view_at(5, 3);
	struct input input;

	guest_time_freeze(replicas.supervisor);
	replicas_type(&replicas, "abc", 3);
	atomic_store(&replicas.supervisor->buttons, 1);
	input = next(&view);
	ck_assert_int_eq(input.kind, INPUT_VOTE);
	ck_assert_uint_eq(input.value, VOTE_CAUSE_PAUSE);
	view.exits_unvoted = 0;
	view.deadline = 1;
	view.now = guest_time_now(replicas.supervisor);
	ck_assert(stays(&view));
	/* What was typed is there when it goes on. */
	guest_time_thaw(replicas.supervisor);
	view.deadline = DEVICE_NO_DEADLINE;
	input = next(&view);
	ck_assert_int_eq(input.kind, INPUT_CONSOLE);
	ck_assert_uint_eq(input.length, 3);
	view.console_taken = 3;
	ck_assert_int_eq(next(&view).kind, INPUT_BUTTON);
	view.buttons_taken = 1;
	ck_assert_int_eq(next(&view).kind, INPUT_CLOSED);
}
END_TEST

/* Before its first instruction there is nothing to vote on. */
START_TEST(stands_at_the_beginning)
{
	struct source_view view = view_at(0, 0);

	guest_time_freeze(replicas.supervisor);
	ck_assert(stays(&view));
	guest_time_thaw(replicas.supervisor);
	ck_assert_int_eq(next(&view).kind, INPUT_CLOSED);
}
END_TEST

/* Where nothing was voted on, though a vote was tried, the guest has to go on to where one is possible. */
START_TEST(stands_later)
{
	struct source_view view = view_at(5, 3);

	guest_time_freeze(replicas.supervisor);
	ck_assert_int_eq(next(&view).kind, INPUT_VOTE);
	ck_assert_int_eq(next(&view).kind, INPUT_CLOSED);
	view = view_at(6, 4);
	ck_assert_int_eq(next(&view).kind, INPUT_VOTE);
	/* One that is halted has nowhere to go. */
	view.must_wait = true;
	ck_assert(stays(&view));
}
END_TEST

/* A repair needs a vote, and gets it. */
START_TEST(votes_when_asked)
{
	struct source_view view = view_at(5, 0);
	struct input input;

	guest_time_freeze(replicas.supervisor);
	atomic_fetch_add(&replicas.supervisor->vote_request, 1);
	input = next(&view);
	ck_assert_int_eq(input.kind, INPUT_VOTE);
	ck_assert_uint_eq(input.value, VOTE_CAUSE_REQUEST);
	ck_assert(stays(&view));
	/* So does one whose guest has ended. */
	view.ended = view.end_voted = true;
	atomic_fetch_add(&replicas.supervisor->vote_request, 1);
	ck_assert_int_eq(next(&view).kind, INPUT_VOTE);
	ck_assert(stays(&view));
}
END_TEST

/* Time stands still, for an exit that asks for it, too. */
START_TEST(time_stands_still)
{
	const struct source_view view = view_at(5, 3);
	struct input input;
	uint64_t frozen;

	guest_time_freeze(replicas.supervisor);
	frozen = guest_time_now(replicas.supervisor);
	must_succeed(live.source.operations->time(&live.source, &view, &input));
	ck_assert_uint_eq(input.value, frozen);
}
END_TEST

/* A leader inside its guest is to come out. */
START_TEST(needed_inside)
{
	const struct source_view view = view_at(5, 0);
	uint64_t begin = clock_monotonic_ns(), at;

	ck_assert_int_eq(source_live_needs(&live, &view, begin, NS_PER_S, begin + 1, &at), SOURCE_NEEDS_NOTHING);
	atomic_fetch_add(&replicas.supervisor->resets, 1);
	ck_assert_int_eq(source_live_needs(&live, &view, begin, NS_PER_S, begin + 1, &at), SOURCE_NEEDS_INPUT);
	guest_time_freeze(replicas.supervisor);
	ck_assert_int_eq(source_live_needs(&live, &view, begin, NS_PER_S, begin + 1, &at), SOURCE_NEEDS_VOTE);
}
END_TEST

/* The leader takes it where the state is good for a vote, followers at the same place; and once. */
START_TEST(reset)
{
	struct source_view view = view_at(5, 3);
	struct tape_entry entry;
	bool there;

	atomic_fetch_add(&replicas.supervisor->resets, 1);
	view.may_vote = false;
	ck_assert_int_eq(next(&view).kind, INPUT_CLOSED);
	view = view_at(6, 4);
	ck_assert_int_eq(next(&view).kind, INPUT_RESET);
	must_succeed(tape_peek(&tape, &entry, &there));
	ck_assert(there);
	ck_assert_int_eq(entry.kind, TAPE_RESET);
	ck_assert_uint_eq(entry.position, 6);
	checked_word_store(&replicas.own[0].control->reached, 6);
	ck_assert_int_eq(follow(&view).kind, INPUT_RESET);
	view.resets_taken = 1;
	ck_assert_int_eq(next(&view).kind, INPUT_CLOSED);
}
END_TEST

/* One that stands still, and one whose guest is off. */
START_TEST(reset_of_what_stands)
{
	struct source_view view = view_at(5, 0);

	guest_time_freeze(replicas.supervisor);
	atomic_fetch_add(&replicas.supervisor->resets, 1);
	ck_assert_int_eq(next(&view).kind, INPUT_RESET);
	view.ended = true;
	ck_assert_int_eq(next(&view).kind, INPUT_VOTE);
	view.end_voted = true;
	ck_assert_int_eq(next(&view).kind, INPUT_RESET);
	view.resets_taken = 1;
	ck_assert(stays(&view));
}
END_TEST

static void must_diverge(const struct source_view *view, const char *why)
{
	struct input input;
	result r = follower.source.operations->next(&follower.source, view, &input);

	ck_assert(failed(r));
	ck_assert_ptr_nonnull(strstr(r.failure->message, why));
}

START_TEST(wrong_reset)
{
	struct tape_writer writer = {
		.ring = replicas.own[0].tape,
		.mirror = replicas.own[0].tape_mirror,
		.written = &replicas.own[0].control->tape_written,
	};
	struct source_view view = view_at(5, 3);

	(void)tape_write(&writer, TAPE_RESET, 5, NULL, 0);
	checked_word_store(&replicas.own[0].control->reached, 5);
	must_diverge(&view, "of which nobody wanted that");
	atomic_fetch_add(&replicas.supervisor->resets, 1);
	view.may_vote = false;
	must_diverge(&view, "where this replica cannot be");
	view.may_vote = true;
	view.ended = true;
	must_diverge(&view, "where this replica cannot be");
	view.end_voted = true;
	ck_assert_int_eq(follow(&view).kind, INPUT_RESET);
}
END_TEST

/* Times of before a pause are plausible behind it. */
START_TEST(time_of_before)
{
	struct tape_writer writer = {
		.ring = replicas.own[0].tape,
		.mirror = replicas.own[0].tape_mirror,
		.written = &replicas.own[0].control->tape_written,
	};
	const struct source_view view = view_at(5, 3);
	uint64_t now = guest_time_now(replicas.supervisor);
	struct input input;

	guest_time_freeze(replicas.supervisor);
	ck_assert(stays(&(struct source_view){ .position = 0, .deadline = DEVICE_NO_DEADLINE }));
	guest_time_thaw(replicas.supervisor);
	(void)tape_write(&writer, TAPE_TIME, 5, &now, sizeof(now));
	checked_word_store(&replicas.own[0].control->reached, 5);
	input = follow(&view);
	ck_assert_int_eq(input.kind, INPUT_TIME);
	ck_assert_uint_eq(input.value, now);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("source_still");
	TCase *tests = tcase_create("still");

	tcase_add_checked_fixture(tests, setup, NULL);
	tcase_add_test(tests, stands_still);
	tcase_add_test(tests, stands_at_the_beginning);
	tcase_add_test(tests, stands_later);
	tcase_add_test(tests, votes_when_asked);
	tcase_add_test(tests, time_stands_still);
	tcase_add_test(tests, needed_inside);
	tcase_add_test(tests, reset);
	tcase_add_test(tests, reset_of_what_stands);
	tcase_add_test(tests, wrong_reset);
	tcase_add_test(tests, time_of_before);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
