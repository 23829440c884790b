/* The leader's source: time, keys, buttons and votes, each written on the tape at its position. */
#include "tests/unit/replicas.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

#include "devices/device.h"

static struct replicas replicas;
static struct source_live live;
static struct tape_reader tape;

/* One replica, and an interval that does not end during a test. */
static void start(unsigned count, uint64_t vote_interval)
{
	replicas_make(&replicas, count);
	const struct source_links links = replicas_links(&replicas, 0);

	source_live_init(&live, &links, vote_interval);
	tape = (struct tape_reader){
		.ring = replicas.own[0].tape,
		.mirror = replicas.own[0].tape_mirror,
		.written = &replicas.own[0].control->tape_written,
	};
}

static void setup(void)
{
	start(1, 1000 * NS_PER_S);
}

static struct input next(const struct source_view *view)
{
	return replicas_next(&live.source, view);
}

/* The next entry on the tape, which must be there. */
static struct tape_entry taped(enum tape_kind kind, uint64_t position)
{
	struct tape_entry entry;
	bool there;

	must_succeed(tape_peek(&tape, &entry, &there));
	ck_assert(there);
	ck_assert_int_eq(entry.kind, kind);
	ck_assert_uint_eq(entry.position, position);
	tape_consume(&tape, &entry);
	return entry;
}

static void nothing_taped(void)
{
	ck_assert_uint_eq(checked_word_load(&replicas.own[0].control->tape_written, UINT64_MAX), tape.at);
}

static uint64_t guest_now(void)
{
	return clock_monotonic_ns() - replicas.host_zero;
}

START_TEST(nothing_to_do)
{
	struct source_view view = replicas_view(5, 0);

	ck_assert_int_eq(next(&view).kind, INPUT_CLOSED);
	nothing_taped();
	view.console_room = 0;
	ck_assert_int_eq(next(&view).kind, INPUT_CLOSED);
	nothing_taped();
}
END_TEST

START_TEST(time_when_asked)
{
	const struct source_view view = replicas_view(7, 0);
	uint64_t before = guest_now(), now;
	struct input input;

	must_succeed(live.source.operations->time(&live.source, &view, &input));
	ck_assert_int_eq(input.kind, INPUT_TIME);
	now = input.value;
	ck_assert_uint_ge(now, before);
	ck_assert_uint_le(now, guest_now());
	const struct tape_entry entry = taped(TAPE_TIME, 7);

	ck_assert_uint_eq(tape_entry_value(&entry), now);
	nothing_taped();
	/* Guest time does not go back, whatever the host's clock does. */
	const struct source_view ahead = replicas_view(8, now + 1000 * NS_PER_S);

	must_succeed(live.source.operations->time(&live.source, &ahead, &input));
	ck_assert_int_eq(input.kind, INPUT_TIME);
	ck_assert_uint_eq(input.value, ahead.now);
}
END_TEST

START_TEST(time_when_due)
{
	struct source_view view = replicas_view(7, 1000);

	view.deadline = guest_now() + 1000 * NS_PER_S;
	ck_assert_int_eq(next(&view).kind, INPUT_CLOSED);
	nothing_taped();
	view.deadline = 2000;
	struct input input = next(&view);

	ck_assert_int_eq(input.kind, INPUT_TIME);
	ck_assert_uint_gt(input.value, view.now);
	ck_assert_uint_le(input.value, guest_now());
	const struct tape_entry entry = taped(TAPE_TIME, 7);

	ck_assert_uint_eq(tape_entry_value(&entry), input.value);
	/* How late that was is booked, the most of it. */
	const uint64_t *late = &live.links.own->control->statistics.late_max_ns;

	ck_assert_uint_eq(*late, input.value - view.deadline);
	view.now = input.value;
	view.deadline = input.value + 1;
	while (next(&view).kind != INPUT_TIME) {
	}
	ck_assert_uint_eq(*late, input.value - 2000);
}
END_TEST

/* Keys: no more than there is room for, no more than an entry holds, none twice. */
START_TEST(keys)
{
	char typed[200], got[200];
	struct source_view view = replicas_view(3, 0);
	const uint64_t rooms[] = { 1, 16, 1000, 0, 1000, 1000, 1000 };
	const uint64_t lengths[] = { 1, 16, 64, 0, 64, 55, 0 };

	for (unsigned i = 0; i < sizeof(typed); i++)
		typed[i] = (char)i;
	/* Across the end of the ring. */
	const uint64_t start_at = CONTROL_INPUT_SIZE - 100;

	atomic_store(&replicas.supervisor->console_written, start_at);
	view.console_taken = start_at;
	replicas_type(&replicas, typed, sizeof(typed));
	for (unsigned i = 0; i < ARRAY_SIZE(rooms); i++) {
		view.position++;
		view.console_room = rooms[i];
		struct input input = next(&view);

		ck_assert_int_eq(input.kind, lengths[i] ? INPUT_CONSOLE : INPUT_CLOSED);
		if (lengths[i] == 0)
			continue;
		ck_assert_uint_eq(input.length, lengths[i]);
		memcpy(got + (view.console_taken - start_at), input.data, input.length);
		const struct tape_entry entry = taped(TAPE_CONSOLE, view.position);

		ck_assert_uint_eq(entry.length, input.length);
		ck_assert_mem_eq(entry.payload, input.data, input.length);
		view.console_taken += input.length;
	}
	ck_assert_mem_eq(got, typed, sizeof(typed));
	nothing_taped();
}
END_TEST

START_TEST(buttons)
{
	struct source_view view = replicas_view(3, 0);

	atomic_store(&replicas.supervisor->buttons, 2);
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_int_eq(next(&view).kind, INPUT_BUTTON);
		(void)taped(TAPE_BUTTON, 3);
		view.buttons_taken++;
	}
	ck_assert_int_eq(next(&view).kind, INPUT_CLOSED);
	nothing_taped();
}
END_TEST

static void must_vote(const struct source_view *view, enum vote_cause cause)
{
	struct input input = next(view);

	ck_assert_int_eq(input.kind, INPUT_VOTE);
	ck_assert_uint_eq(input.value, cause);
	const struct tape_entry entry = taped(TAPE_VOTE, view->position);

	ck_assert_uint_eq(tape_entry_value(&entry), cause);
}

START_TEST(votes_by_backlog)
{
	struct source_view view = replicas_view(9000, 0);

	view.exits_unvoted = CONTROL_EXITS_PER_VOTE - 1;
	ck_assert_int_eq(next(&view).kind, INPUT_CLOSED);
	view.exits_unvoted++;
	must_vote(&view, VOTE_CAUSE_BACKLOG);
	view = replicas_view(9001, 0);
	view.output_pending = CONTROL_OUTPUT_PER_VOTE;
	must_vote(&view, VOTE_CAUSE_BACKLOG);
	nothing_taped();
}
END_TEST

START_TEST(votes_by_interval)
{
	start(1, 20 * NS_PER_MS);
	struct source_view view = replicas_view(1, 0);

	/* A call's time is taken before it, so that however late this thread is, an interval is no shorter. */
	uint64_t voted = 0;

	for (unsigned round = 0; round < 3; round++) {
		uint64_t asked;

		do {
			view.position++;
			asked = clock_monotonic_ns();
		} while (next(&view).kind == INPUT_CLOSED);
		ck_assert_uint_ge(clock_monotonic_ns() - voted, 20 * NS_PER_MS);
		voted = asked;
		const struct tape_entry entry = taped(TAPE_VOTE, view.position);

		ck_assert_uint_eq(tape_entry_value(&entry), VOTE_CAUSE_INTERVAL);
	}
	/* Not twice where it stands. */
	const struct timespec pause = { .tv_nsec = 30 * 1000 * 1000 };

	nanosleep(&pause, NULL);
	ck_assert_int_eq(next(&view).kind, INPUT_CLOSED);
	view.position++;
	must_vote(&view, VOTE_CAUSE_INTERVAL);
}
END_TEST

/* Output waits for company, then votes; a vote for another reason takes it along. */
START_TEST(votes_by_output)
{
	start(1, NS_PER_S);
	struct source_view view = replicas_view(1, 0);
	uint64_t begin = clock_monotonic_ns();

	view.output_pending = 1;
	ck_assert_uint_gt(live.output_delay, 0);
	ck_assert_uint_le(live.output_delay, NS_PER_S / 2);
	ck_assert_int_eq(next(&view).kind, INPUT_CLOSED);
	for (;;) {
		view.position++;
		struct input input = next(&view);

		if (input.kind == INPUT_CLOSED)
			continue;
		ck_assert_int_eq(input.kind, INPUT_VOTE);
		ck_assert_uint_eq(input.value, VOTE_CAUSE_OUTPUT);
		break;
	}
	ck_assert_uint_ge(clock_monotonic_ns() - begin, live.output_delay);
	(void)taped(TAPE_VOTE, view.position);
	/* The next output waits anew. */
	ck_assert_int_eq(next(&view).kind, INPUT_CLOSED);
}
END_TEST

START_TEST(leaves)
{
	struct source_view view = replicas_view(4, 0);

	view.exits_unvoted = CONTROL_EXITS_PER_VOTE;
	atomic_store(&replicas.supervisor->command, COMMAND_END);
	ck_assert_int_eq(next(&view).kind, INPUT_LEAVE);
	nothing_taped();
}
END_TEST

struct waker {
	void (*act)(void);
	uint64_t delay_ns;
};

static void *wake_later(void *context)
{
	const struct waker *waker = context;
	const struct timespec pause = { .tv_nsec = (long)waker->delay_ns };

	nanosleep(&pause, NULL);
	waker->act();
	return NULL;
}

static void type_key(void)
{
	replicas_type(&replicas, "k", 1);
}

static void press_button(void)
{
	atomic_store(&replicas.supervisor->buttons, 1);
	futex_signal(&replicas.supervisor->sequence);
}

static void command_end(void)
{
	atomic_store(&replicas.supervisor->command, COMMAND_END);
	futex_signal(&replicas.supervisor->sequence);
}

START_TEST(votes_at_the_end_once)
{
	struct waker waker = { command_end, 30 * NS_PER_MS };
	struct source_view view = replicas_view(4, 0);
	pthread_t thread;

	view.ended = true;
	must_vote(&view, VOTE_CAUSE_END);
	/* After it there is nothing but to leave: not for keys, not for time. */
	view.end_voted = true;
	view.deadline = 0;
	replicas_type(&replicas, "x", 1);
	ck_assert_int_eq(pthread_create(&thread, NULL, wake_later, &waker), 0);
	ck_assert_int_eq(next(&view).kind, INPUT_LEAVE);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	nothing_taped();
}
END_TEST

static const struct {
	void (*act)(void);
	enum input_kind kind;
} wakes[] = { { type_key, INPUT_CONSOLE }, { press_button, INPUT_BUTTON }, { command_end, INPUT_LEAVE } };

/* A halted guest sleeps until there is something for it, and not much longer. */
START_TEST(halted_guest_is_woken)
{
	struct waker waker = { wakes[_i].act, 30 * NS_PER_MS };
	struct source_view view = replicas_view(4, guest_now());
	pthread_t thread;
	uint64_t begin = clock_monotonic_ns();

	view.must_wait = true;
	ck_assert_int_eq(pthread_create(&thread, NULL, wake_later, &waker), 0);
	ck_assert_int_eq(next(&view).kind, wakes[_i].kind);
	uint64_t took = clock_monotonic_ns() - begin;

	ck_assert_uint_ge(took, 29 * NS_PER_MS);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert_uint_gt(replicas.own[0].control->statistics.time.ns[STAGE_HALT], 0);
}
END_TEST

START_TEST(halted_guest_gets_its_timer)
{
	struct source_view view = replicas_view(4, guest_now());

	view.must_wait = true;
	view.deadline = view.now + 25 * NS_PER_MS;
	struct input input = next(&view);

	ck_assert_int_eq(input.kind, INPUT_TIME);
	ck_assert_uint_ge(input.value, view.deadline);
	(void)taped(TAPE_TIME, 4);
}
END_TEST

/* Votes that come due in a halted guest come, too. */
START_TEST(halted_guest_votes)
{
	start(1, 20 * NS_PER_MS);
	struct source_view view = replicas_view(4, guest_now());

	view.must_wait = true;
	view.output_pending = 3;
	must_vote(&view, VOTE_CAUSE_OUTPUT);
	view.output_pending = 0;
	view.position = 5;
	must_vote(&view, VOTE_CAUSE_INTERVAL);
}
END_TEST

static void follower_reads(void)
{
	struct control *follower = replicas.own[1].control;

	atomic_store(&follower->tape_read, live.tape.at);
	futex_signal(&replicas.supervisor->sequence);
}

static void give_verdict(void)
{
	atomic_store(&replicas.supervisor->verdicts, 1);
	futex_signal(&replicas.supervisor->sequence);
}

/* While a vote waits for its verdict, output waits with it. */
START_TEST(output_waits_for_the_verdict)
{
	struct source_view view = replicas_view(4, guest_now());
	const uint64_t begin = clock_monotonic_ns();

	live.output_delay = NS_PER_MS;
	view.output_pending = 1;
	atomic_store(&replicas.own[0].control->votes, 1);
	while (clock_monotonic_ns() - begin < 5 * live.output_delay)
		ck_assert_int_eq(next(&view).kind, INPUT_CLOSED);
	atomic_store(&replicas.supervisor->verdicts, 1);
	must_vote(&view, VOTE_CAUSE_OUTPUT);
}
END_TEST

static uint64_t cpu_time(void)
{
	struct timespec used;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
	return (uint64_t)used.tv_sec * NS_PER_S + (uint64_t)used.tv_nsec;
}

/* A halted guest's leader sleeps until then. */
START_TEST(halted_leader_sleeps_until_the_verdict)
{
	struct waker waker = { give_verdict, 200 * NS_PER_MS };
	struct source_view view = replicas_view(4, guest_now());
	pthread_t thread;

	live.output_delay = NS_PER_MS;
	view.output_pending = 1;
	view.must_wait = true;
	atomic_store(&replicas.own[0].control->votes, 1);
	ck_assert_int_eq(pthread_create(&thread, NULL, wake_later, &waker), 0);
	uint64_t begin = cpu_time();

	must_vote(&view, VOTE_CAUSE_OUTPUT);
	ck_assert_uint_lt(cpu_time() - begin, 50 * NS_PER_MS);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
}
END_TEST

/* What was not voted on must stay on the tape: a vote is due before there is too much of it, and then not again. */
START_TEST(much_tape_asks_for_a_vote)
{
	const struct source_view view = replicas_view(1, 0);
	const uint8_t bytes[TAPE_CONSOLE_MAX] = { 1 };

	start(2, 1000 * NS_PER_S);
	while (live.tape.at + 80 < CONTROL_TAPE_PER_VOTE)
		(void)tape_write(&live.tape, TAPE_CONSOLE, 1, bytes, sizeof(bytes));
	ck_assert_int_eq(next(&view).kind, INPUT_CLOSED);
	(void)tape_write(&live.tape, TAPE_CONSOLE, 1, bytes, sizeof(bytes));
	struct input input = next(&view);

	ck_assert_int_eq(input.kind, INPUT_VOTE);
	ck_assert_uint_eq(input.value, VOTE_CAUSE_BACKLOG);
	ck_assert_int_eq(next(&view).kind, INPUT_CLOSED);
	/* A leader that leads again, later, begins where it is. */
	const struct source_links links = replicas_links(&replicas, 0);

	source_live_init(&live, &links, 1000 * NS_PER_S);
	ck_assert_int_eq(next(&view).kind, INPUT_CLOSED);
}
END_TEST

/* The leader waits for room on the tape; but not for those who are gone. */
START_TEST(waits_for_readers)
{
	struct waker waker = { follower_reads, 30 * NS_PER_MS };
	struct source_view view = replicas_view(1, 0);
	const uint8_t bytes[TAPE_CONSOLE_MAX] = { 1 };
	pthread_t thread;

	start(2, 1000 * NS_PER_S);
	/* Half of it unread is not too much. */
	while (live.tape.at < CONTROL_TAPE_SIZE / 2 - 80)
		(void)tape_write(&live.tape, TAPE_CONSOLE, 1, bytes, sizeof(bytes));
	live.voted_at = live.tape.at;
	ck_assert_int_eq(next(&view).kind, INPUT_CLOSED);
	ck_assert_uint_eq(replicas.own[0].control->statistics.time.ns[STAGE_WAIT_ROOM], 0);
	(void)tape_write(&live.tape, TAPE_CONSOLE, 1, bytes, sizeof(bytes));
	(void)tape_write(&live.tape, TAPE_CONSOLE, 1, bytes, sizeof(bytes));
	ck_assert_int_eq(pthread_create(&thread, NULL, wake_later, &waker), 0);
	ck_assert_int_eq(next(&view).kind, INPUT_CLOSED);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert_uint_ge(replicas.own[0].control->statistics.time.ns[STAGE_WAIT_ROOM], 20 * NS_PER_MS);
	/* A dead follower reads nothing, and holds nobody up. */
	while (live.tape.at - atomic_load(&replicas.own[1].control->tape_read) <
	       CONTROL_TAPE_SIZE / 2 + 80)
		(void)tape_write(&live.tape, TAPE_CONSOLE, 1, bytes, sizeof(bytes));
	live.voted_at = live.tape.at;
	atomic_store(&replicas.supervisor->live, 1);
	ck_assert_int_eq(next(&view).kind, INPUT_CLOSED);
}
END_TEST

/* Followers are woken when the leader has reached what they wait for, and not for less. */
START_TEST(wakes_followers)
{
	start(3, 1000 * NS_PER_S);
	struct control *own = replicas.own[0].control, *follower = replicas.own[2].control;
	struct source_view view = replicas_view(10, 0);

	ck_assert_int_eq(next(&view).kind, INPUT_CLOSED);
	ck_assert_uint_eq(atomic_load(&own->sequence), 0);
	atomic_store(&follower->wake_at, 11);
	atomic_store(&follower->waiting, 1);
	ck_assert_int_eq(next(&view).kind, INPUT_CLOSED);
	ck_assert_uint_eq(atomic_load(&own->sequence), 0);
	view.position = 11;
	ck_assert_int_eq(next(&view).kind, INPUT_CLOSED);
	ck_assert_uint_eq(atomic_load(&own->sequence), 1);
	/* A vote is for everybody, now. */
	atomic_store(&follower->wake_at, 1000);
	view.exits_unvoted = CONTROL_EXITS_PER_VOTE;
	must_vote(&view, VOTE_CAUSE_BACKLOG);
	ck_assert_uint_eq(atomic_load(&own->sequence), 2);
}
END_TEST

START_TEST(counts)
{
	struct source_view view = replicas_view(1, 0);
	const struct replica_statistics *statistics = &replicas.own[0].control->statistics;

	atomic_store(&replicas.supervisor->buttons, 1);
	ck_assert_int_eq(next(&view).kind, INPUT_BUTTON);
	ck_assert_uint_eq(statistics->tape_entries[TAPE_BUTTON], 1);
	ck_assert_uint_eq(statistics->tape_bytes, live.tape.at);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("source_live");
	TCase *tests = tcase_create("leader");

	tcase_add_checked_fixture(tests, setup, NULL);
	tcase_add_test(tests, nothing_to_do);
	tcase_add_test(tests, time_when_asked);
	tcase_add_test(tests, time_when_due);
	tcase_add_test(tests, keys);
	tcase_add_test(tests, buttons);
	tcase_add_test(tests, votes_by_backlog);
	tcase_add_test(tests, votes_by_interval);
	tcase_add_test(tests, votes_by_output);
	tcase_add_test(tests, votes_at_the_end_once);
	tcase_add_test(tests, leaves);
	tcase_add_loop_test(tests, halted_guest_is_woken, 0, (int)ARRAY_SIZE(wakes));
	tcase_add_test(tests, halted_guest_gets_its_timer);
	tcase_add_test(tests, halted_guest_votes);
	tcase_add_test(tests, output_waits_for_the_verdict);
	tcase_add_test(tests, halted_leader_sleeps_until_the_verdict);
	tcase_add_test(tests, much_tape_asks_for_a_vote);
	tcase_add_test(tests, waits_for_readers);
	tcase_add_test(tests, wakes_followers);
	tcase_add_test(tests, counts);
	tcase_set_timeout(tests, 30);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
