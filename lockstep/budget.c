#include "lockstep/budget.h"

#include "base/futex.h"

/* So much can be saved up, as a time to which the share applies. */
#define CREDIT_TIME_NS NS_PER_S
/* Nothing is dearer. */
#define PRICE_MOST 1000000u
enum { ALL = 1000, FOR_WAY_TIMES = 2, FOR_WAY_MOST = 8, FOR_WAY_LARGE = 2 };

void budget_begin(struct budget *budget, uint64_t now)
{
	*budget = (struct budget){ .credit_at = now };
}

bool budget_affords(struct budget *budget, uint64_t cost, uint32_t share, uint64_t now)
{
	const int64_t most = (int64_t)(CREDIT_TIME_NS / 1000 * share);

	/* A follower that died took its count with it. */
	if (cost > budget->cost_seen)
		budget->credit -= (int64_t)(cost - budget->cost_seen);
	budget->cost_seen = cost;
	budget->credit += (int64_t)((now - budget->credit_at) / 1000 * share);
	budget->credit_at = now;
	if (budget->credit > most)
		budget->credit = most;
	return budget->credit > 0;
}

uint64_t budget_owes(const struct budget *budget)
{
	return budget->credit < 0 ? (uint64_t)-budget->credit : 0;
}

uint32_t budget_price(uint32_t price, uint64_t cost, uint64_t way)
{
	uint64_t last = way >= 1000 ? cost / (way / 1000) : cost;

	last = last < PRICE_MOST ? last : PRICE_MOST;
	last = price == 0 ? last : (3 * (uint64_t)price + last) / 4;
	return last > 0 ? (uint32_t)last : 1;
}

bool budget_covers(uint32_t share, uint32_t price)
{
	return price != 0 && (uint64_t)price * 1000 <= (uint64_t)share * (1000 + (uint64_t)price);
}

uint64_t budget_for_way(uint32_t share, uint64_t way_ns)
{
	const uint64_t most = FOR_WAY_MOST * way_ns;
	uint64_t ns;

	if (share >= ALL)
		return most;
	ns = FOR_WAY_TIMES * way_ns / (ALL - share) * share;
	return ns < most ? ns : most;
}

bool budget_is_large(uint32_t share, uint64_t way_ns)
{
	return budget_for_way(share, way_ns) >= FOR_WAY_LARGE * way_ns;
}
