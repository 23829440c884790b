/*
 * Verdicts: the supervisor judges votes, deaths and silence, and says who goes on.
 */
#ifndef TERCET_LOCKSTEP_VERDICT_H
#define TERCET_LOCKSTEP_VERDICT_H

#include "base/result.h"
#include "lockstep/supervisor_state.h"

/* Judges every vote that all live replicas have cast. What has a majority leaves by the console, who is in the
 * minority is repaired, and at the machine's end `over` is set. Errors: STATUS_NO_MAJORITY, nobody has a majority and
 * there is no way back; the console is gone. */
must_check result verdict_judge(struct supervisor *supervisor);

/* Whether a member has cast its ballot in the vote at hand, or says that it cannot. */
bool verdict_has_voted(const struct supervisor *supervisor, const struct member *member);

/* Takes notice of replicas that have died, cannot go on, or cannot follow their leader. Errors: the machine cannot go
 * on without them; with the status that the replica gives where the host or a file is the reason. */
must_check result verdict_bury_dead(struct supervisor *supervisor);

/* Reports where the exits of a replica that cast no ballot left those of another, for people and the statistics. */
void verdict_report_exits(struct supervisor *supervisor, unsigned suspect, unsigned reference);

/* Tells the replicas what has been decided and released. */
void verdict_tell(struct supervisor *supervisor);

/* Has a replica look for what it is told, should it sleep on any of the words on which replicas sleep. One inside its
 * guest looks when it comes out. */
void verdict_wake(struct supervisor *supervisor, unsigned replica);

#endif
