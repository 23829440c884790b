#include "lockstep/scrub.h"

#include "base/futex.h"

/* Where hashing is slow, scrubbing takes no more than this part of the time, whatever rate was asked for. */
enum { SCRUB_PART = 32 };

/* What hashing a page costs here in ns, about: at least as much as on any processor there is. */
static uint64_t page_cost(struct replica *replica)
{
	const struct replica_statistics *statistics = replica_statistics_of(replica);
	uint64_t hashed = statistics->pages_hashed;
	uint64_t cost = hashed > 0 ? stopwatch_votes(&statistics->time) / hashed : 0;

	return cost > 100 ? cost : 100;
}

/* What nobody ever touched is no memory of the host's yet: nothing rots there, and hashing it would make it exist. The
 * end of memory ends a turn, so that a small guest is gone over once a vote at most. */
static void scrub_touched(struct replica *replica, uint64_t due)
{
	uint64_t first, count;

	while (due > 0) {
		if (failed(ram_next_touched(&replica->ram, replica->scrub_at, &first, &count)) || count == 0) {
			replica->scrub_at = 0;
			return;
		}
		count = count < due ? count : due;
		ballot_box_scrub(&replica->box, first, count);
		replica->scrub_at = (first + count) % ram_pages(&replica->ram);
		if (replica->scrub_at == 0)
			return;
		due -= count;
	}
}

void scrub_add(struct replica *replica)
{
	uint64_t pages = ram_pages(&replica->ram);
	uint64_t now = clock_monotonic_ns();
	uint64_t due, affordable;

	if (replica->config.scrub == 0 || !replica->box.compared)
		return;
	if (replica->scrub_since == 0)
		replica->scrub_since = now;
	due = (uint64_t)((unsigned __int128)(now - replica->scrub_since) * replica->config.scrub / RAM_PAGE_SIZE /
			 NS_PER_S);
	due = due < pages ? due : pages;
	affordable = (now - replica->scrub_since) / SCRUB_PART / page_cost(replica);
	due = due < affordable ? due : affordable;
	if (due == 0)
		return;
	scrub_touched(replica, due);
	replica->scrub_since = now;
}
