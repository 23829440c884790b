/*
 * A strict rendezvous (--sync strict): at every exit all replicas wait for one another and compare it - reason, port,
 * data, registers - before anybody goes on. That is how replicated machines are described elsewhere; here it is a
 * mode to compare with. What is found to differ is not judged here: the leader asks for a vote at once.
 *
 * It is made of the control pages alone: each replica says how far it has logged its exits (control.met), reads the
 * exit log of the others, and sleeps on their sequence words. Who does not take part, died or complains is not waited
 * for, nor is anybody for ever.
 */
#ifndef TERCET_LOCKSTEP_RENDEZVOUS_H
#define TERCET_LOCKSTEP_RENDEZVOUS_H

#include "base/result.h"
#include "lockstep/replica_state.h"

/* The exit at hand is logged: waits until the others have logged theirs, and compares. Sets replica->parted where they
 * differ, or where somebody did not come in time. Nothing without --sync strict. Errors: an order cannot be carried
 * out. */
must_check result rendezvous_meet(struct replica *replica);

/* The leader's inputs for this position are all on its tape: followers enter the segment when it does. Likewise. */
void rendezvous_open(struct replica *replica);

#endif
