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

/* ns that were spent in advance, when it was looked at last. */
uint64_t budget_owes(const struct budget *budget);

/* What something costs, in thousandths of what it is measured by, when it was `price` so far (0: not known) and `cost`
 * for the last `way`: one time does not tell everything. It is 1 at least. */
uint32_t budget_price(uint32_t price, uint64_t cost, uint64_t way);

/* Whether ways at this price, each of which is paid for before the next one begins, cost no more than `share`
 * thousandths of the time; a price that is not known is not covered. */
bool budget_covers(uint32_t share, uint32_t price);

/* ns that may be spent on a way of `way_ns` alone: twice what makes `share` thousandths of the time of such ways and
 * their costs, since not all of the time is ways; eight times the way at most. */
uint64_t budget_for_way(uint32_t share, uint64_t way_ns);

/* Whether that is so much that all of such ways is looked at, and nobody counts on less: twice the way. */
bool budget_is_large(uint32_t share, uint64_t way_ns);

#endif
