#include "manage/client_events.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "manage/client.h"

/* "2026-01-31 12:34:56.789", of this host's time zone. */
static void format_time(const json_t *timestamp, char *text, size_t size)
{
	const json_int_t microseconds = json_integer_value(json_object_get(timestamp, "microseconds"));
	const time_t seconds = (time_t)json_integer_value(json_object_get(timestamp, "seconds"));
	struct tm parts;
	size_t length = 0;

	if (json_is_integer(json_object_get(timestamp, "seconds")) && localtime_r(&seconds, &parts))
		length = strftime(text, size, "%F %T", &parts);
	if (length == 0)
		(void)snprintf(text, size, "(no time)");
	else
		(void)snprintf(text + length, size - length, ".%03d", (int)(microseconds / 1000 % 1000));
}

static void print_event(const json_t *event, bool json)
{
	const json_t *data = json_object_get(event, "data");
	const char *said = json_string_value(json_object_get(data, "text"));
	char moment[40], name[64], text[1024];

	if (json) {
		(void)json_dumpf(event, stdout, 0);
		(void)putchar('\n');
		return;
	}
	format_time(json_object_get(event, "timestamp"), moment, sizeof(moment));
	(void)snprintf(name, sizeof(name), "%s", json_string_value(json_object_get(event, "event")));
	(void)snprintf(text, sizeof(text), "%s", said ? said : "");
	client_clean_text(name);
	client_clean_text(text);
	(void)printf("%s  %-24s %s\n", moment, name, text);
}

static result follow(struct client *client, bool json)
{
	bool over = false;

	for (;;) {
		json_t *event;
		result r = client_await_event(client, -1, &event);

		if (failed(r))
			return over && client->lost ? OK : r;
		if (json_is_string(json_object_get(event, "event")))
			print_event(event, json);
		over |= client_is_last_event(event);
		json_decref(event);
		if (fflush(stdout) != 0)
			return fail(STATUS_FAILED, "events: standard output cannot be written");
	}
}

static result read_options(int argc, char **argv, const char **vm, bool *json)
{
	*vm = NULL;
	*json = false;
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--json") == 0)
			*json = true;
		else if (argv[i][0] != '-' && !*vm)
			*vm = argv[i];
		else
			return fail(STATUS_USAGE, "events: what is %s? tercet events VM [--json]", argv[i]);
	}
	return *vm ? OK : fail(STATUS_USAGE, "events: of which machine? tercet events VM [--json]");
}

int client_events_main(int argc, char **argv)
{
	struct client client;
	const char *vm;
	bool json;
	result r = read_options(argc, argv, &vm, &json);

	if (failed(r))
		return client_report(r);
	r = client_open(&client, vm);
	if (!failed(r)) {
		/* Nothing may happen for days. */
		log_info("following %s", vm);
		r = follow(&client, json);
	}
	client_close(&client);
	return client_report(r);
}
