/*
 * A budget: how much of the time something may cost. What is not used can be saved, up to a second's share; what is
 * spent beyond it must be waited for. Pure: all times are given.
 */
#ifndef TERCET_LOCKSTEP_BUDGET_H
#define TERCET_LOCKSTEP_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

struct budget {
	uint64_t cost_seen; /* ns that were spent, when it was looked at last */
	int64_t credit;     /* ns that may be spent */
	uint64_t credit_at; /* host time at which that was so */
};

/* Begins at host time `now`, with nothing saved. */
void budget_begin(struct budget *budget, uint64_t now);

/* Whether more may be spent at `now`: `cost` ns were spent so far, and `share` thousandths of the time are given. */
bool budget_affords(struct budget *budget, uint64_t cost, uint32_t share, uint64_t now);

#endif
