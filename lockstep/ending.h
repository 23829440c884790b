/*
 * The end of a machine: the last comparison, what it means to the user, and what is told and left of it.
 */
#ifndef TERCET_LOCKSTEP_ENDING_H
#define TERCET_LOCKSTEP_ENDING_H

#include "base/result.h"
#include "lockstep/supervisor_state.h"

/* Compares the memories of all live replicas, which stand at the last vote. Errors: they differ though votes agreed. */
must_check result ending_check_memory(struct supervisor *supervisor);

/* How the machine ended, as a result for the user. */
must_check result ending_judge(struct supervisor *supervisor);

/* Tells the last event, unless the machine lingers. */
void ending_tell(struct supervisor *supervisor, const struct failure *failure);

/* Replicas have ended: holds a machine that was stopped and shall be held (lockstep/linger.h); then tells the last
 * event. */
void ending_linger(struct supervisor *supervisor, const struct failure *failure);

/* Leaves a report of a machine that was stopped because something is wrong with it; replicas have ended. */
void ending_report(struct supervisor *supervisor, const struct failure *failure);

#endif
