/*
 * The supervisor: starts the replicas, judges their votes, lets out what was voted, and ends the machine.
 */
#ifndef TERCET_LOCKSTEP_SUPERVISOR_H
#define TERCET_LOCKSTEP_SUPERVISOR_H

#include "base/result.h"
#include "lockstep/machine_options.h"

/* Runs a machine from power-on to its end and writes its statistics. Success is a guest that ended by itself and
 * without complaint; everything else is a failure with its status. Leaves no process, memory or file behind. */
must_check result supervisor_run(const struct machine_options *options);

#endif
