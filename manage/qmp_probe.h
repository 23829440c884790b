/*
 * What libvirt asks of an emulator before it has any machine (`-machine none`): which QEMU this would be, what
 * it can do, and which machines, processors and devices it has. The answers say what is true of tercet; a
 * machine that runs gives them, too.
 */
#ifndef TERCET_MANAGE_QMP_PROBE_H
#define TERCET_MANAGE_QMP_PROBE_H

#include "manage/qmp.h"

/* The machine's names for `-machine`, and for libvirt's `machine='...'`: the first is what a domain gets that
 * names none. It begins as the names of QEMU's PCs do because only by that libvirt 9 knows by itself that a
 * machine has a PCI bus (qemuDomainMachineIsI440FX); with the other one the domain's XML has to say so. */
enum { QMP_PROBE_MACHINES = 2 };
struct qmp_probe_machine {
	const char *name, *alias;
};
extern const struct qmp_probe_machine qmp_probe_machines[QMP_PROBE_MACHINES];

/* Their context is a struct qmp_machine (manage/qmp_commands.h), whose supervisor they do not look at. */
extern const struct qmp_interface qmp_probe_commands;

#endif
