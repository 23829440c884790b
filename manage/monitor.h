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
	int fd;            /* a listening socket that was inherited, beside that place; -1: none */
};

struct monitor;

/* Listens for a machine called `name`. What was asked for and cannot be had is an error: STATUS_USAGE or
 * STATUS_INPUT. What was not asked for is done without, or, with a name that is in use, under the name NAME-PID;
 * both are told by log_debug. */
must_check result monitor_open(struct monitor **monitor, const struct monitor_options *options, const char *name);
void monitor_close(struct monitor *monitor);

/* For those who have no machine yet: the commands of `interface` (which outlives the monitor), and how many clients
 * there are. */
const struct service *monitor_service_of(struct monitor *monitor, const struct qmp_interface *interface);
unsigned monitor_clients(const struct monitor *monitor);

/* The machine's name, valid until monitor_close. */
const char *monitor_name(const struct monitor *monitor);

/* For supervisor_run; NULL without a socket. Copies `machine`, whose name and supervisor are the monitor's. */
const struct service *monitor_service(struct monitor *monitor, const struct qmp_machine *machine);

#endif
