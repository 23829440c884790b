/*
 * Places: what a leader remembers of the guest's code where it was looked for a good place to stop at: those that were
 * good, and those that are met too often.
 */
#ifndef TERCET_LOCKSTEP_PLACES_H
#define TERCET_LOCKSTEP_PLACES_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/breakpoint.h"
#include "vmm/ram.h"

enum { PLACES_GOOD = 8, PLACES_DENSE = 64, PLACES_CODE = 16 };

struct dense_place {
	uint64_t physical;
	uint64_t recurs_ns; /* between two visits, as it was then; 0: not known */
	unsigned order;     /* it was noted so many places after the first one, which has 1 */
};

struct places {
	struct breakpoint good[PLACES_GOOD]; /* the last one first; behind them such with a `linear` of 0 */
	uint64_t recurs_ns[PLACES_GOOD];     /* between two visits of each, as it was then */
	uint8_t code[PLACES_GOOD][PLACES_CODE]; /* what stood there, up to the end of its page; zeros behind it */
	struct dense_place dense[PLACES_DENSE];
	unsigned dense_next;
	uint64_t dense_since; /* host time at which these were forgotten last */
};

/* One that is good, and that the guest comes to every `recurs_ns` ns, moves to the front. */
void places_remember(struct places *places, const struct ram *ram, const struct breakpoint *place, uint64_t recurs_ns);

/* Those that are good and where the same code still stands: memory is used for other things, too. Gives how many were
 * stored in `kept` and in `recurs_ns`, at most `max`. */
unsigned places_known(const struct places *places, const struct ram *ram, struct breakpoint *kept, uint64_t *recurs_ns,
		      unsigned max);

/* One that is no good, by guest-physical address, gives its order; what is known of such a place, NULL: nothing;
 * forgets all of them now and then. */
unsigned places_note_dense(struct places *places, uint64_t physical, uint64_t recurs_ns);
const struct dense_place *places_known_dense(const struct places *places, uint64_t physical);
void places_forget_dense(struct places *places, uint64_t now);

#endif
