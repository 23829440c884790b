/* how far apart the visits of a candidate are */
#include "lockstep/scout.h"

#include <string.h>

#include "base/futex.h"
#include "lockstep/replica_state.h"

/* Time between visits is not measured more exactly than to this part of what it takes to get past a place. */
enum { EXACT_PART = 16 };
/* It is waited for for so many times as long as it took before, and this time, but not for ever. */
enum { MET_TIMES = 8, ALONE_TIMES = 3 };
#define MET_NS (5 * NS_PER_MS)
#define MET_MOST_NS (20 * NS_PER_MS)
/* Visits are counted in so many instructions. To get past a place takes as long as about that many: that is a matter
 * of the host, and holds on emulated processors, too. */
enum { COUNTED = 1 << 13, STEP_INSTRUCTIONS = 1 << 14 };

bool scout_note_registers(struct scout_candidate *candidate, const uint64_t gpr[GPR_COUNT])
{
	bool same = false;

	for (unsigned i = 0; i < candidate->visits && i < SCOUT_VISITS; i++)
		same |= memcmp(candidate->gpr[i], gpr, sizeof(candidate->gpr[i])) == 0;
	if (candidate->visits < SCOUT_VISITS)
		memcpy(candidate->gpr[candidate->visits], gpr, sizeof(candidate->gpr[0]));
	candidate->visits++;
	return same;
}

/* What cannot be told from nothing. */
static uint64_t least_ns(const struct scout *scout)
{
	return scout->step_ns / EXACT_PART + 1;
}

uint64_t scout_ran_to_hit(const struct scout *scout)
{
	const uint64_t away = scout->hit_at - scout->left_at, least = least_ns(scout);

	if (scout->left_at == 0)
		return 0;
	return away > scout->step_ns + least ? away - scout->step_ns : least;
}

/* Where it stands at a candidate whose visits are too near to each other, goes on in place and counts them. */
static result count_visits(struct scout *scout, struct scout_candidate *candidate)
{
	struct replica *replica = scout->replica;
	struct native_target target = { .at_once = false };
	struct native_outcome outcome;
	struct cpu_state state;
	uint64_t recurs_ns;

	TRY(machine_export(&replica->machine, &state));
	target.rip = state.rip;
	/* No stack pointer is that: it goes past all visits. */
	target.gpr[GPR_RSP] = 1;
	native_step_run(replica->preempt.native, &state, &target, COUNTED, &outcome);
	if (outcome.passes > 0) {
		recurs_ns = outcome.executed * scout->step_ns / STEP_INSTRUCTIONS / outcome.passes + 1;
		candidate->recurs_ns = recurs_ns < candidate->recurs_ns ? recurs_ns : candidate->recurs_ns;
	}
	return machine_import(&replica->machine, &state, false);
}

/* At a visit that looks like another one: whether memory is as it was at the last such visit, in `memory`. What was
 * planted is lifted and planted again: it is no part of the guest. */
static result look_at_memory(struct scout *scout, struct scout_candidate *candidate, struct digest *memory)
{
	struct breakpoints *breakpoints = &scout->replica->preempt.breakpoints;
	const struct digest before = *memory;
	bool planted;

	breakpoints_lift(breakpoints);
	TRY(ballot_box_memory(&scout->replica->box, memory));
	candidate->same |= memcmp(&before, memory, sizeof(before)) == 0;
	return breakpoints_plant(breakpoints, &candidate->place, 1, &planted);
}

result scout_measure_alone(struct scout *scout, struct scout_candidate *candidate)
{
	const uint64_t times = MET_TIMES * candidate->recurs_ns + MET_NS;
	const uint64_t window = times < MET_MOST_NS ? times : MET_MOST_NS;
	struct breakpoints *breakpoints = &scout->replica->preempt.breakpoints;
	enum machine_stop stop = MACHINE_INTERRUPTED;
	uint64_t recurs_ns = 0;
	struct digest memory = { .bytes = { 0 } };
	unsigned measured = 0;
	bool planted;

	candidate->alone = true;
	TRY(breakpoints_plant(breakpoints, &candidate->place, 1, &planted));
	scout->until = clock_monotonic_ns() + window;
	scout->left_at = 0;
	while (breakpoints->count > 0 && measured < ALONE_TIMES && scout_may_go_on(scout)) {
		uint64_t ran;

		TRY(scout_go_on(scout, &stop));
		if (stop != MACHINE_BREAKPOINT)
			continue;
		if (scout_note_registers(candidate, breakpoints->here.gpr))
			TRY(look_at_memory(scout, candidate, &memory));
		ran = scout_ran_to_hit(scout);
		measured += ran != 0;
		/* On a busy host some take longer. */
		if (ran != 0 && (recurs_ns == 0 || ran < recurs_ns))
			recurs_ns = ran;
		if (measured < ALONE_TIMES)
			TRY(scout_leave_place(scout));
	}
	breakpoints_lift(breakpoints);
	/* One that is not met now may be later. */
	candidate->recurs_ns = recurs_ns != 0 ? recurs_ns : window;
	/* On a busy host it may look farther apart than it is. */
	return measured == ALONE_TIMES && recurs_ns < scout->step_ns ? count_visits(scout, candidate) : OK;
}
