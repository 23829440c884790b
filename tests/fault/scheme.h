/*
 * Hostile replicas with a purpose: each scheme makes use of one thing that the supervisor or the other replicas take
 * from a replica's area. See scheme_usage.
 */
#ifndef TERCET_TESTS_FAULT_SCHEME_H
#define TERCET_TESTS_FAULT_SCHEME_H

#include "lockstep/tape.h"
#include "tests/fault/plan.h"

/* Starts what the plan's scheme has to do beside the honest code. Errors: the host cannot. */
must_check result scheme_start(struct plan *plan);

/* The replica is about to publish vote record `number`. */
void scheme_vote(struct plan *plan, uint64_t number);

/* It leads, and is about to write on its tape. */
void scheme_tape(struct plan *plan, struct tape_writer *writer);

/* The schemes, for people. */
const char *scheme_usage(void);

#endif
