/* The leader's source and the supervisor: votes that are asked for, calls, and words that flip under the leader. */
#include "tests/unit/replicas.h"

#include <pthread.h>
#include <time.h>

#include "devices/device.h"

static struct replicas replicas;
static struct source_live live;

static void start(unsigned count)
{
	replicas_make(&replicas, count);
	const struct source_links links = replicas_links(&replicas, 0);

	source_live_init(&live, &links, 1000 * NS_PER_S);
}

static void setup(void)
{
	start(2);
}

static struct input next(const struct source_view *view)
{
	return replicas_next(&live.source, view);
}

static uint64_t guest_now(void)
{
	return clock_monotonic_ns() - replicas.host_zero;
}

static void must_vote(const struct source_view *view, enum vote_cause cause)
{
	struct input input = next(view);

	ck_assert_int_eq(input.kind, INPUT_VOTE);
	ck_assert_uint_eq(input.value, cause);
}

static void request(void)
{
	atomic_fetch_add(&replicas.supervisor->vote_request, 1);
	futex_signal(&replicas.supervisor->sequence);
}

static void *act_later(void *context)
{
	void (*const *act)(void) = context;
	const struct timespec pause = { .tv_nsec = 40 * 1000 * 1000 };

	nanosleep(&pause, NULL);
	(*act)();
	return NULL;
}

/* Asks while somebody acts 40 ms later. */
static struct input next_while(void (*act)(void), const struct source_view *view)
{
	pthread_t thread;

	ck_assert_int_eq(pthread_create(&thread, NULL, act_later, &act), 0);
	struct input input = next(view);

	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	return input;
}

/* One vote for any number of requests, at once, and none for a request that was there before this leader was. */
START_TEST(requests)
{
	struct source_view view = replicas_view(5, 0);

	ck_assert_int_eq(next(&view).kind, INPUT_CLOSED);
	request();
	request();
	must_vote(&view, VOTE_CAUSE_REQUEST);
	ck_assert_int_eq(next(&view).kind, INPUT_CLOSED);
	view.position++;
	ck_assert_int_eq(next(&view).kind, INPUT_CLOSED);
	/* A guest that has voted where it stands votes there again: somebody waits for it. */
	request();
	must_vote(&view, VOTE_CAUSE_REQUEST);
	request();
	must_vote(&view, VOTE_CAUSE_REQUEST);
	request();
	const struct source_links links = replicas_links(&replicas, 0);

	source_live_init(&live, &links, 1000 * NS_PER_S);
	ck_assert_int_eq(next(&view).kind, INPUT_CLOSED);
}
END_TEST

/* A vote that is under way is as good as another one, until it is judged. */
START_TEST(requests_wait_for_the_vote_at_hand)
{
	struct source_view view = replicas_view(5, 0);

	atomic_store(&replicas.own[0].control->votes, 1);
	request();
	ck_assert_int_eq(next(&view).kind, INPUT_CLOSED);
	atomic_store(&replicas.supervisor->verdicts, 1);
	must_vote(&view, VOTE_CAUSE_REQUEST);
}
END_TEST

static void call(void)
{
	replicas_call(&replicas, 0);
}

static const struct {
	void (*act)(void);
	enum input_kind kind;
} wakes[] = { { request, INPUT_VOTE }, { call, INPUT_ATTENTION } };

START_TEST(wake_a_sleeping_leader)
{
	struct source_view view = replicas_view(5, guest_now());

	view.must_wait = true;
	ck_assert_int_eq(next_while(wakes[_i].act, &view).kind, wakes[_i].kind);
}
END_TEST

START_TEST(calls)
{
	struct source_view view = replicas_view(5, 0);
	uint64_t at = live.tape.at;

	/* Not even a vote that is due comes before it, and nothing is written: the machine may be another one then. */
	view.exits_unvoted = CONTROL_EXITS_PER_VOTE;
	replicas_type(&replicas, "x", 1);
	call();
	for (unsigned i = 0; i < 2; i++)
		ck_assert_int_eq(next(&view).kind, INPUT_ATTENTION);
	ck_assert_uint_eq(live.tape.at, at);
	replicas.attention_seen[0] = atomic_load(&replicas.supervisor->attention[0]);
	replicas_call(&replicas, 1);
	must_vote(&view, VOTE_CAUSE_BACKLOG);
}
END_TEST

static void fill_tape(void)
{
	const uint8_t bytes[TAPE_CONSOLE_MAX] = { 1 };

	while (live.tape.at <= CONTROL_TAPE_SIZE / 2)
		(void)tape_write(&live.tape, TAPE_CONSOLE, 5, bytes, sizeof(bytes));
	/* And voted on. */
	live.voted_at = live.tape.at;
}

/* A leader that waits for room hears it, too: who should read may be gone. */
START_TEST(calls_end_the_wait_for_room)
{
	const struct source_view view = replicas_view(5, 0);

	fill_tape();
	ck_assert_int_eq(next_while(call, &view).kind, INPUT_ATTENTION);
	ck_assert_uint_gt(replicas.own[0].control->statistics.time.ns[STAGE_WAIT_ROOM], 0);
}
END_TEST

static void read_all(void)
{
	atomic_store(&replicas.own[1].control->tape_read, live.tape.at);
	futex_signal(&replicas.supervisor->sequence);
}

/* Words that followers wait for are written anew while the leader itself waits: for room, or for something to do. */
START_TEST(flipped_words_are_written_anew)
{
	struct control *own = replicas.own[0].control;
	struct source_view view = replicas_view(5, guest_now());
	uint64_t beats = atomic_load(&own->beats);

	if (_i < 2)
		fill_tape();
	else
		view.must_wait = true;
	checked_word_store(&own->reached, 5);
	atomic_fetch_xor(_i % 2 ? &own->reached : &own->tape_written, UINT64_C(1) << 33);
	ck_assert_int_eq(next_while(_i < 2 ? read_all : call, &view).kind, _i < 2 ? INPUT_CLOSED : INPUT_ATTENTION);
	ck_assert_uint_eq(checked_word_load(&own->reached, UINT64_MAX), 5);
	ck_assert_uint_eq(checked_word_load(&own->tape_written, UINT64_MAX), live.tape.at);
	ck_assert_uint_gt(atomic_load(&own->beats), beats);
}
END_TEST

/* Whoever becomes leader writes on where its tape ended when it led before. */
START_TEST(tape_goes_on)
{
	const struct source_links links = replicas_links(&replicas, 0);
	struct source_view view = replicas_view(5, 0);
	struct tape_reader tape = {
		.ring = replicas.own[0].tape,
		.mirror = replicas.own[0].tape_mirror,
		.written = &replicas.own[0].control->tape_written,
	};
	struct tape_entry entry;
	bool there;

	for (unsigned i = 0; i < 3; i++) {
		request();
		must_vote(&view, VOTE_CAUSE_REQUEST);
		source_live_init(&live, &links, 1000 * NS_PER_S);
		view.position++;
	}
	for (unsigned i = 0; i < 3; i++) {
		must_succeed(tape_peek(&tape, &entry, &there));
		ck_assert(there);
		ck_assert_uint_eq(entry.position, 5 + i);
		tape_consume(&tape, &entry);
	}
	ck_assert_uint_eq(tape.mended, 0);
	ck_assert_mem_eq(replicas.own[0].tape.data, replicas.own[0].tape_mirror.data, tape.at);
}
END_TEST

/* Nobody reads along where there is one replica. */
START_TEST(alone)
{
	const struct source_view view = replicas_view(5, 0);

	start(1);
	fill_tape();
	ck_assert_int_eq(next(&view).kind, INPUT_CLOSED);
	ck_assert_uint_eq(replicas.own[0].control->statistics.time.ns[STAGE_WAIT_ROOM], 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("source_live_calls");
	TCase *tests = tcase_create("leader");

	tcase_add_checked_fixture(tests, setup, NULL);
	tcase_add_test(tests, requests);
	tcase_add_test(tests, requests_wait_for_the_vote_at_hand);
	tcase_add_loop_test(tests, wake_a_sleeping_leader, 0, (int)ARRAY_SIZE(wakes));
	tcase_add_test(tests, calls);
	tcase_add_test(tests, calls_end_the_wait_for_room);
	tcase_add_loop_test(tests, flipped_words_are_written_anew, 0, 4);
	tcase_add_test(tests, tape_goes_on);
	tcase_add_test(tests, alone);
	tcase_set_timeout(tests, 60);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
