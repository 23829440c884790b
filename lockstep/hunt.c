/* onto it by breakpoint or in place, equal by registers and memory */
#include "lockstep/hunt.h"

#include <string.h>

#include "base/futex.h"
#include "base/log.h"
#include "lockstep/attend.h"
#include "lockstep/hunt_state.h"
#include "lockstep/replica_state.h"
#include "vmm/instruction.h"
#include "vmm/machine_stop.h"

/* Whether it is cheaper to execute instructions in place than to stop the vCPU at each visit is tried for as long as so
 * many visits take, in parts of so many instructions, and if it is, in parts that are four times as long; */
enum { TRIAL_VISITS = 8, TRIAL = 1 << 9, STRETCH_TIMES = 4, STRETCH_MOST = 1 << 20, STRETCH_PARTS = 8 };
/* after so many visits, and if it was not, after twice as many. */
enum { TRIAL_VISITS_MOST = 1024 };
/* Loops that are one piece of code in place (native_loop.h) take little longer there than on the vCPU. If the budget
 * has that for the rest, and a part of a watchdog's time is enough, it is executed in place. */
enum { NEAR_WATCHDOG_PART = 4, NEAR_BUDGET_PART = 4, PS_PER_NS = 1000 };
/* What it takes to ask registers for the way, and to go the rest of it. */
#define ASKING_NS (4 * NS_PER_MS)
/* Where the leader saw none that lead they may lead past the stop, and that costs a repair. */
#define UNLED_NS (100 * NS_PER_MS)
enum { REPLAY_TIMES = 20 };
/* While the guest runs it is looked so often whether it is lost. */
#define LOOK_NS (200 * NS_PER_MS)
/* Where the stop's code is not in memory yet, and where nothing can be planted just now, the guest goes on so far. */
#define CODE_LOOK_NS (50 * NS_PER_US)

void hunt_finish(struct hunt *hunt, enum hunt_end end)
{
	hunt->end = end;
	hunt->over = true;
}

/* The guest was taken out: by the alarm, or because the supervisor has something to say. */
static result obey(struct hunt *hunt)
{
	struct replica *replica = hunt->replica;

	attend_beat(replica);
	if (!attend_called(replica))
		return OK;
	/* What it may be told to do needs memory as it is. */
	breakpoints_lift(hunt_breakpoints(hunt));
	TRY(attend(replica));
	if (replica->leave || replica->rejoined)
		hunt_finish(hunt, HUNT_LEFT);
	return OK;
}

/* The guest runs for `span` ns without breakpoints. */
result hunt_run_blind(struct hunt *hunt, uint64_t span)
{
	struct run_meter meter;
	uint64_t ran = 0;

	run_meter_start(&meter, 0);
	while (!hunt->over && ran < span) {
		enum machine_stop stop;

		alarm_set(&hunt->replica->preempt.alarm, clock_monotonic_ns() + (span - ran));
		TRY(machine_run(&hunt->replica->machine, &stop));
		if (stop == MACHINE_EXITED)
			hunt_finish(hunt, HUNT_EXITED);
		else
			TRY(obey(hunt));
		ran = run_meter_read(&meter);
	}
	hunt->guest_ns += ran;
	hunt->blind_ns += ran;
	if (ran > span)
		pace_late(hunt_pace(hunt), ran - span);
	alarm_clear(&hunt->replica->preempt.alarm);
	return OK;
}

/* Whether the stop's code stands where the leader found it: its page may be read or copied on the way. */
static bool code_is_there(const struct hunt *hunt)
{
	const struct stop_point *stop = hunt->stop;
	uint8_t bytes[STOP_POINT_CODE] = { 0 };
	uint64_t length = RAM_PAGE_SIZE - stop->code_at % RAM_PAGE_SIZE;

	length = length < STOP_POINT_CODE ? length : STOP_POINT_CODE;
	return !failed(ram_read(&hunt->replica->ram, stop->code_at, bytes, length)) &&
	       memcmp(bytes, stop->code, sizeof(bytes)) == 0;
}

result hunt_plant(struct hunt *hunt)
{
	const struct breakpoint place = {
		.linear = instruction_pointer(&hunt->stop->cpu),
		.physical = hunt->stop->code_at,
	};
	bool planted = false;

	while (!hunt->over && !planted) {
		if (code_is_there(hunt))
			TRY(breakpoints_plant(hunt_breakpoints(hunt), &place, 1, &planted));
		if (!planted)
			TRY(hunt_run_blind(hunt, CODE_LOOK_NS));
	}
	return OK;
}

/* Whether all registers are the stop's. */
static bool registers_equal(struct hunt *hunt, const struct cpu_state *state)
{
	if (memcmp(state, &hunt->stop->cpu, sizeof(*state)) == 0)
		return true;
	near_miss_note(&hunt->near, state, &hunt->stop->cpu);
	return false;
}

/* Whether the machine, which stands at the breakpoint, is where the leader was: then that is booked. */
static result compare(struct hunt *hunt, bool *equal)
{
	const struct cpu_state *here = &hunt_breakpoints(hunt)->here;
	const struct cpu_state *wanted = &hunt->stop->cpu;
	struct replica *replica = hunt->replica;
	struct cpu_state state;
	struct digest ram;

	*equal = false;
	/* Most visits differ in these, and they cost nothing to look at. */
	if (memcmp(here->gpr, wanted->gpr, sizeof(here->gpr)) != 0 || here->rip != wanted->rip) {
		register_nearest_note(&hunt->near.general, here->gpr, wanted->gpr);
		return OK;
	}
	TRY(machine_export(&replica->machine, &state));
	if (!registers_equal(hunt, &state))
		return OK;
	breakpoints_lift(hunt_breakpoints(hunt));
	TRY(ballot_box_memory(&replica->box, &ram));
	*equal = memcmp(&ram, &hunt->stop->ram, sizeof(ram)) == 0;
	if (*equal)
		machine_stop_book(&replica->machine, &state);
	else
		replica_statistics_of(replica)->hunt_doubles++;
	return OK;
}

/* Whether what the guest cannot change on the way is as in the stop. If not, this replica or its leader went wrong
 * before the way began, and no visit will ever be the stop. A guest without the trap shim stays in ring 3. */
static result may_be_found(struct hunt *hunt, bool *may)
{
	struct replica *replica = hunt->replica;
	const struct cpu_state *wanted = &hunt->stop->cpu;
	struct cpu_state state;

	TRY(machine_export(&replica->machine, &state));
	if (!replica->machine.has_shim)
		*may = registers_equal_if(&state, wanted, CHANGE_PRIVILEGED);
	else
		*may = !replica->preempt.programs || registers_equal_if(&state, wanted, CHANGE_SET_UP);
	if (!*may)
		near_miss_note(&hunt->near, &state, wanted);
	return OK;
}

/* Nobody looks for longer than a watchdog's time: the supervisor waits for a ballot for twice that (watch.c). How often
 * the place is met says nothing: how far visits are apart changes with what the guest does. A replay has time. */
static bool is_lost(const struct hunt *hunt)
{
	const struct replica_config *config = &hunt->replica->config;
	const uint64_t patience = config->replays ? REPLAY_TIMES * config->watchdog : config->watchdog;

	return run_meter_read(&hunt->meter) > hunt->stop->run_ns + patience;
}

/* Past the place at hand. */
static result leave_place(struct hunt *hunt)
{
	const struct cpu_state here = hunt_breakpoints(hunt)->here;
	uint64_t begin = run_meter_cpu(), spent;
	enum machine_stop stop;

	TRY(breakpoints_step(hunt_breakpoints(hunt), &here, &stop));
	spent = run_meter_cpu() - begin;
	if (hunt->step_ns == 0 || spent < hunt->step_ns)
		hunt->step_ns = spent;
	if (stop == MACHINE_EXITED)
		hunt_finish(hunt, HUNT_EXITED);
	return stop == MACHINE_INTERRUPTED ? obey(hunt) : OK;
}

/* Runs to the next breakpoint, exit or signal. */
result hunt_run_on(struct hunt *hunt, enum machine_stop *stop)
{
	uint64_t begin = run_meter_cpu(), spent;

	TRY(machine_run(&hunt->replica->machine, stop));
	spent = run_meter_cpu() - begin;
	hunt->guest_ns += spent > hunt->step_ns ? spent - hunt->step_ns : 0;
	if (*stop == MACHINE_EXITED)
		hunt_finish(hunt, HUNT_EXITED);
	return *stop == MACHINE_INTERRUPTED ? obey(hunt) : OK;
}

/* --- in place --- */

/* The vCPU gets the state back, and executes what is not executed here. */
static result step_aside(struct hunt *hunt, struct cpu_state *state)
{
	enum machine_stop stop;

	TRY(machine_import(&hunt->replica->machine, state, false));
	result r = breakpoints_step(hunt_breakpoints(hunt), state, &stop);

	/* System calls, returns from interrupts, pages that are not there yet. */
	if (failed(r) && r.failure->status == STATUS_GUEST) {
		hunt->aside = true;
		return OK;
	}
	TRY(r);
	if (stop == MACHINE_EXITED)
		hunt_finish(hunt, HUNT_EXITED);
	else if (stop == MACHINE_INTERRUPTED)
		TRY(obey(hunt));
	return hunt->over ? OK : machine_export(&hunt->replica->machine, state);
}

/* The registers are right: whether all the rest is. */
static result compare_in_place(struct hunt *hunt, const struct cpu_state *state)
{
	struct replica *replica = hunt->replica;
	struct digest ram;

	hunt->visits++;
	if (!registers_equal(hunt, state))
		return OK;
	TRY(ballot_box_memory(&replica->box, &ram));
	if (memcmp(&ram, &hunt->stop->ram, sizeof(ram)) != 0) {
		replica_statistics_of(replica)->hunt_doubles++;
		return OK;
	}
	TRY(machine_import(&replica->machine, state, false));
	machine_stop_book(&replica->machine, state);
	hunt_finish(hunt, HUNT_FOUND);
	return OK;
}

/* Executes so many instructions from `state` on, or up to one that the vCPU must execute, and that one. */
static result execute(struct hunt *hunt, struct cpu_state *state, uint64_t instructions)
{
	struct native_target target = { .rip = hunt->stop->cpu.rip, .at_once = hunt->at_once };
	struct native_outcome outcome;

	memcpy(target.gpr, hunt->stop->cpu.gpr, sizeof(target.gpr));
	native_step_run(hunt->replica->preempt.native, state, &target, instructions, &outcome);
	hunt->executed += outcome.executed;
	hunt->looped += outcome.looped;
	hunt->passes += outcome.passes;
	if (outcome.nearest.differing != 0)
		register_nearest_note(&hunt->near.general, outcome.nearest.gpr, target.gpr);
	hunt->at_once = outcome.end == NATIVE_STOPPED;
	if (outcome.end == NATIVE_FOUND)
		return compare_in_place(hunt, state);
	return outcome.end == NATIVE_STOPPED ? step_aside(hunt, state) : OK;
}

/* What it takes to go from one visit to the next. */
static uint64_t visit_ns_of(const struct hunt *hunt)
{
	return hunt->passed > 0 ? hunt->passing_ns / hunt->passed : 2 * hunt->step_ns;
}

/* For about so many instructions, and as long as some visits take at least; `*cheaper`: than the visits on the way.
 * What is executed for the first time is decoded, and takes much longer. */
static result stretch(struct hunt *hunt, struct cpu_state *state, uint64_t instructions, bool *cheaper)
{
	const uint64_t visit_ns = visit_ns_of(hunt);
	uint64_t begin, spent = 0, before, passed;

	*cheaper = true;
	if (instructions == TRIAL)
		TRY(execute(hunt, state, TRIAL));
	begin = run_meter_cpu();
	before = hunt->executed;
	passed = hunt->passes;
	while (!hunt->over && !hunt->aside &&
	       (spent < TRIAL_VISITS * visit_ns || (*cheaper && hunt->executed - before < instructions))) {
		TRY(execute(hunt, state, instructions / STRETCH_PARTS));
		spent = run_meter_cpu() - begin;
		*cheaper = spent < (hunt->passes - passed) * visit_ns;
	}
	hunt->in_place |= *cheaper;
	if (hunt->executed > before) {
		hunt->ps_each = spent * PS_PER_NS / (hunt->executed - before);
		aim_add(&hunt->aim, hunt->executed, state->gpr);
	}
	return OK;
}

/* The next trial comes later if this one was in vain: not if it was cheaper as a whole, but has come to where visits
 * are far apart, for these will be dense again. */
static void plan_trial(struct hunt *hunt, bool cheaper, bool in_vain)
{
	hunt->trial_gap = in_vain ? 2 * hunt->trial_gap : TRIAL_VISITS;
	if (hunt->trial_gap > TRIAL_VISITS_MOST)
		hunt->trial_gap = TRIAL_VISITS_MOST;
	hunt->trial_at = cheaper ? hunt->visits : hunt->visits + hunt->trial_gap;
}

/* What was not spent in the guest was spent on looking. The leader's way is no measure of that: processors that share a
 * core are faster where the other one waits. */
static uint64_t spent_ns(const struct hunt *hunt)
{
	uint64_t ran = run_meter_read(&hunt->meter);

	return ran > hunt->guest_ns ? ran - hunt->guest_ns : 0;
}

/* To look at all of a way, on the vCPU or in place, is exact; to be led by registers is cheap, but a late alarm may
 * pass the stop. So they lead where the budget has no more than this for it. */
static uint64_t may_cost(const struct hunt *hunt, uint64_t way_ns)
{
	return budget_for_way(hunt->replica->config.preempt_budget, way_ns);
}

/* What it may cost in a loop that is fast in place. If that were more than the budget has for such a way each one would
 * be longer than the last, and where registers lead there is no need. */
static uint64_t may_cost_near(const struct hunt *hunt, uint64_t way_ns)
{
	const uint64_t ns = may_cost(hunt, way_ns);

	return budget_is_large(hunt->replica->config.preempt_budget, way_ns) ? ns : ns / NEAR_BUDGET_PART;
}

/* Whether it stays in place although registers may lead: it is in a loop that is fast there, and they do not say that
 * it is still too far. To look at them on the vCPU takes alarms, which come late. */
static bool is_near(const struct hunt *hunt)
{
	const uint64_t way = hunt->stop->run_ns, most = hunt->replica->config.watchdog / NEAR_WATCHDOG_PART;
	uint64_t instructions;

	if (2 * hunt->looped < hunt->executed)
		return false;
	if (hunt->aim.count < AIM_SAMPLES)
		return hunt->executed * hunt->ps_each / PS_PER_NS < may_cost_near(hunt, way);
	if (!aim_remaining(&hunt->aim, hunt_leads(hunt), hunt->stop->cpu.gpr, &instructions) ||
	    instructions > most * PS_PER_NS / (hunt->ps_each + 1))
		return false;
	double part = (double)instructions / (double)(hunt->executed + instructions);
	uint64_t ns = instructions * hunt->ps_each / PS_PER_NS;

	return ns <= may_cost_near(hunt, (uint64_t)(part * (double)way));
}

/* Whether all visits on the rest of the way cost more than a budget has for it that is not large, and than it takes to
 * ask registers. How many there are is not known where they are dense: then what they have cost so far counts. */
static bool walk_is_dear(const struct hunt *hunt)
{
	const uint64_t way = hunt->stop->run_ns, rest = way > hunt->guest_ns ? way - hunt->guest_ns : 0;
	const uint64_t recurs_ns = hunt->stop->recurs_ns;
	const uint64_t most = may_cost(hunt, recurs_ns == 0 ? way : rest);
	const uint64_t cost = recurs_ns == 0 ? spent_ns(hunt) : rest / recurs_ns * visit_ns_of(hunt);

	return hunt->executed >= hunt->lead_at && !budget_is_large(hunt->replica->config.preempt_budget, way) &&
	       cost > most && cost > (hunt->stop->leads != 0 ? ASKING_NS : UNLED_NS);
}

/* Whether it is not yet time to ask registers for the way. Where the way is short that costs no less than to execute
 * it, and its leader's time says little: pages that are new to it take longer than all the rest. */
static bool stays_in_place(const struct hunt *hunt)
{
	return hunt->executed < hunt->lead_at || spent_ns(hunt) < ASKING_NS || is_near(hunt);
}

/* Instruction by instruction from the visit at hand on, for as long as that is cheaper than going from visit to
 * visit. */
static result go_in_place(struct hunt *hunt)
{
	struct replica *replica = hunt->replica;
	const uint64_t begin = run_meter_cpu(), passed = hunt->passes;
	uint64_t instructions = TRIAL;
	struct cpu_state state;
	bool cheaper = true;

	breakpoints_lift(hunt_breakpoints(hunt));
	TRY(machine_export(&replica->machine, &state));
	hunt->at_once = hunt->aside = false;
	hunt->aim.count = 0;
	while (cheaper && !hunt->over && !hunt->aside) {
		TRY(stretch(hunt, &state, instructions, &cheaper));
		if (hunt->over)
			return OK;
		attend_beat(replica);
		instructions = instructions < STRETCH_MOST ? STRETCH_TIMES * instructions : STRETCH_MOST;
		if (attend_called(replica) || is_lost(hunt) || !stays_in_place(hunt))
			break;
	}
	TRY(machine_import(&replica->machine, &state, false));
	if (is_lost(hunt))
		hunt_finish(hunt, HUNT_LOST);
	else
		TRY(obey(hunt));
	plan_trial(hunt, cheaper, run_meter_cpu() - begin >= (hunt->passes - passed) * visit_ns_of(hunt));
	if (hunt->over || (cheaper && !hunt->aside ? stays_in_place(hunt) : !walk_is_dear(hunt)))
		return OK;
	return hunt_come_near(hunt);
}

/* --- visits --- */

/* It was on its way there since the thread's time `begin`. */
static result take_visit(struct hunt *hunt, uint64_t begin)
{
	bool equal, may = true;

	hunt->visits++;
	TRY(compare(hunt, &equal));
	if (!equal && hunt->visits == 1)
		TRY(may_be_found(hunt, &may));
	if (equal)
		hunt_finish(hunt, HUNT_FOUND);
	else if (!may || is_lost(hunt))
		hunt_finish(hunt, HUNT_LOST);
	if (hunt->over)
		return OK;
	/* What a visit costs must be known first. */
	if (hunt->visits > hunt->trial_at && hunt->step_ns > 0)
		return go_in_place(hunt);
	TRY(leave_place(hunt));
	/* The way to the first one may be any. */
	if (hunt->visits > 1) {
		hunt->passing_ns += run_meter_cpu() - begin;
		hunt->passed++;
	}
	return OK;
}

/* From visit to visit. */
static result search(struct hunt *hunt)
{
	while (!hunt->over) {
		const uint64_t begin = run_meter_cpu();
		enum machine_stop stop;

		if (hunt_breakpoints(hunt)->count == 0)
			TRY(hunt_plant(hunt));
		if (hunt->over)
			break;
		if (!alarm_pending(&hunt->replica->preempt.alarm, clock_monotonic_ns()))
			alarm_set(&hunt->replica->preempt.alarm, clock_monotonic_ns() + LOOK_NS);
		TRY(hunt_run_on(hunt, &stop));
		if (stop == MACHINE_BREAKPOINT)
			TRY(take_visit(hunt, begin));
		else if (!hunt->over && is_lost(hunt))
			hunt_finish(hunt, HUNT_LOST);
	}
	return OK;
}

/* What this hunt says of the next ones. */
static void learn(const struct hunt *hunt)
{
	struct replica_statistics *statistics = replica_statistics_of(hunt->replica);
	const uint64_t way = hunt->stop->run_ns;

	if (hunt->end == HUNT_EXITED || (hunt->end == HUNT_LOST && is_lost(hunt)))
		pace_passed(hunt_pace(hunt));
	/* Should it lead next it knows better. */
	if (hunt->end == HUNT_LOST && is_lost(hunt) && hunt->in_place && way != 0)
		in_place_learn(&hunt->replica->preempt.prices, hunt->stop->cpu.rip, spent_ns(hunt), way);
	/* How long the guest would have needed for what was executed in place is not known. */
	if (hunt->end != HUNT_FOUND || hunt->in_place || way == 0)
		return;
	pace_found(hunt_pace(hunt), hunt->guest_ns, way);
	histogram_add(&statistics->hunt_ratio, hunt->guest_ns * 1000 / way);
}

static void book(const struct hunt *hunt)
{
	struct replica_statistics *statistics = replica_statistics_of(hunt->replica);

	statistics->hunt_ns += spent_ns(hunt);
	statistics->hunts[hunt->end]++;
	statistics->hunt_visits += hunt->visits;
	statistics->hunt_executed += hunt->executed;
	if (hunt->visits > statistics->hunt_visits_max)
		statistics->hunt_visits_max = hunt->visits;
	if (hunt->end == HUNT_FOUND)
		histogram_add(&statistics->hunt_visits_each, hunt->visits);
	char near[320] = "";

	if (hunt->end == HUNT_EXITED || hunt->end == HUNT_LOST)
		near_miss_tell(&hunt->near, &hunt->stop->cpu, near, sizeof(near));
	log_debug("hunt in the segment of position %llu: end %d after %llu visits and %llu instructions in place, in "
		  "%llu us, %llu of them in the guest, %llu without looking; the leader ran %llu us, %llu us between "
		  "visits%s",
		  (unsigned long long)hunt->replica->machine.position, hunt->end, (unsigned long long)hunt->visits,
		  (unsigned long long)hunt->executed, (unsigned long long)run_meter_read(&hunt->meter) / 1000,
		  (unsigned long long)hunt->guest_ns / 1000, (unsigned long long)hunt->blind_ns / 1000,
		  (unsigned long long)hunt->stop->run_ns / 1000,
		  (unsigned long long)hunt->stop->recurs_ns / 1000, near);
}

result hunt_run(struct replica *replica, const struct stop_point *stop, enum hunt_end *end)
{
	/* A copy: what it was read from is the source's, which may change. */
	const struct stop_point wanted = *stop;
	struct hunt hunt = {
		.replica = replica,
		.stop = &wanted,
		/* Where the leader found no place that it comes to seldom, visits are dense. */
		.trial_at = wanted.recurs_ns > 0 ? TRIAL_VISITS : 1,
		.trial_gap = TRIAL_VISITS,
	};
	uint64_t blind;
	result r;

	if (!replica->preempt.works)
		return fail(STATUS_HOST, "the leader was stopped in code that does not exit, and this host cannot stop "
					 "a guest there");
	blind = pace_blind(&replica->preempt.pace, wanted.run_ns);
	/* So its leader has seen, or it would not have looked for places; this replica may lead next. */
	replica->preempt.programs |= wanted.recurs_ns > 0;
	run_meter_start(&hunt.meter, 0);
	r = breakpoints_keep(hunt_breakpoints(&hunt));
	if (!failed(r) && blind > 0)
		r = hunt_run_blind(&hunt, blind);
	if (!failed(r))
		r = search(&hunt);
	breakpoints_lift(hunt_breakpoints(&hunt));
	breakpoints_release(hunt_breakpoints(&hunt));
	alarm_clear(&replica->preempt.alarm);
	learn(&hunt);
	book(&hunt);
	*end = hunt.end;
	return r;
}
