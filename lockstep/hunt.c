/* near by run time, onto by breakpoint, equal by registers and memory */
#include "lockstep/hunt.h"

#include <string.h>

#include "base/futex.h"
#include "base/log.h"
#include "lockstep/aim.h"
#include "lockstep/attend.h"
#include "lockstep/replica_state.h"
#include "lockstep/run_meter.h"
#include "vmm/instruction.h"
#include "vmm/machine_stop.h"

/* So much of the leader's way, in percent, is run without looking for the place; a short way is looked at whole. */
enum { BLIND_PERCENT = 50 };
#define BLIND_MIN_NS (2 * NS_PER_MS)
/* Before a state is taken over the vCPU runs for so long at least: the exit at hand is complete then, and what this
 * KVM drops of a state on the way into a guest is dropped, as it was in the leader. See PREEMPT_MIN_NS. */
#define ENTER_NS (100 * NS_PER_US)
/* Visits, and more so what is executed in place, are dear, so the guest is brought nearer by what its registers say,
 * half of what remains at a time. Samples that are nearer to each other say little about its speed, */
#define SAMPLE_APART_NS (150 * NS_PER_US)
/* and where the place does not come for so long the guest is elsewhere. */
#define SAMPLE_NS (500 * NS_PER_US)
/* Nearer than so many visits it pays to look at each. */
enum { NEAR_VISITS = 4 };
/* Instructions that are executed in place between two looks at what the supervisor wants. */
enum { STRETCH = 1 << 20 };
/* Where the stop's code is not in memory yet, it is looked for so often. */
#define CODE_LOOK_NS (50 * NS_PER_US)
/* The leader goes on for so long, at most, after its run time was read: see preempt.c. */
#define SETTLE_NS (50 * NS_PER_MS)
/* Met so many times as often as can be until there, and this, the stop must have been passed. */
enum { LOST_TIMES = 4, LOST_VISITS = 1000 };
/* Nobody looks for longer: the supervisor waits for a ballot for some watchdog's times only (watch.c). */
#define LOST_NS (3 * NS_PER_S)
/* In place the leader's way takes so many times as long at most, and this: then the stop must have been passed. */
enum { IN_PLACE_TIMES = 40 };
#define IN_PLACE_MORE_NS (300 * NS_PER_MS)

struct hunt {
	struct replica *replica;
	const struct stop_point *stop;
	struct run_meter meter; /* of all the time since the segment began */
	uint64_t blind_ns;      /* of it, without breakpoints */
	uint64_t visits;
	uint64_t executed; /* instructions in place */
	bool led;          /* by registers, as near as they lead */
	bool over;
	enum hunt_end end;
};

static void finish(struct hunt *hunt, enum hunt_end end)
{
	hunt->end = end;
	hunt->over = true;
}

static struct breakpoints *breakpoints_of(const struct hunt *hunt)
{
	return &hunt->replica->preempt.breakpoints;
}

/* The guest was taken out: by the alarm, or because the supervisor has something to say. */
static result obey(struct hunt *hunt)
{
	struct replica *replica = hunt->replica;

	attend_beat(replica);
	if (!attend_called(replica))
		return OK;
	/* What it may be told to do needs memory as it is. */
	breakpoints_lift(breakpoints_of(hunt));
	TRY(attend(replica));
	if (replica->leave || replica->rejoined)
		finish(hunt, HUNT_LEFT);
	return OK;
}

/* The guest runs for `span` ns without breakpoints. */
static result run_blind(struct hunt *hunt, uint64_t span)
{
	struct run_meter meter;
	uint64_t ran = 0;

	run_meter_start(&meter, 0);
	while (!hunt->over && ran < span) {
		enum machine_stop stop;

		alarm_set(&hunt->replica->preempt.alarm, clock_monotonic_ns() + (span - ran));
		TRY(machine_run(&hunt->replica->machine, &stop));
		if (stop == MACHINE_EXITED)
			finish(hunt, HUNT_EXITED);
		else
			TRY(obey(hunt));
		ran = run_meter_read(&meter);
	}
	hunt->blind_ns += ran;
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

static result plant(struct hunt *hunt)
{
	const struct breakpoint place = {
		.linear = instruction_pointer(&hunt->stop->cpu),
		.physical = hunt->stop->code_at,
	};
	bool planted = false;

	while (!hunt->over && !planted) {
		if (code_is_there(hunt))
			TRY(breakpoints_plant(breakpoints_of(hunt), &place, 1, &planted));
		if (!planted)
			TRY(run_blind(hunt, CODE_LOOK_NS));
	}
	return OK;
}

/* Whether the machine, which stands at the breakpoint, is where the leader was: then that is booked. */
static result compare(struct hunt *hunt, bool *equal)
{
	const struct cpu_state *here = &breakpoints_of(hunt)->here;
	const struct cpu_state *wanted = &hunt->stop->cpu;
	struct replica *replica = hunt->replica;
	struct cpu_state state;
	struct digest ram;

	*equal = false;
	/* Most visits differ in these, and they cost nothing to look at. */
	if (memcmp(here->gpr, wanted->gpr, sizeof(here->gpr)) != 0 || here->rip != wanted->rip)
		return OK;
	TRY(machine_export(&replica->machine, &state));
	if (memcmp(&state, wanted, sizeof(state)) != 0)
		return OK;
	breakpoints_lift(breakpoints_of(hunt));
	TRY(ballot_box_memory(&replica->box, &ram));
	*equal = memcmp(&ram, &hunt->stop->ram, sizeof(ram)) == 0;
	if (*equal)
		machine_stop_book(&replica->machine, &state);
	else
		replica_statistics_of(replica)->hunt_doubles++;
	return OK;
}

static bool is_lost(const struct hunt *hunt)
{
	const struct stop_point *stop = hunt->stop;
	uint64_t apart = stop->recurs_ns > 0 ? stop->recurs_ns : 1;

	return hunt->visits > LOST_VISITS + LOST_TIMES * ((stop->run_ns + SETTLE_NS) / apart) ||
	       run_meter_read(&hunt->meter) > stop->run_ns + LOST_NS;
}

static result take_visit(struct hunt *hunt)
{
	const struct cpu_state here = breakpoints_of(hunt)->here;
	enum machine_stop stop;
	bool equal;

	hunt->visits++;
	TRY(compare(hunt, &equal));
	if (equal)
		finish(hunt, HUNT_FOUND);
	else if (is_lost(hunt))
		finish(hunt, HUNT_LOST);
	if (hunt->over)
		return OK;
	TRY(breakpoints_step(breakpoints_of(hunt), &here, &stop));
	if (stop == MACHINE_EXITED)
		finish(hunt, HUNT_EXITED);
	else if (stop == MACHINE_INTERRUPTED)
		TRY(obey(hunt));
	return OK;
}

/* From visit to visit. */
static result search(struct hunt *hunt)
{
	while (!hunt->over) {
		enum machine_stop stop;

		if (breakpoints_of(hunt)->count == 0)
			TRY(plant(hunt));
		if (hunt->over)
			break;
		TRY(machine_run(&hunt->replica->machine, &stop));
		if (stop == MACHINE_EXITED)
			finish(hunt, HUNT_EXITED);
		else if (stop == MACHINE_BREAKPOINT)
			TRY(take_visit(hunt));
		else
			TRY(obey(hunt));
	}
	return OK;
}

/* --- nearer, by registers --- */

static uint64_t max_of(uint64_t one, uint64_t other)
{
	return one > other ? one : other;
}

/* Goes on to the next visit of the place, if it is near, and takes the registers there, where they mean the same each
 * time. */
static result sample(struct hunt *hunt, struct aim *aim, bool *taken)
{
	struct breakpoints *breakpoints = breakpoints_of(hunt);
	const struct breakpoint place = {
		.linear = instruction_pointer(&hunt->stop->cpu),
		.physical = hunt->stop->code_at,
	};
	enum machine_stop stop = MACHINE_INTERRUPTED;
	/* What the guest runs meanwhile is a part of its way, too. */
	const uint64_t part = hunt->stop->run_ns / 100 * BLIND_PERCENT / (2 * AIM_SAMPLES);
	const uint64_t patience = part < SAMPLE_NS ? part : max_of(SAMPLE_NS, 2 * hunt->stop->recurs_ns);
	struct run_meter meter;
	bool planted = false;

	*taken = false;
	if (hunt->over || !code_is_there(hunt))
		return OK;
	TRY(breakpoints_plant(breakpoints, &place, 1, &planted));
	run_meter_start(&meter, 0);
	while (planted && !hunt->over && stop == MACHINE_INTERRUPTED && run_meter_read(&meter) < patience) {
		alarm_set(&hunt->replica->preempt.alarm, clock_monotonic_ns() + patience);
		TRY(machine_run(&hunt->replica->machine, &stop));
		if (stop == MACHINE_EXITED)
			finish(hunt, HUNT_EXITED);
		else if (stop == MACHINE_INTERRUPTED)
			TRY(obey(hunt));
		planted = breakpoints->count > 0;
	}
	/* Where it has the stop's registers it stays. */
	*taken = stop == MACHINE_BREAKPOINT &&
		 memcmp(breakpoints->here.gpr, hunt->stop->cpu.gpr, sizeof(hunt->stop->cpu.gpr)) != 0;
	if (*taken)
		aim_add(aim, hunt->blind_ns, breakpoints->here.gpr);
	breakpoints_lift(breakpoints);
	return OK;
}

/* Half of the leader's way, with looks at the registers if it is long, and then by these as near as they lead. */
static result come_near(struct hunt *hunt)
{
	const struct stop_point *stop = hunt->stop;
	const uint64_t least = max_of(SAMPLE_APART_NS, NEAR_VISITS * stop->recurs_ns);
	struct aim aim = { .count = 0 };
	uint64_t blind = stop->run_ns / 100 * BLIND_PERCENT, apart = blind / AIM_SAMPLES, remaining;
	bool taken = false;

	if (apart < least)
		return run_blind(hunt, stop->recurs_ns > 0 && stop->run_ns > BLIND_MIN_NS ? blind : ENTER_NS);
	do {
		TRY(run_blind(hunt, apart));
		TRY(sample(hunt, &aim, &taken));
	} while (taken && aim.count < AIM_SAMPLES && run_meter_read(&hunt->meter) < blind);
	while (taken && aim_remaining(&aim, hunt->stop->cpu.gpr, &remaining) && remaining > least) {
		TRY(run_blind(hunt, remaining / 2));
		TRY(sample(hunt, &aim, &taken));
	}
	hunt->led = taken && aim_remaining(&aim, stop->cpu.gpr, &remaining);
	return OK;
}

/* --- in place --- */

/* The guest's state, if it can be taken over here; else the guest goes on a little. */
static result take_over(struct hunt *hunt, struct cpu_state *state)
{
	bool allowed = false;

	while (!hunt->over && !allowed) {
		TRY(machine_stop_allowed(&hunt->replica->machine, state, &allowed));
		if (!allowed)
			TRY(run_blind(hunt, CODE_LOOK_NS));
	}
	return OK;
}

/* The vCPU gets the state back, and executes what is not executed here. */
static result step_aside(struct hunt *hunt, struct cpu_state *state)
{
	enum machine_stop stop;

	TRY(machine_import(&hunt->replica->machine, state, false));
	TRY(breakpoints_step(breakpoints_of(hunt), state, &stop));
	if (stop == MACHINE_EXITED)
		finish(hunt, HUNT_EXITED);
	else if (stop == MACHINE_INTERRUPTED)
		TRY(obey(hunt));
	return hunt->over ? OK : machine_export(&hunt->replica->machine, state);
}

/* The registers are right: whether all the rest is. */
static result compare_in_place(struct hunt *hunt, const struct cpu_state *state, bool *equal)
{
	struct replica *replica = hunt->replica;
	struct digest ram;

	hunt->visits++;
	*equal = memcmp(state, &hunt->stop->cpu, sizeof(*state)) == 0;
	if (!*equal)
		return OK;
	TRY(ballot_box_memory(&replica->box, &ram));
	*equal = memcmp(&ram, &hunt->stop->ram, sizeof(ram)) == 0;
	if (!*equal) {
		replica_statistics_of(replica)->hunt_doubles++;
		return OK;
	}
	TRY(machine_import(&replica->machine, state, false));
	machine_stop_book(&replica->machine, state);
	finish(hunt, HUNT_FOUND);
	return OK;
}

static bool is_lost_in_place(const struct hunt *hunt)
{
	uint64_t most = hunt->stop->run_ns * IN_PLACE_TIMES + IN_PLACE_MORE_NS;

	return run_meter_read(&hunt->meter) > hunt->stop->run_ns + (most < LOST_NS ? most : LOST_NS);
}

/* Instruction by instruction, where the place is met too often to stop the vCPU at each visit. */
static result search_in_place(struct hunt *hunt)
{
	struct replica *replica = hunt->replica;
	struct native_target target = { .rip = hunt->stop->cpu.rip, .at_once = true };
	struct cpu_state state;

	memcpy(target.gpr, hunt->stop->cpu.gpr, sizeof(target.gpr));
	TRY(take_over(hunt, &state));
	while (!hunt->over) {
		struct native_outcome outcome;
		bool equal = false;

		native_step_run(replica->preempt.native, &state, &target, STRETCH, &outcome);
		hunt->executed += outcome.executed;
		target.at_once = outcome.end != NATIVE_FOUND;
		if (outcome.end == NATIVE_FOUND)
			TRY(compare_in_place(hunt, &state, &equal));
		else if (outcome.end == NATIVE_STOPPED)
			TRY(step_aside(hunt, &state));
		if (hunt->over)
			break;
		attend_beat(replica);
		if (is_lost_in_place(hunt)) {
			TRY(machine_import(&replica->machine, &state, false));
			finish(hunt, HUNT_LOST);
		} else if (attend_called(replica)) {
			TRY(machine_import(&replica->machine, &state, false));
			TRY(obey(hunt));
			if (!hunt->over)
				TRY(take_over(hunt, &state));
		}
	}
	return OK;
}

/* What is beyond the leader's way was spent on looking. */
static uint64_t spent_ns(const struct hunt *hunt)
{
	uint64_t ran = run_meter_read(&hunt->meter);

	return ran > hunt->stop->run_ns ? ran - hunt->stop->run_ns : 0;
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
	if (hunt->end == HUNT_FOUND) {
		histogram_add(&statistics->hunt_visits_each, hunt->visits);
		if (hunt->led)
			histogram_add(&statistics->hunt_ratio, hunt->blind_ns * 1000 / hunt->stop->run_ns);
	} else {
		log_debug("hunt in the segment of position %llu: end %d after %llu visits; the leader ran %llu us, "
			  "%llu us between visits",
			  (unsigned long long)hunt->replica->machine.position, hunt->end,
			  (unsigned long long)hunt->visits, (unsigned long long)hunt->stop->run_ns / 1000,
			  (unsigned long long)hunt->stop->recurs_ns / 1000);
	}
}

result hunt_run(struct replica *replica, const struct stop_point *stop, enum hunt_end *end)
{
	/* A copy: what it was read from is the source's, which may change. */
	const struct stop_point wanted = *stop;
	struct hunt hunt = { .replica = replica, .stop = &wanted };
	result r;

	run_meter_start(&hunt.meter, 0);
	r = come_near(&hunt);
	if (!failed(r))
		r = wanted.recurs_ns > 0 ? search(&hunt) : search_in_place(&hunt);
	breakpoints_lift(breakpoints_of(&hunt));
	alarm_clear(&replica->preempt.alarm);
	book(&hunt);
	*end = hunt.end;
	return r;
}
