/*
 * Repair: what is done about replicas that went wrong. Those that run take over the majority's state at the vote that
 * showed it; those that died get a new process, which copies memory while the others run and joins at a vote; a lost
 * or outvoted leader is succeeded by a follower. Two replicas that differ go back to where they agreed.
 */
#ifndef TERCET_LOCKSTEP_REPAIR_H
#define TERCET_LOCKSTEP_REPAIR_H

#include <stdint.h>

#include "base/result.h"
#include "lockstep/supervisor_state.h"

/* A member's process is gone, or will be killed now: what it led is led by another, and it is replaced. `kind` is
 * "died", "hung" or "failed". Errors: nobody is left. */
must_check result repair_lose(struct supervisor *supervisor, struct member *member, const char *kind,
			      const char *why);

/* Somebody asks that a member takes part no more, for this reason; or that it gets a new process, retired or not.
 * Errors: STATUS_FAILED, it cannot be, now or at all. */
must_check result repair_retire(struct supervisor *supervisor, unsigned replica, const char *why);
must_check result repair_recall(struct supervisor *supervisor, unsigned replica);

/* The members in `minority` were outvoted at the vote at hand by those in `majority`. */
must_check result repair_minority(struct supervisor *supervisor, uint32_t minority, uint32_t majority);

/* More than half of the live replicas find that the leader's tape does not fit, all at the same place of it: then the
 * leader is the one that is wrong. `*done` tells whether that was so. */
must_check result repair_misled(struct supervisor *supervisor, bool *done);

/* Two replicas differ: both go back to the last vote that they agreed about; to power-on, where there is none. Errors:
 * STATUS_NO_MAJORITY, they have just come from there, twice; the host cannot. */
must_check result repair_rollback(struct supervisor *supervisor);

/* To be called when a vote with a majority has been booked, before anybody is told: whoever waits for a state to
 * take over gets it here, from one of the majority. */
void repair_at_vote(struct supervisor *supervisor, uint32_t majority, const struct vote_record *record);

/* Goes on with repairs: hears of orders that were carried out, starts processes anew, asks for votes. */
must_check result repair_continue(struct supervisor *supervisor);

/* Whether anybody is not (yet) what he should be. */
bool repair_under_way(const struct supervisor *supervisor);

#endif
