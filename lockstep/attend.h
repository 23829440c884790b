/*
 * What the supervisor makes a replica do besides running: leave, wait for verdicts, follow another leader, take over
 * another's state, commit faults on purpose.
 */
#ifndef TERCET_LOCKSTEP_ATTEND_H
#define TERCET_LOCKSTEP_ATTEND_H

#include "base/result.h"
#include "lockstep/replica_state.h"

/* Starts following the leadership that is valid now, as leader or follower. A replica that joins later starts with
 * its first order instead. */
void attend_begin(struct replica *replica);

/* Does what the supervisor has asked for since the last call. After that the machine may stand elsewhere
 * (replica->rejoined), have another source, or be at its end (replica->leave). */
must_check result attend(struct replica *replica);

/* Whether the supervisor has asked for something since the last call of attend. */
bool attend_called(const struct replica *replica);

/* Waits until the replica may go on after its vote: a follower after the verdict, the leader within its backlog. */
must_check result attend_verdict(struct replica *replica);

/* Where replicas share cores: a leader that is ahead waits, between two exits, while every core has work without it, so
 * that less is lost with it. Ends as soon as the supervisor asks for something. */
void attend_rest(struct replica *replica);

/* Tells the supervisor what is against the leader's tape, and `why`, and waits until that has had consequences. */
must_check result attend_complain(struct replica *replica, enum complaint complaint, const char *why);

/* The life of a replica that is not part of the machine yet: copies memory until it is told to join. */
must_check result attend_join(struct replica *replica);

/* Offset into the leader's tape just behind what this replica has taken from it, or written itself. */
uint64_t attend_tape_at(const struct replica *replica);

/* Tells the supervisor that this replica is alive. */
void attend_beat(const struct replica *replica);

/* Tells the supervisor that there is something to read. */
void attend_ring(const struct replica *replica);

#endif
