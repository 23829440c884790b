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
#include "manage/qmp_control.c"
#include "manage/qmp_stream.c"

static char test_folder[32];
static char path[64];
static struct monitor *tested;
static const struct service *service;
static int ready_fd;

/* --- the machine --- */

static int machine_stands_for;
static struct supervisor *const the_machine = (struct supervisor *)&machine_stands_for;

static json_t *give_status(const struct supervisor *supervisor)
{
	ck_assert_ptr_eq(supervisor, the_machine);
	return json_pack("{s:s, s:s}", "name", "unit", "state", "running");
}

static result take_fault(struct supervisor *supervisor, const struct inject_fault *fault)
{
	ck_assert_ptr_eq(supervisor, the_machine);
	ck_assert_uint_eq(fault->replica, 2);
	return OK;
}

static const struct machine_control fake_control;

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
	struct monitor_options options = { .place = path, .fd = -1 };

	(void)snprintf(test_folder, sizeof(test_folder), "/tmp/unit-monitor.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(test_folder));
	(void)snprintf(path, sizeof(path), "%s/m.sock", test_folder);
	result r = monitor_open(&tested, &options, "unit");

	ck_assert_msg(!failed(r), "%s", failed(r) ? r.failure->message : "");
	service = monitor_service(tested, &(struct qmp_machine){ .status = give_status, .inject = take_fault,
								.control = &fake_control });
	ck_assert_ptr_nonnull(service);
	ck_assert(!failed(service->start(service->context, the_machine, &ready_fd)));
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
	expect(peer, "{\"execute\": \"tercet-inject\", \"arguments\": {\"replica\": 2, \"target\": \"mem:0:0\"}}",
	       "{\"return\": {}}\r\n");
	leave(peer);
}
END_TEST

/* --- more at once than fits into a socket --- */

enum { BURST = 500 };
static const char one_request[] = "{\"execute\": \"tercet-status\"}\n";
static const char one_answer[] = "{\"return\": {\"name\": \"unit\", \"state\": \"running\"}}\r\n";

/* Sends up to `*left` bytes of requests, the last of which may be cut, as far as the socket takes them. */
static void send_requests(struct peer *peer, size_t *left)
{
	static char burst[BURST * sizeof(one_request)];
	const size_t size = BURST * strlen(one_request);
	ssize_t sent = 1;

	for (size_t i = 0; i < BURST; i++)
		memcpy(burst + i * strlen(one_request), one_request, strlen(one_request));
	while (*left > 0 && sent > 0) {
		/* The last burst is a whole one, so `*left` tells where in one we are. */
		size_t at = (size - *left % size) % size;
		size_t length = size - at < *left ? size - at : *left;

		sent = send(peer->fd, burst + at, length, MSG_DONTWAIT | MSG_NOSIGNAL);
		ck_assert(sent > 0 || errno == EAGAIN);
		*left -= sent > 0 ? (size_t)sent : 0;
	}
}

/* Takes some of the answers, `*heard` bytes of which have come before. */
static void hear_answers(struct peer *peer, size_t *heard)
{
	ssize_t got = recv(peer->fd, peer->text, sizeof(peer->text), MSG_DONTWAIT);

	ck_assert_int_gt(got, 0);
	for (size_t i = 0; i < (size_t)got; i++)
		ck_assert_int_eq(peer->text[i], one_answer[(*heard + i) % strlen(one_answer)]);
	*heard += (size_t)got;
}

/* One who sends faster than he reads waits, and loses nothing; what he is owed stays bounded. */
START_TEST(pipelined_without_reading)
{
	enum { COUNT = 60000 };
	struct peer *peer = negotiated_peer();
	size_t left = COUNT * strlen(one_request), heard = 0, most = 0;

	while (heard < COUNT * strlen(one_answer)) {
		send_requests(peer, &left);
		pump();
		for (unsigned i = 0; i < MONITOR_CLIENTS_MAX; i++) {
			size_t waiting = tested->clients[i].qmp.output_end - tested->clients[i].qmp.output_begin;

			most = waiting > most ? waiting : most;
		}
		hear_answers(peer, &heard);
		pump();
	}
	ck_assert_uint_eq(heard, COUNT * strlen(one_answer));
	ck_assert_uint_ge(most, QMP_OUTPUT_CALM);
	ck_assert_uint_lt(most, 2 * QMP_OUTPUT_CALM);
	leave(peer);
}
END_TEST

/* One who says all he has to say and then only listens. */
START_TEST(half_closed)
{
	enum { COUNT = 4000 };
	struct peer *peer = negotiated_peer();
	size_t left = COUNT * strlen(one_request), heard = 0;

	while (left > 0) {
		send_requests(peer, &left);
		pump();
	}
	ck_assert_int_eq(shutdown(peer->fd, SHUT_WR), 0);
	pump();
	ck_assert_uint_eq(clients(), 1);
	while (heard < COUNT * strlen(one_answer)) {
		hear_answers(peer, &heard);
		pump();
	}
	ck_assert_str_eq(hear(peer), "");
	ck_assert(peer->closed);
	ck_assert_uint_eq(clients(), 0);
	leave(peer);
}
END_TEST

/* A process that is just being started has a copy of the client's descriptor for a moment. */
START_TEST(copied_descriptor)
{
	struct peer *peer = negotiated_peer();
	int copy = dup(tested->clients[0].fd);

	ck_assert_int_ge(copy, 0);
	leave(peer);
	ck_assert_uint_eq(clients(), 0);
	pump();
	close(copy);
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
	tell_event("LOCKSTEP_ROLLBACK");
	for (unsigned i = 0; i < PEERS; i++) {
		json_t *event = json_loads(hear(peers[i]), 0, NULL);
		json_t *timestamp = json_object_get(event, "timestamp");

		ck_assert_msg(event != NULL, "%s", peers[i]->text);
		ck_assert_str_eq(json_string_value(json_object_get(event, "event")), "LOCKSTEP_ROLLBACK");
		ck_assert(json_integer_value(json_object_get(json_object_get(event, "data"), "replica")) == 1);
		const json_int_t seconds = json_integer_value(json_object_get(timestamp, "seconds"));
		const json_int_t microseconds = json_integer_value(json_object_get(timestamp, "microseconds"));

		ck_assert(seconds > 1600000000 && microseconds >= 0 && microseconds < 1000000);
		json_decref(event);
	}
	/* One who has not negotiated has the greeting alone. */
	ck_assert_ptr_null(strstr(hear(silent), "LOCKSTEP_ROLLBACK"));
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
		tell_event("LOCKSTEP_ROLLBACK");
		told++;
		for (const char *at = hear(other); (at = strstr(at, "LOCKSTEP_ROLLBACK")); at++)
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
			tell_event("LOCKSTEP_ROLLBACK");
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

	tell_event("LOCKSTEP_ENDED");
	service->stop(service->context);
	ssize_t got = recv(peer->fd, peer->text, sizeof(peer->text) - 1, 0);

	ck_assert_int_gt(got, 0);
	peer->text[got] = '\0';
	ck_assert_ptr_nonnull(strstr(peer->text, "LOCKSTEP_ENDED"));
	ck_assert_int_eq(recv(peer->fd, peer->text, sizeof(peer->text), 0), 0);
	ck_assert_int_lt(access(path, F_OK), 0);
	close(peer->fd);
	free(peer);
}
END_TEST

START_TEST(places_of_a_monitor)
{
	struct monitor_options options = { .place = path, .fd = -1 };
	struct monitor *second;
	result r = monitor_open(&second, &options, "second");

	ck_assert(failed(r) && r.failure->status == STATUS_INPUT);
	ck_assert_ptr_nonnull(strstr(r.failure->message, "--monitor"));
	options.place = "none";
	ck_assert(!failed(monitor_open(&second, &options, "second")));
	ck_assert_ptr_null(monitor_service(second, &(struct qmp_machine){ .status = give_status }));
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
	tcase_add_test(tests, half_closed);
	tcase_add_test(tests, copied_descriptor);
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
