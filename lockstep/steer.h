/*
 * Steering: the machine stands still, goes on, begins again and ends, as its guest and those who look after it want it.
 * The supervisor's part of it, with `supervisor_control`; the replicas' is in reboot.c and source_live.c.
 */
#ifndef TERCET_LOCKSTEP_STEER_H
#define TERCET_LOCKSTEP_STEER_H

#include "base/result.h"
#include "lockstep/supervisor_state.h"

/* Before the first replica is started: how the machine begins, and its clock. */
void steer_begin(struct supervisor *supervisor);

/* A vote was agreed by which the guest has ended; before replicas hear of it. `over` is set if that was the machine's
 * end. */
void steer_at_end(struct supervisor *supervisor, const struct vote_record *record);

/* Goes on with what was begun; `delivers`: output that was let out is still on its way. Errors: management has asked
 * for the machine's end. */
must_check result steer_continue(struct supervisor *supervisor, bool delivers);

/* Somebody wants the machine's end, `how` tells who. Errors: always, unless the guest has ended and is only held. */
must_check result steer_quit(struct supervisor *supervisor, const char *how);

/* Tells of the machine's end, in which nobody went wrong. */
void steer_tell_shutdown(struct supervisor *supervisor);

#endif
