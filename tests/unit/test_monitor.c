/* The monitor of a machine that only seems to be one: several clients at once, commands, events, and clients that do
 * not read, leave, are too many, or talk rubbish. The monitor never waits, and is quiet when there is nothing to do. */
#include "tests/unit/fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "manage/monitor.c"
#include "manage/monitor_socket.c"
#include "manage/places.c"
#include "manage/qmp.c"
#include "manage/qmp_commands.c"
#include "manage/qmp_stream.c"

static char test_folder[32];
static char path[64];
static struct monitor *tested;
static const struct service *service;
static int ready_fd;

/* --- the machine --- */

static int machine_stands_for;
static struct supervisor *const the_machine = (struct supervisor *)&machine_stands_for;
static const char *machine_state;
static unsigned faults;
static struct inject_fault last_fault;

static json_t *give_status(const struct supervisor *supervisor)
{
	ck_assert_ptr_eq(supervisor, the_machine);
	return json_pack("{s:s, s:s}", "name", "unit", "state", machine_state);
}

static result take_fault(struct supervisor *supervisor, const struct inject_fault *fault)
{
	ck_assert_ptr_eq(supervisor, the_machine);
	if (fault->replica > 2)
		return fail(STATUS_USAGE, "there is no replica %u", fault->replica);
	last_fault = *fault;
	faults++;
	return OK;
}

/* --- clients --- */

struct peer {
	int fd;
	bool closed; /* by the monitor */
	size_t length;
	char text[1 << 16];
};

/* Serves until there is nothing to do, which must come about. */
static void pump(void)
{
	struct pollfd ready = { .fd = ready_fd, .events = POLLIN };

	for (unsigned i = 0; i < 10000; i++) {
		if (poll(&ready, 1, 0) == 0)
			return;
		service->serve(service->context);
	}
	ck_abort_msg("the monitor never comes to rest");
}

/* Takes what the monitor has sent to the peer since the last call. */
static const char *hear(struct peer *peer)
{
	pump();
	peer->length = 0;
	for (;;) {
		ssize_t got = recv(peer->fd, peer->text + peer->length, sizeof(peer->text) - 1 - peer->length,
				   MSG_DONTWAIT);

		if (got <= 0) {
			peer->closed = got == 0 || errno == ECONNRESET;
			ck_assert(peer->closed || errno == EAGAIN);
			break;
		}
		peer->length += (size_t)got;
		pump();
	}
	peer->text[peer->length] = '\0';
	return peer->text;
}

static void say(struct peer *peer, const char *text)
{
	ck_assert_int_eq(send(peer->fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static struct peer *new_peer(void)
{
	struct peer *peer = calloc(1, sizeof(*peer));
	struct place place;

	(void)snprintf(place.path, sizeof(place.path), "%s", path);
	ck_assert_ptr_nonnull(peer);
	peer->fd = places_connect(&place);
	ck_assert_int_ge(peer->fd, 0);
	return peer;
}

static struct peer *negotiated_peer(void)
{
	struct peer *peer = new_peer();

	say(peer, "{\"execute\": \"qmp_capabilities\"}");
	const char *heard = hear(peer);

	ck_assert_int_eq(strncmp(heard, "{\"QMP\": ", 8), 0);
	ck_assert_ptr_nonnull(strstr(heard, "\r\n{\"return\": {}}\r\n"));
	return peer;
}

static void leave(struct peer *peer)
{
	close(peer->fd);
	free(peer);
	pump();
}

static void tell_event(const char *name)
{
	json_t *event = json_pack("{s:s, s:{s:i}}", "event", name, "data", "replica", 1);

	service->event(service->context, event);
	json_decref(event);
}

static unsigned clients(void)
{
	unsigned count = 0;

	for (unsigned i = 0; i < MONITOR_CLIENTS_MAX; i++)
		count += tested->clients[i].fd >= 0;
	return count;
}

static void setup(void)
{
	struct monitor_options options = { .place = path };

	(void)snprintf(test_folder, sizeof(test_folder), "/tmp/unit-monitor.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(test_folder));
	(void)snprintf(path, sizeof(path), "%s/m.sock", test_folder);
	result r = monitor_open(&tested, &options, "unit");

	ck_assert_msg(!failed(r), "%s", failed(r) ? r.failure->message : "");
	service = monitor_service(tested, give_status, take_fault);
	ck_assert_ptr_nonnull(service);
	ck_assert(!failed(service->start(service->context, the_machine, &ready_fd)));
	machine_state = "running";
	faults = 0;
}

static void teardown(void)
{
	monitor_close(tested);
	ck_assert_int_lt(access(path, F_OK), 0);
	ck_assert_int_eq(rmdir(test_folder), 0);
}

/* --- one client --- */

static void expect(struct peer *peer, const char *text, const char *wanted)
{
	say(peer, text);
	ck_assert_str_eq(hear(peer), wanted);
}

START_TEST(queries)
{
	struct peer *peer = negotiated_peer();

	ck_assert_str_eq(monitor_name(tested), "unit");
	expect(peer, "{\"execute\": \"query-name\", \"id\": 7}", "{\"return\": {\"name\": \"unit\"}, \"id\": 7}\r\n");
	expect(peer, "{\"execute\": \"tercet-status\"}",
	       "{\"return\": {\"name\": \"unit\", \"state\": \"running\"}}\r\n");
	say(peer, "{\"execute\": \"query-version\"}");
	ck_assert_int_eq(strncmp(hear(peer), "{\"return\": {\"qemu\": {\"major\": 4, ", 33), 0);
	leave(peer);
}
END_TEST

START_TEST(run_states)
{
	static const char *const states[][2] = {
		{ "running", "{\"return\": {\"status\": \"running\", \"running\": true, \"singlestep\": false}}\r\n" },
		{ "degraded", "{\"return\": {\"status\": \"running\", \"running\": true, \"singlestep\": false}}\r\n" },
		{ "ended", "{\"return\": {\"status\": \"shutdown\", \"running\": false, \"singlestep\": false}}\r\n" },
		{ "stopped",
		  "{\"return\": {\"status\": \"internal-error\", \"running\": false, \"singlestep\": false}}\r\n" },
	};
	struct peer *peer = negotiated_peer();

	for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
		machine_state = states[i][0];
		expect(peer, "{\"execute\": \"query-status\"}", states[i][1]);
	}
	leave(peer);
}
END_TEST

/* Every command that is listed can be found, and the other way round. */
START_TEST(command_list)
{
	struct peer *peer = negotiated_peer();
	json_t *reply, *list, *entry;
	size_t index;

	say(peer, "{\"execute\": \"query-commands\"}");
	reply = json_loads(hear(peer), 0, NULL);
	list = json_object_get(reply, "return");
	ck_assert_uint_eq(json_array_size(list), ARRAY_SIZE(commands) + 1);
	json_array_foreach(list, index, entry) {
		const char *name = json_string_value(json_object_get(entry, "name"));
		char text[100];

		ck_assert_ptr_nonnull(name);
		(void)snprintf(text, sizeof(text), "{\"execute\": \"%s\", \"arguments\": {\"\": 1}}", name);
		say(peer, text);
		/* It is the argument that is not known. */
		if (strcmp(name, "qmp_capabilities") != 0)
			ck_assert_ptr_nonnull(strstr(hear(peer), "{\"class\": \"GenericError\""));
		else
			(void)hear(peer);
	}
	json_decref(reply);
	leave(peer);
}
END_TEST

START_TEST(injection)
{
	static const char *const bad[] = {
		"{}",
		"{\"replica\": 1}",
		"{\"target\": \"reg:rax:1\"}",
		"{\"replica\": \"1\", \"target\": \"reg:rax:1\"}",
		"{\"replica\": -1, \"target\": \"reg:rax:1\"}",
		"{\"replica\": 4294967296, \"target\": \"reg:rax:1\"}",
		"{\"replica\": 1.5, \"target\": \"reg:rax:1\"}",
		"{\"replica\": 1, \"target\": 5}",
		"{\"replica\": 1, \"target\": \"\"}",
		"{\"replica\": 1, \"target\": \"reg:rax\"}",
		"{\"replica\": 1, \"target\": \"reg:rux:1\"}",
		"{\"replica\": 1, \"target\": \"reg:rax:64\"}",
		"{\"replica\": 1, \"target\": \"reg:rax:1\", \"at\": null}",
		"{\"replica\": 1, \"target\": \"reg:rax:1\", \"at\": -1}",
		"{\"replica\": 1, \"target\": \"reg:rax:1\", \"at\": 1.0}",
		"{\"replica\": 1, \"target\": \"reg:rax:1\", \"at\": \"soon\"}",
		"{\"replica\": 1, \"target\": \"reg:rax:1\", \"at\": \"1111111111111111111111111111111111111111\"}",
		"{\"replica\": 1, \"target\": \"reg:rax:1\", \"when\": 5}",
		"{\"replica\": 3, \"target\": \"reg:rax:1\"}",
	};
	struct peer *peer = negotiated_peer();

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		char text[256];

		(void)snprintf(text, sizeof(text), "{\"execute\": \"tercet-inject\", \"arguments\": %s}", bad[i]);
		say(peer, text);
		ck_assert_msg(strncmp(hear(peer), "{\"error\": {\"class\": \"GenericError\"", 33) == 0, "%s: %s",
			      bad[i], peer->text);
	}
	ck_assert_uint_eq(faults, 0);
	expect(peer, "{\"execute\": \"tercet-inject\", \"arguments\": {\"replica\": 2, \"target\": \"reg:rax:3\","
		     " \"at\": 12345}}",
	       "{\"return\": {}}\r\n");
	ck_assert_uint_eq(last_fault.replica, 2);
	ck_assert_str_eq(last_fault.name, "rax");
	ck_assert_uint_eq(last_fault.bit, 3);
	ck_assert_uint_eq(last_fault.position, 12345);
	expect(peer, "{\"execute\": \"tercet-inject\", \"arguments\": {\"replica\": 0, \"target\": \"mem:0x1000:7\","
		     " \"at\": \"77\"}}",
	       "{\"return\": {}}\r\n");
	ck_assert_uint_eq(last_fault.address, 0x1000);
	ck_assert_uint_eq(last_fault.position, 77);
	expect(peer, "{\"execute\": \"tercet-inject\", \"arguments\": {\"replica\": 1, \"target\": \"reg:rbx:0\"}}",
	       "{\"return\": {}}\r\n");
	ck_assert_uint_eq(last_fault.position, 0);
	ck_assert_uint_eq(faults, 3);
	leave(peer);
}
END_TEST

/* One who says all he has to say and then only listens. */
START_TEST(half_closed)
{
	struct peer *peer = new_peer();

	say(peer, "{\"execute\": \"qmp_capabilities\"}{\"execute\": \"query-name\"}");
	ck_assert_int_eq(shutdown(peer->fd, SHUT_WR), 0);
	ck_assert_ptr_nonnull(strstr(hear(peer), "{\"name\": \"unit\"}"));
	ck_assert(peer->closed);
	ck_assert_uint_eq(clients(), 0);
	leave(peer);
}
END_TEST

/* One who sends faster than he reads waits, and loses nothing; what he is owed stays bounded. */
START_TEST(pipelined_without_reading)
{
	enum { COUNT = 60000 };
	static const char text[] = "{\"execute\": \"tercet-status\"}\n";
	static const char wanted[] = "{\"return\": {\"name\": \"unit\", \"state\": \"running\"}}\r\n";
	struct peer *peer = negotiated_peer();
	size_t sent = 0, heard = 0;

	while (heard < COUNT * strlen(wanted)) {
		while (sent < COUNT * strlen(text)) {
			ssize_t wrote = send(peer->fd, text + sent % strlen(text), strlen(text) - sent % strlen(text),
					   MSG_DONTWAIT | MSG_NOSIGNAL);

			if (wrote < 0) {
				ck_assert_int_eq(errno, EAGAIN);
				break;
			}
			sent += (size_t)wrote;
		}
		pump();
		/* Not to the end: the queue is to be full most of the time. */
		ssize_t got = recv(peer->fd, peer->text, sizeof(peer->text), MSG_DONTWAIT);

		ck_assert_int_gt(got, 0);
		for (size_t i = 0; i < (size_t)got; i++)
			ck_assert_int_eq(peer->text[i], wanted[(heard + i) % strlen(wanted)]);
		heard += (size_t)got;
		for (unsigned i = 0; i < MONITOR_CLIENTS_MAX; i++)
			ck_assert_uint_lt(tested->clients[i].qmp.output_end - tested->clients[i].qmp.output_begin,
					  2 * QMP_OUTPUT_CALM);
	}
	ck_assert_uint_eq(heard, COUNT * strlen(wanted));
	leave(peer);
}
END_TEST

/* --- several clients --- */

START_TEST(events_for_all)
{
	enum { PEERS = 5 };
	struct peer *peers[PEERS];
	struct peer *silent = new_peer();

	for (unsigned i = 0; i < PEERS; i++)
		peers[i] = negotiated_peer();
	ck_assert_uint_eq(clients(), PEERS + 1);
	tell_event("TERCET_ROLLBACK");
	for (unsigned i = 0; i < PEERS; i++) {
		json_t *event = json_loads(hear(peers[i]), 0, NULL);
		json_t *timestamp = json_object_get(event, "timestamp");

		ck_assert_msg(event != NULL, "%s", peers[i]->text);
		ck_assert_str_eq(json_string_value(json_object_get(event, "event")), "TERCET_ROLLBACK");
		ck_assert(json_integer_value(json_object_get(json_object_get(event, "data"), "replica")) == 1);
		const json_int_t seconds = json_integer_value(json_object_get(timestamp, "seconds"));
		const json_int_t microseconds = json_integer_value(json_object_get(timestamp, "microseconds"));

		ck_assert(seconds > 1600000000 && microseconds >= 0 && microseconds < 1000000);
		json_decref(event);
	}
	/* One who has not negotiated has the greeting alone. */
	ck_assert_ptr_null(strstr(hear(silent), "TERCET_ROLLBACK"));
	for (unsigned i = 0; i < PEERS; i++)
		leave(peers[i]);
	ck_assert_uint_eq(clients(), 1);
	leave(silent);
	ck_assert_uint_eq(clients(), 0);
}
END_TEST

/* Who does not read is dropped in the end; whoever does misses nothing. */
START_TEST(slow_client)
{
	struct peer *slow = negotiated_peer();
	struct peer *other = negotiated_peer();
	size_t heard = 0;
	unsigned told = 0;

	while (clients() == 2) {
		/* A socket's buffer and the queue hold some MiB. */
		ck_assert_uint_lt(told, 200000);
		tell_event("TERCET_ROLLBACK");
		told++;
		for (const char *at = hear(other); (at = strstr(at, "TERCET_ROLLBACK")); at++)
			heard++;
	}
	ck_assert_uint_gt(told, 1000);
	ck_assert_uint_eq(heard, told);
	expect(other, "{\"execute\": \"query-name\"}", "{\"return\": {\"name\": \"unit\"}}\r\n");
	while (!slow->closed)
		(void)hear(slow);
	leave(slow);
	leave(other);
}
END_TEST

START_TEST(too_many_clients)
{
	struct peer *peers[MONITOR_CLIENTS_MAX];
	struct peer *late;

	for (unsigned i = 0; i < MONITOR_CLIENTS_MAX; i++)
		peers[i] = negotiated_peer();
	late = new_peer();
	ck_assert_int_eq(strncmp(hear(late), "{\"error\": {\"class\": \"GenericError\"", 33), 0);
	ck_assert(late->closed);
	leave(late);
	leave(peers[3]);
	peers[3] = negotiated_peer();
	expect(peers[3], "{\"execute\": \"query-name\"}", "{\"return\": {\"name\": \"unit\"}}\r\n");
	for (unsigned i = 0; i < MONITOR_CLIENTS_MAX; i++)
		leave(peers[i]);
}
END_TEST

/* Without a descriptor for it a client is turned away, and the monitor comes to rest. */
START_TEST(no_descriptors)
{
	struct peer *first = negotiated_peer();
	struct peer *second = new_peer();
	struct rlimit limit, before;
	int next = dup(0);

	close(next);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
	limit = before;
	limit.rlim_cur = (rlim_t)next;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	ck_assert_str_eq(hear(second), "");
	ck_assert(second->closed);
	expect(first, "{\"execute\": \"query-name\"}", "{\"return\": {\"name\": \"unit\"}}\r\n");
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
	leave(second);
	second = negotiated_peer();
	leave(second);
	leave(first);
}
END_TEST

/* Clients that leave at any moment, with requests unanswered and answers unread. */
START_TEST(clients_that_leave)
{
	uint64_t seed = 3;

	for (unsigned round = 0; round < 300; round++) {
		struct peer *peer = new_peer();

		if (fixture_random(&seed) % 2)
			pump();
		say(peer, "{\"execute\": \"qmp_capabilities\"}");
		if (fixture_random(&seed) % 2)
			pump();
		for (uint64_t i = fixture_random(&seed) % 200; i > 0; i--)
			say(peer, "{\"execute\": \"tercet-status\"}");
		if (fixture_random(&seed) % 2)
			(void)shutdown(peer->fd, SHUT_WR);
		if (fixture_random(&seed) % 2)
			tell_event("TERCET_ROLLBACK");
		leave(peer);
	}
	ck_assert_uint_eq(clients(), 0);
}
END_TEST

/* Rubbish of every kind; behind a line feed the client is understood again. */
START_TEST(rubbish)
{
	static const char alphabet[] = "{{}}[]\"\\:, \nabcdefghi123\x01\x7f\xc3\xff";
	struct peer *peer = negotiated_peer();
	uint64_t seed = 4711;

	for (unsigned round = 0; round < 3000; round++) {
		char text[200];
		size_t length = 1 + fixture_random(&seed) % sizeof(text);

		for (size_t i = 0; i < length; i++)
			text[i] = alphabet[fixture_random(&seed) % (sizeof(alphabet) - 1)];
		ck_assert_int_eq(send(peer->fd, text, length, MSG_NOSIGNAL), (ssize_t)length);
		(void)hear(peer);
		ck_assert(!peer->closed);
	}
	/* Whatever bracket or string is open: one of these ends it, or is a mistake in it. */
	say(peer, "\x01\n");
	(void)hear(peer);
	expect(peer, "{\"execute\": \"query-name\"}", "{\"return\": {\"name\": \"unit\"}}\r\n");
	leave(peer);
}
END_TEST

/* --- the life of a monitor --- */

START_TEST(stopped)
{
	struct peer *peer = negotiated_peer();

	tell_event("TERCET_MACHINE_ENDED");
	service->stop(service->context);
	ssize_t got = recv(peer->fd, peer->text, sizeof(peer->text) - 1, 0);

	ck_assert_int_gt(got, 0);
	peer->text[got] = '\0';
	ck_assert_ptr_nonnull(strstr(peer->text, "TERCET_MACHINE_ENDED"));
	ck_assert_int_eq(recv(peer->fd, peer->text, sizeof(peer->text), 0), 0);
	ck_assert_int_lt(access(path, F_OK), 0);
	close(peer->fd);
	free(peer);
}
END_TEST

START_TEST(places_of_a_monitor)
{
	struct monitor_options options = { .place = path };
	struct monitor *second;
	result r = monitor_open(&second, &options, "second");

	ck_assert(failed(r) && r.failure->status == STATUS_INPUT);
	ck_assert_ptr_nonnull(strstr(r.failure->message, "--monitor"));
	options.place = "none";
	ck_assert(!failed(monitor_open(&second, &options, "second")));
	ck_assert_ptr_null(monitor_service(second, give_status, take_fault));
	ck_assert_str_eq(monitor_name(second), "second");
	monitor_close(second);
	monitor_close(NULL);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("monitor");
	TCase *tests = tcase_create("clients");

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, queries);
	tcase_add_test(tests, run_states);
	tcase_add_test(tests, command_list);
	tcase_add_test(tests, injection);
	tcase_add_test(tests, half_closed);
	tcase_add_test(tests, pipelined_without_reading);
	tcase_add_test(tests, events_for_all);
	tcase_add_test(tests, slow_client);
	tcase_add_test(tests, too_many_clients);
	tcase_add_test(tests, no_descriptors);
	tcase_add_test(tests, clients_that_leave);
	tcase_add_test(tests, rubbish);
	tcase_add_test(tests, stopped);
	tcase_add_test(tests, places_of_a_monitor);
	tcase_set_timeout(tests, 100);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
