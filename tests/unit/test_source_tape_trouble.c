/* A follower's source where something is wrong: the supervisor calls, the leader is no more, hangs, lies, or its
 * control page is damaged. */
#include "tests/unit/following.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

#include "devices/device.h"

static struct input next_time(const struct source_view *view)
{
	struct input input;

	memset(&input, 0xEE, sizeof(input));
	must_succeed(follower.source.operations->time(&follower.source, view, &input));
	return input;
}

static void must_diverge(const struct source_view *view, const char *words)
{
	struct input input;

	must_fail(follower.source.operations->next(&follower.source, view, &input), STATUS_NO_MAJORITY, words);
}

static void reach(uint64_t position)
{
	checked_word_store(&replicas.own[0].control->reached, position);
	futex_signal(&replicas.own[0].control->sequence);
}

static void write_number(enum tape_kind kind, uint64_t position, uint64_t value)
{
	(void)tape_write(&tape, kind, position, &value, sizeof(value));
}

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
static struct input ask_after(void (*act)(void), const struct source_view *view, bool for_time)
{
	struct act later = { .act = act };
	pthread_t thread;

	ck_assert_int_eq(pthread_create(&thread, NULL, act_later, &later), 0);
	struct input input = for_time ? next_time(view) : next(view);
	bool done = atomic_load(&later.done);

	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert_msg(done, "the answer came before its time");
	return input;
}

/* --- calls --- */

static void call(void)
{
	replicas_call(&replicas, 2);
}

/* A call ends every wait, for inputs as for the time; until it is heard, and not after that. */
START_TEST(calls_end_waits)
{
	const struct source_view view = replicas_view(5, 0);
	bool for_time = _i;

	reach(5);
	ck_assert_int_eq(ask_after(call, &view, for_time).kind, INPUT_ATTENTION);
	ck_assert_int_eq((for_time ? next_time(&view) : next(&view)).kind, INPUT_ATTENTION);
	replicas.attention_seen[2] = atomic_load(&replicas.supervisor->attention[2]);
	/* A call of somebody else is none. */
	replicas_call(&replicas, 1);
	write_number(TAPE_TIME, 5, 100);
	reach(6);
	ck_assert_int_eq((for_time ? next_time(&view) : next(&view)).kind, INPUT_TIME);
	ck_assert_int_eq(next(&view).kind, INPUT_CLOSED);
}
END_TEST

/* What is on the tape is taken first: it belongs before whatever the supervisor wants. */
START_TEST(inputs_come_before_calls)
{
	const struct source_view view = replicas_view(5, 0);

	write_number(TAPE_TIME, 5, 100);
	write_number(TAPE_TIME, 5, 200);
	reach(6);
	call();
	ck_assert_int_eq(next_time(&view).kind, INPUT_TIME);
	ck_assert_int_eq(next(&view).kind, INPUT_TIME);
	ck_assert_int_eq(next(&view).kind, INPUT_ATTENTION);
}
END_TEST

/* --- the end of a leader --- */

static void end_here(void)
{
	source_tape_set_end(&follower, tape.at, 5);
	call();
}

START_TEST(exhausted)
{
	struct source_view view = replicas_view(3, 0);

	write_number(TAPE_TIME, 4, 100);
	write_number(TAPE_TIME, 5, 200);
	write_number(TAPE_TIME, 5, 300); /* behind the end: it never was */
	ck_assert(!source_tape_exhausted(&follower, 100)); /* no end is known */
	reach(5);
	source_tape_set_end(&follower, 48, 5);
	ck_assert(!source_tape_exhausted(&follower, 3));
	ck_assert_int_eq(next(&view).kind, INPUT_CLOSED);
	view.position = 4;
	ck_assert_int_eq(next(&view).kind, INPUT_TIME);
	ck_assert(!source_tape_exhausted(&follower, 4));
	ck_assert_int_eq(next(&view).kind, INPUT_CLOSED);
	view.position = 5;
	view.now = 100;
	/* Where the leader was, but not all that it took there. */
	ck_assert(!source_tape_exhausted(&follower, 5));
	struct input input = next_time(&view);

	ck_assert_uint_eq(input.value, 200);
	ck_assert(source_tape_exhausted(&follower, 5));
	ck_assert_int_eq(next(&view).kind, INPUT_ATTENTION);
	ck_assert_int_eq(next_time(&view).kind, INPUT_ATTENTION);
	ck_assert_uint_eq(follower.tape.at, 48);
}
END_TEST

/* An end that comes while it waits at that very place. */
START_TEST(ends_while_it_waits)
{
	const struct source_view view = replicas_view(5, 0);

	reach(5);
	ck_assert_int_eq(ask_after(end_here, &view, _i).kind, INPUT_ATTENTION);
	ck_assert(source_tape_exhausted(&follower, 5));
}
END_TEST

/* The next leader's tape, from where that one's begins; what stands before is not looked at. */
START_TEST(another_leader)
{
	struct source_view view = replicas_view(5, 0);

	memset(replicas.own[1].tape.data, 0xFF, 240);
	memset(replicas.own[1].tape_mirror.data, 0xFF, 240);
	follow_from(1, 240);
	ck_assert_uint_eq(atomic_load(&replicas.own[2].control->tape_read), 240);
	write_number(TAPE_TIME, 5, 500);
	checked_word_store(&replicas.own[1].control->reached, 6);
	struct input input = next(&view);

	ck_assert_int_eq(input.kind, INPUT_TIME);
	ck_assert_uint_eq(input.value, 500);
	ck_assert_int_eq(next(&view).kind, INPUT_CLOSED);
	ck_assert_uint_eq(atomic_load(&replicas.own[2].control->tape_read), 264);
}
END_TEST

/* --- a leader that does not come out of its guest --- */

static void probe_5(void)
{
	atomic_store(&replicas.supervisor->probe, 5);
	futex_wake(&replicas.own[0].control->sequence);
}

static const struct probe {
	uint64_t probe, closed, position;
	bool opens;
} probes[] = {
	{ 5, 5, 5, true },  { 5, 4, 5, false }, { 4, 5, 5, false }, { 0, 5, 5, false },
	{ 5, 0, 5, false }, { 6, 6, 5, false }, { 4, 4, 5, false },
	{ 0, 0, 0, false }, /* nobody asked for anything yet */
};

/* A segment that the leader has not left may be entered if the supervisor asks for just that, and the leader says
 * that all inputs are known. */
START_TEST(probed)
{
	const struct probe *probe = &probes[_i];
	const struct source_view view = replicas_view(probe->position, 0);

	reach(probe->position);
	checked_word_store(&replicas.own[0].control->closed, probe->closed);
	atomic_store(&replicas.supervisor->probe, probe->probe);
	if (probe->opens)
		ck_assert_int_eq(next(&view).kind, INPUT_CLOSED);
	else
		ck_assert_int_eq(ask_after(call, &view, false).kind, INPUT_ATTENTION);
}
END_TEST

/* Not while the leader is still at the position, not before what it took there, and not for a guest that sleeps. */
START_TEST(probed_in_order)
{
	struct source_view view = replicas_view(5, 0);

	reach(5);
	checked_word_store(&replicas.own[0].control->closed, 5);
	ck_assert_int_eq(ask_after(probe_5, &view, false).kind, INPUT_CLOSED);
	write_number(TAPE_TIME, 5, 100);
	ck_assert_int_eq(next(&view).kind, INPUT_TIME);
	view.must_wait = true;
	ck_assert_int_eq(ask_after(call, &view, false).kind, INPUT_ATTENTION);
	view.must_wait = false;
	replicas.attention_seen[2]++;
	ck_assert_int_eq(next(&view).kind, INPUT_CLOSED);
	/* A bit flipped in what the leader says of itself. */
	atomic_fetch_xor(&replicas.own[0].control->closed, UINT64_C(1) << 40);
	ck_assert_int_eq(ask_after(call, &view, false).kind, INPUT_ATTENTION);
}
END_TEST

/* --- a leader that lies --- */

START_TEST(wrong_keys)
{
	static const struct {
		const char *typed, *told, *words;
	} cases[] = {
		{ "abc", "abd", "other key presses than were typed" },
		{ "abc", "bc", "other key presses than were typed" },
		{ "", "a", "key presses that nobody typed" },
		{ "ab", "abc", "key presses that nobody typed" },
	};
	const struct source_view view = replicas_view(5, 0);

	replicas_type(&replicas, cases[_i].typed, strlen(cases[_i].typed));
	(void)tape_write(&tape, TAPE_CONSOLE, 5, cases[_i].told, (uint16_t)strlen(cases[_i].told));
	reach(6);
	must_diverge(&view, cases[_i].words);
}
END_TEST

/* Keys are compared from where this guest's own count stands, round the inbox's end as well. */
START_TEST(keys_as_they_were_typed)
{
	struct source_view view = replicas_view(5, 0);
	struct input input;

	atomic_store(&replicas.supervisor->console_written, CONTROL_INPUT_SIZE - 3);
	view.console_taken = CONTROL_INPUT_SIZE - 3;
	replicas_type(&replicas, "abcdef", 6);
	(void)tape_write(&tape, TAPE_CONSOLE, 5, "abcde", 5);
	(void)tape_write(&tape, TAPE_CONSOLE, 5, "f", 1);
	(void)tape_write(&tape, TAPE_CONSOLE, 5, "f", 1);
	reach(6);
	input = next(&view);
	ck_assert_int_eq(input.kind, INPUT_CONSOLE);
	ck_assert_uint_eq(input.length, 5);
	ck_assert_mem_eq(input.data, "abcde", 5);
	view.console_taken += 5;
	ck_assert_int_eq(next(&view).kind, INPUT_CONSOLE);
	view.console_taken += 1;
	must_diverge(&view, "key presses that nobody typed");
	/* A count that is ahead of what was typed is no better. */
	view.console_taken += 7;
	must_diverge(&view, "key presses that nobody typed");
	/* Typed so long ago that it is no longer there. */
	view.console_taken = 0;
	must_diverge(&view, "key presses that nobody typed");
}
END_TEST

START_TEST(wrong_button)
{
	struct source_view view = replicas_view(5, 0);

	atomic_store(&replicas.supervisor->buttons, 1);
	(void)tape_write(&tape, TAPE_BUTTON, 5, NULL, 0);
	(void)tape_write(&tape, TAPE_BUTTON, 5, NULL, 0);
	reach(6);
	ck_assert_int_eq(next(&view).kind, INPUT_BUTTON);
	view.buttons_taken = 1;
	must_diverge(&view, "a power button that nobody pressed");
	atomic_store(&replicas.supervisor->buttons, 2);
	ck_assert_int_eq(next(&view).kind, INPUT_BUTTON);
}
END_TEST

/* What a refused entry holds is not taken: the follower still stands before it, and says so. */
START_TEST(refused_is_not_taken)
{
	struct source_view view = replicas_view(5, 1000);
	const uint64_t before = 24;

	write_number(TAPE_TIME, 5, 2000);
	write_number(TAPE_TIME, 5, 1999);
	reach(6);
	ck_assert_int_eq(next(&view).kind, INPUT_TIME);
	view.now = 2000;
	must_diverge(&view, "time is not plausible");
	ck_assert_uint_eq(follower.tape.at, before);
	ck_assert_uint_eq(atomic_load(&replicas.own[2].control->tape_read), before);
}
END_TEST

/* --- a damaged control page --- */

static void mend(void)
{
	reach(6);
}

/* A progress that cannot be read is no progress, until the leader writes the next. */
START_TEST(damaged_progress)
{
	struct source_view view = replicas_view(4, 0);

	reach(5);
	ck_assert_int_eq(next(&view).kind, INPUT_CLOSED);
	view.position = 5;
	atomic_store(&replicas.own[0].control->reached, checked_word(5) ^ UINT64_C(1) << _i);
	ck_assert_int_eq(ask_after(mend, &view, false).kind, INPUT_CLOSED);
}
END_TEST

/* While it waits it says anew how far it has read: the leader might wait for that. */
START_TEST(mends_what_it_said)
{
	const struct source_view view = replicas_view(5, 0);
	struct control *own = replicas.own[2].control;
	uint64_t beats = atomic_load(&own->beats);

	write_number(TAPE_TIME, 5, 100);
	reach(5);
	ck_assert_int_eq(next(&view).kind, INPUT_TIME);
	atomic_fetch_xor(&own->tape_read, 1u << 4);
	ck_assert_int_eq(ask_after(call, &view, false).kind, INPUT_ATTENTION);
	ck_assert_uint_eq(atomic_load(&own->tape_read), 24);
	/* And it was alive meanwhile. */
	ck_assert_uint_gt(atomic_load(&own->beats), beats);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("source_tape_trouble");
	TCase *tests = tcase_create("follower");

	tcase_add_checked_fixture(tests, begin_following, NULL);
	tcase_add_loop_test(tests, calls_end_waits, 0, 2);
	tcase_add_test(tests, inputs_come_before_calls);
	tcase_add_test(tests, exhausted);
	tcase_add_loop_test(tests, ends_while_it_waits, 0, 2);
	tcase_add_test(tests, another_leader);
	tcase_add_loop_test(tests, probed, 0, (int)ARRAY_SIZE(probes));
	tcase_add_test(tests, probed_in_order);
	tcase_add_loop_test(tests, wrong_keys, 0, 4);
	tcase_add_test(tests, keys_as_they_were_typed);
	tcase_add_test(tests, wrong_button);
	tcase_add_test(tests, refused_is_not_taken);
	tcase_add_loop_test(tests, damaged_progress, 0, 64);
	tcase_add_test(tests, mends_what_it_said);
	tcase_set_timeout(tests, 60);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
