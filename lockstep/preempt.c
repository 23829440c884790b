/* when to stop a guest that does not exit, and where */
#include "lockstep/preempt.h"

#include <string.h>

#include "base/futex.h"
#include "base/log.h"
#include "lockstep/attend.h"
#include "lockstep/guest_time.h"
#include "lockstep/replica_state.h"
#include "lockstep/run_meter.h"
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
/* To find a place that it seldom comes to, the guest is followed for as long as it has run, within these. */
#define SETTLE_MIN_NS NS_PER_MS
#define SETTLE_MAX_NS (20 * NS_PER_MS)
/*
 * A follower looks at each visit of the stop's place in about half of the guest's way there; a visit takes two steps,
 * onto the place and past it. A place where that takes a small part of the way, or a short time, is good; one where it
 * takes longer than so many ways, or for so long, is worse than one that is found by other means.
 */
enum { GOOD_PART = 16, BAD_WAYS = 2 };
#define GOOD_NS NS_PER_MS
#define BAD_NS (500 * NS_PER_MS)
/* A place that is met so often, and is not good, is left alone. */
enum { DENSE_VISITS = 4 };
/* Where none is good the guest is left alone for so long. */
#define NOWHERE_NS (10 * NS_PER_MS)
/* The guest is taken out of its code so often to be found at a place where it may be stopped. */
enum { PLACES_TRIED = 16 };
/* Followers execute half of so long a way in place, which takes them some thirty times as long. A longer one is short
 * for them where registers show the way. */
#define IN_PLACE_MAX_NS (40 * NS_PER_MS)
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

	budget_begin(&preempt->budget, clock_monotonic_ns());
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

/* The guest goes on until the alarm goes off at host time `at`. */
static void go_until(struct preempt *preempt, uint64_t at)
{
	preempt->entered_at = clock_monotonic_ns();
	preempt->entered_cpu = run_meter_cpu();
	alarm_set(&preempt->alarm, at);
}

/*
 * What the guest has run since it went on, at least. An alarm that finds the thread at work for longer than it was set
 * for comes late because this host's own host was elsewhere: nobody knows how much of that time the guest was.
 */
static uint64_t ran_since(const struct preempt *preempt)
{
	uint64_t spent = run_meter_cpu() - preempt->entered_cpu;
	uint64_t most = preempt->alarm.at > preempt->entered_at ? preempt->alarm.at - preempt->entered_at : 0;

	return spent > KICK_NS && spent <= most + KICK_NS ? spent - KICK_NS : 0;
}

/* Books how long the guest has run. Whether this is the first time in this segment that it is taken out: what it ran
 * before is left out, so that followers, who go half of this way blindly, never pass the stop. */
static bool begins_to_measure(struct replica *replica)
{
	struct preempt *preempt = &replica->preempt;
	struct cpu_state state;
	bool begins = preempt->metered != replica->machine.position + 1;

	if (begins) {
		preempt->metered = replica->machine.position + 1;
		preempt->ran = 0;
		preempt->aim.count = 0;
		aim_way_begin(&preempt->way);
	} else {
		preempt->ran += ran_since(preempt);
	}
	kvm_vcpu_peek(&replica->machine.vcpu, &state);
	/* By the whole time, however much of it was the guest's: it is compared with itself alone. */
	aim_add(&preempt->aim, run_meter_cpu(), state.gpr);
	aim_way_add(&preempt->way, run_meter_cpu(), state.gpr);
	return begins;
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

/* Whether all followers have come out of the last stop: what that cost them is not known before. */
static bool stop_is_found(const struct replica *replica)
{
	for (unsigned i = 0; i < replica->config.replicas; i++)
		if (i != replica->config.index && (atomic_load(&replica->supervisor->live) >> i & 1) &&
		    checked_word_load(&replica->peers[i].control->reached, 0) < replica->preempt.stop_position)
			return false;
	return true;
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

static void add_candidate(struct search *search, const struct breakpoint *place)
{
	if (places_known_dense(&search->replica->preempt.places, place->physical))
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

	for (unsigned i = 0; i < PLACES_GOOD && replica->preempt.places.good[i].linear != 0; i++)
		add_candidate(search, &replica->preempt.places.good[i]);
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

	go_until(&replica->preempt, search->until);
	TRY(machine_run(&replica->machine, stop));
	search->hit_at = run_meter_cpu();
	search->went_ns += ran_since(&replica->preempt);
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
		places_note_dense(&search->replica->preempt.places, candidate->place.physical);
	return false;
}

/* At a breakpoint: stays there, or goes on past it. */
static result look_at_visit(struct search *search, uint64_t *recurs_ns)
{
	struct candidate *candidate = met_candidate(search);
	bool planted;

	if (candidate && visit(search, candidate)) {
		*recurs_ns = candidate->recurs_ns;
		places_remember(&search->replica->preempt.places, &candidate->place);
		return OK;
	}
	TRY(leave_place(search, candidate));
	if (candidate && candidate->dense && !search->ended && !search->gone)
		TRY(plant(search, &planted));
	return OK;
}

/* Whether there is a register that moves steadily, all the time and from one look to the next. */
static bool shows_the_way(const struct preempt *preempt)
{
	return (aim_steady(&preempt->aim) & aim_way_steady(&preempt->way)) != 0;
}

/* The best of the places that are not good, if one is better than nothing. */
static struct candidate *best_candidate(struct search *search)
{
	struct candidate *best = NULL;
	uint64_t walk;

	for (unsigned i = 0; i < search->count; i++) {
		struct candidate *candidate = &search->candidates[i];

		if (candidate->visits > 1 && candidate->recurs_ns != 0 &&
		    (!best || candidate->recurs_ns > best->recurs_ns))
			best = candidate;
	}
	if (!best)
		return NULL;
	walk = walk_ns(search, best->recurs_ns);
	return walk <= BAD_WAYS * search->ran && (walk <= BAD_NS || shows_the_way(&search->replica->preempt)) ? best :
													NULL;
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
	struct preempt *preempt = &replica->preempt;
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
	preempt->stop_position = replica->machine.position + 1;
	/* On the tape before the position is left. */
	source_live_stop(&replica->sources.live, replica->machine.position, &stop);
	machine_stop_book(&replica->machine, state);
	replica_statistics_of(replica)->stops++;
	preempt->spent_ns += run_meter_cpu() - begin;
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

/* Where no place is good, followers execute the rest of the way in place, to wherever the guest is: after half of it,
 * or right before its end where registers show the way. A long way without these would take them for ever. */
static result stop_anywhere(struct search *search, struct cpu_state *state, uint64_t *ran, bool *found)
{
	*found = false;
	if (*ran > IN_PLACE_MAX_NS && !shows_the_way(&search->replica->preempt))
		return OK;
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
		go_until(preempt, clock_monotonic_ns() + NOWHERE_NS);
		return OK;
	}
	places_forget_dense(&preempt->places, clock_monotonic_ns());
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
	preempt->ran += search.went_ns;
	go_until(preempt, clock_monotonic_ns() + NOWHERE_NS);
	return OK;
}

/* --- when --- */

static bool late(const struct replica *replica, const struct source_view *view, uint64_t now)
{
	return view->deadline != DEVICE_NO_DEADLINE &&
	       now > guest_time_to_host(replica->supervisor, view->deadline + LATE_NS);
}

result preempt_kicked(struct replica *replica, const struct source_view *view, bool *ended)
{
	struct preempt *preempt = &replica->preempt;
	uint64_t now = clock_monotonic_ns();
	enum source_need need;
	uint64_t next;

	*ended = false;
	if (!preempt->works || alarm_pending(&preempt->alarm, now))
		return OK;
	if (begins_to_measure(replica)) {
		go_until(preempt, now + replica->config.preempt_grace);
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
		go_until(preempt, next > now + RETRY_NS ? next : now + RETRY_NS);
	} else if (preempt->ran < PREEMPT_MIN_NS) {
		go_until(preempt, now + PREEMPT_MIN_NS);
	} else if (!stop_is_found(replica) ||
		   !budget_affords(&preempt->budget, cost_so_far(replica), replica->config.preempt_budget, now)) {
		go_until(preempt, now + BUDGET_LOOK_NS);
	} else {
		replica_statistics_of(replica)->late_ticks += need == SOURCE_NEEDS_INPUT && late(replica, view, now);
		return stop_somewhere(replica, preempt->ran, ended);
	}
	return OK;
}
