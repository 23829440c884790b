/*
 * The monitor of a running machine: a socket that speaks QMP (manage/qmp.h) with several clients at once. It lives in
 * the supervisor's event loop, never waits for a client, and drops one that does not read.
 */
#ifndef TERCET_MANAGE_MONITOR_H
#define TERCET_MANAGE_MONITOR_H

#include <jansson.h>
#include <stdbool.h>

#include "base/result.h"
#include "lockstep/service.h"
#include "manage/qmp_commands.h"

enum { MONITOR_CLIENTS_MAX = 16 };

struct monitor_options {
	const char *place; /* --monitor: a socket's path, "none", or NULL: where `tercet status NAME` looks for it */
	bool named;        /* --name was given: another machine with that name is an error */
};

struct monitor;

/* Listens for a machine called `name`. What was asked for and cannot be had is an error: STATUS_USAGE or
 * STATUS_INPUT. What was not asked for is done without, or, with a name that is in use, under the name NAME-PID;
 * both are told by log_debug. */
must_check result monitor_open(struct monitor **monitor, const struct monitor_options *options, const char *name);
void monitor_close(struct monitor *monitor);

/* The machine's name, valid until monitor_close. */
const char *monitor_name(const struct monitor *monitor);

/* For supervisor_run; NULL without a socket. The functions are supervisor_status, supervisor_inject and those of
 * supervisor_control, or a test's. */
const struct service *
monitor_service(struct monitor *monitor, json_t *(*status)(const struct supervisor *supervisor),
		result (*inject)(struct supervisor *supervisor, const struct inject_fault *fault),
		const struct machine_control *control);

#endif
