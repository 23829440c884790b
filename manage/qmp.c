#include "manage/qmp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CAPABILITIES "qmp_capabilities"
#define GENERIC_ERROR "GenericError"
#define COMMAND_NOT_FOUND "CommandNotFound"

json_t *qmp_version(void)
{
	return json_pack("{s:{s:i, s:i, s:i}, s:s}", "qemu", "major", 4, "minor", 2, "micro", 0, "package",
			 " (tercet " TERCET_VERSION ")");
}

json_t *qmp_text(const char *text)
{
	char copy[sizeof(((struct failure *)NULL)->message)];
	json_t *string = json_string(text);

	if (string)
		return string;
	(void)snprintf(copy, sizeof(copy), "%s", text);
	for (char *c = copy; *c; c++)
		if ((unsigned char)*c >= 0x80)
			*c = '?';
	return json_string(copy);
}

result qmp_answer(struct qmp_answer *answer, json_t *value)
{
	if (!value)
		return fail(STATUS_FAILED, "no memory for the reply");
	json_decref(answer->value);
	answer->value = value;
	return OK;
}

result qmp_not_found(struct qmp_answer *answer, const char *what, const char *name)
{
	answer->error_class = "DeviceNotFound";
	return fail(STATUS_USAGE, "there is no %s \"%s\"", what, name ? name : "");
}

/* --- output --- */

static bool make_room(struct qmp *qmp, size_t length)
{
	size_t waiting = qmp->output_end - qmp->output_begin;
	size_t room = qmp->output_room == 0 ? 4096 : qmp->output_room;
	char *output;

	if (length > QMP_OUTPUT_MAX - waiting)
		return false;
	if (length <= qmp->output_room - qmp->output_end)
		return true;
	if (qmp->output_begin > 0) {
		memmove(qmp->output, qmp->output + qmp->output_begin, waiting);
		qmp->output_begin = 0;
		qmp->output_end = waiting;
	}
	while (room - waiting < length)
		room *= 2;
	if (room == qmp->output_room)
		return true;
	output = realloc(qmp->output, room);
	if (!output)
		return false;
	qmp->output = output;
	qmp->output_room = room;
	return true;
}

static void put(struct qmp *qmp, const char *text, size_t length)
{
	if (qmp->broken || !make_room(qmp, length)) {
		qmp->broken = true;
		return;
	}
	memcpy(qmp->output + qmp->output_end, text, length);
	qmp->output_end += length;
}

static void send_message(struct qmp *qmp, const json_t *message)
{
	char *text = json_dumps(message, 0);

	if (!text) {
		qmp->broken = true;
		return;
	}
	put(qmp, text, strlen(text));
	put(qmp, "\r\n", 2);
	free(text);
}

/* Takes over `message`. */
static void send_new(struct qmp *qmp, json_t *message)
{
	if (message)
		send_message(qmp, message);
	else
		qmp->broken = true;
	json_decref(message);
}

const char *qmp_output(const struct qmp *qmp, size_t *length)
{
	*length = qmp->output_end - qmp->output_begin;
	return qmp->output ? qmp->output + qmp->output_begin : "";
}

void qmp_output_taken(struct qmp *qmp, size_t length)
{
	invariant(length <= qmp->output_end - qmp->output_begin);
	qmp->output_begin += length;
	if (qmp->output_begin == qmp->output_end)
		qmp->output_begin = qmp->output_end = 0;
}

bool qmp_wants_input(const struct qmp *qmp)
{
	return !qmp->broken && qmp->output_end - qmp->output_begin < QMP_OUTPUT_CALM;
}

void qmp_tell(struct qmp *qmp, const json_t *message)
{
	if (qmp->negotiated)
		send_message(qmp, message);
}

/* --- replies --- */

static void reply_error(struct qmp *qmp, json_t *id, const char *class, const char *text)
{
	send_new(qmp, json_pack("{s:{s:s, s:o}, s:O*}", "error", "class", class, "desc", qmp_text(text), "id", id));
}

static void reply_result(struct qmp *qmp, json_t *id, result r, const struct qmp_answer *answer)
{
	if (failed(r))
		reply_error(qmp, id, answer->error_class, r.failure->message);
	else
		send_new(qmp, json_pack("{s:O, s:O*}", "return", answer->value, "id", id));
}

/* --- commands --- */

static result negotiate(struct qmp *qmp, json_t *arguments, struct qmp_answer *answer)
{
	json_t *wanted = json_object_get(arguments, "enable");

	if (qmp->negotiated) {
		answer->error_class = COMMAND_NOT_FOUND;
		return fail(STATUS_USAGE, "the capabilities have been negotiated already");
	}
	if (wanted && (!json_is_array(wanted) || json_array_size(wanted) > 0))
		return fail(STATUS_USAGE, "none of these capabilities is offered: \"enable\" must be an empty list");
	qmp->negotiated = true;
	return OK;
}

static const struct qmp_command *find_command(const struct qmp *qmp, const char *name)
{
	for (const struct qmp_interface *part = qmp->interface; part; part = part->next)
		for (size_t i = 0; i < part->count; i++)
			if (strcmp(part->commands[i].name, name) == 0)
				return &part->commands[i];
	return NULL;
}

static result check_arguments(json_t *arguments, const char *const *parameters)
{
	const char *name;
	json_t *value;

	json_object_foreach(arguments, name, value) {
		const char *const *parameter = parameters;

		while (parameter && *parameter && strcmp(*parameter, name) != 0)
			parameter++;
		if (!parameter || !*parameter)
			return fail(STATUS_USAGE, "the argument \"%s\" is not expected", name);
	}
	return OK;
}

static result run_command(struct qmp *qmp, const char *name, json_t *arguments, struct qmp_answer *answer)
{
	static const char *const capabilities[] = { "enable", NULL };
	const struct qmp_command *command = find_command(qmp, name);

	if (strcmp(name, CAPABILITIES) == 0) {
		TRY(check_arguments(arguments, capabilities));
		return negotiate(qmp, arguments, answer);
	}
	if (!qmp->negotiated) {
		answer->error_class = COMMAND_NOT_FOUND;
		return fail(STATUS_USAGE, "before \"%s\" the capabilities must be negotiated, with " CAPABILITIES,
			    name);
	}
	if (!command) {
		answer->error_class = COMMAND_NOT_FOUND;
		return fail(STATUS_USAGE, "there is no command \"%s\" (query-commands lists them)", name);
	}
	TRY(check_arguments(arguments, command->parameters));
	return command->run(qmp->interface->context, arguments, answer);
}

/* What the members of a request are; `*arguments` is new. */
static result read_request(json_t *request, const char **name, json_t **arguments)
{
	static const char *const members[] = { "execute", "arguments", "id", NULL };
	json_t *given = json_object_get(request, "arguments");

	*name = json_string_value(json_object_get(request, "execute"));
	if (!*name)
		return fail(STATUS_USAGE, "a request has a member \"execute\", a string");
	TRY(in_context(check_arguments(request, members), "request"));
	if (given && !json_is_object(given))
		return fail(STATUS_USAGE, "\"arguments\" must be an object");
	*arguments = given ? json_incref(given) : json_object();
	return *arguments ? OK : fail(STATUS_FAILED, "no memory");
}

static void take_request(struct qmp *qmp, json_t *request)
{
	struct qmp_answer answer = { .value = json_object(), .error_class = GENERIC_ERROR };
	const char *name;
	json_t *arguments = NULL;
	result r = read_request(request, &name, &arguments);

	if (!failed(r))
		r = run_command(qmp, name, arguments, &answer);
	reply_result(qmp, json_object_get(request, "id"), r, &answer);
	json_decref(arguments);
	json_decref(answer.value);
}

static void take_message(struct qmp *qmp, const char *text, size_t length)
{
	json_error_t error;
	json_t *request = json_loadb(text, length, JSON_REJECT_DUPLICATES, &error);

	if (request) {
		take_request(qmp, request);
	} else {
		result r = fail(STATUS_USAGE, "this is not JSON: %s", error.text);

		reply_error(qmp, NULL, GENERIC_ERROR, r.failure->message);
	}
	json_decref(request);
}

void qmp_receive(struct qmp *qmp, const char *data, size_t length)
{
	while (length > 0 && !qmp->broken) {
		const char *error;
		size_t taken;
		enum qmp_stream_found found = qmp_stream_take(&qmp->input, data, length, &taken, &error);

		if (found == QMP_STREAM_MESSAGE)
			take_message(qmp, qmp->input.text, qmp->input.length);
		else if (found == QMP_STREAM_ERROR)
			reply_error(qmp, NULL, GENERIC_ERROR, error);
		data += taken;
		length -= taken;
	}
}

void qmp_begin(struct qmp *qmp, const struct qmp_interface *interface)
{
	*qmp = (struct qmp){ .interface = interface };
	qmp_stream_init(&qmp->input);
	send_new(qmp, json_pack("{s:{s:o, s:[]}}", "QMP", "version", qmp_version(), "capabilities"));
}

void qmp_end(struct qmp *qmp)
{
	qmp_stream_destroy(&qmp->input);
	free(qmp->output);
	*qmp = (struct qmp){ .interface = NULL };
}
