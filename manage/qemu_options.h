/*
 * QEMU's command line, the part of it that libvirt 9 writes for a machine that tercet can be: what it asks for
 * becomes struct machine_options; what tercet cannot do is an error that says so, and what makes no difference
 * to it (where the firmware's tables lie, how the host locks memory) is passed over. docs/libvirt.md has the
 * list.
 */
#ifndef TERCET_MANAGE_QEMU_OPTIONS_H
#define TERCET_MANAGE_QEMU_OPTIONS_H

#include <jansson.h>
#include <stdbool.h>

#include "base/result.h"
#include "lockstep/machine_options.h"
#include "manage/monitor.h"
#include "manage/options.h"
#include "manage/places.h"

enum qemu_role {
	QEMU_RUN, /* a machine */
	QEMU_PROBE, /* `-machine none`: what can be asked without one */
	QEMU_HELP, /* -help */
	QEMU_VERSION, /* -version */
};

struct qemu_options {
	enum qemu_role role;
	struct machine_options machine; /* its texts live as long as this does */
	struct monitor_options monitor;
	struct options_reader reader; /* of both */
	const char *uuid; /* or NULL */
	const char *qmp_path; /* -qmp unix:PATH, or NULL */
	const char *pid_file; /* or NULL */
	bool daemonize;
	bool payload; /* -kernel is one */
	bool kvm; /* -accel or accel= named it */
	/* What was said, by id, until everything is known. */
	json_t *values; /* all parsed values: an array that keeps their texts */
	json_t *chardevs; /* id: object */
	json_t *nodes; /* of -blockdev, node-name: object */
	json_t *netdevs;
	json_t *objects;
	json_t *fd_sets; /* set's number: descriptor */
	json_t *devices; /* -device, in order */
	json_t *serial; /* the chardev of COM1, borrowed, or NULL */
	/* What the monitor tells of it (manage/qmp_query.h). */
	json_t *disks; /* an array of {"device" (its index), "id", "node", "storage", "file", "read_only"} */
	char name[PLACES_NAME_MAX + 1]; /* as tercet can use it */
	char console[BACKEND_PLACE_MAX];
	char console_log[BACKEND_PLACE_MAX];
};

/* Reads a whole command line; argv[0] is the program. Errors: STATUS_USAGE. qemu_options_free in any case. */
must_check result qemu_options_parse(int argc, char **argv, struct qemu_options *options);
void qemu_options_free(struct qemu_options *options);

/* Parses a value and keeps it. `*object` is borrowed. */
must_check result qemu_options_value(struct qemu_options *options, const char *option, const char *text,
				     const char *implied, json_t **object);

#endif
