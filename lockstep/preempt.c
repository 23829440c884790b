/* when to stop a guest that does not exit, and where */
#include "lockstep/preempt.h"

#include <string.h>
#include <time.h>

#include "base/futex.h"
#include "base/log.h"
#include "lockstep/attend.h"
#include "lockstep/guest_time.h"
#include "lockstep/hunt.h"
#include "lockstep/replica_state.h"
#include "lockstep/run_meter.h"
#include "lockstep/scout.h"
#include "vmm/instruction.h"
#include "vmm/machine_stop.h"
#include "vmm/page_walk.h"

/* An alarm for something that is not due yet comes no later than this, to look for what the world sends meanwhile. */
#define LOOK_NS (10 * NS_PER_MS)
/* An alarm that is set for something else comes no earlier. */
#define RETRY_NS (100 * NS_PER_US)
/* An alarm comes late by so much at most, as a rule. */
#define KICK_NS (100 * NS_PER_US)
/* Where the last stop is not found yet, or the budget is used up, that is looked at again after this time: by a guest
 * that runs on, and by one that waits. */
#define BUDGET_LOOK_NS (10 * NS_PER_MS)
#define WAIT_LOOK_NS (500 * NS_PER_US)
/* After the first alarm in a segment the next one comes no later if something waits. */
#define BEGIN_NS NS_PER_MS
/* A way that is shorter can be paid for. */
#define WAIT_WAY_NS (10 * NS_PER_MS)
enum { FOLLOW_TIMES = 4, FOLLOW_WATCHDOG_PART = 8 };
/* To find a place that it seldom comes to, the guest is followed for as long as it has run, within these. */
#define SETTLE_MIN_NS (4 * NS_PER_MS)
#define SETTLE_MAX_NS (20 * NS_PER_MS)
/* Where none is good the guest is left alone for so long. */
#define NOWHERE_NS (10 * NS_PER_MS)
/* In place followers execute a whole way. It should take them no longer than this time. */
#define IN_PLACE_MOST_NS (600 * NS_PER_MS)
/* Where something is due it is looked so often in a grace period whether a kernel that boots spins: no tick that it
 * waits for should come so late that it meets the next one. But looks that are nearer to each other say little. */
enum { SPIN_LOOKS_GRACE = SPIN_LOOKS + SPIN_LOOKS / 2 };
#define SPIN_APART_NS (250 * NS_PER_US)
/* A guest that may be stopped later goes on if there is so much more of the way for that. */
enum { LATER_TIMES = 2 };
/* An interrupt that is due for longer counts as late. */
#define LATE_NS (10 * NS_PER_MS)
/* What an overshoot counts in the budget: the repair, and that it may happen again. */
#define OVERSHOOT_NS (500 * NS_PER_MS)
/* So long a time's share may be spent in advance on stops that cannot be put off. */
#define DEBT_NS (10 * NS_PER_S)

/* Behind the shim debug registers leave the guest's memory alone; where a guest runs in ring 3 with its ports open, OUT
 * works everywhere. */
static result try_backends(bool has_shim, enum breakpoint_backend *backend)
{
	result r;

	if (!has_shim) {
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

result preempt_choose(bool has_shim, uint32_t *choice, uint64_t *cost_ns)
{
	const uint64_t begin = run_meter_cpu();
	enum breakpoint_backend backend;
	result r = try_backends(has_shim, &backend);

	*choice = failed(r) ? PREEMPT_UNTRIED : (uint32_t)backend + 1;
	*cost_ns = run_meter_cpu() - begin;
	return r;
}

result preempt_create(struct replica *replica)
{
	struct preempt *preempt = &replica->preempt;
	uint32_t choice = replica->config.preempt_choice;
	enum breakpoint_backend backend;
	uint64_t cost;
	result r = OK;

	budget_begin(&preempt->budget, clock_monotonic_ns());
	pace_begin(&preempt->pace);
	in_place_begin(&preempt->prices);
	if (replica->config.preempt_grace == 0)
		return OK;
	TRY(alarm_create(&preempt->alarm));
	if (choice == PREEMPT_UNTRIED)
		r = preempt_choose(replica->machine.has_shim, &choice, &cost);
	if (!failed(r))
		r = native_step_create(&preempt->native, &replica->ram);
	if (failed(r)) {
		/* One of them says so for all. */
		if (replica->config.index == 0)
			log_info("code that never exits is not preempted: %s", r.failure->message);
		return OK;
	}
	invariant(choice <= BREAKPOINT_BACKENDS);
	backend = (enum breakpoint_backend)(choice - 1);
	breakpoints_create(&preempt->breakpoints, &replica->machine, backend);
	preempt->works = true;
	preempt->patches = backend == BREAKPOINT_HALT;
	preempt_boot(preempt);
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

void preempt_boot(struct preempt *preempt)
{
	/* Kernels read and change their own code until they run their first program: planted bytes are in their way.
	 * Where they spin meanwhile they do not, but may wait for a tick. */
	preempt->programs = !preempt->patches;
}

/* What it took a kernel to boot is no debt of theirs. */
static void programs_begin(struct preempt *preempt)
{
	preempt->programs = true;
	preempt->budget.credit = 0;
}

void preempt_enter(struct replica *replica, uint64_t now)
{
	struct preempt *preempt = &replica->preempt;

	preempt->segment_begin = now;
	/* Programs that are always taken out in the kernel are seen here at least. */
	if (!preempt->programs && trap_shim_was_in_user_mode(&replica->machine.shim))
		programs_begin(preempt);
	/* What exits all the time is not to be taken out, too: that is dear, and to put an alarm off is not. But not
	 * at every exit. */
	if (preempt->works && !alarm_pending(&preempt->alarm, now + replica->config.preempt_grace / 2))
		alarm_set(&preempt->alarm, now + replica->config.preempt_grace);
}

void preempt_go_until(struct preempt *preempt, uint64_t at)
{
	preempt->entered_at = clock_monotonic_ns();
	preempt->entered_cpu = run_meter_cpu();
	alarm_set(&preempt->alarm, at);
}

/* An alarm that finds the thread at work for longer than it was set for comes late, perhaps because this host's own
 * host was elsewhere: nobody knows how much of that time the guest ran. */
uint64_t preempt_ran_since(const struct preempt *preempt)
{
	uint64_t spent = run_meter_cpu() - preempt->entered_cpu;
	uint64_t most = preempt->alarm.at > preempt->entered_at ? preempt->alarm.at - preempt->entered_at : 0;

	spent = spent < most ? spent : most;
	return spent > KICK_NS ? spent - KICK_NS : 0;
}

static uint32_t leading_registers(const struct preempt *preempt)
{
	return aim_steady(&preempt->aim) & aim_way_steady(&preempt->way);
}

bool preempt_shows_the_way(const struct preempt *preempt)
{
	return leading_registers(preempt) != 0;
}

/* Books how long the guest has run. Whether this is the first time in this segment that it is taken out: what it ran
 * before is in no time that others go by. */
static bool begins_to_measure(struct replica *replica, uint64_t now)
{
	struct preempt *preempt = &replica->preempt;
	uint64_t ran = preempt_ran_since(preempt);
	struct cpu_state state;
	bool begins = preempt->metered != replica->machine.position + 1;

	if (begins) {
		preempt->metered = replica->machine.position + 1;
		preempt->ran = 0;
		preempt->before = now - preempt->segment_begin;
		preempt->begin_cpu = run_meter_cpu();
		preempt->aim.count = 0;
		spin_begin(&preempt->spin);
		aim_way_begin(&preempt->way);
	} else {
		preempt->ran += ran;
	}
	kvm_vcpu_peek(&replica->machine.vcpu, &state);
	/* By the whole time, however much of it was the guest's: it is compared with itself alone. */
	aim_add(&preempt->aim, run_meter_cpu(), state.gpr);
	aim_way_add(&preempt->way, run_meter_cpu(), state.gpr);
	/* Where it has hardly come any further it is in the same place for that reason alone. */
	if (begins || ran > 0)
		spin_look(&preempt->spin, state.rip, state.gpr);
	preempt->rip = state.rip;
	return begins;
}

/* How long the guest has been in this segment, at most. */
static uint64_t way_of(const struct preempt *preempt)
{
	return preempt->before + (run_meter_cpu() - preempt->begin_cpu);
}

/* Time of the thread's that was none of the guest's. */
static void leave_out(struct preempt *preempt, uint64_t ns)
{
	const uint64_t now = run_meter_cpu();

	preempt->begin_cpu = now - preempt->begin_cpu > ns ? preempt->begin_cpu + ns : now;
}

/* And how long of that it has run, as far as that is known. */
static uint64_t run_of(const struct preempt *preempt, uint64_t grace)
{
	return preempt->ran + (preempt->before < grace ? preempt->before : grace);
}

/* --- the budget --- */

/* What preemptions have cost so far: this replica, and that follower which they cost most. A stop that was not found
 * costs a repair. */
static uint64_t cost_so_far(const struct replica *replica)
{
	uint64_t most = 0;

	for (unsigned i = 0; i < replica->config.replicas; i++) {
		const struct replica_statistics *counted;
		uint64_t ns;

		if (i == replica->config.index)
			continue;
		counted = &replica->peers[i].control->statistics;
		ns = counted->hunt_ns + (counted->hunts[HUNT_EXITED] + counted->hunts[HUNT_LOST]) * OVERSHOOT_NS;
		most = ns > most ? ns : most;
	}
	return replica->preempt.spent_ns + most;
}

void preempt_lead(struct replica *replica)
{
	struct preempt *preempt = &replica->preempt;

	/* Perhaps in the midst of a segment, which another one began. */
	preempt->segment_begin = clock_monotonic_ns();
	budget_begin(&preempt->budget, preempt->segment_begin);
	preempt->budget.cost_seen = cost_so_far(replica);
}

/* Whether all followers have come out of the last stop: what that cost them is not known before. One that complains
 * will not. */
static bool stop_is_found(const struct replica *replica)
{
	for (unsigned i = 0; i < replica->config.replicas; i++)
		if (i != replica->config.index && (atomic_load(&replica->supervisor->live) >> i & 1) &&
		    atomic_load(&replica->peers[i].control->complaint) == COMPLAINT_NONE &&
		    checked_word_load(&replica->peers[i].control->reached, 0) < replica->preempt.stop_position)
			return false;
	return true;
}

/* What the last stop cost, of its way, tells what the next one will. */
static void learn_price(struct preempt *preempt, uint64_t cost)
{
	uint64_t stop_cost = cost > preempt->stop_cost ? cost - preempt->stop_cost : 0;

	if (preempt->stop_way == 0)
		return;
	preempt->price = budget_price(preempt->price, stop_cost, preempt->stop_way);
	if (preempt->stop_in_place)
		in_place_learn(&preempt->prices, preempt->stop_rip, stop_cost, preempt->stop_way);
	preempt->stop_way = 0;
}

/* What it takes followers to execute a way in place, to where the guest was seen last. */
static uint64_t in_place_ns(const struct preempt *preempt, uint64_t way)
{
	return in_place_cost(&preempt->prices, preempt->rip, way);
}

/* Whether stops have cost so much more than their budget that not even those are paid for which cannot be put off.
 * Where the budget has what stops cost, the guest waits. Nothing is spent in advance of none. */
static bool is_in_debt(struct replica *replica, uint64_t now)
{
	struct preempt *preempt = &replica->preempt;
	const uint32_t share = replica->config.preempt_budget;

	(void)budget_affords(&preempt->budget, cost_so_far(replica), share, now);
	return share == 0 ||
	       (budget_owes(&preempt->budget) > DEBT_NS / 1000 * share && !budget_covers(share, preempt->price));
}

/* Whether the guest is to be stopped while that is still possible: what a stop costs grows with its way, in place and
 * at a place that is visited often. Where registers lead there is no such limit. Without a budget nothing is stopped at
 * all. */
static bool goes_too_far(struct replica *replica, uint64_t now)
{
	const struct preempt *preempt = &replica->preempt;
	const uint64_t way = way_of(preempt);
	bool far;

	/* Followers go by registers where the budget has nothing better (hunt.c). */
	if (!preempt->programs || !replica->box.compared || replica->config.preempt_budget == 0 ||
	    (preempt_shows_the_way(preempt) && !budget_is_large(replica->config.preempt_budget, way)))
		return false;
	if (preempt->charted == replica->machine.position + 1)
		far = way > preempt->charted_way && aim_steady(&preempt->stops) == 0;
	else
		far = in_place_ns(preempt, way) > IN_PLACE_MOST_NS / 2;
	return far && !is_in_debt(replica, now);
}

/* Whether there may be a stop now. One that cannot be put off is not subject to the budget, but is counted there. */
static bool may_stop(struct replica *replica, uint64_t now, bool at_once)
{
	struct preempt *preempt = &replica->preempt;
	uint64_t cost = cost_so_far(replica);

	if (!stop_is_found(replica))
		return false;
	learn_price(preempt, cost);
	return budget_affords(&preempt->budget, cost, replica->config.preempt_budget, now) || at_once;
}

/* Followers that are behind are not left behind farther and farther: they have a few times the last way for it, and a
 * part of a watchdog's time. */
static bool waits_for_followers(const struct replica *replica)
{
	const struct preempt *preempt = &replica->preempt;

	return !stop_is_found(replica) &&
	       clock_monotonic_ns() < preempt->stopped_at + FOLLOW_TIMES * preempt->stop_way +
					      replica->config.watchdog / FOLLOW_WATCHDOG_PART;
}

/*
 * What a stop costs grows with the way to it. Where stops are dear, and the budget is that large, the guest waits here
 * rather than run on to where no stop can be paid for.
 */
static bool wait_to_stop(struct replica *replica, bool too_far)
{
	const struct timespec pause = { .tv_nsec = WAIT_LOOK_NS };
	struct preempt *preempt = &replica->preempt;
	/* A kernel that spins before its first program does so until a tick comes. Where registers lead now is the
	 * time, for they may not for long. */
	bool at_once = too_far || (!preempt->programs && replica->config.preempt_budget > 0) ||
		       (preempt_shows_the_way(preempt) && !is_in_debt(replica, clock_monotonic_ns()));
	bool may = may_stop(replica, clock_monotonic_ns(), at_once);
	uint64_t begin = run_meter_cpu();

	while (!may && !attend_called(replica) &&
	       (too_far ||
		(way_of(preempt) > WAIT_WAY_NS && (waits_for_followers(replica) ||
						   budget_covers(replica->config.preempt_budget, preempt->price))))) {
		attend_beat(replica);
		(void)nanosleep(&pause, NULL);
		may = may_stop(replica, clock_monotonic_ns(), at_once);
	}
	leave_out(preempt, run_meter_cpu() - begin);
	return may;
}

/* What stands at a place, up to the end of its page. */
static bool read_code(const struct ram *ram, uint64_t at, uint8_t code[STOP_POINT_CODE])
{
	uint64_t length = RAM_PAGE_SIZE - at % RAM_PAGE_SIZE;

	memset(code, 0, STOP_POINT_CODE);
	return !failed(ram_read(ram, at, code, length < STOP_POINT_CODE ? length : STOP_POINT_CODE));
}

/* Whether followers, which are at the segment's beginning or before it, have the same code there: else the guest writes
 * it on the way, and the breakpoint that they plant would be gone. */
static bool followers_have(const struct replica *replica, const struct stop_point *stop)
{
	uint8_t code[STOP_POINT_CODE];

	for (unsigned i = 0; i < replica->config.replicas; i++)
		if (i != replica->config.index && (atomic_load(&replica->supervisor->live) >> i & 1) &&
		    replica->peer_rams[i].memory &&
		    (!read_code(&replica->peer_rams[i], stop->code_at, code) ||
		     memcmp(code, stop->code, sizeof(code)) != 0))
			return false;
	return true;
}

/* Registers at the same place, from stop to stop: whether they lead there. */
static void note_stop(struct preempt *preempt, const struct cpu_state *state)
{
	if (preempt->stop_rip != state->rip)
		preempt->stops.count = 0;
	preempt->stop_rip = state->rip;
	aim_add(&preempt->stops, run_meter_cpu(), state->gpr);
}

/* Stops there, if that is a place where followers can plant a breakpoint. */
static result book_stop(struct replica *replica, const struct cpu_state *state, uint64_t recurs_ns, uint32_t leads,
			bool *booked)
{
	struct stop_point stop = {
		.cpu = *state,
		.run_ns = run_of(&replica->preempt, replica->config.preempt_grace),
		.recurs_ns = recurs_ns,
		.leads = leads,
	};
	struct preempt *preempt = &replica->preempt;
	uint64_t linear = instruction_pointer(state);
	uint64_t begin = run_meter_cpu();

	if (!page_walk(&replica->ram, state, linear, &stop.code_at))
		return fail(STATUS_FAILED, "the guest's code at 0x%llx is nowhere", (unsigned long long)linear);
	(void)read_code(&replica->ram, stop.code_at, stop.code);
	*booked = followers_have(replica, &stop);
	if (!*booked)
		return OK;
	if (replica->box.compared)
		TRY(ballot_box_memory(&replica->box, &stop.ram));
	preempt->stop_position = replica->machine.position + 1;
	preempt->stop_way = way_of(preempt);
	preempt->stopped_at = clock_monotonic_ns();
	note_stop(preempt, state);
	preempt->stop_cost = cost_so_far(replica);
	/* On the tape before the position is left. */
	source_live_stop(&replica->sources.live, replica->machine.position, &stop);
	machine_stop_book(&replica->machine, state);
	replica_statistics_of(replica)->stops++;
	preempt->spent_ns += run_meter_cpu() - begin;
	log_debug("stop at position %llu, after %llu to %llu us, %llu us between visits, at 0x%llx; "
		  "registers that lead: 0x%x",
		  (unsigned long long)replica->machine.position, (unsigned long long)stop.run_ns / 1000,
		  (unsigned long long)preempt->stop_way / 1000, (unsigned long long)recurs_ns / 1000,
		  (unsigned long long)linear, leads);
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

/* Finds a place and stops there. With `early` nothing waits for that yet: where a place will be good for long the guest
 * goes on. */
static result stop_somewhere(struct replica *replica, bool early, bool *ended)
{
	struct preempt *preempt = &replica->preempt;
	uint64_t way = way_of(preempt);
	uint64_t settle = way < SETTLE_MIN_NS ? SETTLE_MIN_NS : way > SETTLE_MAX_NS ? SETTLE_MAX_NS : way;
	/* Before its first program a kernel is stopped where nothing can be planted. */
	struct scout scout = {
		.replica = replica,
		.way = way,
		.leads = leading_registers(preempt),
		.looked = !preempt->programs,
	};
	struct cpu_state state;
	uint64_t recurs_ns = 0;
	bool found;

	if (exit_is_ahead(replica)) {
		preempt_go_until(preempt, clock_monotonic_ns() + NOWHERE_NS);
		return OK;
	}
	places_forget_dense(&preempt->places, clock_monotonic_ns());
	TRY(scout_any(&scout, &state, &found));
	/* With nobody to find it, any place will do. */
	if (found && replica->box.compared) {
		if (preempt->programs)
			TRY(scout_rare(&scout, &state, settle, &recurs_ns));
		preempt->charted = recurs_ns != 0 ? replica->machine.position + 1 : 0;
		preempt->charted_way = recurs_ns != 0 ? scout_way_most(&scout, recurs_ns) : 0;
		found = recurs_ns != 0 && (!early || preempt->charted_way < LATER_TIMES * way);
		if (found)
			TRY(machine_export(&replica->machine, &state)); /* it stands where it was looked for */
		else if (recurs_ns == 0 && !scout.ended && !scout.gone)
			TRY(scout_wherever(&scout, &state, &found));
	}
	preempt->spent_ns += scout.cost_ns;
	leave_out(preempt, scout.cost_ns);
	preempt->ran += scout.went_ns;
	preempt->stop_in_place = scout.in_place;
	if (found)
		TRY(book_stop(replica, &state, recurs_ns, scout.leads, &found));
	*ended = scout.ended || found;
	if (*ended) {
		/* What it was waited for is no alarm of the next segment's. */
		alarm_clear(&preempt->alarm);
		return OK;
	}
	preempt_go_until(preempt, clock_monotonic_ns() + NOWHERE_NS);
	return OK;
}

/* --- when --- */

/* Until when what is due since a short time waits for an exit, which most code comes to by itself; 0: it has waited for
 * a grace period, or nothing is due by the clock. */
static uint64_t waits_until(const struct replica *replica, const struct source_view *view, uint64_t now)
{
	uint64_t due;

	if (view->deadline == DEVICE_NO_DEADLINE)
		return 0;
	due = guest_time_to_host(replica->supervisor, view->deadline);
	return due <= now && now < due + replica->config.preempt_grace ? due + replica->config.preempt_grace : 0;
}

static result look_for_programs(struct replica *replica)
{
	enum { RING = 3 };
	struct cpu_state state;

	if (replica->preempt.programs)
		return OK;
	TRY(machine_export(&replica->machine, &state));
	if ((state.segment[SEG_CS].selector & RING) == RING)
		programs_begin(&replica->preempt);
	return OK;
}

result preempt_kicked(struct replica *replica, const struct source_view *view, bool *ended)
{
	struct preempt *preempt = &replica->preempt;
	uint64_t now = clock_monotonic_ns(), next, waits;
	enum source_need need;
	bool begins, too_far, takes = true;

	*ended = false;
	if (!preempt->works || alarm_pending(&preempt->alarm, now))
		return OK;
	TRY(look_for_programs(replica));
	begins = begins_to_measure(replica, now);
	need = source_live_needs(&replica->sources.live, view, preempt->segment_begin, replica->config.segment_max,
				 now, &next);
	if (begins && need != SOURCE_NEEDS_NOTHING) {
		next = replica->config.preempt_grace < BEGIN_NS ? replica->config.preempt_grace : BEGIN_NS;
		preempt_go_until(preempt, now + next);
		return OK;
	}
	if (need != SOURCE_NEEDS_NOTHING)
		TRY(machine_stop_takes_interrupts(&replica->machine, &takes));
	if (need != SOURCE_NEEDS_NOTHING && !preempt->programs && (!spin_seen(&preempt->spin) || !takes)) {
		next = replica->config.preempt_grace / SPIN_LOOKS_GRACE;
		preempt_go_until(preempt, now + (next > SPIN_APART_NS ? next : SPIN_APART_NS));
		return OK;
	}
	waits = waits_until(replica, view, now);
	if (need == SOURCE_NEEDS_INPUT && !takes) {
		/* It could not take it. */
		need = SOURCE_NEEDS_NOTHING;
		next = now + replica->config.preempt_grace;
	} else if (need == SOURCE_NEEDS_INPUT && waits != 0) {
		need = SOURCE_NEEDS_NOTHING;
		next = waits;
	}
	too_far = goes_too_far(replica, now);
	if (too_far && preempt->aim.count < AIM_SAMPLES) {
		/* Whether registers lead is not known yet. */
		preempt_go_until(preempt, now + BEGIN_NS);
		return OK;
	}
	if (need == SOURCE_NEEDS_NOTHING && !too_far) {
		next = next < now + LOOK_NS ? next : now + LOOK_NS;
		preempt_go_until(preempt, next > now + RETRY_NS ? next : now + RETRY_NS);
	} else if (!wait_to_stop(replica, too_far)) {
		preempt_go_until(preempt, clock_monotonic_ns() + BUDGET_LOOK_NS);
	} else {
		if (need == SOURCE_NEEDS_INPUT && view->deadline != DEVICE_NO_DEADLINE)
			replica_statistics_of(replica)->late_ticks +=
				now > guest_time_to_host(replica->supervisor, view->deadline + LATE_NS);
		return stop_somewhere(replica, need == SOURCE_NEEDS_NOTHING, ended);
	}
	return OK;
}
