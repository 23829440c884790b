#include "lockstep/places.h"

#include <string.h>

#include "base/futex.h"

/* What was found to be no good is tried again after this time: the guest does something else then. */
#define FORGET_NS NS_PER_S

void places_remember(struct places *places, const struct breakpoint *place, uint64_t recurs_ns)
{
	const struct breakpoint first = *place;
	unsigned at = 0;

	while (at < PLACES_GOOD - 1 && places->good[at].physical != first.physical)
		at++;
	memmove(places->good + 1, places->good, at * sizeof(places->good[0]));
	memmove(places->recurs_ns + 1, places->recurs_ns, at * sizeof(places->recurs_ns[0]));
	places->good[0] = first;
	places->recurs_ns[0] = recurs_ns;
}

void places_note_dense(struct places *places, uint64_t physical)
{
	places->dense[places->dense_next++ % PLACES_DENSE] = physical;
}

bool places_known_dense(const struct places *places, uint64_t physical)
{
	for (unsigned i = 0; i < PLACES_DENSE; i++)
		if (places->dense[i] == physical)
			return true;
	return false;
}

void places_forget_dense(struct places *places, uint64_t now)
{
	if (now - places->dense_since < FORGET_NS)
		return;
	for (unsigned i = 0; i < PLACES_DENSE; i++)
		places->dense[i] = UINT64_MAX;
	places->dense_since = now;
}
