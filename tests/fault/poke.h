/*
 * A helper beside a hostile replica that writes into the replica's area while the honest code works there. It puts
 * back what it wrote over, unless somebody has written there since. Modes:
 *
 *   bytes   each byte in every way; the variant says where (see poke_usage)
 *   words   each word of the control page with every number that could mean something
 *   storm   random bytes anywhere in the area, not put back; variant 1: in the control page alone
 */
#ifndef TERCET_TESTS_FAULT_POKE_H
#define TERCET_TESTS_FAULT_POKE_H

#include "tests/fault/plan.h"

/* Starts the helper, if the plan wants it; it ends with the process that started it. Errors: the host cannot. */
must_check result poke_start(struct plan *plan);

/* The modes, for people. */
const char *poke_usage(void);

/* Forks a helper that does `life` until the process that started it ends. Errors: the host cannot. */
must_check result poke_helper(struct plan *plan, void (*life)(struct plan *plan));

/* Lets some time pass. */
void poke_nap(uint64_t microseconds);

#endif
