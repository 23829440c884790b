#include "lockstep/repair.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/futex.h"
#include "base/log.h"
#include "lockstep/booking.h"
#include "lockstep/event.h"
#include "lockstep/leadership.h"
#include "lockstep/restart.h"
#include "lockstep/tape.h"
#include "lockstep/verdict.h"

/* So many new processes in a row that do not become part of the machine, and a replica is given up. */
enum { FAILURES_MAX = 5, ROLLBACKS_MAX = 2 };
/* A vote that somebody waits for is asked for again after this time. */
#define REQUEST_NS (20 * NS_PER_MS)
/* Followers that were seen at some position are this much farther at most when they hear that their leader is dead. */
enum { LEGACY_SLACK = 256 };

uint32_t repair_live_set(const struct supervisor *supervisor)
{
	uint32_t set = 0;

	for (unsigned i = 0; i < supervisor->replicas; i++)
		if (supervisor->members[i].live)
			set |= 1u << i;
	return set;
}

bool repair_under_way(const struct supervisor *supervisor)
{
	for (unsigned i = 0; i < supervisor->replicas; i++)
		if (supervisor->care[i].phase != CARE_LIVE && supervisor->care[i].phase != CARE_RETIRED)
			return true;
	return false;
}

static void set_phase(struct supervisor *supervisor, unsigned replica, enum care_phase phase)
{
	struct care *care = &supervisor->care[replica];

	care->phase = phase;
	care->since = clock_monotonic_ns();
	supervisor->members[replica].live = phase == CARE_LIVE;
	atomic_store(&supervisor->page->live, repair_live_set(supervisor));
}

/* Looks at once, wherever it is: asleep, or inside its guest. */
static void call(struct supervisor *supervisor, unsigned replica)
{
	verdict_wake(supervisor, replica);
	if (supervisor->members[replica].pid != 0)
		(void)kill(supervisor->members[replica].pid, SIGUSR1);
}

static void call_all(struct supervisor *supervisor)
{
	for (unsigned i = 0; i < supervisor->replicas; i++)
		if (supervisor->members[i].pid != 0)
			call(supervisor, i);
}

/* --- leaders --- */

/* Who could lead: a live follower; better one that nobody copies at the moment. */
static unsigned successor(const struct supervisor *supervisor, uint32_t among)
{
	unsigned last = VOTE_REPLICAS_MAX;

	for (unsigned i = 0; i < supervisor->replicas; i++) {
		if (!(among >> i & 1) || i == supervisor->leader || !supervisor->members[i].live)
			continue;
		last = i;
		if (!(supervisor->repair.active && supervisor->repair.donor == i))
			break;
	}
	return last;
}

static void change_leader(struct supervisor *supervisor, unsigned to, struct leadership leadership)
{
	leadership.leader = to;
	leadership.tape_base = checked_word_load(&supervisor->members[to].area.control->tape_written, 0);
	supervisor->epoch++;
	supervisor->leader = to;
	supervisor->stalled_since = 0;
	supervisor->tally.failovers++;
	leadership_publish(supervisor->page, supervisor->epoch, &leadership);
	call_all(supervisor);
	event_tell(supervisor, EVENT_LEADER_CHANGED, (int)to, "replica %u leads from position %" PRIu64 " on", to,
		   leadership.begin == LEADERSHIP_AT_VOTE ? supervisor->agreed_position : leadership.reached_end);
}

/* Positions at which a machine can be, at most: the logs of what was not voted on are only so long. */
static uint64_t position_max(const struct supervisor *supervisor)
{
	return supervisor->agreed_position + CONTROL_EXIT_LOG;
}

/* Goes on on a dead leader's tape from where a follower is, as far as it can be read. */
static void read_legacy(const struct supervisor *supervisor, const struct member *leader,
			const struct control *follower, struct leadership *legacy)
{
	/* In this order: what it reads next is of this position or a later one. What is on the tape since an earlier
	 * round is of earlier ones. */
	uint64_t reached = checked_word_load(&follower->reached, 0);
	uint64_t base = supervisor->page->leaderships[supervisor->epoch % CONTROL_LEADERSHIPS].tape_base;
	bool follows = atomic_load(&follower->epoch) == supervisor->epoch;
	struct tape_reader reader = {
		.ring = leader->area.tape,
		.mirror = leader->area.tape_mirror,
		.at = follows ? atomic_load(&follower->tape_read) : base,
		.position = reached,
		.ends = true,
	};
	bool there = true;

	reader.end = reader.at + CONTROL_TAPE_SIZE / 2;
	while (there) {
		struct tape_entry entry;

		if (failed(tape_peek(&reader, &entry, &there)) || !there || entry.position > position_max(supervisor))
			break;
		tape_consume(&reader, &entry);
	}
	legacy->tape_end = reader.at > legacy->tape_end ? reader.at : legacy->tape_end;
	legacy->reached_end = reader.position > legacy->reached_end ? reader.position : legacy->reached_end;
}

/*
 * What a leader that has died left on its tape, and how far it went. Its own words are believed where they can be
 * true. Where not, its followers go on until they want an input that is not there: then they say so (amend_legacy).
 */
static struct leadership legacy_of(const struct supervisor *supervisor, const struct member *leader)
{
	struct leadership legacy = { .begin = LEADERSHIP_AT_TAPE_END };
	uint64_t reached = checked_word_load(&leader->area.control->reached, 0);

	for (unsigned i = 0; i < supervisor->replicas; i++)
		if (supervisor->members[i].live)
			read_legacy(supervisor, leader, supervisor->members[i].area.control, &legacy);
	if (reached >= legacy.reached_end && reached <= position_max(supervisor))
		legacy.reached_end = reached;
	else
		legacy.reached_end += LEGACY_SLACK;
	return legacy;
}

/* A leader that is no more is followed by another, where its tape ends. */
static void succeed(struct supervisor *supervisor, struct leadership legacy)
{
	/* What they said of the old one is of no account any more. */
	for (unsigned i = 0; i < supervisor->replicas; i++)
		supervisor->members[i].dissents = false;
	change_leader(supervisor, successor(supervisor, UINT32_MAX), legacy);
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
			set_phase(supervisor, i, CARE_GONE);
		}
}

static void give_up(struct supervisor *supervisor, unsigned replica)
{
	const char *why = supervisor->care[replica].last_fault;

	set_phase(supervisor, replica, CARE_RETIRED);
	tally_retire(&supervisor->tally, replica, supervisor->agreed_position, why);
	event_tell(supervisor, EVENT_REPLICA_RETIRED, (int)replica, "replica %u is given up after %u attempts: %s",
		   replica, FAILURES_MAX, why);
}

/* Its process is no more. */
static void bury(struct supervisor *supervisor, struct member *member)
{
	member_kill(member);
	set_phase(supervisor, member->index, CARE_GONE);
	if (supervisor->repair.active && supervisor->repair.donor == member->index)
		cancel_repair(supervisor);
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
	if (repair_live_set(supervisor) == 0)
		return fail(STATUS_NO_MAJORITY, "no replica is left (the last one, %u: %s): the machine is stopped",
			    member->index, why);
	if (member->index == supervisor->leader)
		succeed(supervisor, legacy_of(supervisor, member));
	verdict_tell(supervisor);
	return OK;
}

/* --- members that are wrong --- */

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
		booking_fault(supervisor, i, member->dissents ? "complained" : "outvoted", position,
			   member->dissents && member->why[0] ? member->why : "its ballot differs");
		member->dissents = false;
		set_phase(supervisor, i, CARE_WAITING);
	}
	if (minority >> supervisor->leader & 1) {
		const struct leadership leadership = { .begin = LEADERSHIP_AT_VOTE, .vote = supervisor->verdicts };

		change_leader(supervisor, successor(supervisor, majority), leadership);
	}
	return OK;
}

/* Whether a live follower complains of the tape of the leadership `epoch`: the present one, or one that is over. */
static bool complains(const struct supervisor *supervisor, unsigned replica, uint32_t epoch)
{
	const struct control *control = supervisor->members[replica].area.control;

	return supervisor->members[replica].live &&
	       (epoch != supervisor->epoch || replica != supervisor->leader) &&
	       atomic_load(&control->complaint) != 0 && control->complaint_epoch == epoch;
}

/* How many complain of the same place on the tape as this one, and the furthest position at which one of them stands:
 * an entry that is damaged is seen before its position is known, so they may stand at different ones. */
static unsigned agreement(const struct supervisor *supervisor, unsigned replica, uint32_t epoch,
			  struct leadership *legacy)
{
	const struct control *one = supervisor->members[replica].area.control;
	unsigned same = 0;

	*legacy = (struct leadership){ .begin = LEADERSHIP_AT_TAPE_END, .tape_end = one->complaint_tape_at };
	for (unsigned i = 0; i < supervisor->replicas; i++) {
		const struct control *other = supervisor->members[i].area.control;
		const uint64_t position = other->complaint_position;

		if (!complains(supervisor, i, epoch) || other->complaint_tape_at != legacy->tape_end)
			continue;
		same++;
		legacy->reached_end = position > legacy->reached_end ? position : legacy->reached_end;
	}
	return same;
}

/* The new leader and most others cannot go to the end of the old one's tape: it ends where they are. */
static void amend_legacy(struct supervisor *supervisor)
{
	struct leadership *given = &supervisor->page->leaderships[supervisor->epoch % CONTROL_LEADERSHIPS];
	unsigned live = (unsigned)__builtin_popcount(repair_live_set(supervisor));
	unsigned leader = supervisor->leader;
	uint32_t epoch = supervisor->epoch - 1;
	struct leadership legacy;

	if (supervisor->epoch == 0 || given->begin != LEADERSHIP_AT_TAPE_END || !complains(supervisor, leader, epoch) ||
	    2 * agreement(supervisor, leader, epoch, &legacy) <= live ||
	    (given->tape_end == legacy.tape_end && given->reached_end == legacy.reached_end))
		return;
	log_debug("the tape of the leader before ends at byte %" PRIu64 ", position %" PRIu64, legacy.tape_end,
		  legacy.reached_end);
	given->tape_end = legacy.tape_end;
	given->reached_end = legacy.reached_end;
	call_all(supervisor);
}

result repair_misled(struct supervisor *supervisor, bool *done)
{
	struct member *leader = &supervisor->members[supervisor->leader];
	unsigned live = (unsigned)__builtin_popcount(repair_live_set(supervisor));
	struct leadership legacy = { .begin = LEADERSHIP_AT_TAPE_END };
	unsigned accuser = 0;
	char why[256];

	*done = false;
	amend_legacy(supervisor);
	if (!leader->live)
		return OK;
	while (accuser < supervisor->replicas &&
	       !(complains(supervisor, accuser, supervisor->epoch) &&
		 2 * agreement(supervisor, accuser, supervisor->epoch, &legacy) > live))
		accuser++;
	if (accuser == supervisor->replicas)
		return OK;
	*done = true;
	(void)snprintf(why, sizeof(why), "%.200s", supervisor->members[accuser].area.control->failure);
	log_make_plain(why);
	verdict_report_exits(supervisor, leader->index, accuser);
	booking_fault(supervisor, leader->index, "misled", legacy.reached_end, why);
	bury(supervisor, leader);
	succeed(supervisor, legacy);
	verdict_tell(supervisor);
	return OK;
}

/* --- orders --- */

static void give_order(struct supervisor *supervisor, unsigned replica, enum order_kind kind, unsigned donor,
		       uint64_t vote)
{
	struct order *order = &supervisor->page->orders[replica];

	set_phase(supervisor, replica, CARE_ORDERED);
	order->kind = kind;
	order->donor = donor;
	order->vote = vote;
	supervisor->care[replica].order = atomic_load(&order->serial) + 1;
	atomic_store(&order->serial, supervisor->care[replica].order);
	call(supervisor, replica);
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
	unsigned follower = successor(supervisor, UINT32_MAX);
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
	booking_fault(supervisor, leader, "outvoted", supervisor->agreed_position, "differs from its only peer");
	supervisor->members[follower].dissents = supervisor->members[leader].dissents = false;
	supervisor->repair = (struct repair){ .active = true, .rollback = true, .vote = vote, .donor = follower };
	atomic_store(&supervisor->page->hold, 1u << follower);
	set_phase(supervisor, leader, CARE_WAITING);
	give_order(supervisor, follower, ORDER_ROLLBACK, follower, vote);
	return OK;
}

/* The follower is back at the checkpoint, and leads from there. */
static void restart_from(struct supervisor *supervisor, unsigned follower)
{
	const struct leadership leadership = { .begin = LEADERSHIP_AT_VOTE, .vote = supervisor->repair.vote };
	unsigned leader = supervisor->leader;

	supervisor->repair.rollback = false;
	set_phase(supervisor, follower, CARE_LIVE);
	change_leader(supervisor, follower, leadership);
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
	set_phase(supervisor, replica, CARE_LIVE);
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
	for (unsigned i = 0; i < supervisor->replicas; i++)
		if (supervisor->members[i].live &&
		    atomic_load(&supervisor->members[i].area.control->epoch) != supervisor->epoch)
			return false;
	return true;
}

static result respawn(struct supervisor *supervisor, unsigned replica)
{
	struct member *member = &supervisor->members[replica];
	struct replica_config config = supervisor->config;
	struct epoll_event death = { .events = EPOLLIN };
	result r;

	config.joins = 1;
	TRY(member_reset(member, supervisor->options->memory));
	/* An order or a fault for the process before is none for this one. */
	atomic_store(&supervisor->page->orders[replica].serial, 0);
	atomic_store(&supervisor->page->injections[replica].serial, 0);
	TRY(member_start(member, supervisor->members, &config, supervisor->page_fd));
	death.data.fd = member->pid_fd;
	if (epoll_ctl(supervisor->epoll_fd, EPOLL_CTL_ADD, member->pid_fd, &death) < 0)
		return fail_errno(STATUS_FAILED, errno, "cannot watch replica %u", replica);
	r = cores_apply(&supervisor->cores, replica, member->pid);
	if (failed(r))
		log_debug("replica %u runs where it can: %s", replica, r.failure->message);
	supervisor->tally.respawns++;
	supervisor->care[replica].by_death = true;
	heartbeat_reset(&supervisor->care[replica].heartbeat, clock_monotonic_ns());
	set_phase(supervisor, replica, CARE_JOINING);
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
