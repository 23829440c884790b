/*
 * Succession: who leads after a leader that was outvoted, lost or deposed, and from where on.
 */
#ifndef TERCET_LOCKSTEP_SUCCESSION_H
#define TERCET_LOCKSTEP_SUCCESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "lockstep/supervisor_state.h"

/* Who could lead of those in `among`: a live follower; better one that nobody copies at the moment.
 * VOTE_REPLICAS_MAX: nobody. */
unsigned succession_candidate(const struct supervisor *supervisor, uint32_t among);

/* `to` leads from where `leadership` begins; its leader and the beginning of its tape are filled in. */
void succession_begin(struct supervisor *supervisor, unsigned to, struct leadership leadership);

/* What a leader whose process is no more left on its tape, and how far it went. */
struct leadership succession_legacy(const struct supervisor *supervisor, const struct member *leader);

/* A leader that is no more is followed by another, where its tape ends. */
void succession_at_tape_end(struct supervisor *supervisor, struct leadership legacy);

/* The new leader and most others cannot go to the end of the old one's tape: then it ends where they are. */
void succession_amend(struct supervisor *supervisor);

/* Whether more than half of the live replicas complain of the leader's tape, all at the same place; gives one of
 * them, and where the tape ends. */
bool succession_accused(const struct supervisor *supervisor, unsigned *accuser, struct leadership *legacy);

#endif
