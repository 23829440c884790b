/*
 * The commands of a running machine's monitor: docs/events.md describes them.
 */
#ifndef TERCET_MANAGE_QMP_COMMANDS_H
#define TERCET_MANAGE_QMP_COMMANDS_H

#include <jansson.h>

#include "base/result.h"
#include "lockstep/inject.h"
#include "lockstep/lockstep_requests.h"
#include "lockstep/machine_control.h"
#include "manage/qmp.h"

struct supervisor;

/* A machine as the commands see it. The functions are those of lockstep/supervisor.h, or a test's. */
struct qmp_machine {
	const char *name;
	struct supervisor *supervisor;
	json_t *(*status)(const struct supervisor *supervisor);
	result (*inject)(struct supervisor *supervisor, const struct inject_fault *fault);
	const struct machine_control *control;
	const struct lockstep_requests *requests;
	void (*console)(const struct supervisor *supervisor, char *text, size_t size);
	json_t *(*devices)(const struct supervisor *supervisor);
	/* What only QEMU's command line says (manage/qemu_options.h): */
	uint64_t memory;     /* bytes; 0: not told */
	bool kvm;            /* KVM was asked for by name */
	const char *uuid;    /* or NULL */
	const json_t *disks; /* or NULL */
	const char *serial;  /* the name of the serial port's chardev, or NULL */
};

/* What supervisor_run's machine can be asked for, with `memory` bytes of RAM; its name and supervisor are left open. */
struct qmp_machine qmp_commands_machine(uint64_t memory);

/* All commands, for conversations about this machine, which outlives them. */
struct qmp_interface qmp_commands_interface(struct qmp_machine *machine);

/* Those that need no machine, whose `supervisor` is NULL then. query-commands lists all of them: what can be asked for
 * once there is one. */
struct qmp_interface qmp_commands_without_machine(struct qmp_machine *machine);

#endif
