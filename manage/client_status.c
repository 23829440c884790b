#include "manage/client_status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/futex.h"
#include "manage/client.h"
#include "manage/places.h"
#include "manage/status_table.h"

/* A live table is drawn so often. */
#define REDRAW_MS 1000

struct status_request {
	const char *vm;
	bool json;
	bool live;     /* again and again, until the machine ends */
	bool terminal; /* the table is drawn over the one before */
};

static result read_options(int argc, char **argv, struct status_request *request)
{
	bool watch = false, once = false;

	*request = (struct status_request){ .terminal = isatty(STDOUT_FILENO) != 0 };
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--json") == 0)
			request->json = true;
		else if (strcmp(argv[i], "--watch") == 0)
			watch = true;
		else if (strcmp(argv[i], "--once") == 0)
			once = true;
		else if (argv[i][0] != '-' && !request->vm)
			request->vm = argv[i];
		else
			return fail(STATUS_USAGE, "status: what is %s? tercet status VM [--json] [--watch|--once]",
				    argv[i]);
	}
	if (!request->vm)
		return fail(STATUS_USAGE, "status: of which machine? tercet status VM [--json] [--watch|--once] "
			    "(`tercet list` names them)");
	if (watch && once)
		return fail(STATUS_USAGE, "status: --watch and --once exclude each other");
	request->live = watch || (request->terminal && !once && !request->json);
	request->terminal &= request->live && !request->json;
	return OK;
}

/* How many bytes of a line fit into so many columns: bytes that continue a UTF-8 character take none. */
static size_t cut(const char *line, size_t length, size_t columns)
{
	size_t used = 0;

	for (size_t i = 0; i < length; i++) {
		used += ((unsigned char)line[i] & 0xc0) != 0x80;
		if (used > columns)
			return i;
	}
	return length;
}

/* Draws a table over the one that has `*drawn` lines, whatever their number now; lines that would wrap are cut, so
 * that the count stays right. ECMA-48: CUU, EL and ED. */
static void redraw(const char *table, unsigned *drawn)
{
	struct winsize size = { .ws_col = 0 };
	size_t columns = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;

	if (*drawn > 0)
		(void)printf("\033[%uA\r", *drawn);
	*drawn = 0;
	while (*table) {
		const char *end = strchr(table, '\n');
		size_t length = end ? (size_t)(end - table) : strlen(table);

		(void)printf("%.*s\033[K\n", (int)cut(table, length, columns), table);
		++*drawn;
		table += length + (end ? 1 : 0);
	}
	(void)printf("\033[J");
}

static result print_status(const struct status_request *request, const json_t *status, unsigned *drawn)
{
	char *table = NULL;

	if (request->json) {
		(void)json_dumpf(status, stdout, request->live ? 0 : JSON_INDENT(2));
		(void)putchar('\n');
	} else {
		table = status_table(status);
		if (!table)
			return fail(STATUS_FAILED, "status: no memory for the table");
		if (request->terminal)
			redraw(table, drawn);
		else
			(void)printf("%s%s", *drawn > 0 ? "\n" : "", table);
		/* Of a table that is not drawn over only the existence is counted. */
		*drawn = *drawn > 0 ? *drawn : 1;
	}
	free(table);
	if (fflush(stdout) != 0 || ferror(stdout))
		return fail(STATUS_FAILED, "status: standard output cannot be written");
	return OK;
}

static result show(const struct status_request *request, struct client *client, unsigned *drawn)
{
	json_t *status;

	TRY(client_ask(client, "query-lockstep", NULL, &status));
	result r = print_status(request, status, drawn);

	json_decref(status);
	return r;
}

/* Until the next table is due, or the machine's last event has come. */
static result wait_for_change(struct client *client, bool *over)
{
	const uint64_t until = clock_monotonic_ns() + REDRAW_MS * NS_PER_MS;

	for (;;) {
		uint64_t now = clock_monotonic_ns();
		json_t *event;

		if (now >= until)
			return OK;
		TRY(client_await_event(client, (int)((until - now) / NS_PER_MS), &event));
		*over |= client_is_last_event(event);
		json_decref(event);
	}
}

/* Whether the last event came while something else was waited for. */
static bool last_event_waits(const struct client *client)
{
	json_t *event;
	size_t index;

	json_array_foreach(client->events, index, event)
		if (client_is_last_event(event))
			return true;
	return false;
}

static result follow(const struct status_request *request, struct client *client)
{
	unsigned drawn = 0;
	bool over = false;
	result r = show(request, client, &drawn);

	while (request->live && !failed(r)) {
		r = wait_for_change(client, &over);
		if (!failed(r))
			r = show(request, client, &drawn);
	}
	over |= last_event_waits(client);
	return over && client->lost ? OK : r;
}

int client_status_main(int argc, char **argv)
{
	struct status_request request;
	struct client client;
	result r = read_options(argc, argv, &request);

	if (failed(r))
		return client_report(r);
	r = client_open(&client, request.vm);
	if (!failed(r))
		r = follow(&request, &client);
	client_close(&client);
	return client_report(r);
}

/* --- list --- */

/* One line about a machine; none about one that has ended since it was found. */
static void print_machine(const char *name, const char *path)
{
	struct client client;
	json_t *status = NULL;
	result r = client_open(&client, path);
	char state[64];

	if (!failed(r))
		r = client_ask(&client, "query-lockstep", NULL, &status);
	if (!client.lost) {
		const char *said = failed(r) ? "unknown" : json_string_value(json_object_get(status, "state"));

		(void)snprintf(state, sizeof(state), "%s", said ? said : "-");
		client_clean_text(state);
		(void)printf("%-24s %-10s %s\n", name, state, path);
	}
	json_decref(status);
	client_close(&client);
}

int client_status_list_main(int argc, char **argv)
{
	json_t *list, *machine;
	size_t index;

	if (argc > 1)
		return client_report(fail(STATUS_USAGE, "list: what is %s? tercet list takes no arguments", argv[1]));
	list = places_running();
	if (!list)
		return client_report(fail(STATUS_FAILED, "list: no memory for the machines"));
	if (json_array_size(list) > 0)
		(void)printf("%-24s %-10s %s\n", "name", "state", "socket");
	json_array_foreach(list, index, machine)
		print_machine(json_string_value(json_object_get(machine, "name")),
			      json_string_value(json_object_get(machine, "path")));
	json_decref(list);
	if (fflush(stdout) != 0 || ferror(stdout))
		return client_report(fail(STATUS_FAILED, "list: standard output cannot be written"));
	return STATUS_OK;
}
