#include "manage/client_metrics.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "manage/client.h"
#include "manage/metrics.h"
#include "manage/places.h"

#define USAGE "tercet metrics VM|--all [--output FILE]"

struct metrics_request {
	const char *vm;
	bool all;
	const char *output;
};

static result read_options(int argc, char **argv, struct metrics_request *request)
{
	*request = (struct metrics_request){ .vm = NULL };
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--all") == 0)
			request->all = true;
		else if (strcmp(argv[i], "--output") == 0 && i + 1 < argc)
			request->output = argv[++i];
		else if (argv[i][0] != '-' && !request->vm)
			request->vm = argv[i];
		else
			return fail(STATUS_USAGE, "metrics: what is %s? " USAGE, argv[i]);
	}
	if (request->all == (request->vm != NULL))
		return fail(STATUS_USAGE, "metrics: of which machine, or of all? " USAGE " (`tercet list` names them)");
	return OK;
}

static result ask(const char *vm, json_t **status)
{
	struct client client;
	result r = client_open(&client, vm);

	*status = NULL;
	if (!failed(r))
		r = client_ask(&client, "tercet-status", NULL, status);
	client_close(&client);
	return r;
}

/* Takes over `status`, which is NULL where there was no answer. */
static result add(json_t *machines, const char *name, json_t *status)
{
	const char *said = json_string_value(json_object_get(status, "name"));
	char clean[2 * PLACES_NAME_MAX];
	json_t *machine;

	(void)snprintf(clean, sizeof(clean), "%s", said ? said : name);
	client_clean_text(clean);
	machine = json_pack("{s:s}", "name", clean);

	(void)json_object_set_new(machine, "status", status ? status : json_null());
	if (json_array_append_new(machines, machine) < 0)
		return fail(STATUS_FAILED, "metrics: no memory for the machines");
	return OK;
}

static result gather_all(json_t *machines)
{
	json_t *list = places_running();
	json_t *machine;
	size_t index;
	result r = list ? OK : fail(STATUS_FAILED, "metrics: no memory for the machines");

	json_array_foreach(list, index, machine) {
		json_t *status;
		const char *name = json_string_value(json_object_get(machine, "name"));

		/* One that does not answer is down, as far as anybody can tell. */
		(void)failed(ask(json_string_value(json_object_get(machine, "path")), &status));
		if (!failed(r))
			r = add(machines, name, status);
		else
			json_decref(status);
	}
	json_decref(list);
	return r;
}

static result gather(const struct metrics_request *request, json_t *machines)
{
	json_t *status;

	if (request->all)
		return gather_all(machines);
	TRY(ask(request->vm, &status));
	return add(machines, strrchr(request->vm, '/') ? strrchr(request->vm, '/') + 1 : request->vm, status);
}

/* A reader sees the old file or the new one, never half of one. */
static result write_file(const char *path, const char *text)
{
	char temporary[PATH_MAX];
	const char *slash = strrchr(path, '/');
	const int folder = slash ? (int)(slash - path) + 1 : 0;
	int length = snprintf(temporary, sizeof(temporary), "%.*s.%s.%ld", folder, path, path + folder, (long)getpid());
	int fd;
	result r;

	if (length < 0 || (size_t)length >= sizeof(temporary))
		return fail(STATUS_USAGE, "metrics: --output %s is too long", path);
	fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0)
		return fail_errno(STATUS_INPUT, errno, "metrics: cannot write %s", temporary);
	r = fd_write_all(fd, temporary, text, strlen(text));
	fd_close(&fd);
	if (!failed(r) && rename(temporary, path) < 0)
		r = fail_errno(STATUS_INPUT, errno, "metrics: cannot replace %s", path);
	if (failed(r))
		(void)unlink(temporary);
	return r;
}

static result print(const char *text)
{
	if (fputs(text, stdout) < 0 || fflush(stdout) != 0)
		return fail(STATUS_FAILED, "metrics: standard output cannot be written");
	return OK;
}

int client_metrics_main(int argc, char **argv)
{
	struct metrics_request request;
	json_t *machines;
	char *text;
	result r = read_options(argc, argv, &request);

	if (failed(r))
		return client_report(r);
	machines = json_array();
	r = gather(&request, machines);
	text = failed(r) ? NULL : metrics_text(machines);
	json_decref(machines);
	if (!failed(r) && !text)
		r = fail(STATUS_FAILED, "metrics: no memory for the text");
	if (!failed(r))
		r = request.output ? write_file(request.output, text) : print(text);
	free(text);
	return client_report(r);
}
