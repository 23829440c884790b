/*
 * How a machine begins: at power-on, and again when it was reset. Every beginning is a function of what the replica was
 * started with, of the number of beginnings before it, and of what a reset leaves alone: the position, the time, cells
 * with a battery, and what was handed to disks.
 */
#ifndef TERCET_LOCKSTEP_REBOOT_H
#define TERCET_LOCKSTEP_REBOOT_H

#include "base/result.h"
#include "lockstep/replica_state.h"

/* Loads what the machine starts from into its memory, which is empty; gives the vCPU's first state. Errors:
 * STATUS_INPUT with what is wrong with which file. */
must_check result reboot_load(struct replica *replica, struct cpu_state *entry);

/* Behind the vote by which the guest has been reset: the machine begins again, where it is. Errors: as above; the host
 * cannot. */
must_check result reboot_machine(struct replica *replica);

#endif
