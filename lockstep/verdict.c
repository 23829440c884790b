/* votes, members, retirement: what the supervisor decides */
#include "lockstep/verdict.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/futex.h"
#include "base/log.h"
#include "lockstep/record.h"
#include "lockstep/repair.h"
#include "lockstep/report.h"
#include "lockstep/roster.h"
#include "lockstep/steer.h"

/* --- members --- */

void verdict_tell(struct supervisor *supervisor)
{
	struct supervisor_page *page = supervisor->page;

	atomic_store(&page->live, roster_live_set(supervisor));
	atomic_store(&page->output_released,
		     commit_released(&supervisor->commit, atomic_load(&page->output_released)));
	atomic_store(&page->verdicts, supervisor->verdicts - (supervisor->withheld ? 1 : 0));
	futex_signal(&page->sequence);
}

void verdict_wake(struct supervisor *supervisor, unsigned replica)
{
	atomic_fetch_add(&supervisor->page->attention[replica], 1);
	futex_signal(&supervisor->page->sequence);
	for (unsigned i = 0; i < supervisor->replicas; i++)
		futex_wake(&supervisor->members[i].area.control->sequence);
}

/* Says what differs to people and books it; takes over `difference`, which may be NULL without memory. */
static void book_difference(struct supervisor *supervisor, json_t *difference)
{
	if (!difference)
		return;
	report_log(difference);
	(void)json_array_append_new(supervisor->tally.differences, difference);
}

void verdict_report_exits(struct supervisor *supervisor, unsigned suspect, unsigned reference)
{
	const struct report_side one = { .replica = suspect, .area = &supervisor->members[suspect].area };
	const struct report_side other = { .replica = reference, .area = &supervisor->members[reference].area };

	book_difference(supervisor, report_exits(&one, &other, supervisor->agreed_position));
}

/* What a replica says of itself; its page is its own, so the text is copied and cut. */
static void copy_reason(struct member *member)
{
	memcpy(member->why, member->area.control->failure, sizeof(member->why));
	member->why[sizeof(member->why) - 1] = '\0';
	log_make_plain(member->why);
}

/* A process that says that it cannot go on. */
static result hear_failure(struct supervisor *supervisor, struct member *member)
{
	const struct control *control = member->area.control;
	uint32_t status = control->failure_status;

	copy_reason(member);
	/* What the host or a file lacks, all replicas lack. */
	if (supervisor->verdicts == 0 &&
	    (status == STATUS_INPUT || status == STATUS_HOST || status == STATUS_USAGE))
		return fail((enum status)status, "%s", member->why);
	if (supervisor->replicas == 1)
		return fail(STATUS_FAILED, "the only replica cannot go on: %s", member->why);
	return repair_lose(supervisor, member, "failed", member->why);
}

/* One that cannot follow its leader: its vote will be against it. */
static void hear_complaint(struct supervisor *supervisor, struct member *member)
{
	/* What was said of a leader before this one has been heard. */
	if (member->dissents || !member->live || member->index == supervisor->leader ||
	    member->area.control->complaint_epoch != supervisor->epoch)
		return;
	copy_reason(member);
	member->dissents = true;
	member->passed = atomic_load(&member->area.control->complaint) == COMPLAINT_PASSED;
	log_debug("replica %u cannot follow: %s", member->index, member->why);
}

/* One that died before it was gone: now it is known how. */
static void reap(struct member *member)
{
	char end[128];

	if (member->dead_pid == 0 || !member_reap(member))
		return;
	member_tell_end(member, end, sizeof(end));
	log_info("the process of replica %u is gone: %s", member->index, end);
}

static result hear(struct supervisor *supervisor, struct member *member)
{
	const struct control *control = member->area.control;
	char why[128];

	if (atomic_load(&control->state) == REPLICA_FAILED)
		return hear_failure(supervisor, member);
	if (atomic_load(&control->complaint) != 0)
		hear_complaint(supervisor, member);
	if (!member_died(member))
		return OK;
	(void)member_reap(member);
	member_tell_end(member, why, sizeof(why));
	return repair_lose(supervisor, member, "died", why);
}

result verdict_bury_dead(struct supervisor *supervisor)
{
	bool misled;

	for (unsigned i = 0; i < supervisor->replicas; i++) {
		enum care_phase phase = supervisor->care[i].phase;

		reap(&supervisor->members[i]);
		if (phase != CARE_GONE && phase != CARE_RETIRED)
			TRY(hear(supervisor, &supervisor->members[i]));
	}
	return repair_misled(supervisor, &misled);
}

/* --- votes --- */

bool verdict_has_voted(const struct supervisor *supervisor, const struct member *member)
{
	return member->dissents || atomic_load_explicit(&member->area.control->votes, memory_order_acquire) >
					   supervisor->verdicts;
}

static bool all_voted(struct supervisor *supervisor)
{
	bool any = false;
	bool all = true;

	for (unsigned i = 0; i < supervisor->replicas; i++) {
		const struct member *member = &supervisor->members[i];

		if (!member->live)
			continue;
		if (!verdict_has_voted(supervisor, member))
			all = false;
		else if (!member->dissents)
			any = true;
	}
	if (any && !all && supervisor->waiting_since == 0)
		supervisor->waiting_since = clock_monotonic_ns();
	return any && all;
}

/* What a replica votes: its digests, and what its record says in plain numbers. The digest of the exits covers these
 * too, but a replica that gave the right digest beside wrong numbers would be believed. */
static struct vote_ballot ballot_of(struct supervisor *supervisor, const struct vote_record *record)
{
	struct vote_ballot ballot = record->ballot;
	const size_t facts = offsetof(struct vote_record, ballot);

	_Static_assert(VOTE_EXITS == 0, "the digest of the exits stands right behind the facts");
	ballot.digests[VOTE_EXITS] = digest_of(&supervisor->digests, DIGEST_EXITS, record->number, record,
					       facts + sizeof(record->ballot.digests[VOTE_EXITS]));
	return ballot;
}

/* Copies the ballots. One that is missing or damaged counts as a vote against everybody. */
static uint32_t collect_ballots(struct supervisor *supervisor, struct vote_ballot *ballots)
{
	uint32_t voters = 0;

	for (unsigned i = 0; i < supervisor->replicas; i++) {
		struct member *member = &supervisor->members[i];
		result r;

		if (!member->live)
			continue;
		voters |= 1u << i;
		if (!member->dissents) {
			r = vote_record_take(&member->area, supervisor->verdicts, &supervisor->records[i]);
			if (failed(r)) {
				log_warning("replica %u: %s", i, r.failure->message);
				(void)snprintf(member->why, sizeof(member->why), "%s", r.failure->message);
				member->dissents = true;
				member->passed = false;
			}
		}
		if (member->dissents) {
			memset(&ballots[i], 0xD0 + (int)i, sizeof(ballots[i]));
			continue;
		}
		ballots[i] = ballot_of(supervisor, &supervisor->records[i]);
		supervisor->care[i].core = (int)supervisor->records[i].core;
	}
	return voters;
}

static struct report_side side_of(const struct supervisor *supervisor, unsigned replica)
{
	return (struct report_side){
		.replica = replica,
		.area = &supervisor->members[replica].area,
		.ram = &supervisor->members[replica].ram,
		.record = &supervisor->records[replica],
	};
}

static void report(struct supervisor *supervisor, unsigned suspect, unsigned reference)
{
	const struct report_side one = side_of(supervisor, suspect);
	const struct report_side other = side_of(supervisor, reference);

	if (supervisor->members[suspect].dissents || supervisor->members[reference].dissents) {
		verdict_report_exits(supervisor, suspect, reference);
		return;
	}
	book_difference(supervisor,
			report_difference(&one, &other, supervisor->agreed_position, &supervisor->digests));
}

/* A member of the set to compare with: better a follower, which stands at the vote, than the leader. */
static unsigned reference_in(const struct supervisor *supervisor, uint32_t set)
{
	for (unsigned i = 0; i < supervisor->replicas; i++)
		if ((set >> i & 1) && i != supervisor->leader)
			return i;
	return supervisor->leader;
}

static result judge_minority(struct supervisor *supervisor, const struct vote_verdict *verdict)
{
	unsigned reference = reference_in(supervisor, verdict->majority);

	for (unsigned i = 0; i < supervisor->replicas; i++)
		if (verdict->minority >> i & 1)
			report(supervisor, i, reference);
	return repair_minority(supervisor, verdict->minority, verdict->majority);
}

static result judge_disagreement(struct supervisor *supervisor, uint32_t voters)
{
	for (unsigned i = 0; i < supervisor->replicas; i++)
		if ((voters >> i & 1) && i != supervisor->leader)
			report(supervisor, i, supervisor->leader);
	if (supervisor->replicas == 2)
		return repair_rollback(supervisor);
	return fail(STATUS_NO_MAJORITY,
		    "no majority at vote %" PRIu64 ": nobody can tell which replica is right; the machine is stopped "
		    "and nothing unvoted has left it",
		    supervisor->verdicts);
}

/* Lets out what was voted, from one of the majority: all voted the same, but what one keeps for us may have been
 * damaged since. */
static result release_output(struct supervisor *supervisor, uint32_t majority, unsigned from)
{
	result r = commit_vote(&supervisor->commit, &supervisor->members[from].area, &supervisor->records[from]);

	for (unsigned i = 0; i < supervisor->replicas && failed(r) && r.failure->status == STATUS_NO_MAJORITY; i++) {
		if (!(majority >> i & 1) || i == from)
			continue;
		log_warning("replica %u: %s", from, r.failure->message);
		from = i;
		r = commit_vote(&supervisor->commit, &supervisor->members[i].area, &supervisor->records[i]);
	}
	return r;
}

/* Books a verdict with a majority: output leaves, replicas go on. */
static result accept_vote(struct supervisor *supervisor, uint32_t majority)
{
	unsigned from = (majority >> supervisor->leader & 1) ? supervisor->leader :
							       reference_in(supervisor, majority);
	const struct vote_record *record = &supervisor->records[from];

	(void)stopwatch_enter(&supervisor->tally.time, DUTY_COMMIT);
	TRY(release_output(supervisor, majority, from));
	(void)stopwatch_enter(&supervisor->tally.time, DUTY_JUDGE);
	record_vote(supervisor, record);
	supervisor->verdicts++;
	supervisor->agreed = record->ballot;
	supervisor->waiting_since = 0;
	supervisor->agreed_position = record->position;
	supervisor->console_taken = record->console_taken;
	supervisor->inbox_taken = record->inbox_taken;
	if (record->end != END_RUNNING)
		steer_at_end(supervisor, record);
	if (supervisor->over)
		return OK;
	/* Before anybody goes on: who is to be copied stands still. */
	repair_at_vote(supervisor, majority, record);
	turns_tell(supervisor);
	verdict_tell(supervisor);
	return OK;
}

/* Those who agree give the same cause; where nobody agrees, the first one who has something to say is believed. */
static void book_cause(struct supervisor *supervisor, uint32_t set)
{
	for (unsigned i = 0; i < supervisor->replicas; i++) {
		if (!(set >> i & 1) || supervisor->members[i].dissents)
			continue;
		supervisor->tally.by_cause[supervisor->records[i].cause]++;
		return;
	}
}

/* How long the vote took, from when the first of them cast it. What a replica says of the time is no more than that. */
static void book_latency(struct supervisor *supervisor, uint32_t set)
{
	const uint64_t now = clock_monotonic_ns();
	uint64_t first = now;

	for (unsigned i = 0; i < supervisor->replicas; i++)
		if ((set >> i & 1) && !supervisor->members[i].dissents && supervisor->records[i].cast_host_ns < first)
			first = supervisor->records[i].cast_host_ns;
	histogram_add(&supervisor->tally.vote_latency, now - first);
}

static result judge_vote(struct supervisor *supervisor)
{
	struct vote_ballot ballots[VOTE_REPLICAS_MAX] = { 0 };
	uint32_t voters = collect_ballots(supervisor, ballots);
	struct vote_verdict verdict;

	if (supervisor->replicas == 1) {
		if (supervisor->members[0].dissents)
			return fail(STATUS_FAILED, "replica 0 is damaged: %s", supervisor->members[0].why);
		supervisor->tally.releases++;
		return accept_vote(supervisor, voters);
	}
	if ((voters & (voters - 1)) == 0 && supervisor->members[supervisor->leader].dissents)
		return fail(STATUS_NO_MAJORITY,
			    "replica %u is the only one left, and what it votes is damaged: the machine is stopped",
			    supervisor->leader);
	verdict = vote_decide(ballots, voters);
	supervisor->tally.votes[verdict.kind]++;
	book_cause(supervisor, verdict.majority ? verdict.majority : voters);
	book_latency(supervisor, verdict.majority ? verdict.majority : voters);
	switch (verdict.kind) {
	case VOTE_UNANIMOUS:
		if (verdict.majority & (verdict.majority - 1))
			supervisor->rollbacks_in_row = 0;
		else
			supervisor->tally.unconfirmed++;
		break;
	case VOTE_MINORITY:
		TRY(judge_minority(supervisor, &verdict));
		break;
	case VOTE_NO_MAJORITY:
		return judge_disagreement(supervisor, voters);
	}
	return accept_vote(supervisor, verdict.majority);
}

result verdict_judge(struct supervisor *supervisor)
{
	while (!supervisor->over && all_voted(supervisor))
		TRY(judge_vote(supervisor));
	return OK;
}
