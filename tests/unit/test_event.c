/* What management is told of a running machine: events, status, and faults that it asks for. */
#include "tests/unit/supervised.h"

#include <string.h>

#include "base/futex.h"
#include "lockstep/booking.h"
#include "lockstep/event.h"
#include "lockstep/repair.h"
#include "lockstep/supervisor.h"
#include "lockstep/verdict.h"

static struct supervised supervised;
static struct supervisor *supervisor;

static void setup(void)
{
	supervised_make(&supervised, 3);
	supervisor = supervised.supervisor;
}

static void teardown(void)
{
	supervised_destroy(&supervised);
}

static uint64_t number(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	ck_assert_msg(json_is_integer(value), "\"%s\" is no number", key);
	ck_assert_int_ge(json_integer_value(value), 0);
	return (uint64_t)json_integer_value(value);
}

static const char *text(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	ck_assert_msg(json_is_string(value), "\"%s\" is no text", key);
	return json_string_value(value);
}

/* --- events --- */

static json_t *heard;
static unsigned heard_count;

static void hear(void *context, const json_t *event)
{
	ck_assert_ptr_eq(context, &supervised);
	json_decref(heard);
	heard = json_deep_copy(event);
	heard_count++;
}

static const struct service service = { .context = &supervised, .event = hear };

START_TEST(names)
{
	for (unsigned i = 0; i < EVENTS; i++) {
		const char *name = event_name((enum event_kind)i);

		ck_assert_ptr_nonnull(name);
		/* Those behind are QEMU's. */
		if (i <= EVENT_MACHINE_ENDED)
			ck_assert_ptr_eq(strstr(name, "LOCKSTEP_"), name);
		for (unsigned j = 0; j < i; j++)
			ck_assert_str_ne(name, event_name((enum event_kind)j));
	}
	ck_assert_str_eq(event_name(EVENTS), "LOCKSTEP_UNKNOWN");
}
END_TEST

START_TEST(event_shape)
{
	const json_t *data;

	supervisor->agreed_position = 4711;
	supervisor->service = &service;
	event_tell(supervisor, EVENT_REPLICA_FAULT, 2, "replica %u is %s", 2, "wrong");
	ck_assert_uint_eq(heard_count, 1);
	ck_assert_uint_eq(json_object_size(heard), 2);
	ck_assert_str_eq(text(heard, "event"), "LOCKSTEP_DIVERGENCE");
	data = json_object_get(heard, "data");
	ck_assert_uint_eq(json_object_size(data), 4);
	ck_assert_uint_eq(number(data, "replica"), 2);
	ck_assert_uint_eq(number(data, "position"), 4711);
	ck_assert_str_eq(text(data, "text"), "replica 2 is wrong");
	(void)number(data, "ns");
	ck_assert(json_equal(json_array_get(supervisor->tally.events, 0), heard));
	/* One of the whole machine names no replica. */
	event_tell(supervisor, EVENT_ROLLBACK, -1, "back");
	ck_assert_uint_eq(heard_count, 2);
	ck_assert_ptr_null(json_object_get(json_object_get(heard, "data"), "replica"));
	/* The statistics have them though nobody listens. */
	supervisor->service = NULL;
	event_tell(supervisor, EVENT_MACHINE_ENDED, -1, "the end");
	ck_assert_uint_eq(heard_count, 2);
	ck_assert_uint_eq(json_array_size(supervisor->tally.events), 3);
	json_decref(heard);
}
END_TEST

/* QEMU's events have QEMU's data, besides. */
START_TEST(life_shape)
{
	const json_t *data;

	supervisor->service = &service;
	event_tell_life(supervisor, EVENT_RESET, LIFE_GUEST_RESET, "again");
	ck_assert_str_eq(text(heard, "event"), "RESET");
	data = json_object_get(heard, "data");
	ck_assert_uint_eq(json_object_size(data), 5);
	ck_assert(json_is_true(json_object_get(data, "guest")));
	ck_assert_str_eq(text(data, "reason"), "guest-reset");
	ck_assert_str_eq(text(data, "text"), "again");
	event_tell_life(supervisor, EVENT_SHUTDOWN, LIFE_HOST_QUIT, "off");
	data = json_object_get(heard, "data");
	ck_assert(json_is_false(json_object_get(data, "guest")));
	ck_assert_str_eq(text(data, "reason"), "host-qmp-quit");
	event_tell_life(supervisor, EVENT_STOP, LIFE_NO_CAUSE, "still");
	ck_assert_uint_eq(json_object_size(json_object_get(heard, "data")), 3);
	ck_assert_uint_eq(json_array_size(supervisor->tally.events), 3);
	json_decref(heard);
}
END_TEST

/* What a replica says of itself can be anything, and is neither a terminal's command nor broken JSON. */
START_TEST(hostile_texts)
{
	static const char *const texts[] = {
		"\x1b[31mred\x07", "\xff\xfe\x80", "a\nb\r\tc", "%s%n", "\"quoted\" \\", "\xc3\x28", "\xed\xa0\x80",
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		const json_t *event;
		const char *told;

		event_tell(supervisor, EVENT_REPLICA_LOST, 0, "%s", texts[i]);
		ck_assert_uint_eq(json_array_size(supervisor->tally.events), i + 1);
		event = json_array_get(supervisor->tally.events, i);
		told = text(json_object_get(event, "data"), "text");
		for (const char *at = told; *at; at++)
			ck_assert_msg((unsigned char)*at >= ' ' && *at != 0x7F, "text %zu has a control character", i);
	}
}
END_TEST

/* A text of any length, and no more events than are kept. */
START_TEST(long_and_many)
{
	char words[2000];

	memset(words, 'x', sizeof(words) - 1);
	words[sizeof(words) - 1] = '\0';
	for (unsigned i = 0; i < TALLY_EVENTS_MAX + 10; i++) {
		supervisor->agreed_position = i;
		event_tell(supervisor, EVENT_MACHINE_ENDED, -1, "%s", words);
	}
	ck_assert_uint_eq(json_array_size(supervisor->tally.events), TALLY_EVENTS_MAX);
	/* The oldest went first. */
	ck_assert_uint_eq(number(json_object_get(json_array_get(supervisor->tally.events, 0), "data"), "position"), 10);
}
END_TEST

/* --- status --- */

START_TEST(status_shape)
{
	static const char *const numbers[] = {
		"leader", "replicas", "live", "position", "uptime_ns", "repairs", "failovers", "respawns", "rollbacks",
	};
	static const char *const of_votes[] = { "total", "unanimous", "minority", "no_majority", "unconfirmed" };
	static const char *const of_replica[] = { "index", "position", "lag", "votes", "repairs", "respawns" };
	json_t *status;
	const json_t *list;

	supervised_stand(&supervised, 0, 100, 0);
	supervised_stand(&supervised, 1, 90, 0);
	supervised_stand(&supervised, 2, 110, 0);
	status = supervisor_status(supervisor);
	ck_assert_str_eq(text(status, "name"), "made-up");
	ck_assert_str_eq(text(status, "state"), "running");
	ck_assert_str_eq(text(status, "last_fault"), "");
	ck_assert(json_is_object(json_object_get(status, "cores")));
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		(void)number(status, numbers[i]);
	for (size_t i = 0; i < ARRAY_SIZE(of_votes); i++)
		ck_assert_uint_eq(number(json_object_get(status, "votes"), of_votes[i]), 0);
	ck_assert_uint_eq(number(status, "replicas"), 3);
	ck_assert_uint_eq(number(status, "live"), 3);
	list = json_object_get(status, "replica");
	ck_assert_uint_eq(json_array_size(list), 3);
	for (size_t i = 0; i < 3; i++) {
		static const uint64_t positions[] = { 100, 90, 110 }, lags[] = { 0, 10, 0 };
		const json_t *replica = json_array_get(list, i);

		for (size_t j = 0; j < ARRAY_SIZE(of_replica); j++)
			(void)number(replica, of_replica[j]);
		ck_assert_uint_eq(number(replica, "index"), i);
		ck_assert_uint_eq(number(replica, "position"), positions[i]);
		ck_assert_uint_eq(number(replica, "lag"), lags[i]);
		ck_assert_uint_eq(number(replica, "pid"), (uint64_t)supervisor->members[i].pid);
		ck_assert_str_eq(text(replica, "role"), i == 0 ? "leader" : "follower");
		ck_assert_str_eq(text(replica, "state"), "running");
		ck_assert_str_eq(text(replica, "last_fault"), "");
		ck_assert_int_eq(json_integer_value(json_object_get(replica, "core")), -1);
	}
	json_decref(status);
}
END_TEST

static void must_tell(unsigned replica, const char *state, const char *machine)
{
	json_t *status = supervisor_status(supervisor);

	ck_assert_str_eq(text(json_array_get(json_object_get(status, "replica"), replica), "state"), state);
	ck_assert_str_eq(text(status, "state"), machine);
	json_decref(status);
}

/* From fault to repair, as it is told. */
START_TEST(status_of_a_repair)
{
	json_t *status;

	atomic_store(&supervised.own[2].control->state, REPLICA_STARTING);
	must_tell(2, "starting", "running");
	atomic_store(&supervised.own[2].control->state, REPLICA_RUNNING);
	for (unsigned i = 0; i < 3; i++) {
		supervised_stand(&supervised, i, 100, 0);
		supervised_vote(&supervised, i, i == 2);
	}
	must_succeed(verdict_judge(supervisor));
	must_tell(2, "repairing", "degraded");
	must_tell(0, "running", "degraded");
	supervised_obey(&supervised, 2, 0);
	must_succeed(repair_continue(supervisor));
	must_tell(2, "running", "running");
	must_succeed(repair_lose(supervisor, &supervisor->members[0], "died", "killed by signal 9"));
	must_tell(0, "joining", "degraded");
	status = supervisor_status(supervisor);
	ck_assert_uint_eq(number(status, "leader"), 1);
	ck_assert_uint_eq(number(status, "live"), 2);
	ck_assert_uint_eq(number(status, "position"), 100);
	ck_assert_uint_eq(number(status, "repairs"), 1);
	ck_assert_uint_eq(number(status, "failovers"), 1);
	ck_assert_str_eq(text(status, "last_fault"), "killed by signal 9");
	ck_assert_uint_eq(number(json_object_get(status, "votes"), "total"), 1);
	ck_assert_uint_eq(number(json_object_get(status, "votes"), "minority"), 1);
	ck_assert_int_eq(json_integer_value(json_object_get(
				 json_array_get(json_object_get(status, "replica"), 1), "core")),
			 3);
	ck_assert_str_eq(text(json_array_get(json_object_get(status, "replica"), 1), "role"), "leader");
	json_decref(status);
	supervisor->over = true;
	must_tell(1, "running", "ended");
	supervisor->care[2].phase = CARE_RETIRED;
	must_tell(2, "retired", "ended");
}
END_TEST

/* --- faults that are asked for --- */

START_TEST(injections)
{
	struct inject_fault fault = { .replica = 1, .position = 77 };
	struct injection *injection = &supervisor->page->injections[1];
	uint32_t attention = atomic_load(&supervisor->page->attention[1]);

	must_succeed(supervisor_inject(supervisor, &fault));
	ck_assert_uint_eq(atomic_load(&injection->serial), 1);
	ck_assert_mem_eq(&injection->fault, &fault, sizeof(fault));
	ck_assert_uint_eq(atomic_load(&supervisor->page->attention[1]), attention + 1);
	/* One after the other. */
	must_fail(supervisor_inject(supervisor, &fault), STATUS_FAILED, "has not taken the fault before");
	atomic_store(&supervised.own[1].control->injection_done, 1);
	must_succeed(supervisor_inject(supervisor, &fault));
	ck_assert_uint_eq(atomic_load(&injection->serial), 2);
	fault.replica = 3;
	must_fail(supervisor_inject(supervisor, &fault), STATUS_USAGE, "there is no replica 3");
	fault.replica = 2;
	must_succeed(repair_lose(supervisor, &supervisor->members[2], "died", "killed"));
	must_fail(supervisor_inject(supervisor, &fault), STATUS_FAILED, "takes no part");
	fault.replica = 0;
	supervisor->over = true;
	must_fail(supervisor_inject(supervisor, &fault), STATUS_FAILED, "takes no part");
}
END_TEST

/* --- what is booked --- */

static bool booked_with_injection(unsigned replica)
{
	booking_fault(supervisor, replica, "outvoted", 10, "a test");
	return json_object_get(supervisor->care[replica].fault, "injected_ns") != NULL;
}

/* An injection belongs to one fault: what is found in the same replica later was something else. */
START_TEST(injection_is_booked_once)
{
	struct replica_statistics *statistics = &supervised.own[1].control->statistics;

	ck_assert(!booked_with_injection(1));
	statistics->injected = 1;
	statistics->injected_ns = clock_monotonic_ns();
	ck_assert(!booked_with_injection(0));
	ck_assert(booked_with_injection(1));
	ck_assert(!booked_with_injection(1));
	statistics->injected_ns++;
	ck_assert(booked_with_injection(1));
}
END_TEST

int main(int argc, char **argv)
{
	Suite *suite = suite_create("event");
	TCase *tests = tcase_create("machine");

	supervised_be_replica(argc, argv);
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, names);
	tcase_add_test(tests, event_shape);
	tcase_add_test(tests, life_shape);
	tcase_add_test(tests, hostile_texts);
	tcase_add_test(tests, long_and_many);
	tcase_add_test(tests, status_shape);
	tcase_add_test(tests, status_of_a_repair);
	tcase_add_test(tests, injections);
	tcase_add_test(tests, injection_is_booked_once);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
