/*
 * Verdicts: the supervisor judges votes, deaths and silence, and says who goes on.
 */
#ifndef TERCET_LOCKSTEP_VERDICT_H
#define TERCET_LOCKSTEP_VERDICT_H

#include "base/result.h"
#include "lockstep/supervisor_state.h"

/* Judges every vote that all live replicas have cast. What has a majority leaves by the console, followers in the
 * minority are retired, and at the machine's end `over` is set. Errors: STATUS_NO_MAJORITY, the leader is in the
 * minority or nobody has a majority; the console is gone. */
must_check result verdict_judge(struct supervisor *supervisor);

/* Takes notice of replicas that have died or say that they cannot go on. Errors: the machine cannot go on without
 * them; with the status that the replica gives where the host or a file is the reason. */
must_check result verdict_bury_dead(struct supervisor *supervisor);

/* Retires replicas that owe their ballot for longer than the watchdog's time. Errors as verdict_bury_dead. */
must_check result verdict_watch(struct supervisor *supervisor);

/* Tells the replicas what has been decided and released. */
void verdict_tell(struct supervisor *supervisor);

#endif
