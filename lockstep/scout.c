/* candidates, and how soon the guest comes back to each */
#include "lockstep/scout.h"

#include <string.h>

#include "base/futex.h"
#include "lockstep/aim.h"
#include "lockstep/attend.h"
#include "lockstep/replica_state.h"
#include "lockstep/run_meter.h"
#include "vmm/instruction.h"
#include "vmm/machine_stop.h"
#include "vmm/page_walk.h"

/* Where the guest cannot be stopped just now. */
#define RETRY_NS (100 * NS_PER_US)
/*
 * A follower looks at each visit of the stop's place on the guest's way there; a visit takes two steps, onto the place
 * and past it. A place where that takes a small part of the way, or a short time, is good; one where it takes for so
 * long is worse than one that is found by other means.
 */
enum { GOOD_PART = 8 };
#define GOOD_NS (2 * NS_PER_MS)
#define BAD_NS (500 * NS_PER_MS)
/* So many of those that are not good are measured once more before one is chosen. */
enum { MEASURED_MOST = 4 };
/* Places that were good are waited for alone for this part of the time, where what stops cost has been worth it. */
enum { KNOWN_PART = 4 };
/* The guest is taken out of its code so often to be found at a place where it may be stopped. */
enum { PLACES_TRIED = 16 };
/* Whether registers lead is looked at as followers will do it (hunt_near.c), but no farther apart than this. */
#define LOOK_APART_MOST_NS (1500 * NS_PER_US)
/* Where no register leads a stop may still be made that takes this part of a watchdog's time; nobody looks for longer
 * than one. A way that is longer has no end but an exit. */
enum { LATE_WATCHDOG_PART = 2 };
/* So many places are looked for at most: remembered ones, behind loops at hand, to which functions return, and behind
 * loops around each of these calls. */
enum { KNOWN_MOST = 6, LOOPS_MOST = 8, RETURNS_MOST = 6, OUTER_MOST = 3 };
/* So many instructions are executed to come behind one that sets all flags. */
enum { SETTLE_INSTRUCTIONS = 64 };

static void add_candidate(struct scout *scout, const struct breakpoint *place)
{
	const struct dense_place *dense = places_known_dense(&scout->replica->preempt.places, place->physical);

	for (unsigned i = 0; i < scout->count; i++)
		if (scout->candidates[i].place.physical == place->physical)
			return;
	if (scout->count < SCOUT_CANDIDATES)
		scout->candidates[scout->count++] = (struct scout_candidate){
			.place = *place,
			.recurs_ns = dense ? dense->recurs_ns : 0,
			.order = dense ? dense->order : 0,
			.dense = dense,
		};
}

/* To the first place behind `*linear` at which all flags are known (see scout_wherever), past calls and jumps that lead
 * to one place only, and before any other branch. */
static bool find_flags(const struct ram *ram, const struct cpu_state *state, uint64_t *linear)
{
	struct instruction instruction;

	for (unsigned i = 0; i < SETTLE_INSTRUCTIONS; i++) {
		if (!instruction_decode(ram, state, *linear, &instruction) ||
		    (instruction.transfers && !instruction.leads_on))
			return false;
		*linear = instruction.leads_on ? instruction.successor : *linear + instruction.length;
		if (instruction.sets_flags)
			return true;
	}
	return false;
}

/* At that very instruction, if it may be stopped there. */
static bool add_at(struct scout *scout, const struct cpu_state *state, uint64_t linear)
{
	const struct ram *ram = &scout->replica->ram;
	struct breakpoint place = { .linear = linear };
	struct instruction instruction;
	const bool may = instruction_decode(ram, state, linear, &instruction) && instruction.may_stop &&
			 page_walk(ram, state, linear, &place.physical);

	if (may)
		add_candidate(scout, &place);
	return may;
}

/* With `flags_known` at that place itself, or where they are. */
static void add_place(struct scout *scout, const struct cpu_state *state, uint64_t linear, bool flags_known)
{
	if (flags_known && add_at(scout, state, linear))
		return;
	if (find_flags(&scout->replica->ram, state, &linear))
		(void)add_at(scout, state, linear);
}

/* Behind loops that end after `linear`. */
static void add_loop_ends(struct scout *scout, const struct cpu_state *state, uint64_t linear, size_t most)
{
	const struct ram *ram = &scout->replica->ram;
	struct loop_end ends[LOOPS_MOST];
	size_t count = instruction_loop_ends(ram, state, linear, ends, most);

	for (size_t i = 0; i < count; i++)
		add_place(scout, state, ends[i].linear, ends[i].flags_known);
}

/* Places that were good before; those behind the loops at hand; those to which the functions at hand return, and behind
 * the loops that call them. */
static void find_candidates(struct scout *scout, const struct cpu_state *state)
{
	const struct replica *replica = scout->replica;
	uint64_t returns[RETURNS_MOST], recurs_ns[KNOWN_MOST];
	struct breakpoint known[KNOWN_MOST];
	size_t count;

	count = places_known(&replica->preempt.places, &replica->ram, known, recurs_ns, KNOWN_MOST);
	for (size_t i = 0; i < count; i++)
		add_candidate(scout, &known[i]);
	add_loop_ends(scout, state, instruction_pointer(state), LOOPS_MOST);
	count = instruction_return_addresses(&replica->ram, state, returns, RETURNS_MOST);
	for (size_t i = 0; i < count; i++)
		add_place(scout, state, returns[i], false);
	for (size_t i = 0; i < count; i++)
		add_loop_ends(scout, state, returns[i], OUTER_MOST);
}

/* Plants what is worth looking at; `*planted` is false where there is nothing. */
static result plant(struct scout *scout, bool *planted)
{
	struct breakpoint places[BREAKPOINTS_MAX];
	const unsigned limit = scout->replica->preempt.breakpoints.kind->limit;
	unsigned count = 0;

	/* Steps past them need more. */
	for (unsigned i = 0; i < scout->count && count < limit && count < ARRAY_SIZE(places); i++)
		if (!scout->candidates[i].dense)
			places[count++] = scout->candidates[i].place;
	*planted = false;
	return count == 0 ? OK :
			    breakpoints_plant(&scout->replica->preempt.breakpoints, places, count, planted);
}

/* The guest was taken out: by the alarm, or because the supervisor has something to say. */
static result obey(struct scout *scout)
{
	struct replica *replica = scout->replica;

	if (!attend_called(replica))
		return OK;
	/* What it may be told to do needs memory as it is. */
	breakpoints_lift(&replica->preempt.breakpoints);
	TRY(attend(replica));
	scout->gone = replica->leave || replica->rejoined;
	return OK;
}

result scout_go_on(struct scout *scout, enum machine_stop *stop)
{
	struct replica *replica = scout->replica;

	preempt_go_until(&replica->preempt, scout->until);
	TRY(machine_run(&replica->machine, stop));
	scout->hit_at = run_meter_cpu();
	scout->went_ns += preempt_ran_since(&replica->preempt);
	scout->ended = *stop == MACHINE_EXITED;
	return *stop == MACHINE_INTERRUPTED ? obey(scout) : OK;
}

bool scout_may_go_on(const struct scout *scout)
{
	return !scout->ended && !scout->gone && clock_monotonic_ns() < scout->until;
}

/* Goes on to the next hit of what is planted, and takes all of that back; `here` is where it was. */
static result go_to_hit(struct scout *scout, bool *hit)
{
	struct breakpoints *breakpoints = &scout->replica->preempt.breakpoints;
	enum machine_stop stop = MACHINE_INTERRUPTED;

	while (breakpoints->count > 0 && stop == MACHINE_INTERRUPTED && scout_may_go_on(scout))
		TRY(scout_go_on(scout, &stop));
	*hit = stop == MACHINE_BREAKPOINT;
	breakpoints_lift(breakpoints);
	return OK;
}

result scout_leave_place(struct scout *scout)
{
	struct breakpoints *breakpoints = &scout->replica->preempt.breakpoints;
	const struct cpu_state here = breakpoints->here;
	uint64_t begin = run_meter_cpu();
	enum machine_stop stop;

	TRY(breakpoints_step(breakpoints, &here, &stop));
	scout->ended = stop == MACHINE_EXITED;
	scout->left_at = run_meter_cpu();
	scout->cost_ns += 2 * (scout->left_at - begin);
	if (scout->step_ns == 0 || scout->left_at - begin < scout->step_ns)
		scout->step_ns = scout->left_at - begin;
	return stop == MACHINE_INTERRUPTED ? obey(scout) : OK;
}

static struct scout_candidate *met_candidate(struct scout *scout)
{
	const struct cpu_state *here = &scout->replica->preempt.breakpoints.here;
	uint64_t physical;

	if (!page_walk(&scout->replica->ram, here, instruction_pointer(here), &physical))
		return NULL;
	for (unsigned i = 0; i < scout->count; i++)
		if (scout->candidates[i].place.physical == physical)
			return &scout->candidates[i];
	return NULL;
}

/* What it takes a follower to look at all visits, in ns. */
static uint64_t walk_ns(const struct scout *scout, uint64_t recurs_ns)
{
	return scout->way / recurs_ns * 2 * scout->step_ns;
}

static bool is_good(const struct scout *scout, uint64_t recurs_ns)
{
	uint64_t walk = walk_ns(scout, recurs_ns);

	return walk <= scout->way / GOOD_PART || walk <= GOOD_NS;
}

uint64_t scout_way_most(const struct scout *scout, uint64_t recurs_ns)
{
	/* What a visit costs is not known yet: there is time to find out. */
	if (scout->step_ns == 0)
		return 2 * GOOD_PART * scout->way;
	return BAD_NS / 2 / (2 * scout->step_ns) * recurs_ns;
}

/* For the next time; with nothing planted. */
static void remember(struct scout *scout, const struct breakpoint *place, uint64_t recurs_ns)
{
	places_remember(&scout->replica->preempt.places, &scout->replica->ram, place, recurs_ns);
}

/* Books a visit; gives whether this is the place. */
static bool visit(struct scout *scout, struct scout_candidate *candidate)
{
	(void)scout_note_registers(candidate, scout->replica->preempt.breakpoints.here.gpr);
	if (candidate->visits == 1) {
		candidate->met_at = scout->ran_ns;
		candidate->went_at = scout->went_ns;
	} else {
		candidate->recurs_ns = (scout->ran_ns - candidate->met_at) / (candidate->visits - 1);
		if (is_good(scout, candidate->recurs_ns))
			return true;
	}
	candidate->dense = candidate->visits >= SCOUT_VISITS;
	if (candidate->dense)
		candidate->order = places_note_dense(&scout->replica->preempt.places, candidate->place.physical,
						     candidate->recurs_ns);
	return false;
}

/* At a breakpoint: stays there, or goes on past it. */
static result look_at_visit(struct scout *scout, uint64_t *recurs_ns)
{
	struct scout_candidate *candidate = met_candidate(scout);
	bool planted;

	scout->ran_ns += scout_ran_to_hit(scout);
	if (candidate && visit(scout, candidate)) {
		*recurs_ns = candidate->recurs_ns;
		return OK;
	}
	TRY(scout_leave_place(scout));
	if (candidate && candidate->dense && !scout->ended && !scout->gone)
		TRY(plant(scout, &planted));
	return OK;
}

/* Whether stops have cost so little of late that this one will not cost much either, at a place where one was made. */
static bool is_cheap(const struct scout *scout)
{
	uint32_t price = scout->replica->preempt.price;

	return price > 0 && scout->way / 1000 * price <= BAD_NS / 2;
}

/* Whether one place is better than another. In many loops the guest is in the same state again and again, and a
 * follower finds it at the first visit, however dense they are; else the more seldom, the better. What is shorter than
 * a step cannot be told from nothing: there it counts which was met so often later. */
static bool is_better(const struct scout *scout, const struct scout_candidate *one,
		      const struct scout_candidate *other)
{
	if (one->same != other->same)
		return one->same;
	if (one->recurs_ns < scout->step_ns && other->recurs_ns < scout->step_ns && one->order != other->order)
		return one->order > other->order;
	return one->recurs_ns > other->recurs_ns;
}

/* The best of the places that are not good; NULL: there is none. */
static struct scout_candidate *best_candidate(struct scout *scout)
{
	struct scout_candidate *best = NULL;

	for (unsigned i = 0; i < scout->count; i++) {
		struct scout_candidate *candidate = &scout->candidates[i];

		if (candidate->recurs_ns != 0 && (!best || is_better(scout, candidate, best)))
			best = candidate;
	}
	return best;
}

/* The guest runs for so long, without breakpoints. */
static result run_blind(struct scout *scout, uint64_t ns)
{
	enum machine_stop stop = MACHINE_INTERRUPTED;

	scout->until = clock_monotonic_ns() + ns;
	while (stop == MACHINE_INTERRUPTED && scout_may_go_on(scout))
		TRY(scout_go_on(scout, &stop));
	return OK;
}

/* Goes on to the next visit of a place, if that is near. Nothing is planted then. */
static result go_to(struct scout *scout, const struct breakpoint *place, uint64_t window, bool *there)
{
	bool planted;

	*there = false;
	if (scout->ended || scout->gone)
		return OK;
	TRY(breakpoints_plant(&scout->replica->preempt.breakpoints, place, 1, &planted));
	scout->until = clock_monotonic_ns() + window;
	return go_to_hit(scout, there);
}

/* From one visit of a place to later ones: what has led so far leads there, too, or does not count. What a loop counted
 * on the way says nothing where the guest is in another one since. `*there`: it stands there at the end. */
static result look_at_registers(struct scout *scout, const struct breakpoint *place, bool *there)
{
	const uint64_t begin = run_meter_cpu(), went = scout->went_ns, apart = aim_apart(scout->way);
	const uint64_t window = aim_patience(scout->way);
	struct aim aim = { .count = 0 };

	scout->looked = true;
	TRY(go_to(scout, place, window, there));
	while (*there) {
		aim_add(&aim, run_meter_cpu(), scout->replica->preempt.breakpoints.here.gpr);
		if (aim.count == AIM_SAMPLES)
			break;
		TRY(run_blind(scout, apart < LOOK_APART_MOST_NS ? apart : LOOK_APART_MOST_NS));
		TRY(go_to(scout, place, window, there));
	}
	scout->leads &= aim_steady(&aim);
	scout->cost_ns += run_meter_cpu() - begin - (scout->went_ns - went);
	return OK;
}

/* What was met only once is as far apart as that is ago, at least. */
static void judge_seldom(struct scout *scout)
{
	for (unsigned i = 0; i < scout->count; i++) {
		struct scout_candidate *candidate = &scout->candidates[i];

		if (candidate->visits == 1 && !candidate->alone)
			candidate->recurs_ns = scout->went_ns - candidate->went_at;
	}
}

/* The best of those that are not good, by what was measured for it alone. */
static result choose(struct scout *scout, struct scout_candidate **best)
{
	judge_seldom(scout);
	*best = best_candidate(scout);
	for (unsigned i = 0; i < MEASURED_MOST && *best && !(*best)->alone && !scout->ended && !scout->gone; i++) {
		TRY(scout_measure_alone(scout, *best));
		*best = best_candidate(scout);
	}
	return OK;
}

/* Goes on to the next visit of the best place, or of the next best if that is not met any more. */
static result go_to_best(struct scout *scout, uint64_t window, uint64_t *recurs_ns)
{
	const uint64_t until = clock_monotonic_ns() + window;
	struct scout_candidate *best;
	bool there = false;

	TRY(choose(scout, &best));
	while (best && !there && !scout->ended && !scout->gone) {
		if (best->same || walk_ns(scout, best->recurs_ns) <= BAD_NS) {
			TRY(go_to(scout, &best->place, window, &there));
		} else if (scout->leads != 0) {
			TRY(look_at_registers(scout, &best->place, &there));
			there = there && scout->leads != 0;
		} else {
			return OK;
		}
		if (there)
			break;
		best->recurs_ns = 0;
		best->alone = true;
		TRY(choose(scout, &best));
		window = until > clock_monotonic_ns() ? until - clock_monotonic_ns() : 0;
	}
	if (there) {
		*recurs_ns = best->recurs_ns;
		remember(scout, &best->place, *recurs_ns);
	}
	return OK;
}

/* The guest stays in its code until it comes to a place that it seldom comes to. `*recurs_ns` stays 0: it did not. */
static result look_for_rare(struct scout *scout, uint64_t *recurs_ns)
{
	struct breakpoints *breakpoints = &scout->replica->preempt.breakpoints;
	bool planted;

	TRY(plant(scout, &planted));
	while (planted && *recurs_ns == 0 && scout_may_go_on(scout)) {
		enum machine_stop stop;

		TRY(scout_go_on(scout, &stop));
		if (stop == MACHINE_BREAKPOINT)
			TRY(look_at_visit(scout, recurs_ns));
		planted = breakpoints->count > 0;
	}
	breakpoints_lift(breakpoints);
	if (*recurs_ns != 0)
		remember(scout, &met_candidate(scout)->place, *recurs_ns);
	return OK;
}

/* Anywhere, as long as the guest may be stopped there. */
result scout_any(struct scout *scout, struct cpu_state *state, bool *found)
{
	struct replica *replica = scout->replica;

	*found = false;
	for (unsigned i = 0; i < PLACES_TRIED; i++) {
		enum machine_stop stop;

		TRY(machine_stop_allowed(&replica->machine, state, found));
		if (*found)
			return OK;
		scout->until = clock_monotonic_ns() + RETRY_NS;
		TRY(scout_go_on(scout, &stop));
		if (scout->ended || scout->gone)
			return OK;
	}
	return OK;
}

/* In place to right behind the next instruction that sets all flags. */
static result go_behind_flags(struct scout *scout, struct cpu_state *state, bool *found)
{
	struct replica *replica = scout->replica;
	struct native_outcome outcome = { .end = NATIVE_LIMIT };
	struct instruction instruction;
	bool settled = false;

	for (unsigned i = 0; i < SETTLE_INSTRUCTIONS && !settled && outcome.end == NATIVE_LIMIT; i++) {
		settled = instruction_decode(&replica->ram, state, instruction_pointer(state), &instruction) &&
			  instruction.sets_flags;
		native_step_run(replica->preempt.native, state, NULL, 1, &outcome);
	}
	*found = instruction_decode(&replica->ram, state, instruction_pointer(state), &instruction) &&
		 instruction.may_stop;
	return machine_import(&replica->machine, state, false);
}

static result go_anywhere(struct scout *scout, struct cpu_state *state, bool *found)
{
	TRY(scout_any(scout, state, found));
	return *found ? go_behind_flags(scout, state, found) : OK;
}

result scout_wherever(struct scout *scout, struct cpu_state *state, bool *found)
{
	struct replica *replica = scout->replica;
	struct breakpoint place;

	TRY(go_anywhere(scout, state, found));
	if (*found && scout->leads != 0 && !scout->looked) {
		place.linear = instruction_pointer(state);
		*found = page_walk(&replica->ram, state, place.linear, &place.physical);
		if (*found)
			TRY(look_at_registers(scout, &place, found));
		if (*found)
			TRY(machine_export(&replica->machine, state));
		else if (!scout->ended && !scout->gone)
			TRY(go_anywhere(scout, state, found));
	}
	scout->in_place = scout->leads == 0;
	*found = *found && (!scout->in_place ||
			    in_place_cost(&replica->preempt.prices, state->rip, scout->way) <=
				    replica->config.watchdog / LATE_WATCHDOG_PART);
	return OK;
}

/* Goes on to the first visit of a place that was good. */
static result go_to_known(struct scout *scout, uint64_t *recurs_ns)
{
	struct breakpoints *breakpoints = &scout->replica->preempt.breakpoints;
	const unsigned limit = breakpoints->kind->limit < PLACES_GOOD ? breakpoints->kind->limit : PLACES_GOOD;
	struct breakpoint known[PLACES_GOOD];
	uint64_t recurs[PLACES_GOOD];
	unsigned count = places_known(&scout->replica->preempt.places, &scout->replica->ram, known, recurs, limit);
	bool planted, hit;

	if (count == 0)
		return OK;
	TRY(breakpoints_plant(breakpoints, known, count, &planted));
	TRY(go_to_hit(scout, &hit));
	for (unsigned i = 0; i < count && hit; i++)
		if (known[i].linear == instruction_pointer(&breakpoints->here))
			*recurs_ns = recurs[i];
	return OK;
}

result scout_rare(struct scout *scout, struct cpu_state *state, uint64_t settle, uint64_t *recurs_ns)
{
	*recurs_ns = 0;
	if (is_cheap(scout)) {
		bool found = false;

		scout->until = clock_monotonic_ns() + settle / KNOWN_PART;
		TRY(go_to_known(scout, recurs_ns));
		if (*recurs_ns == 0 && !scout->ended && !scout->gone)
			TRY(scout_any(scout, state, &found));
		if (!found)
			return OK;
	}
	find_candidates(scout, state);
	scout->until = clock_monotonic_ns() + settle;
	TRY(look_for_rare(scout, recurs_ns));
	if (*recurs_ns == 0 && !scout->ended && !scout->gone)
		TRY(go_to_best(scout, settle, recurs_ns));
	if (scout->ended || scout->gone)
		*recurs_ns = 0;
	return OK;
}
