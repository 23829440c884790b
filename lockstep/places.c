#include "lockstep/places.h"

#include <string.h>

#include "base/futex.h"

/* What was found to be no good is tried again after this time: the guest does something else then. */
#define FORGET_NS NS_PER_S

/* What stands at a place; false: nothing can. */
static bool read_code(const struct ram *ram, const struct breakpoint *place, uint8_t code[PLACES_CODE])
{
	uint64_t length = RAM_PAGE_SIZE - place->physical % RAM_PAGE_SIZE;

	memset(code, 0, PLACES_CODE);
	return !failed(ram_read(ram, place->physical, code, length < PLACES_CODE ? length : PLACES_CODE));
}

void places_remember(struct places *places, const struct ram *ram, const struct breakpoint *place, uint64_t recurs_ns)
{
	const struct breakpoint first = *place;
	unsigned at = 0;

	while (at < PLACES_GOOD - 1 && places->good[at].physical != first.physical)
		at++;
	memmove(places->good + 1, places->good, at * sizeof(places->good[0]));
	memmove(places->recurs_ns + 1, places->recurs_ns, at * sizeof(places->recurs_ns[0]));
	memmove(places->code + 1, places->code, at * sizeof(places->code[0]));
	places->good[0] = first;
	(void)read_code(ram, &first, places->code[0]);
	places->recurs_ns[0] = recurs_ns;
}

unsigned places_known(const struct places *places, const struct ram *ram, struct breakpoint *kept, uint64_t *recurs_ns,
		      unsigned max)
{
	uint8_t code[PLACES_CODE];
	unsigned count = 0;

	for (unsigned i = 0; i < PLACES_GOOD && places->good[i].linear != 0 && count < max; i++) {
		if (!read_code(ram, &places->good[i], code) || memcmp(code, places->code[i], sizeof(code)) != 0)
			continue;
		kept[count] = places->good[i];
		recurs_ns[count++] = places->recurs_ns[i];
	}
	return count;
}

unsigned places_note_dense(struct places *places, uint64_t physical, uint64_t recurs_ns)
{
	struct dense_place *place = &places->dense[places->dense_next++ % PLACES_DENSE];

	*place = (struct dense_place){ .physical = physical, .recurs_ns = recurs_ns, .order = places->dense_next };
	return place->order;
}

const struct dense_place *places_known_dense(const struct places *places, uint64_t physical)
{
	for (unsigned i = 0; i < PLACES_DENSE; i++)
		if (places->dense[i].physical == physical)
			return &places->dense[i];
	return NULL;
}

void places_forget_dense(struct places *places, uint64_t now)
{
	if (now - places->dense_since < FORGET_NS)
		return;
	for (unsigned i = 0; i < PLACES_DENSE; i++)
		places->dense[i].physical = UINT64_MAX;
	places->dense_since = now;
}
