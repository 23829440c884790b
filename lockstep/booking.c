/* faults and repairs, as they are booked */
#include "lockstep/booking.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/futex.h"
#include "base/log.h"
#include "lockstep/event.h"

static uint64_t machine_ns(const struct supervisor *supervisor)
{
	return clock_monotonic_ns() - supervisor->begin_ns;
}

/* Replicas say when they committed a fault on purpose. */
static uint64_t injected_ns(struct supervisor *supervisor, unsigned replica)
{
	const struct replica_statistics *statistics = &supervisor->members[replica].area.control->statistics;
	uint64_t at = statistics->injected > 0 ? statistics->injected_ns : 0;

	/* Of two that differ the leader is booked, whoever it was; an injection of long ago is not what that was. */
	if (at <= supervisor->begin_ns || at == supervisor->care[replica].injected_ns)
		return 0;
	supervisor->care[replica].injected_ns = at;
	return at - supervisor->begin_ns;
}

/* What a replica of which this is booked did. */
static const char *what_of(const char *kind)
{
	static const char *const texts[][2] = {
		{ "outvoted", "was outvoted" },
		{ "complained", "could not follow" },
		{ "misled", "misled its followers" },
		{ "overshot", "lost a stop" },
		{ "unfound", "was stopped where its followers did not find it" },
		{ "died", "died" },
		{ "hung", "hung" },
		{ "failed", "failed" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		if (strcmp(texts[i][0], kind) == 0)
			return texts[i][1];
	return kind;
}

void booking_fault(struct supervisor *supervisor, unsigned replica, const char *kind, uint64_t position,
		   const char *why)
{
	struct care *care = &supervisor->care[replica];
	/* Where it is pinned; what it says of itself counts only where it is not. */
	int core = cores_of(&supervisor->cores, replica) >= 0 ? cores_of(&supervisor->cores, replica) : care->core;

	(void)snprintf(care->last_fault, sizeof(care->last_fault), "%s", why);
	care->fault = tally_fault(&supervisor->tally, replica, kind, position, injected_ns(supervisor, replica),
				  machine_ns(supervisor));
	const bool data = strcmp(kind, "outvoted") == 0 || strcmp(kind, "complained") == 0 ||
			  strcmp(kind, "misled") == 0;
	const bool stop = strcmp(kind, "overshot") == 0 || strcmp(kind, "unfound") == 0;

	care->by_death = !(data || stop) || strcmp(kind, "misled") == 0 || strcmp(kind, "unfound") == 0;
	care->copied = supervisor->members[replica].area.control->statistics.pages_copied;
	event_tell(supervisor,
		   data || stop ? EVENT_REPLICA_FAULT : EVENT_REPLICA_LOST,
		   (int)replica, "replica %u %s at position %" PRIu64 ": %s", replica, what_of(kind), position, why);
	/* A process that somebody killed, or that was kept waiting, says nothing of the core; wrong data do. */
	if (data && cores_book_fault(&supervisor->cores, core, clock_monotonic_ns())) {
		event_tell(supervisor, EVENT_CORE_AVOIDED, (int)replica,
			   "core %d has lost too many votes and is left", core);
		turns_forget(supervisor);
		for (unsigned i = 0; i < supervisor->replicas; i++)
			if (supervisor->members[i].pid != 0 &&
			    failed(cores_apply(&supervisor->cores, i, supervisor->members[i].pid)))
				log_warning("replica %u cannot be moved, and stays on core %d", i, core);
	}
}

void booking_of_two(struct supervisor *supervisor, unsigned leader, unsigned follower)
{
	if (supervisor->members[follower].dissents && supervisor->members[follower].passed)
		booking_fault(supervisor, leader, "overshot", supervisor->agreed_position,
			      "its only peer did not find its stop");
	else
		booking_fault(supervisor, leader, "outvoted", supervisor->agreed_position,
			      "differs from its only peer");
}

void booking_repaired(struct supervisor *supervisor, unsigned replica, const char *method)
{
	struct care *care = &supervisor->care[replica];
	uint64_t copied = supervisor->members[replica].area.control->statistics.pages_copied;

	copied -= care->by_death ? 0 : care->copied;
	if (care->fault) {
		(void)json_object_set_new(care->fault, "repaired_ns",
					  json_integer((json_int_t)machine_ns(supervisor)));
		(void)json_object_set_new(care->fault, "method", json_string(method));
		(void)json_object_set_new(care->fault, "pages", json_integer((json_int_t)copied));
		care->fault = NULL;
	}
	event_tell(supervisor, care->by_death ? EVENT_REPLICA_JOINED : EVENT_REPLICA_REPAIRED, (int)replica,
		   "replica %u is part of the machine again, from vote %" PRIu64 " on: %" PRIu64 " pages were copied",
		   replica, supervisor->repair.vote, copied);
}
