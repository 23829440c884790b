/*
 * What stops in place cost: followers execute the whole way to them, which takes a few times as long as on the vCPU in
 * some loops and hundreds of times in others. Prices are kept for the piece of code that a stop was in, and one for all
 * others. They are in thousandths of a way's time (budget_price). Pure.
 */
#ifndef TERCET_LOCKSTEP_IN_PLACE_H
#define TERCET_LOCKSTEP_IN_PLACE_H

#include <stdint.h>

enum {
	IN_PLACE_PRICE = 30000, /* before anything is known; */
	IN_PLACE_LEAST = 8000,  /* and no less for all one knows: many stops are found at once, because the guest is
				   in the same state again and again, but the next loop in the piece may be another */
	IN_PLACE_PIECE = 256,   /* bytes: next to one loop there is another, which is not like it */
	IN_PLACE_PIECES = 64,   /* that are remembered */
};

struct in_place {
	uint64_t piece[IN_PLACE_PIECES];
	uint32_t price[IN_PLACE_PIECES]; /* 0: none */
	uint32_t others;                /* the price elsewhere */
	unsigned next;                  /* the piece that is forgotten next */
};

/* Nothing is known yet. */
void in_place_begin(struct in_place *in_place);

/* A stop at `rip` cost `cost_ns`, its leader and the slowest follower together, for a way of `way_ns`. */
void in_place_learn(struct in_place *in_place, uint64_t rip, uint64_t cost_ns, uint64_t way_ns);

/* What a stop at `rip` takes, in ns, after a way of `way_ns`. */
uint64_t in_place_cost(const struct in_place *in_place, uint64_t rip, uint64_t way_ns);

#endif
