#include "lockstep/pace.h"

#include "base/futex.h"

/* The shortest way of those that are remembered is twice as long as what is run without looking. */
enum { SAFETY = 2 };
/* What is shorter saves next to nothing. */
#define BLIND_MIN_NS (2 * NS_PER_MS)
/* A leader's way that is shorter is measured too badly to learn from. */
#define LEARN_MIN_NS NS_PER_MS
enum { PART_LEAST = 4, PART_MOST = 32, RATIO = 1000 };
/* Of what alarms were late one part in so many is forgotten at each that is less late. */
enum { LATE_DECAY = 64 };

void pace_begin(struct pace *pace)
{
	*pace = (struct pace){ .needed = PACE_HUNTS_MIN, .part = PART_LEAST };
}

void pace_found(struct pace *pace, uint64_t own_ns, uint64_t leader_ns)
{
	uint64_t ratio;

	if (leader_ns < LEARN_MIN_NS)
		return;
	ratio = own_ns / (leader_ns / RATIO);
	pace->ratios[pace->found % PACE_HUNTS] = ratio < UINT32_MAX ? (uint32_t)ratio : UINT32_MAX;
	pace->found++;
	if (pace->found % PACE_HUNTS == 0 && pace->part > PART_LEAST)
		pace->part /= 2;
}

void pace_passed(struct pace *pace)
{
	pace->found = 0;
	if (pace->needed < PACE_HUNTS_MOST)
		pace->needed *= 2;
	if (pace->part < PART_MOST)
		pace->part *= 2;
}

void pace_late(struct pace *pace, uint64_t ns)
{
	if (ns >= pace->late_ns)
		pace->late_ns = ns;
	else
		pace->late_ns -= (pace->late_ns - ns) / LATE_DECAY;
}

uint64_t pace_lateness(const struct pace *pace)
{
	return pace->late_ns;
}

uint64_t pace_blind(const struct pace *pace, uint64_t leader_ns)
{
	uint32_t least = RATIO; /* a leader's time is never too long, so that a longer way says little */
	uint64_t blind;

	if (pace->found < pace->needed)
		return 0;
	for (unsigned i = 0; i < PACE_HUNTS && i < pace->found; i++)
		least = pace->ratios[i] < least ? pace->ratios[i] : least;
	blind = leader_ns / RATIO * least / SAFETY;
	return blind > pace->late_ns * SAFETY + BLIND_MIN_NS ? blind - pace->late_ns * SAFETY : 0;
}

unsigned pace_part(const struct pace *pace)
{
	return pace->part;
}
