/*
 * What libvirt asks of a machine that runs, in QEMU's words: its processor, its serial port, its disks.
 */
#ifndef TERCET_MANAGE_QMP_QUERY_H
#define TERCET_MANAGE_QMP_QUERY_H

#include "manage/qmp.h"

/* Their context is a struct qmp_machine (manage/qmp_commands.h). */
extern const struct qmp_interface qmp_query_commands;

#endif
