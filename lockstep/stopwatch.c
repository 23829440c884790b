#include "lockstep/stopwatch.h"

#include <stddef.h>

#include "base/futex.h"
#include "base/result.h"

_Static_assert((int)STAGES <= STOPWATCH_STAGES && (int)DUTIES <= STOPWATCH_STAGES, "every stage has its place");

const char *stage_name(enum stage stage)
{
	static const char *const names[STAGES] = {
		[STAGE_STARTUP] = "startup",
		[STAGE_GUEST] = "guest",
		[STAGE_EXIT] = "exit",
		[STAGE_TAPE] = "tape",
		[STAGE_BALLOT] = "ballot",
		[STAGE_DIRTY_LOG] = "dirty_log",
		[STAGE_HASH] = "hash",
		[STAGE_CHECKPOINT] = "checkpoint",
		[STAGE_WAIT_LEADER] = "wait_leader",
		[STAGE_WAIT_VERDICT] = "wait_verdict",
		[STAGE_WAIT_ROOM] = "wait_room",
		[STAGE_RENDEZVOUS] = "rendezvous",
		[STAGE_HALT] = "halt",
		[STAGE_REPAIR] = "repair",
		[STAGE_END] = "end",
	};

	return stage < STAGES ? names[stage] : "unknown";
}

const char *duty_name(enum duty duty)
{
	static const char *const names[DUTIES] = {
		[DUTY_STARTUP] = "startup", [DUTY_SLEEP] = "sleep",
		[DUTY_JUDGE] = "judge",     [DUTY_COMMIT] = "commit",
		[DUTY_SERVE] = "serve",     [DUTY_COMPARE] = "compare",
		[DUTY_END] = "end",
	};

	return duty < DUTIES ? names[duty] : "unknown";
}

static void close_stage(struct stopwatch *watch, uint64_t now)
{
	if (watch->since != 0 && now > watch->since && watch->stage < STOPWATCH_STAGES)
		watch->ns[watch->stage] += now - watch->since;
}

void stopwatch_enter_at(struct stopwatch *watch, unsigned stage, uint64_t now)
{
	invariant(stage < STOPWATCH_STAGES);
	close_stage(watch, now);
	watch->stage = stage;
	watch->since = now > watch->since ? now : watch->since;
}

uint64_t stopwatch_enter(struct stopwatch *watch, unsigned stage)
{
	uint64_t now = clock_monotonic_ns();

	stopwatch_enter_at(watch, stage, now);
	return now;
}

void stopwatch_stop(struct stopwatch *watch)
{
	close_stage(watch, clock_monotonic_ns());
	watch->since = 0;
}

uint64_t stopwatch_total(const struct stopwatch *watch)
{
	uint64_t total = 0;

	for (size_t i = 0; i < STOPWATCH_STAGES; i++)
		total += watch->ns[i];
	return total;
}

uint64_t stopwatch_votes(const struct stopwatch *watch)
{
	return watch->ns[STAGE_BALLOT] + watch->ns[STAGE_DIRTY_LOG] + watch->ns[STAGE_HASH];
}

uint64_t stopwatch_waits(const struct stopwatch *watch)
{
	return watch->ns[STAGE_WAIT_LEADER] + watch->ns[STAGE_WAIT_VERDICT] + watch->ns[STAGE_WAIT_ROOM] +
	       watch->ns[STAGE_RENDEZVOUS];
}
