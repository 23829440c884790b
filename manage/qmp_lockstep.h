/*
 * tercet's own commands: how the replicas do, and what can be asked of them (docs/qmp-schema.json).
 */
#ifndef TERCET_MANAGE_QMP_LOCKSTEP_H
#define TERCET_MANAGE_QMP_LOCKSTEP_H

#include "manage/qmp.h"

/* Their context is a struct qmp_machine (manage/qmp_commands.h). */
extern const struct qmp_interface qmp_lockstep_commands;

#endif
