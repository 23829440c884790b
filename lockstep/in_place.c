#include "lockstep/in_place.h"

#include "lockstep/budget.h"

/* Of a price that fell, this part shows elsewhere. */
enum { FORGETFUL = 16 };

void in_place_begin(struct in_place *in_place)
{
	*in_place = (struct in_place){ .others = IN_PLACE_PRICE };
}

/* Its place in the table; IN_PLACE_PIECES if there is none. */
static unsigned find(const struct in_place *in_place, uint64_t rip)
{
	unsigned i = 0;

	while (i < IN_PLACE_PIECES && !(in_place->price[i] != 0 && in_place->piece[i] == rip / IN_PLACE_PIECE))
		i++;
	return i;
}

/* Too low a price loses a stop, so prices rise at once, and fall little by little. */
void in_place_learn(struct in_place *in_place, uint64_t rip, uint64_t cost_ns, uint64_t way_ns)
{
	const uint32_t last = budget_price(0, cost_ns, way_ns);
	unsigned i = find(in_place, rip);

	if (i == IN_PLACE_PIECES) {
		i = in_place->next++ % IN_PLACE_PIECES;
		in_place->piece[i] = rip / IN_PLACE_PIECE;
		in_place->price[i] = 0;
	}
	in_place->price[i] = last > in_place->price[i] ? last : budget_price(in_place->price[i], cost_ns, way_ns);
	/* That one loop is cheap says little of another: */
	if (last > in_place->others)
		in_place->others = last;
	else
		in_place->others -= (in_place->others - last) / FORGETFUL;
	if (in_place->others < IN_PLACE_PRICE)
		in_place->others = IN_PLACE_PRICE;
}

uint64_t in_place_cost(const struct in_place *in_place, uint64_t rip, uint64_t way_ns)
{
	const unsigned i = find(in_place, rip);
	uint32_t price = i == IN_PLACE_PIECES ? in_place->others : in_place->price[i];

	price = price > IN_PLACE_LEAST ? price : IN_PLACE_LEAST;
	return way_ns / 1000 * price;
}
