/*
 * Watch: finds replicas that hang: those that give no sign of life, that owe their ballot, or that do not come out of
 * their guest where others do.
 */
#ifndef TERCET_LOCKSTEP_WATCH_H
#define TERCET_LOCKSTEP_WATCH_H

#include <stdint.h>

#include "base/result.h"
#include "lockstep/supervisor_state.h"

/* How often watch_look wants to be called, in ns. */
uint64_t watch_interval(const struct supervisor *supervisor);

/* Looks at everybody once. Errors: the machine cannot go on without one that was found to hang. */
must_check result watch_look(struct supervisor *supervisor);

#endif
