/* nearer to a stop, by registers that move steadily */
#include <string.h>

#include "base/futex.h"
#include "lockstep/hunt_state.h"

/* Visits, and more so what is executed in place, are dear, so where visits are dense the guest is brought nearer by
 * what its registers say, a part of what remains at a time. To see how fast they move (aim_apart) takes no more than
 * this part of what is ahead of the leader's way, with alarms as late as they come. These come late: what remains must
 * be so many times as long as that takes; the rest is executed in place. */
enum { ROOM_PART = 2, LATE_TIMES = 2 };
/* For the same way times differ by such a part, as a rule. */
enum { UNSURE_PART = 4 };
/* Where registers did not lead they are asked again when so many times as many instructions were executed in place, as
 * long as there is room; for that each of these instructions counts so many ns, at most so many. */
enum { LEAD_TIMES = 4, INSTRUCTION_NS = 1, INSTRUCTION_MOST_NS = 10 };

/* Goes on to the next visit of the place, if it is near: there registers mean the same each time. */
static result sample(struct hunt *hunt, bool *taken)
{
	const uint64_t patience = aim_patience(hunt->stop->run_ns);
	struct breakpoints *breakpoints = hunt_breakpoints(hunt);
	enum machine_stop stop = MACHINE_INTERRUPTED;
	struct run_meter meter;

	*taken = false;
	if (!hunt->over)
		TRY(hunt_plant(hunt));
	run_meter_start(&meter, 0);
	while (!hunt->over && breakpoints->count > 0 && stop == MACHINE_INTERRUPTED &&
	       run_meter_read(&meter) < patience) {
		alarm_set(&hunt->replica->preempt.alarm, clock_monotonic_ns() + patience);
		TRY(hunt_run_on(hunt, &stop));
	}
	/* Where it has the stop's registers it stays. */
	*taken = stop == MACHINE_BREAKPOINT &&
		 memcmp(breakpoints->here.gpr, hunt->stop->cpu.gpr, sizeof(hunt->stop->cpu.gpr)) != 0;
	breakpoints_lift(breakpoints);
	alarm_clear(&hunt->replica->preempt.alarm);
	return OK;
}

/* What is ahead of the leader's way, at least. */
static uint64_t ahead(const struct hunt *hunt)
{
	const uint64_t gone = hunt->guest_ns + hunt->executed * INSTRUCTION_NS;

	return hunt->stop->run_ns > gone ? hunt->stop->run_ns - gone : 0;
}

/* Likewise, if the leader needed longer for its way than the guest does here. */
static uint64_t surely_ahead(const struct hunt *hunt)
{
	const uint64_t unsure = hunt->stop->run_ns / UNSURE_PART;

	return ahead(hunt) > unsure ? ahead(hunt) - unsure : 0;
}

/* How far the guest may run without looking; 0: no further. `*led`: because it is near. */
static uint64_t may_run(const struct hunt *hunt, const struct aim *aim, uint64_t way, bool *led)
{
	uint64_t remaining, span;

	*led = false;
	if (aim->count < AIM_SAMPLES)
		return aim_apart(way);
	*led = aim_remaining(aim, hunt_leads(hunt), hunt->stop->cpu.gpr, &remaining);
	if (!*led || remaining < LATE_TIMES * pace_lateness(hunt_pace(hunt)))
		return 0;
	span = remaining / pace_part(hunt_pace(hunt));
	/* What moves steadily here may have moved otherwise on the way, unless the leader saw it. */
	if (hunt->stop->leads == 0 && span > surely_ahead(hunt) / ROOM_PART)
		span = surely_ahead(hunt) / ROOM_PART;
	return span > AIM_APART_LEAST_NS ? span : 0;
}

/* Whether there is room for samples on a way. Where the budget has what it takes to look at all of it, registers are
 * asked only if the leader saw some that lead, and in what is its first half for sure: alarms may be later than they
 * ever were, and where code is translated when it runs for the first time it is the leader who is slow. */
static bool may_look(const struct hunt *hunt, uint64_t way)
{
	const uint64_t whole = hunt->stop->run_ns, gone = hunt->guest_ns + hunt->executed * INSTRUCTION_MOST_NS;
	const uint64_t samples = AIM_SAMPLES * (aim_apart(way) + pace_lateness(hunt_pace(hunt)));

	return samples <= way / ROOM_PART && (!budget_is_large(hunt->replica->config.preempt_budget, whole) ||
					      (hunt->stop->leads != 0 && gone + samples <= whole / ROOM_PART));
}

/*
 * From a visit on a long way in a loop, as near as registers lead, which is a part of what remains at a time. Time is
 * what was asked for: what the guest ran longer makes it look faster than it is, and so goes a shorter way.
 */
result hunt_come_near(struct hunt *hunt)
{
	struct aim aim = { .count = 0 };
	const uint64_t way = ahead(hunt);
	uint64_t asked = 0, span = aim_apart(way);
	bool taken = may_look(hunt, way), led = false;

	while (taken && span > 0) {
		TRY(sample(hunt, &taken));
		if (!taken) {
			/* The guest is elsewhere, however near that looked. */
			led = false;
			break;
		}
		aim_add(&aim, asked, hunt_breakpoints(hunt)->here.gpr);
		span = may_run(hunt, &aim, way, &led);
		asked += span;
		TRY(hunt_run_blind(hunt, span));
	}
	/* Registers that do not lead now may do so later. */
	hunt->lead_at = !led && may_look(hunt, ahead(hunt)) ? LEAD_TIMES * hunt->executed : UINT64_MAX;
	return OK;
}
