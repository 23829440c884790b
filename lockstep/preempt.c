/* when to stop a guest that does not exit, and where */
#include "lockstep/preempt.h"

#include <string.h>

#include "base/futex.h"
#include "base/log.h"
#include "lockstep/attend.h"
#include "lockstep/replica_state.h"
#include "vmm/instruction.h"
#include "vmm/machine_stop.h"
#include "vmm/page_walk.h"

/* An alarm for something that is not due yet comes no later than this, to look for what the world sends meanwhile. */
#define LOOK_NS (10 * NS_PER_MS)
/* Where the guest cannot be stopped just now, and where the budget is used up. */
#define RETRY_NS (100 * NS_PER_US)
/* An alarm comes late by so much at most, as a rule. */
#define KICK_NS (100 * NS_PER_US)
#define BUDGET_LOOK_NS (10 * NS_PER_MS)
/* So much of the budget can be saved up, as a time to which it applies. */
#define CREDIT_TIME_NS NS_PER_S
/* To find a place that it seldom comes to, the guest is followed for as long as it has run, within these. */
#define SETTLE_MIN_NS NS_PER_MS
#define SETTLE_MAX_NS (20 * NS_PER_MS)
/*
 * A follower looks at each visit of the stop's place in about half of the guest's way there; a visit takes two steps,
 * onto the place and past it. A place where that takes a small part of the way, or a short time, is good; one where it
 * takes longer than so many ways is worse than one that is found by other means.
 */
enum { GOOD_PART = 16, BAD_WAYS = 2 };
#define GOOD_NS NS_PER_MS
/* A place that is met so often, and is not good, is left alone. */
enum { DENSE_VISITS = 4 };
/* Where none is good the guest is left alone for so long, */
#define NOWHERE_NS (10 * NS_PER_MS)
/* and what was found to be no good is tried again after this time. */
#define FORGET_NS NS_PER_S
/* The guest is taken out of its code so often to be found at a place where it may be stopped. */
enum { PLACES_TRIED = 16 };
/* Nearer to the segment's beginning followers could pass a stop while they come into their guest. */
#define PREEMPT_MIN_NS (500 * NS_PER_US)
/* An interrupt that is due for longer counts as late. */
#define LATE_NS (10 * NS_PER_MS)

/* The first that works. Behind the shim debug registers leave the guest's memory alone; where a guest runs in ring 3
 * with its ports open, OUT works everywhere. */
static result choose_backend(const struct replica *replica, enum breakpoint_backend *backend)
{
	result r;

	if (!replica->machine.has_shim) {
		*backend = BREAKPOINT_OUT;
		return breakpoints_self_test(*backend, false);
	}
	*backend = BREAKPOINT_DEBUG;
	r = breakpoints_self_test(*backend, true);
	if (!failed(r) || r.failure->status != STATUS_HOST)
		return r;
	*backend = BREAKPOINT_HALT;
	return breakpoints_self_test(*backend, true);
}

result preempt_create(struct replica *replica)
{
	struct preempt *preempt = &replica->preempt;
	enum breakpoint_backend backend;
	result r;

	preempt->credit_at = clock_monotonic_ns();
	if (replica->config.preempt_grace == 0)
		return OK;
	TRY(alarm_create(&preempt->alarm));
	r = choose_backend(replica, &backend);
	if (failed(r)) {
		log_info("code that never exits is not preempted: %s", r.failure->message);
		return OK;
	}
	r = native_step_create(&preempt->native, &replica->ram);
	if (failed(r)) {
		log_info("code that never exits is not preempted: %s", r.failure->message);
		return OK;
	}
	breakpoints_create(&preempt->breakpoints, &replica->machine, backend);
	preempt->works = true;
	atomic_store(&replica->own.control->preempts, 1);
	return OK;
}

void preempt_destroy(struct replica *replica)
{
	struct preempt *preempt = &replica->preempt;

	if (preempt->works)
		breakpoints_destroy(&preempt->breakpoints);
	native_step_destroy(preempt->native);
	preempt->native = NULL;
	preempt->works = false;
	alarm_destroy(&preempt->alarm);
}

void preempt_enter(struct replica *replica, uint64_t now)
{
	struct preempt *preempt = &replica->preempt;

	preempt->segment_begin = now;
	/* One alarm in a grace period, however many segments there are in it. */
	if (preempt->works && !alarm_pending(&preempt->alarm, now))
		alarm_set(&preempt->alarm, now + replica->config.preempt_grace);
}

/* Whether this is the first time in this segment that the guest is taken out: only from here on it is measured how long
 * it runs. What it ran before is left out, so that followers, who go half of this way blindly, never pass the stop. */
static bool begins_to_measure(struct replica *replica)
{
	struct preempt *preempt = &replica->preempt;

	if (preempt->metered == replica->machine.position + 1)
		return false;
	run_meter_start(&preempt->meter, 0);
	preempt->metered = replica->machine.position + 1;
	return true;
}

/* --- the budget --- */

/* What preemptions have cost so far: this replica, and that follower which they cost most. */
static uint64_t cost_so_far(const struct replica *replica)
{
	uint64_t hunting = 0;

	for (unsigned i = 0; i < replica->config.replicas; i++) {
		uint64_t ns = i == replica->config.index ? 0 : replica->peers[i].control->statistics.hunt_ns;

		hunting = ns > hunting ? ns : hunting;
	}
	return replica->preempt.spent_ns + hunting;
}

static bool affordable(struct replica *replica, uint64_t now)
{
	struct preempt *preempt = &replica->preempt;
	const int64_t most = (int64_t)(CREDIT_TIME_NS / 1000 * replica->config.preempt_budget);
	uint64_t cost = cost_so_far(replica);

	/* A follower that died took its count with it. */
	if (cost > preempt->cost_seen)
		preempt->credit -= (int64_t)(cost - preempt->cost_seen);
	preempt->cost_seen = cost;
	preempt->credit += (int64_t)((now - preempt->credit_at) / 1000 * replica->config.preempt_budget);
	preempt->credit_at = now;
	if (preempt->credit > most)
		preempt->credit = most;
	return preempt->credit > 0;
}

/* --- where --- */

struct candidate {
	struct breakpoint place;
	uint64_t recurs_ns; /* between two visits, the shortest; 0: not known */
	unsigned visits;
	bool dense;
};

struct search {
	struct replica *replica;
	struct candidate candidates[BREAKPOINTS_MAX];
	unsigned count;
	uint64_t ran;     /* ns, in the segment */
	uint64_t until;   /* host time */
	uint64_t hit_at;  /* the thread's time at the last hit */
	uint64_t left_at; /* and when the guest left a place, and which that was */
	const struct candidate *left;
	uint64_t step_ns; /* what it takes to get past a place, at least */
	uint64_t cost_ns; /* what all of this has cost */
	uint64_t went_ns; /* that the guest has run meanwhile, at least */
	bool ended; /* the guest has come to an exit */
	bool gone;  /* the supervisor had other plans */
};

static bool known_dense(const struct preempt *preempt, uint64_t physical)
{
	for (unsigned i = 0; i < PREEMPT_DENSE; i++)
		if (preempt->dense[i] == physical)
			return true;
	return false;
}

static void note_dense(struct preempt *preempt, uint64_t physical)
{
	preempt->dense[preempt->dense_next++ % PREEMPT_DENSE] = physical;
}

static void forget_dense(struct preempt *preempt, uint64_t now)
{
	if (now - preempt->dense_since < FORGET_NS)
		return;
	for (unsigned i = 0; i < PREEMPT_DENSE; i++)
		preempt->dense[i] = UINT64_MAX;
	preempt->dense_since = now;
}

static void add_candidate(struct search *search, const struct breakpoint *place)
{
	if (known_dense(&search->replica->preempt, place->physical))
		return;
	for (unsigned i = 0; i < search->count; i++)
		if (search->candidates[i].place.physical == place->physical)
			return;
	if (search->count < BREAKPOINTS_MAX)
		search->candidates[search->count++] = (struct candidate){ .place = *place };
}

static void add_place(struct search *search, const struct cpu_state *state, uint64_t linear)
{
	const struct ram *ram = &search->replica->ram;
	struct breakpoint place = { .linear = linear };
	struct instruction instruction;

	if (instruction_decode(ram, state, linear, &instruction) && instruction.may_stop &&
	    page_walk(ram, state, linear, &place.physical))
		add_candidate(search, &place);
}

/* Places that were good before; those behind the loops at hand; those to which the functions at hand return. */
static void find_candidates(struct search *search, const struct cpu_state *state)
{
	const struct replica *replica = search->replica;
	uint64_t addresses[BREAKPOINTS_MAX / 2];
	size_t count;

	for (unsigned i = 0; i < PREEMPT_PLACES && replica->preempt.places[i].linear != 0; i++)
		add_candidate(search, &replica->preempt.places[i]);
	count = instruction_loop_ends(&replica->ram, state, addresses, ARRAY_SIZE(addresses));
	for (size_t i = 0; i < count; i++)
		add_place(search, state, addresses[i]);
	count = instruction_return_addresses(&replica->ram, state, addresses, ARRAY_SIZE(addresses));
	for (size_t i = 0; i < count; i++)
		add_place(search, state, addresses[i]);
}

/* Plants what is worth looking at; `*planted` is false where there is nothing. */
static result plant(struct search *search, bool *planted)
{
	struct breakpoint places[BREAKPOINTS_MAX];
	unsigned count = 0, limit = search->replica->preempt.breakpoints.kind->limit;

	for (unsigned i = 0; i < search->count && count < limit; i++)
		if (!search->candidates[i].dense)
			places[count++] = search->candidates[i].place;
	*planted = false;
	return count == 0 ? OK :
			    breakpoints_plant(&search->replica->preempt.breakpoints, places, count, planted);
}

/* The guest was taken out: by the alarm, or because the supervisor has something to say. */
static result obey(struct search *search)
{
	struct replica *replica = search->replica;

	if (!attend_called(replica))
		return OK;
	/* What it may be told to do needs memory as it is. */
	breakpoints_lift(&replica->preempt.breakpoints);
	TRY(attend(replica));
	search->gone = replica->leave || replica->rejoined;
	return OK;
}

/* Goes on to the next breakpoint, exit or alarm. */
static result go_on(struct search *search, enum machine_stop *stop)
{
	struct replica *replica = search->replica;
	uint64_t begin = run_meter_cpu(), span;

	alarm_set(&replica->preempt.alarm, search->until);
	TRY(machine_run(&replica->machine, stop));
	search->hit_at = run_meter_cpu();
	span = search->hit_at - begin;
	/* What it takes to get in and out is no way of the guest's. */
	if (span > search->step_ns + KICK_NS)
		search->went_ns += span - search->step_ns - KICK_NS;
	search->ended = *stop == MACHINE_EXITED;
	return *stop == MACHINE_INTERRUPTED ? obey(search) : OK;
}

/* Past the place at hand. */
static result leave_place(struct search *search, const struct candidate *candidate)
{
	struct breakpoints *breakpoints = &search->replica->preempt.breakpoints;
	const struct cpu_state here = breakpoints->here;
	uint64_t begin = run_meter_cpu();
	enum machine_stop stop;

	TRY(breakpoints_step(breakpoints, &here, &stop));
	search->ended = stop == MACHINE_EXITED;
	search->left = candidate;
	search->left_at = run_meter_cpu();
	search->cost_ns += 2 * (search->left_at - begin);
	if (search->step_ns == 0 || search->left_at - begin < search->step_ns)
		search->step_ns = search->left_at - begin;
	return stop == MACHINE_INTERRUPTED ? obey(search) : OK;
}

static struct candidate *met_candidate(struct search *search)
{
	const struct cpu_state *here = &search->replica->preempt.breakpoints.here;
	uint64_t physical;

	if (!page_walk(&search->replica->ram, here, instruction_pointer(here), &physical))
		return NULL;
	for (unsigned i = 0; i < search->count; i++)
		if (search->candidates[i].place.physical == physical)
			return &search->candidates[i];
	return NULL;
}

/* What it takes a follower to look at all visits, in ns. */
static uint64_t walk_ns(const struct search *search, uint64_t recurs_ns)
{
	return search->ran / 2 / recurs_ns * 2 * search->step_ns;
}

static bool is_good(const struct search *search, uint64_t recurs_ns)
{
	uint64_t walk = walk_ns(search, recurs_ns);

	return walk <= search->ran / GOOD_PART || walk <= GOOD_NS;
}

/* Books a visit; gives whether this is the place. */
static bool visit(struct search *search, struct candidate *candidate)
{
	uint64_t away = search->hit_at - search->left_at;

	candidate->visits++;
	if (search->left == candidate) {
		/* The hit itself takes about as long as a step. */
		away = away > search->step_ns ? away - search->step_ns : 1;
		if (candidate->recurs_ns == 0 || away < candidate->recurs_ns)
			candidate->recurs_ns = away;
		if (is_good(search, candidate->recurs_ns))
			return true;
	}
	candidate->dense = candidate->visits >= DENSE_VISITS;
	if (candidate->dense)
		note_dense(&search->replica->preempt, candidate->place.physical);
	return false;
}

static void remember(struct preempt *preempt, const struct candidate *candidate)
{
	unsigned at = 0;

	while (at < PREEMPT_PLACES - 1 && preempt->places[at].physical != candidate->place.physical)
		at++;
	memmove(preempt->places + 1, preempt->places, at * sizeof(preempt->places[0]));
	preempt->places[0] = candidate->place;
}

/* At a breakpoint: stays there, or goes on past it. */
static result look_at_visit(struct search *search, uint64_t *recurs_ns)
{
	struct candidate *candidate = met_candidate(search);
	bool planted;

	if (candidate && visit(search, candidate)) {
		*recurs_ns = candidate->recurs_ns;
		remember(&search->replica->preempt, candidate);
		return OK;
	}
	TRY(leave_place(search, candidate));
	if (candidate && candidate->dense && !search->ended && !search->gone)
		TRY(plant(search, &planted));
	return OK;
}

/* The best of the places that are not good, if one is better than nothing. */
static struct candidate *best_candidate(struct search *search)
{
	struct candidate *best = NULL;

	for (unsigned i = 0; i < search->count; i++) {
		struct candidate *candidate = &search->candidates[i];

		if (candidate->visits > 1 && candidate->recurs_ns != 0 &&
		    (!best || candidate->recurs_ns > best->recurs_ns))
			best = candidate;
	}
	return best && walk_ns(search, best->recurs_ns) <= BAD_WAYS * search->ran ? best : NULL;
}

/* Goes on to the next visit of the best place. */
static result search_best(struct search *search, uint64_t window, uint64_t *recurs_ns)
{
	struct breakpoints *breakpoints = &search->replica->preempt.breakpoints;
	const struct candidate *best = best_candidate(search);
	enum machine_stop stop = MACHINE_INTERRUPTED;
	bool planted;

	if (!best)
		return OK;
	TRY(breakpoints_plant(breakpoints, &best->place, 1, &planted));
	search->until = clock_monotonic_ns() + window;
	while (breakpoints->count > 0 && stop == MACHINE_INTERRUPTED && !search->ended && !search->gone &&
	       clock_monotonic_ns() < search->until)
		TRY(go_on(search, &stop));
	if (stop == MACHINE_BREAKPOINT)
		*recurs_ns = best->recurs_ns;
	breakpoints_lift(breakpoints);
	return OK;
}

/* The guest stays in its code until it comes to a place that it seldom comes to. `*recurs_ns` stays 0: it did not. */
static result search_rare(struct search *search, uint64_t *recurs_ns)
{
	struct breakpoints *breakpoints = &search->replica->preempt.breakpoints;
	bool planted;

	TRY(plant(search, &planted));
	while (planted && *recurs_ns == 0 && !search->ended && !search->gone &&
	       clock_monotonic_ns() < search->until) {
		enum machine_stop stop;

		TRY(go_on(search, &stop));
		if (stop == MACHINE_BREAKPOINT)
			TRY(look_at_visit(search, recurs_ns));
		planted = breakpoints->count > 0;
	}
	breakpoints_lift(breakpoints);
	return OK;
}

/* Anywhere, as long as the guest may be stopped there. */
static result search_any(struct search *search, struct cpu_state *state, bool *found)
{
	struct replica *replica = search->replica;

	*found = false;
	for (unsigned i = 0; i < PLACES_TRIED; i++) {
		enum machine_stop stop;

		TRY(machine_stop_allowed(&replica->machine, state, found));
		if (*found)
			return OK;
		search->until = clock_monotonic_ns() + RETRY_NS;
		TRY(go_on(search, &stop));
		if (search->ended || search->gone)
			return OK;
	}
	return OK;
}

static result book_stop(struct replica *replica, const struct cpu_state *state, uint64_t ran, uint64_t recurs_ns)
{
	struct stop_point stop = { .cpu = *state, .run_ns = ran, .recurs_ns = recurs_ns };
	uint64_t linear = instruction_pointer(state);

	uint64_t begin = run_meter_cpu();

	if (replica->box.compared)
		TRY(ballot_box_memory(&replica->box, &stop.ram));
	if (!page_walk(&replica->ram, state, linear, &stop.code_at))
		return fail(STATUS_FAILED, "the guest's code at 0x%llx is nowhere", (unsigned long long)linear);
	(void)page_walk_read(&replica->ram, state, linear, stop.code,
			     STOP_POINT_CODE < RAM_PAGE_SIZE - linear % RAM_PAGE_SIZE ?
				     STOP_POINT_CODE :
				     RAM_PAGE_SIZE - linear % RAM_PAGE_SIZE);
	/* On the tape before the position is left. */
	source_live_stop(&replica->sources.live, replica->machine.position, &stop);
	machine_stop_book(&replica->machine, state);
	replica_statistics_of(replica)->stops++;
	replica->preempt.spent_ns += run_meter_cpu() - begin;
	log_debug("stop at position %llu, after %llu us, %llu us between visits, at 0x%llx",
		  (unsigned long long)replica->machine.position, (unsigned long long)ran / 1000,
		  (unsigned long long)recurs_ns / 1000, (unsigned long long)linear);
	return OK;
}

/* Followers that passed a stop which they did not find are not asked to find another in this segment: it has an end, as
 * they have seen. Nor are those whom the supervisor has let into it. */
static bool exit_is_ahead(const struct replica *replica)
{
	uint64_t position = replica->machine.position;

	for (unsigned i = 0; i < replica->config.replicas; i++)
		if (i != replica->config.index && (atomic_load(&replica->supervisor->live) >> i & 1) &&
		    checked_word_load(&replica->peers[i].control->reached, 0) > position)
			return true;
	return atomic_load(&replica->supervisor->probe) == position && position > 0;
}

/* Where no place is good, followers execute the rest of the way in place, to wherever the guest is. They must know how
 * long that way is, no longer than it was: what the search itself cost is no part of it. */
static result stop_anywhere(struct search *search, struct cpu_state *state, uint64_t *ran, bool *found)
{
	TRY(search_any(search, state, found));
	*ran += search->went_ns;
	return OK;
}

/* Finds a place and stops there. */
static result stop_somewhere(struct replica *replica, uint64_t ran, bool *ended)
{
	struct preempt *preempt = &replica->preempt;
	uint64_t settle = ran < SETTLE_MIN_NS ? SETTLE_MIN_NS : ran > SETTLE_MAX_NS ? SETTLE_MAX_NS : ran;
	struct search search = { .replica = replica, .ran = ran };
	struct cpu_state state;
	uint64_t recurs_ns = 0;
	bool found;

	if (exit_is_ahead(replica)) {
		alarm_set(&preempt->alarm, clock_monotonic_ns() + NOWHERE_NS);
		return OK;
	}
	forget_dense(preempt, clock_monotonic_ns());
	TRY(search_any(&search, &state, &found));
	/* With nobody to find it, any place will do. */
	if (found && replica->box.compared) {
		find_candidates(&search, &state);
		search.until = clock_monotonic_ns() + settle;
		TRY(search_rare(&search, &recurs_ns));
		if (recurs_ns == 0 && !search.ended && !search.gone)
			TRY(search_best(&search, settle, &recurs_ns));
		found = recurs_ns != 0 && !search.ended && !search.gone;
		if (found)
			TRY(machine_export(&replica->machine, &state)); /* it stands where it was looked for */
		else if (!search.ended && !search.gone)
			TRY(stop_anywhere(&search, &state, &ran, &found));
	}
	preempt->spent_ns += search.cost_ns;
	*ended = search.ended || found;
	if (found)
		return book_stop(replica, &state, ran, recurs_ns);
	alarm_set(&preempt->alarm, clock_monotonic_ns() + NOWHERE_NS);
	return OK;
}

/* --- when --- */

static bool late(const struct replica *replica, const struct source_view *view, uint64_t now)
{
	return view->deadline != DEVICE_NO_DEADLINE && now - replica->config.host_zero > view->deadline + LATE_NS;
}

result preempt_kicked(struct replica *replica, const struct source_view *view, bool *ended)
{
	struct preempt *preempt = &replica->preempt;
	uint64_t now = clock_monotonic_ns();
	enum source_need need;
	uint64_t next, ran;

	*ended = false;
	if (!preempt->works || alarm_pending(&preempt->alarm, now))
		return OK;
	if (begins_to_measure(replica)) {
		alarm_set(&preempt->alarm, now + replica->config.preempt_grace);
		return OK;
	}
	need = source_live_needs(&replica->sources.live, view, preempt->segment_begin, replica->config.segment_max,
				 now, &next);
	if (need == SOURCE_NEEDS_INPUT && !machine_interrupts_enabled(&replica->machine)) {
		/* It could not take it. */
		need = SOURCE_NEEDS_NOTHING;
		next = now + replica->config.preempt_grace;
	}
	if (need == SOURCE_NEEDS_NOTHING) {
		next = next < now + LOOK_NS ? next : now + LOOK_NS;
		alarm_set(&preempt->alarm, next > now + RETRY_NS ? next : now + RETRY_NS);
		return OK;
	}
	ran = run_meter_read(&preempt->meter);
	if (ran < PREEMPT_MIN_NS) {
		alarm_set(&preempt->alarm, now + (PREEMPT_MIN_NS - ran));
		return OK;
	}
	if (!affordable(replica, now)) {
		alarm_set(&preempt->alarm, now + BUDGET_LOOK_NS);
		return OK;
	}
	replica_statistics_of(replica)->late_ticks += need == SOURCE_NEEDS_INPUT && late(replica, view, now);
	return stop_somewhere(replica, ran, ended);
}
