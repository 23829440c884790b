#include "lockstep/restart.h"

#include <string.h>
#include <time.h>

#include "base/futex.h"
#include "base/log.h"
#include "lockstep/booking.h"
#include "lockstep/event.h"
#include "lockstep/guest_time.h"
#include "lockstep/leadership.h"
#include "lockstep/roster.h"
#include "lockstep/verdict.h"

/* A fault is committed where its replica has come to its position. A replica whose position cannot be read may have
 * come anywhere: rather one fault too few than one that comes twice. */
static bool was_committed(const struct supervisor *supervisor, const struct inject_fault *fault)
{
	const struct control *control = supervisor->members[fault->replica].area.control;

	return fault->position <= checked_word_load(&control->reached, UINT64_MAX);
}

/* A fault is a transient: who begins anew does not meet it again. */
static void forget_faults(struct supervisor *supervisor)
{
	struct replica_config *config = &supervisor->config;
	uint32_t left = 0;

	for (uint32_t i = 0; i < config->faults; i++)
		if (!was_committed(supervisor, &config->fault[i]))
			config->fault[left++] = config->fault[i];
	config->faults = left;
}

/* What the supervisor has told its replicas. What the world has sent in stays: it will not send it again. */
static void reset_page(struct supervisor *supervisor)
{
	struct supervisor_page *page = supervisor->page;

	/* A position in whose segment nobody is any more would let followers in too early. */
	atomic_store(&page->probe, 0);
	atomic_store(&page->hold, 0);
	for (unsigned i = 0; i < supervisor->replicas; i++)
		supervisor_page_forget(page, i);
	/* Nothing in it was for a machine that let something out, and ids begin anew. */
	atomic_store(&page->inbox_written, 0);
	leadership_publish(page, 0, &(struct leadership){ .leader = supervisor->leader });
}

/* What the supervisor knows of the way that is undone. */
static void reset_knowledge(struct supervisor *supervisor)
{
	supervisor->leader = 0;
	supervisor->epoch = 0;
	supervisor->stalled_at = 0;
	supervisor->stalled_since = 0;
	supervisor->ahead_since = 0;
	supervisor->probed_since = 0;
	/* One that was inside its guest for long was perhaps the faulty one: nobody else needs that much patience. */
	supervisor->longest_segment = 0;
	supervisor->waiting_since = 0;
	supervisor->inbox_taken = 0;
	backends_restart(supervisor->backends);
	supervisor->repair = (struct repair){ .active = false };
	memset(supervisor->records, 0, VOTE_REPLICAS_MAX * sizeof(*supervisor->records));
}

/* The machine's clocks begin again, as they do at power-on. */
static void reset_time(struct supervisor *supervisor)
{
	supervisor->config.rtc_epoch = (int64_t)time(NULL);
	guest_time_begin(supervisor->page, clock_monotonic_ns());
}

static void reset_care(struct supervisor *supervisor, unsigned replica)
{
	struct care *care = &supervisor->care[replica];

	care->order = 0;
	care->failures = 0;
	care->copied = 0;
	care->core = -1;
	care->by_death = false;
	roster_set_phase(supervisor, replica, CARE_LIVE);
}

result restart_machine(struct supervisor *supervisor)
{
	unsigned suspect = supervisor->leader;

	invariant(supervisor->verdicts == 0 && !supervisor->repair.active);
	event_tell(supervisor, EVENT_ROLLBACK, -1, "the replicas go back to power-on: they differ before any vote that "
						   "they agreed about");
	booking_of_two(supervisor, suspect, 1 - suspect);
	/* All, before anything is emptied: they look into each other's memories. */
	for (unsigned i = 0; i < supervisor->replicas; i++)
		member_kill(&supervisor->members[i]);
	forget_faults(supervisor);
	for (unsigned i = 0; i < supervisor->replicas; i++)
		TRY(member_reset(&supervisor->members[i], supervisor->options->memory));
	reset_knowledge(supervisor);
	reset_page(supervisor);
	reset_time(supervisor);
	for (unsigned i = 0; i < supervisor->replicas; i++) {
		TRY(roster_start(supervisor, i, &supervisor->config));
		reset_care(supervisor, i);
	}
	booking_repaired(supervisor, suspect, "restart");
	verdict_tell(supervisor);
	return OK;
}
