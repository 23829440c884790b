/*
 * A machine that tercet stopped, and whose managers want it held (machine_options.hold): its process stays, without
 * replicas, until somebody who looked at it ends it. So libvirt sees a guest that panicked, and does what the domain's
 * <on_crash> says; a process that just ends says nothing of why.
 */
#ifndef TERCET_LOCKSTEP_LINGER_H
#define TERCET_LOCKSTEP_LINGER_H

#include <stdbool.h>

#include "base/result.h"
#include "lockstep/supervisor_state.h"

/* Whether a machine with this failure is held: it has a monitor, nobody asked it to end, and it is its replicas or its
 * guest that failed. */
bool linger_wanted(const struct supervisor *supervisor, const struct failure *failure);

/* Tells so (GUEST_PANICKED, STOP), and serves the monitor until a signal or `quit`. */
void linger(struct supervisor *supervisor);

#endif
