#include "lockstep/repair.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/futex.h"
#include "base/log.h"
#include "lockstep/booking.h"
#include "lockstep/event.h"
#include "lockstep/record.h"
#include "lockstep/restart.h"
#include "lockstep/roster.h"
#include "lockstep/succession.h"
#include "lockstep/verdict.h"

/* So many new processes in a row that do not become part of the machine, and a replica is given up. */
enum { FAILURES_MAX = 5, ROLLBACKS_MAX = 2 };
/* A vote that somebody waits for is asked for again after this time. */
#define REQUEST_NS (20 * NS_PER_MS)

bool repair_under_way(const struct supervisor *supervisor)
{
	for (unsigned i = 0; i < supervisor->replicas; i++)
		if (supervisor->care[i].phase != CARE_LIVE && supervisor->care[i].phase != CARE_RETIRED)
			return true;
	return false;
}

/* --- members that are lost --- */

static void cancel_repair(struct supervisor *supervisor)
{
	supervisor->repair.active = false;
	atomic_store(&supervisor->page->hold, 0);
	futex_signal(&supervisor->page->sequence);
	for (unsigned i = 0; i < supervisor->replicas; i++)
		if (supervisor->care[i].phase == CARE_ORDERED) {
			/* Half a state is none. */
			member_kill(&supervisor->members[i]);
			roster_set_phase(supervisor, i, CARE_GONE);
		}
}

static void give_up(struct supervisor *supervisor, unsigned replica)
{
	const char *why = supervisor->care[replica].last_fault;

	roster_set_phase(supervisor, replica, CARE_RETIRED);
	tally_retire(&supervisor->tally, replica, supervisor->agreed_position, why);
	event_tell(supervisor, EVENT_REPLICA_RETIRED, (int)replica, "replica %u is given up after %u attempts: %s",
		   replica, FAILURES_MAX, why);
}

/* Its process is no more. */
static void bury(struct supervisor *supervisor, struct member *member)
{
	member_kill(member);
	roster_set_phase(supervisor, member->index, CARE_GONE);
	if (supervisor->repair.active && supervisor->repair.donor == member->index)
		cancel_repair(supervisor);
}

/* One of two replicas is on its way back to the vote that both agreed about, and leads from there. */
static bool goes_back(const struct supervisor *supervisor)
{
	return supervisor->repair.active && supervisor->repair.rollback;
}

result repair_lose(struct supervisor *supervisor, struct member *member, const char *kind, const char *why)
{
	struct care *care = &supervisor->care[member->index];
	bool was_live = member->live;

	if (supervisor->replicas == 1)
		return fail(STATUS_FAILED, "the only replica is lost (%s): the machine is stopped", why);
	(void)snprintf(member->why, sizeof(member->why), "%s", why);
	if (was_live || care->fault == NULL)
		booking_fault(supervisor, member->index, kind, supervisor->agreed_position, why);
	bury(supervisor, member);
	if (!was_live && ++care->failures >= FAILURES_MAX)
		give_up(supervisor, member->index);
	/* The other one is not lost with it, and nobody needs the tape of this one. */
	if (goes_back(supervisor))
		return OK;
	if (roster_live_set(supervisor) == 0)
		return fail(STATUS_NO_MAJORITY, "no replica is left (the last one, %u: %s): the machine is stopped",
			    member->index, why);
	if (member->index == supervisor->leader)
		succession_at_tape_end(supervisor, succession_legacy(supervisor, member));
	verdict_tell(supervisor);
	return OK;
}

result repair_retire(struct supervisor *supervisor, unsigned replica, const char *why)
{
	struct member *member = &supervisor->members[replica];
	struct care *care = &supervisor->care[replica];

	if (care->phase == CARE_RETIRED)
		return fail(STATUS_FAILED, "replica %u is retired already", replica);
	if (goes_back(supervisor))
		return fail(STATUS_FAILED, "the replicas are going back to an earlier vote: try again later");
	if ((roster_live_set(supervisor) & ~(1u << replica)) == 0)
		return fail(STATUS_FAILED, "replica %u is the last one that takes part", replica);
	(void)snprintf(care->last_fault, sizeof(care->last_fault), "%s", why);
	bury(supervisor, member);
	roster_set_phase(supervisor, replica, CARE_RETIRED);
	tally_retire(&supervisor->tally, replica, supervisor->agreed_position, why);
	event_tell(supervisor, EVENT_REPLICA_RETIRED, (int)replica, "replica %u is given up: %s", replica, why);
	if (replica == supervisor->leader)
		succession_at_tape_end(supervisor, succession_legacy(supervisor, member));
	verdict_tell(supervisor);
	return OK;
}

result repair_recall(struct supervisor *supervisor, unsigned replica)
{
	struct care *care = &supervisor->care[replica];

	if (supervisor->replicas == 1)
		return fail(STATUS_FAILED, "a machine of one replica has none from which it could be made anew");
	if (care->phase == CARE_LIVE)
		return repair_lose(supervisor, &supervisor->members[replica], "died", "a new process was asked for");
	if (care->phase != CARE_RETIRED)
		return fail(STATUS_FAILED, "replica %u is being repaired already", replica);
	care->failures = 0;
	care->by_death = true;
	roster_set_phase(supervisor, replica, CARE_GONE);
	return OK;
}

/* --- members that are wrong --- */

/* What is booked of one whose vote was against the majority's. */
static const char *minority_kind(const struct member *member)
{
	if (!member->dissents)
		return "outvoted";
	return member->passed ? "overshot" : "complained";
}

result repair_minority(struct supervisor *supervisor, uint32_t minority, uint32_t majority)
{
	uint64_t position = 0;

	for (unsigned i = 0; i < supervisor->replicas; i++)
		if (majority >> i & 1)
			position = supervisor->records[i].position;
	for (unsigned i = 0; i < supervisor->replicas; i++) {
		struct member *member = &supervisor->members[i];

		if (!(minority >> i & 1))
			continue;
		booking_fault(supervisor, i, minority_kind(member), position,
			   member->dissents && member->why[0] ? member->why : "its ballot differs");
		member->dissents = false;
		roster_set_phase(supervisor, i, CARE_WAITING);
	}
	if (minority >> supervisor->leader & 1) {
		const struct leadership leadership = { .begin = LEADERSHIP_AT_VOTE, .vote = supervisor->verdicts };

		succession_begin(supervisor, succession_candidate(supervisor, majority), leadership);
	}
	return OK;
}

result repair_misled(struct supervisor *supervisor, bool *done)
{
	struct member *leader = &supervisor->members[supervisor->leader];
	struct leadership legacy;
	unsigned accuser;
	char why[256];
	bool passed;

	*done = false;
	succession_amend(supervisor);
	if (!leader->live || !succession_accused(supervisor, &accuser, &legacy))
		return OK;
	*done = true;
	(void)snprintf(why, sizeof(why), "%.200s", supervisor->members[accuser].area.control->failure);
	log_make_plain(why);
	verdict_report_exits(supervisor, leader->index, accuser);
	/* If so many passed its stop, what it told of the way was wrong: that can be, where it was kept waiting. */
	passed = atomic_load(&supervisor->members[accuser].area.control->complaint) == COMPLAINT_PASSED;
	booking_fault(supervisor, leader->index, passed ? "unfound" : "misled", legacy.reached_end, why);
	bury(supervisor, leader);
	succession_at_tape_end(supervisor, legacy);
	verdict_tell(supervisor);
	return OK;
}

/* --- orders --- */

static void give_order(struct supervisor *supervisor, unsigned replica, enum order_kind kind, unsigned donor,
		       uint64_t vote)
{
	struct order *order = &supervisor->page->orders[replica];

	roster_set_phase(supervisor, replica, CARE_ORDERED);
	order->kind = kind;
	order->donor = donor;
	order->vote = vote;
	supervisor->care[replica].order = atomic_load(&order->serial) + 1;
	atomic_store(&order->serial, supervisor->care[replica].order);
	roster_call(supervisor, replica);
}

/* Runs, and has nothing to lose. */
static bool wants_state(const struct supervisor *supervisor, unsigned replica)
{
	const struct care *care = &supervisor->care[replica];

	return care->phase == CARE_WAITING ||
	       (care->phase == CARE_JOINING &&
		atomic_load(&supervisor->members[replica].area.control->state) == REPLICA_JOINABLE);
}

static uint32_t patients(const struct supervisor *supervisor)
{
	uint32_t set = 0;

	for (unsigned i = 0; i < supervisor->replicas; i++)
		if (wants_state(supervisor, i))
			set |= 1u << i;
	return set;
}

/* Whom to copy: a follower stands at its vote anyway. A leader does if it was told to. */
static unsigned donor_among(const struct supervisor *supervisor, uint32_t majority, uint64_t vote)
{
	unsigned leader = supervisor->leader;

	for (unsigned i = 0; i < supervisor->replicas; i++)
		if ((majority >> i & 1) && supervisor->members[i].live && i != leader)
			return i;
	if ((atomic_load(&supervisor->page->hold) >> leader & 1) && (majority >> leader & 1) &&
	    atomic_load(&supervisor->members[leader].area.control->held) == vote + 1)
		return leader;
	return VOTE_REPLICAS_MAX;
}

void repair_at_vote(struct supervisor *supervisor, uint32_t majority, const struct vote_record *record)
{
	uint32_t waiting = patients(supervisor);
	unsigned donor;

	if (waiting == 0 || supervisor->repair.active)
		return;
	donor = donor_among(supervisor, majority, record->number);
	if (donor == VOTE_REPLICAS_MAX) {
		/* The leader alone is left: it stands still at this vote, or at one of its next. */
		atomic_fetch_or(&supervisor->page->hold, 1u << supervisor->leader);
		return;
	}
	supervisor->repair = (struct repair){
		.active = true,
		.vote = record->number,
		.donor = donor,
		.ballot = record->ballot,
	};
	atomic_fetch_or(&supervisor->page->hold, 1u << donor);
	for (unsigned i = 0; i < supervisor->replicas; i++)
		if (waiting >> i & 1)
			give_order(supervisor, i, ORDER_RESYNC, donor, record->number);
}

/* --- two replicas --- */

result repair_rollback(struct supervisor *supervisor)
{
	unsigned follower = succession_candidate(supervisor, UINT32_MAX);
	uint64_t vote = supervisor->verdicts - 1;
	unsigned leader = supervisor->leader;

	if (supervisor->replicas != 2 || follower == VOTE_REPLICAS_MAX || supervisor->repair.active)
		return fail(STATUS_NO_MAJORITY,
			    "no majority at vote %" PRIu64 ", and nobody to go back with: nobody can tell which "
			    "is right; the machine is stopped and nothing unvoted has left it",
			    supervisor->verdicts);
	if (++supervisor->rollbacks_in_row > ROLLBACKS_MAX)
		return fail(STATUS_NO_MAJORITY,
			    "the replicas differ again at vote %" PRIu64 ", after %d attempts from %s: nobody can tell "
			    "which is right; the machine is stopped and nothing unvoted has left it",
			    supervisor->verdicts, ROLLBACKS_MAX,
			    supervisor->verdicts > 0 ? "the last one that they agreed about" : "power-on");
	supervisor->tally.rollbacks++;
	if (supervisor->verdicts == 0)
		return restart_machine(supervisor);
	event_tell(supervisor, EVENT_ROLLBACK, -1, "the replicas go back to vote %" PRIu64 ", position %" PRIu64, vote,
		   supervisor->agreed_position);
	booking_of_two(supervisor, leader, follower);
	supervisor->members[follower].dissents = supervisor->members[leader].dissents = false;
	supervisor->repair = (struct repair){ .active = true, .rollback = true, .vote = vote, .donor = follower };
	atomic_store(&supervisor->page->hold, 1u << follower);
	roster_set_phase(supervisor, leader, CARE_WAITING);
	give_order(supervisor, follower, ORDER_ROLLBACK, follower, vote);
	return OK;
}

/* The follower is back at the checkpoint, and leads from there. */
static void restart_from(struct supervisor *supervisor, unsigned follower)
{
	const struct leadership leadership = { .begin = LEADERSHIP_AT_VOTE, .vote = supervisor->repair.vote };
	unsigned leader = supervisor->leader;

	supervisor->repair.rollback = false;
	roster_set_phase(supervisor, follower, CARE_LIVE);
	succession_begin(supervisor, follower, leadership);
	/* It may have been lost meanwhile. */
	if (supervisor->care[leader].phase == CARE_WAITING)
		give_order(supervisor, leader, ORDER_RESYNC, follower, supervisor->repair.vote);
}

/* --- on the way --- */

/* What a replica that carried out its order says of itself must be what was voted. */
static bool has_state(struct supervisor *supervisor, unsigned replica)
{
	const struct repair *repair = &supervisor->repair;
	struct vote_record *record = &supervisor->records[replica];
	result r = vote_record_take(&supervisor->members[replica].area, repair->vote, record);

	if (failed(r)) {
		log_error("replica %u: %s", replica, r.failure->message);
		return false;
	}
	return memcmp(&record->ballot, &repair->ballot, sizeof(record->ballot)) == 0;
}

static void rejoin(struct supervisor *supervisor, unsigned replica)
{
	struct care *care = &supervisor->care[replica];

	care->failures = 0;
	if (care->by_death)
		care->respawns++;
	else
		care->repairs++;
	supervisor->tally.repairs += !care->by_death;
	heartbeat_reset(&care->heartbeat, clock_monotonic_ns());
	roster_set_phase(supervisor, replica, CARE_LIVE);
	booking_repaired(supervisor, replica, care->by_death ? "respawn" : "resync");
	/* Whatever comes to it next is another matter. */
	care->by_death = false;
}

static result follow_order(struct supervisor *supervisor, unsigned replica)
{
	const struct member *member = &supervisor->members[replica];
	struct care *care = &supervisor->care[replica];

	if (atomic_load(&member->area.control->order_done) != care->order)
		return OK;
	if (supervisor->repair.rollback) {
		/* Its ballot is the agreed one by the digests in its checkpoint, which it has checked. */
		struct vote_record *record = &supervisor->records[replica];

		TRY(vote_record_take(&member->area, supervisor->repair.vote, record));
		if (memcmp(&record->ballot, &supervisor->agreed, sizeof(supervisor->agreed)) != 0)
			return fail(STATUS_NO_MAJORITY,
				    "replica %u cannot go back to vote %" PRIu64 ": its checkpoint is not what was "
				    "agreed; the machine is stopped",
				    replica, supervisor->repair.vote);
		supervisor->repair.ballot = supervisor->agreed;
		restart_from(supervisor, replica);
		return OK;
	}
	if (has_state(supervisor, replica)) {
		rejoin(supervisor, replica);
		return OK;
	}
	return repair_lose(supervisor, &supervisor->members[replica], "failed",
			   "the state that it took over is not what was voted");
}

static void finish_repair(struct supervisor *supervisor)
{
	for (unsigned i = 0; i < supervisor->replicas; i++)
		if (supervisor->care[i].phase == CARE_ORDERED)
			return;
	supervisor->repair.active = false;
	atomic_store(&supervisor->page->hold, 0);
	verdict_tell(supervisor);
}

/* Followers read a dead leader's tape to its end: until then its memories must stay. */
static bool may_respawn(const struct supervisor *supervisor)
{
	/* A new process needs a donor. */
	if (goes_back(supervisor))
		return false;
	for (unsigned i = 0; i < supervisor->replicas; i++)
		if (supervisor->members[i].live &&
		    atomic_load(&supervisor->members[i].area.control->epoch) != supervisor->epoch)
			return false;
	return true;
}

/* Without a new process the machine goes on as it is. */
static void miss(struct supervisor *supervisor, unsigned replica, const char *why)
{
	struct care *care = &supervisor->care[replica];

	(void)snprintf(care->last_fault, sizeof(care->last_fault), "%.*s", (int)sizeof(care->last_fault) - 1, why);
	log_warning("replica %u has no new process: %s", replica, why);
	member_kill(&supervisor->members[replica]);
	if (++care->failures >= FAILURES_MAX)
		give_up(supervisor, replica);
}

static result respawn(struct supervisor *supervisor, unsigned replica)
{
	struct member *member = &supervisor->members[replica];
	struct replica_config config = supervisor->config;
	result r;

	config.joins = 1;
	record_keep(supervisor);
	TRY(member_reset(member, supervisor->options->memory));
	supervisor_page_forget(supervisor->page, replica);
	r = roster_start(supervisor, replica, &config);
	if (failed(r)) {
		miss(supervisor, replica, r.failure->message);
		return OK;
	}
	supervisor->tally.respawns++;
	supervisor->care[replica].by_death = true;
	roster_set_phase(supervisor, replica, CARE_JOINING);
	return OK;
}

/* A guest that idles does not vote by itself. */
static void request_vote(struct supervisor *supervisor)
{
	uint64_t now = clock_monotonic_ns();

	if (now - supervisor->request_ns < REQUEST_NS)
		return;
	supervisor->request_ns = now;
	atomic_fetch_add(&supervisor->page->vote_request, 1);
	futex_signal(&supervisor->page->sequence);
}

/* At the vote that was judged last. */
static bool leader_stands(const struct supervisor *supervisor)
{
	return supervisor->verdicts > 0 && supervisor->members[supervisor->leader].live &&
	       supervisor->records[supervisor->leader].number + 1 == supervisor->verdicts &&
	       atomic_load(&supervisor->members[supervisor->leader].area.control->held) == supervisor->verdicts;
}

result repair_continue(struct supervisor *supervisor)
{
	bool complaint = false;

	for (unsigned i = 0; i < supervisor->replicas; i++) {
		if (supervisor->care[i].phase == CARE_ORDERED)
			TRY(follow_order(supervisor, i));
		if (supervisor->care[i].phase == CARE_GONE && may_respawn(supervisor))
			TRY(respawn(supervisor, i));
		complaint |= supervisor->members[i].live &&
			     atomic_load(&supervisor->members[i].area.control->complaint) != 0;
	}
	if (supervisor->repair.active)
		finish_repair(supervisor);
	else if (patients(supervisor) != 0 && leader_stands(supervisor))
		repair_at_vote(supervisor, 1u << supervisor->leader, &supervisor->records[supervisor->leader]);
	else if (patients(supervisor) != 0 || complaint)
		request_vote(supervisor);
	else if (atomic_load(&supervisor->page->hold) != 0)
		cancel_repair(supervisor); /* whom the leader was to wait for is gone */
	return OK;
}
