/*
 * The commands by which a machine stands still, goes on, is reset and ends, as QEMU has them (qapi/misc.json,
 * qapi/run-state.json, qapi/machine.json). Each is a qmp_command's `run`; the context is a struct qmp_machine.
 */
#ifndef TERCET_MANAGE_QMP_CONTROL_H
#define TERCET_MANAGE_QMP_CONTROL_H

#include <jansson.h>

#include "base/result.h"
#include "manage/qmp.h"

/* `stop`, `cont`, `system_reset`, `system_powerdown`, `quit`: no arguments, and {} in return. Errors: what the machine
 * says is against it. */
must_check result qmp_control_stop(void *context, json_t *arguments, struct qmp_answer *answer);
must_check result qmp_control_cont(void *context, json_t *arguments, struct qmp_answer *answer);
must_check result qmp_control_system_reset(void *context, json_t *arguments, struct qmp_answer *answer);
must_check result qmp_control_system_powerdown(void *context, json_t *arguments, struct qmp_answer *answer);
must_check result qmp_control_quit(void *context, json_t *arguments, struct qmp_answer *answer);

/* `query-status`: how the machine stands. Errors: no memory. */
must_check result qmp_control_query_status(void *context, json_t *arguments, struct qmp_answer *answer);

#endif
