/* What a leader inside its guest is needed for, when that may change, and how it writes down where it stopped. */
#include "tests/unit/replicas.h"

#include <string.h>

#include "devices/device.h"

static const uint64_t segment = 2 * NS_PER_S;

static struct replicas replicas;
static struct source_live live;
static struct source_view view;
static uint64_t begin;     /* host time at which the segment began */
static uint64_t next_look; /* what the last question gave */

static void setup(void)
{
	replicas_make(&replicas, 1);
	const struct source_links links = replicas_links(&replicas, 0);

	source_live_init(&live, &links, 1000 * NS_PER_S);
	view = replicas_view(5, 0);
	view.deadline = DEVICE_NO_DEADLINE;
	begin = clock_monotonic_ns();
}

/* So much later. */
static enum source_need need(uint64_t later)
{
	return source_live_needs(&live, &view, begin, segment, begin + later, &next_look);
}

START_TEST(vote_at_last)
{
	ck_assert_int_eq(need(1), SOURCE_NEEDS_NOTHING);
	ck_assert_uint_eq(next_look, begin + segment);
	ck_assert_int_eq(need(segment - 1), SOURCE_NEEDS_NOTHING);
	ck_assert_int_eq(need(segment), SOURCE_NEEDS_VOTE);
}
END_TEST

START_TEST(deadline)
{
	view.deadline = begin - replicas.host_zero + NS_PER_MS;
	ck_assert_int_eq(need(1), SOURCE_NEEDS_NOTHING);
	ck_assert_uint_eq(next_look, begin + NS_PER_MS);
	ck_assert_int_eq(need(NS_PER_MS), SOURCE_NEEDS_INPUT);
}
END_TEST

/* Keys count where the guest has room for them. */
START_TEST(keys)
{
	replicas_type(&replicas, "x", 1);
	view.console_room = 0;
	ck_assert_int_eq(need(1), SOURCE_NEEDS_NOTHING);
	view.console_room = 1;
	ck_assert_int_eq(need(1), SOURCE_NEEDS_INPUT);
	view.console_taken = 1;
	ck_assert_int_eq(need(1), SOURCE_NEEDS_NOTHING);
}
END_TEST

START_TEST(button)
{
	atomic_store(&replicas.supervisor->buttons, 1);
	ck_assert_int_eq(need(1), SOURCE_NEEDS_INPUT);
	view.buttons_taken = 1;
	ck_assert_int_eq(need(1), SOURCE_NEEDS_NOTHING);
}
END_TEST

/* Output waits for company first, and while a vote is at hand. */
START_TEST(output)
{
	view.output_pending = 1;
	live.output_delay = NS_PER_MS;
	live.output_since = begin;
	ck_assert_int_eq(need(1), SOURCE_NEEDS_NOTHING);
	ck_assert_uint_eq(next_look, begin + NS_PER_MS);
	ck_assert_int_eq(need(NS_PER_MS), SOURCE_NEEDS_VOTE);
	atomic_store(&replicas.own[0].control->votes, 1);
	ck_assert_int_eq(need(NS_PER_MS), SOURCE_NEEDS_NOTHING);
	atomic_store(&replicas.supervisor->verdicts, 1);
	ck_assert_int_eq(need(NS_PER_MS), SOURCE_NEEDS_VOTE);
}
END_TEST

START_TEST(request)
{
	atomic_fetch_add(&replicas.supervisor->vote_request, 1);
	ck_assert_int_eq(need(1), SOURCE_NEEDS_VOTE);
	atomic_store(&replicas.own[0].control->votes, 1);
	ck_assert_int_eq(need(1), SOURCE_NEEDS_NOTHING);
}
END_TEST

START_TEST(stop_is_taped)
{
	struct tape_reader tape = {
		.ring = replicas.own[0].tape,
		.mirror = replicas.own[0].tape_mirror,
		.written = &replicas.own[0].control->tape_written,
	};
	struct stop_point stop = { .run_ns = 11, .recurs_ns = 12 };
	struct tape_entry entry;
	bool there;

	stop.cpu.rip = 0x1234;
	source_live_stop(&live, 9, &stop);
	must_succeed(tape_peek(&tape, &entry, &there));
	ck_assert(there);
	ck_assert_int_eq(entry.kind, TAPE_STOP);
	ck_assert_uint_eq(entry.position, 9);
	ck_assert_uint_eq(entry.length, sizeof(stop));
	ck_assert_mem_eq(entry.payload, &stop, sizeof(stop));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("source_needs");
	TCase *tests = tcase_create("needs");

	tcase_add_checked_fixture(tests, setup, NULL);
	tcase_add_test(tests, vote_at_last);
	tcase_add_test(tests, deadline);
	tcase_add_test(tests, keys);
	tcase_add_test(tests, button);
	tcase_add_test(tests, output);
	tcase_add_test(tests, request);
	tcase_add_test(tests, stop_is_taped);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
