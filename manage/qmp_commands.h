/*
 * The commands of a running machine's monitor: docs/events.md describes them.
 */
#ifndef TERCET_MANAGE_QMP_COMMANDS_H
#define TERCET_MANAGE_QMP_COMMANDS_H

#include <jansson.h>

#include "base/result.h"
#include "lockstep/inject.h"
#include "lockstep/machine_control.h"
#include "manage/qmp.h"

struct supervisor;

/* A machine as the commands see it. The functions are supervisor_status, supervisor_inject and those of
 * supervisor_control, or a test's. */
struct qmp_machine {
	const char *name;
	struct supervisor *supervisor;
	json_t *(*status)(const struct supervisor *supervisor);
	result (*inject)(struct supervisor *supervisor, const struct inject_fault *fault);
	const struct machine_control *control;
};

/* All commands, for conversations about this machine, which outlives them. */
struct qmp_interface qmp_commands_interface(struct qmp_machine *machine);

#endif
