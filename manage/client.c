#include "manage/client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "base/fd.h"
#include "base/futex.h"
#include "base/log.h"
#include "manage/places.h"

/* A supervisor that is alive answers in milliseconds. */
#define ANSWER_MS 10000

void client_clean_text(char *text)
{
	for (unsigned char *c = (unsigned char *)text; *c; c++) {
		if (*c < 0x20 || *c == 0x7f)
			*c = '?';
		/* U+0080 to U+009F are control characters, too. */
		if (c[0] == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0)
			c[0] = c[1] = '?';
	}
}

int client_report(result r)
{
	if (!failed(r))
		return STATUS_OK;
	log_error("%s", r.failure->message);
	return (int)r.failure->status;
}

static result lost(struct client *client)
{
	client->lost = true;
	return fail(STATUS_FAILED, "the connection to %s is lost", client->vm);
}

/* --- messages --- */

/* Fills the buffer; nothing comes for `timeout_ms`: it stays empty. */
static result fill(struct client *client, int timeout_ms)
{
	struct pollfd ready = { .fd = client->fd, .events = POLLIN };
	int count = poll(&ready, 1, timeout_ms);

	client->begin = client->end = 0;
	if (count < 0 && errno != EINTR)
		return fail_errno(STATUS_FAILED, errno, "cannot wait for %s", client->vm);
	if (count <= 0)
		return OK;
	ssize_t got = recv(client->fd, client->buffer, sizeof(client->buffer), MSG_DONTWAIT);

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return OK;
	if (got <= 0)
		return lost(client);
	client->end = (size_t)got;
	return OK;
}

static result damaged(const struct client *client, const char *what)
{
	return fail(STATUS_FAILED, "what %s sends is not understood: %s", client->vm, what);
}

static result parse_message(const struct client *client, json_t **message)
{
	json_error_t error;

	*message = json_loadb(client->input.text, client->input.length, JSON_REJECT_DUPLICATES, &error);
	return *message ? OK : damaged(client, "it is not JSON");
}

/* The next message whatever it is; NULL after `timeout_ms`. */
static result await_message(struct client *client, int timeout_ms, json_t **message)
{
	uint64_t until = clock_monotonic_ns() + (timeout_ms > 0 ? (unsigned)timeout_ms : 0u) * NS_PER_MS;

	*message = NULL;
	for (;;) {
		const char *error = "";
		size_t taken;
		enum qmp_stream_found found = qmp_stream_take(&client->input, client->buffer + client->begin,
							      client->end - client->begin, &taken, &error);

		client->begin += taken;
		if (found == QMP_STREAM_MESSAGE)
			return parse_message(client, message);
		if (found == QMP_STREAM_ERROR)
			return damaged(client, error);
		uint64_t now = clock_monotonic_ns();

		if (timeout_ms >= 0 && now > until)
			return OK;
		TRY(fill(client, timeout_ms < 0 ? -1 : (int)((until - now + NS_PER_MS - 1) / NS_PER_MS)));
	}
}

static result refusal(const json_t *error)
{
	char text[512];
	const char *said = json_string_value(json_object_get(error, "desc"));

	(void)snprintf(text, sizeof(text), "%s", said ? said : "it does not say why");
	client_clean_text(text);
	return fail(STATUS_FAILED, "%s", text);
}

/* Takes over `reply`. */
static result take_reply(const struct client *client, json_t *reply, json_t **value)
{
	json_t *returned = json_object_get(reply, "return");
	json_t *error = json_object_get(reply, "error");
	result r = OK;

	if (error)
		r = in_context(refusal(error), "%s", client->vm);
	else if (!returned)
		r = damaged(client, "it is no reply");
	else if (value)
		*value = json_incref(returned);
	json_decref(reply);
	return r;
}

/* The next message that is no event; events are kept for later. */
static result await_reply(struct client *client, json_t **reply)
{
	for (;;) {
		TRY(await_message(client, ANSWER_MS, reply));
		if (!*reply)
			return fail(STATUS_FAILED, "%s does not answer", client->vm);
		if (!json_object_get(*reply, "event"))
			return OK;
		if (json_array_append_new(client->events, *reply) < 0)
			return fail(STATUS_FAILED, "no memory for an event");
	}
}

static result send_text(struct client *client, const char *text, size_t length)
{
	while (length > 0) {
		struct pollfd ready = { .fd = client->fd, .events = POLLOUT };
		ssize_t sent = send(client->fd, text, length, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (sent < 0 && errno == EAGAIN) {
			if (poll(&ready, 1, ANSWER_MS) == 0)
				return fail(STATUS_FAILED, "%s does not answer", client->vm);
		} else if (sent < 0 && errno != EINTR) {
			return lost(client);
		} else if (sent > 0) {
			text += sent;
			length -= (size_t)sent;
		}
	}
	return OK;
}

result client_ask(struct client *client, const char *command, json_t *arguments, json_t **value)
{
	json_t *request = json_pack("{s:s, s:o*}", "execute", command, "arguments", arguments);
	char *text = request ? json_dumps(request, 0) : NULL;
	json_t *reply;

	json_decref(request);
	if (!text)
		return fail(STATUS_FAILED, "no memory for the request");
	result r = send_text(client, text, strlen(text));

	free(text);
	TRY(r);
	TRY(await_reply(client, &reply));
	return take_reply(client, reply, value);
}

result client_await_event(struct client *client, int timeout_ms, json_t **event)
{
	if (json_array_size(client->events) > 0) {
		*event = json_incref(json_array_get(client->events, 0));
		(void)json_array_remove(client->events, 0);
		return OK;
	}
	for (;;) {
		TRY(await_message(client, timeout_ms, event));
		if (!*event || json_object_get(*event, "event"))
			return OK;
		/* A reply to nothing. */
		json_decref(*event);
	}
}

bool client_is_last_event(const json_t *event)
{
	const char *name = json_string_value(json_object_get(event, "event"));

	return name && (strcmp(name, "LOCKSTEP_ENDED") == 0 || strcmp(name, "LOCKSTEP_STOPPED") == 0);
}

/* --- the connection --- */

static result take_greeting(struct client *client)
{
	json_t *greeting;

	TRY(await_reply(client, &greeting));
	bool good = json_object_get(greeting, "QMP") != NULL;
	/* A monitor with too many clients says so instead. */
	json_t *error = json_object_get(greeting, "error");
	result r = OK;

	if (error)
		r = in_context(refusal(error), "%s", client->vm);
	else if (!good)
		r = damaged(client, "it does not speak QMP");
	json_decref(greeting);
	return r;
}

static result connect_to(struct client *client, const struct place *place)
{
	const struct timespec pause = { .tv_nsec = 10 * NS_PER_MS };
	uint64_t until = clock_monotonic_ns() + ANSWER_MS * NS_PER_MS;

	client->fd = places_connect(place);
	/* A queue full of clients that wait to be accepted. */
	while (client->fd < 0 && errno == EAGAIN && clock_monotonic_ns() < until) {
		(void)nanosleep(&pause, NULL);
		client->fd = places_connect(place);
	}
	if (client->fd >= 0)
		return OK;
	if (errno == EAGAIN)
		return fail(STATUS_FAILED, "%s does not answer", client->vm);
	if (errno == ECONNREFUSED)
		return fail(STATUS_INPUT, "%s does not run any more (nobody listens at %s)", client->vm, place->path);
	return fail_errno(STATUS_INPUT, errno, "cannot connect to %s", place->path);
}

result client_open(struct client *client, const char *vm)
{
	struct place place;

	*client = (struct client){ .vm = vm, .fd = -1, .events = json_array() };
	qmp_stream_init(&client->input);
	if (!client->events)
		return fail(STATUS_FAILED, "no memory for events");
	TRY(places_of_running(vm, &place));
	TRY(connect_to(client, &place));
	TRY(take_greeting(client));
	return client_ask(client, "qmp_capabilities", NULL, NULL);
}

void client_close(struct client *client)
{
	json_decref(client->events);
	client->events = NULL;
	qmp_stream_destroy(&client->input);
	fd_close(&client->fd);
}
