/*
 * The supervisor: starts the replicas, judges their votes, lets out what was voted, mends what went wrong, and ends
 * the machine.
 */
#ifndef TERCET_LOCKSTEP_SUPERVISOR_H
#define TERCET_LOCKSTEP_SUPERVISOR_H

#include <jansson.h>

#include "base/result.h"
#include "lockstep/inject.h"
#include "lockstep/lockstep_requests.h"
#include "lockstep/machine_control.h"
#include "lockstep/machine_options.h"

struct supervisor;

/* Runs a machine from power-on to its end and writes its statistics. Success is a guest that ended by itself and
 * without complaint; everything else is a failure with its status. Leaves no process, memory or file behind. */
must_check result supervisor_run(const struct machine_options *options);

/* How the machine is doing, as a new JSON object (docs/events.md has its members); NULL without memory. */
json_t *supervisor_status(const struct supervisor *supervisor);

/* Where the other side of the serial port is, as QEMU's query-chardev calls it: "pty:/dev/pts/3", "file", ... */
void supervisor_console(const struct supervisor *supervisor, char *text, size_t size);

/* An array with what each device did so far, in the order of the guest's bus: as `devices` of docs/statistics.md. New;
 * NULL without memory. */
json_t *supervisor_devices(const struct supervisor *supervisor);

/* Has a replica commit a fault on purpose, at the fault's position or at its next one if that is past. Errors:
 * STATUS_USAGE no such replica; STATUS_FAILED it takes no part, or has not yet taken the fault before. */
must_check result supervisor_inject(struct supervisor *supervisor, const struct inject_fault *fault);

/* Pause, resume, reset, power button, end. */
extern const struct machine_control supervisor_control;
extern const struct lockstep_requests supervisor_requests;

#endif
