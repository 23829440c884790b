/* A follower's source: what its leader wrote, at the same positions, and nothing before the leader allows it. */
#include "tests/unit/following.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

#include "devices/device.h"

/* Asks for the time. */
static result ask_time(const struct source_view *view, struct input *input)
{
	memset(input, 0xEE, sizeof(*input));
	return follower.source.operations->time(&follower.source, view, input);
}

static struct input next_time(const struct source_view *view)
{
	struct input input;

	must_succeed(ask_time(view, &input));
	return input;
}

/* The leader's progress. */
static void reach(uint64_t position)
{
	checked_word_store(&replicas.own[0].control->reached, position);
	futex_signal(&replicas.own[0].control->sequence);
}

static void write_number(enum tape_kind kind, uint64_t position, uint64_t value)
{
	(void)tape_write(&tape, kind, position, &value, sizeof(value));
}

static void must_diverge(const struct source_view *view, enum status status, const char *words)
{
	struct input input;

	must_fail(follower.source.operations->next(&follower.source, view, &input), status, words);
}

START_TEST(entries_in_order)
{
	struct source_view view = replicas_view(5, 1000);
	struct input input;

	replicas_type(&replicas, "abc", 3);
	atomic_store(&replicas.supervisor->buttons, 1);
	(void)tape_write(&tape, TAPE_CONSOLE, 5, "abc", 3);
	(void)tape_write(&tape, TAPE_BUTTON, 5, NULL, 0);
	write_number(TAPE_TIME, 5, 2000);
	write_number(TAPE_VOTE, 7, VOTE_CAUSE_INTERVAL);
	reach(8);
	input = next(&view);
	ck_assert_int_eq(input.kind, INPUT_CONSOLE);
	ck_assert_uint_eq(input.length, 3);
	ck_assert_mem_eq(input.data, "abc", 3);
	ck_assert_int_eq(next(&view).kind, INPUT_BUTTON);
	input = next(&view);
	ck_assert_int_eq(input.kind, INPUT_TIME);
	ck_assert_uint_eq(input.value, 2000);
	/* What it has read, the leader may write over. */
	ck_assert_uint_eq(atomic_load(&replicas.own[2].control->tape_read), 24 + 16 + 24);
	/* The vote is at 7: positions 5 and 6 are closed. */
	ck_assert_int_eq(next(&view).kind, INPUT_CLOSED);
	view.position = 6;
	ck_assert_int_eq(next(&view).kind, INPUT_CLOSED);
	view.position = 7;
	input = next(&view);
	ck_assert_int_eq(input.kind, INPUT_VOTE);
	ck_assert_uint_eq(input.value, VOTE_CAUSE_INTERVAL);
	ck_assert_int_eq(next(&view).kind, INPUT_CLOSED);
	ck_assert_uint_eq(atomic_load(&replicas.own[2].control->tape_read), tape.at);
	ck_assert_uint_eq(replicas.own[2].control->statistics.lag_max, 3);
}
END_TEST

struct act {
	void (*act)(void);
	_Atomic bool done;
};

static void *act_later(void *context)
{
	struct act *act = context;
	const struct timespec pause = { .tv_nsec = 40 * 1000 * 1000 };

	nanosleep(&pause, NULL);
	atomic_store(&act->done, true);
	act->act();
	return NULL;
}

/* Asks while somebody acts 40 ms later: the answer must not come before. */
static struct input next_after(void (*act)(void), const struct source_view *view)
{
	struct act later = { .act = act };
	pthread_t thread;

	ck_assert_int_eq(pthread_create(&thread, NULL, act_later, &later), 0);
	struct input input = next(view);
	bool done = atomic_load(&later.done);

	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert_msg(done, "the answer came before its time");
	return input;
}

static void reach_6(void)
{
	reach(6);
}

static void press_at_5(void)
{
	atomic_store(&replicas.supervisor->buttons, 1);
	(void)tape_write(&tape, TAPE_BUTTON, 5, NULL, 0);
	futex_signal(&replicas.own[0].control->sequence);
}

static void press_at_5_and_go_on(void)
{
	press_at_5();
	reach(6);
}

static void command_end(void)
{
	atomic_store(&replicas.supervisor->command, COMMAND_END);
	futex_signal(&replicas.own[0].control->sequence);
}

/* The licence to enter a segment is the leader's having left it. */
START_TEST(licence)
{
	const struct source_view view = replicas_view(5, 0);

	reach(5);
	ck_assert_int_eq(next_after(reach_6, &view).kind, INPUT_CLOSED);
	ck_assert_uint_gt(replicas.own[2].control->statistics.time.ns[STAGE_WAIT_LEADER], 30 * NS_PER_MS);
	ck_assert_uint_eq(atomic_load(&replicas.own[2].control->waiting), 0);
}
END_TEST

START_TEST(late_entry)
{
	const struct source_view view = replicas_view(5, 0);

	reach(5);
	ck_assert_int_eq(next_after(press_at_5, &view).kind, INPUT_BUTTON);
	ck_assert_int_eq(next_after(reach_6, &view).kind, INPUT_CLOSED);
}
END_TEST

/* An entry and the next position at one stroke: the entry comes first. */
START_TEST(entry_before_licence)
{
	const struct source_view view = replicas_view(5, 0);

	reach(5);
	ck_assert_int_eq(next_after(press_at_5_and_go_on, &view).kind, INPUT_BUTTON);
	ck_assert_int_eq(next(&view).kind, INPUT_CLOSED);
}
END_TEST

START_TEST(leaves)
{
	const struct source_view view = replicas_view(5, 0);

	reach(5);
	ck_assert_int_eq(next_after(command_end, &view).kind, INPUT_LEAVE);
	/* Nothing holds it any more, not even the time it asks for. */
	ck_assert_int_eq(next_time(&view).kind, INPUT_LEAVE);
	(void)tape_write(&tape, TAPE_BUTTON, 5, NULL, 0);
	ck_assert_int_eq(next(&view).kind, INPUT_LEAVE);
}
END_TEST

START_TEST(time_when_asked)
{
	const struct source_view view = replicas_view(5, 1000);
	struct input input;

	write_number(TAPE_TIME, 5, 1234);
	reach(6);
	input = next_time(&view);
	ck_assert_int_eq(input.kind, INPUT_TIME);
	ck_assert_uint_eq(input.value, 1234);
	ck_assert_uint_eq(atomic_load(&replicas.own[2].control->tape_read), tape.at);
	ck_assert_int_eq(next(&view).kind, INPUT_CLOSED);
}
END_TEST

static uint64_t host_now(void)
{
	return clock_monotonic_ns() - replicas.host_zero;
}

/* Time must not go back, nor run ahead of what this host's clock says. */
START_TEST(implausible_time)
{
	const struct source_view view = replicas_view(5, 1000);
	const uint64_t wrong[] = { 0, 999, host_now() + 60 * NS_PER_S, UINT64_MAX };
	struct input input;

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		begin_following();
		reach(100);
		const struct replica_statistics *statistics = &replicas.own[2].control->statistics;

		write_number(TAPE_TIME, 5, wrong[i]);
		must_diverge(&view, STATUS_NO_MAJORITY, "the leader's time is not plausible");
		ck_assert_uint_eq(statistics->input_faults, 1);
		must_fail(ask_time(&view, &input), STATUS_NO_MAJORITY,
			  "the leader's time is not plausible");
		ck_assert_uint_eq(statistics->input_faults, 2);
	}
	/* The same moment, and now, are fine. */
	begin_following();
	reach(100);
	write_number(TAPE_TIME, 5, 1000);
	write_number(TAPE_TIME, 5, host_now());
	input = next(&view);
	ck_assert_uint_eq(input.value, 1000);
	input = next(&view);
	ck_assert_int_eq(input.kind, INPUT_TIME);
	ck_assert_uint_eq(replicas.own[2].control->statistics.input_faults, 0);
}
END_TEST

/* The same guest asks at the same position: anything else is a divergence. */
START_TEST(time_that_the_leader_did_not_read)
{
	const struct source_view view = replicas_view(5, 0);
	struct input input;

	reach(6);
	must_fail(ask_time(&view, &input), STATUS_NO_MAJORITY,
		  "reads the clock at position 5 and its leader did not");
	(void)tape_write(&tape, TAPE_BUTTON, 5, NULL, 0);
	must_fail(ask_time(&view, &input), STATUS_NO_MAJORITY,
		  "reads the clock at position 5 and its leader did not");
}
END_TEST

START_TEST(entry_left_over)
{
	const struct source_view view = replicas_view(6, 0);
	struct input input;

	write_number(TAPE_TIME, 5, 100);
	reach(8);
	must_diverge(&view, STATUS_FAILED, "a time entry left over from position 5 at position 6");
	must_fail(ask_time(&view, &input), STATUS_FAILED, "left over");
}
END_TEST

START_TEST(more_keys_than_room)
{
	struct source_view view = replicas_view(5, 0);

	view.console_room = 2;
	replicas_type(&replicas, "abc", 3);
	(void)tape_write(&tape, TAPE_CONSOLE, 5, "abc", 3);
	reach(6);
	must_diverge(&view, STATUS_NO_MAJORITY, "3 key presses where there is room for 2");
	view.console_room = 3;
	ck_assert_int_eq(next(&view).kind, INPUT_CONSOLE);
}
END_TEST

START_TEST(votes_have_a_reason)
{
	const struct source_view view = replicas_view(5, 0);
	const uint64_t wrong[] = { 0, VOTE_CAUSES, UINT64_MAX, UINT64_C(1) << 32 | VOTE_CAUSE_END };

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		begin_following();
		write_number(TAPE_VOTE, 5, wrong[i]);
		reach(6);
		must_diverge(&view, STATUS_NO_MAJORITY, "votes for a reason that does not exist");
	}
}
END_TEST

/* Where its leader was preempted, a follower is told to stop; one that does not run there has diverged. */
START_TEST(stops)
{
	struct source_view view = replicas_view(5, 1000);
	struct stop_point stop = { .run_ns = 7, .recurs_ns = 8, .code_at = 9 };
	struct input input;

	stop.cpu.rip = 0x1234;
	(void)tape_write(&tape, TAPE_STOP, 5, &stop, sizeof(stop));
	reach(6);
	view.must_wait = true;
	must_diverge(&view, STATUS_NO_MAJORITY, "preempted where this replica does not run");
	view.must_wait = false;
	view.ended = true;
	must_diverge(&view, STATUS_NO_MAJORITY, "preempted where this replica does not run");
	view.ended = false;
	input = next(&view);
	ck_assert_int_eq(input.kind, INPUT_STOP);
	ck_assert_mem_eq(input.stop, &stop, sizeof(stop));
	/* The segment is entered once. */
	ck_assert_uint_eq(follower.tape.at, tape.at);
	view.position = 6;
	reach(7);
	ck_assert_int_eq(next(&view).kind, INPUT_CLOSED);
}
END_TEST

START_TEST(halted_or_ended_alone)
{
	struct source_view view = replicas_view(5, 0);

	reach(6);
	view.must_wait = true;
	must_diverge(&view, STATUS_NO_MAJORITY, "this replica is halted at position 5 and its leader went on");
	view.must_wait = false;
	view.ended = true;
	must_diverge(&view, STATUS_NO_MAJORITY, "this replica is at its end at position 5 and its leader went on");
	/* Halted together: whatever wakes the leader is on the tape. */
	view.ended = false;
	view.must_wait = true;
	reach(5);
	ck_assert_int_eq(next_after(press_at_5, &view).kind, INPUT_BUTTON);
}
END_TEST

START_TEST(damaged_tape)
{
	const struct source_view view = replicas_view(5, 0);
	struct input input;

	write_number(TAPE_TIME, 5, 100);
	reach(6);
	replicas.own[0].tape.data[20] ^= 1;
	replicas.own[0].tape_mirror.data[20] ^= 2;
	must_diverge(&view, STATUS_FAILED, "the tape is damaged");
	must_fail(ask_time(&view, &input), STATUS_FAILED, "the tape is damaged");
	/* One good copy is enough, for either question. */
	replicas.own[0].tape_mirror.data[20] ^= 2;
	uint64_t mended = follower.tape.mended;

	input = next_time(&view);
	ck_assert_int_eq(input.kind, INPUT_TIME);
	ck_assert_uint_eq(input.value, 100);
	ck_assert_uint_eq(follower.tape.mended, mended + 1);
}
END_TEST

/* A real leader and a real follower, each in a thread of its own: the same inputs at the same positions. */
enum { POSITIONS = 30000, HISTORY = 100000 };

struct history {
	size_t count;
	struct event {
		uint64_t position, value;
		enum input_kind kind;
	} events[HISTORY];
};

static struct history histories[2];

static void note(struct history *history, uint64_t position, enum input_kind kind, uint64_t value)
{
	if (history->count < HISTORY)
		history->events[history->count++] = (struct event){ position, value, kind };
}

/* One replica's life without a machine: every third exit reads the clock, every 50th sends the guest to sleep. */
static bool live_a_life(struct source *source, struct control *own, struct history *history)
{
	struct source_view view = replicas_view(0, 0);

	for (uint64_t position = 1; position <= POSITIONS; position++) {
		struct input input;

		view.position = position;
		view.exits_unvoted++;
		view.must_wait = position % 500 == 0;
		view.deadline = view.must_wait ? view.now : DEVICE_NO_DEADLINE;
		checked_word_store(&own->reached, position);
		if (position % 3 == 0) {
			if (failed(source->operations->time(source, &view, &input)) || input.kind != INPUT_TIME)
				return false;
			view.now = input.value;
			note(history, position, INPUT_TIME, view.now);
		}
		for (;;) {
			if (failed(source->operations->next(source, &view, &input)))
				return false;
			if (input.kind == INPUT_CLOSED)
				break;
			note(history, position, input.kind, input.kind == INPUT_CONSOLE ? input.data[0] : input.value);
			if (input.kind == INPUT_TIME) {
				view.now = input.value;
				view.must_wait = false;
				view.deadline = DEVICE_NO_DEADLINE;
			} else if (input.kind == INPUT_CONSOLE) {
				view.console_taken += input.length;
			} else if (input.kind == INPUT_VOTE) {
				view.exits_unvoted = 0;
			} else if (input.kind == INPUT_LEAVE) {
				return false;
			}
		}
	}
	/* The leader's last segment: so that followers may end, too. */
	checked_word_store(&own->reached, POSITIONS + 1);
	futex_signal(&own->sequence);
	return true;
}

static void *lead(void *context)
{
	static struct source_live live;
	const struct source_links links = replicas_links(&replicas, 0);

	(void)context;
	source_live_init(&live, &links, NS_PER_MS);
	return live_a_life(&live.source, replicas.own[0].control, &histories[0]) ? NULL : &live;
}

static void *follow(void *context)
{
	(void)context;
	return live_a_life(&follower.source, replicas.own[2].control, &histories[1]) ? NULL : &follower;
}

START_TEST(leader_and_follower)
{
	pthread_t leader, reader;
	void *wrong[2];
	size_t keys = 0, votes = 0;

	atomic_store(&replicas.supervisor->live, 5); /* replica 1 is gone */
	/* Before they begin: they may be done before the first of the others is typed. */
	replicas_type(&replicas, "~", 1);
	ck_assert_int_eq(pthread_create(&leader, NULL, lead, NULL), 0);
	ck_assert_int_eq(pthread_create(&reader, NULL, follow, NULL), 0);
	for (unsigned i = 0; i < 100; i++) {
		const char key = (char)('!' + i % 90);
		const struct timespec pause = { .tv_nsec = 200 * 1000 };

		replicas_type(&replicas, &key, 1);
		nanosleep(&pause, NULL);
	}
	ck_assert_int_eq(pthread_join(leader, &wrong[0]), 0);
	ck_assert_int_eq(pthread_join(reader, &wrong[1]), 0);
	ck_assert_ptr_null(wrong[0]);
	ck_assert_ptr_null(wrong[1]);
	ck_assert_uint_lt(histories[0].count, HISTORY);
	ck_assert_uint_eq(histories[0].count, histories[1].count);
	for (size_t i = 0; i < histories[0].count; i++) {
		const struct event *a = &histories[0].events[i], *b = &histories[1].events[i];

		if (a->position != b->position || a->kind != b->kind || a->value != b->value)
			ck_abort_msg("event %zu differs: at %ju kind %d, at %ju kind %d", i, (uintmax_t)a->position,
				     (int)a->kind, (uintmax_t)b->position, (int)b->kind);
		keys += a->kind == INPUT_CONSOLE;
		votes += a->kind == INPUT_VOTE;
	}
	ck_assert_uint_gt(keys, 0);
	ck_assert_uint_gt(votes, 0);
	ck_assert_uint_ge(histories[0].count, POSITIONS / 3);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("source_tape");
	TCase *tests = tcase_create("follower");

	tcase_add_checked_fixture(tests, begin_following, NULL);
	tcase_add_test(tests, entries_in_order);
	tcase_add_test(tests, licence);
	tcase_add_test(tests, late_entry);
	tcase_add_test(tests, entry_before_licence);
	tcase_add_test(tests, leaves);
	tcase_add_test(tests, time_when_asked);
	tcase_add_test(tests, implausible_time);
	tcase_add_test(tests, time_that_the_leader_did_not_read);
	tcase_add_test(tests, entry_left_over);
	tcase_add_test(tests, more_keys_than_room);
	tcase_add_test(tests, votes_have_a_reason);
	tcase_add_test(tests, stops);
	tcase_add_test(tests, halted_or_ended_alone);
	tcase_add_test(tests, damaged_tape);
	tcase_add_test(tests, leader_and_follower);
	tcase_set_timeout(tests, 60);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
