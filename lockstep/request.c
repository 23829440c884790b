/* retire, respawn, vote, count */
#include "lockstep/request.h"

#include <inttypes.h>

#include "base/futex.h"
#include "lockstep/repair.h"
#include "lockstep/supervisor.h"

/* As --vote-interval's. */
#define INTERVAL_MIN (100 * NS_PER_US)
#define INTERVAL_MAX (10 * NS_PER_S)

static result check(const struct supervisor *supervisor)
{
	if (supervisor->over || supervisor->asked_to_end || supervisor->life.state == LIFE_PANICKED)
		return fail(STATUS_FAILED, "the machine is ending");
	if (supervisor->replicas == 1)
		return fail(STATUS_FAILED, "a machine of one replica holds no votes, and has no other");
	return OK;
}

static result check_replica(const struct supervisor *supervisor, uint64_t replica)
{
	if (replica >= supervisor->replicas)
		return fail(STATUS_USAGE, "there is no replica %" PRIu64 ": they are numbered 0 to %u", replica,
			    supervisor->replicas - 1);
	return check(supervisor);
}

static result retire(struct supervisor *supervisor, uint64_t replica)
{
	TRY(check_replica(supervisor, replica));
	return repair_retire(supervisor, (unsigned)replica, "that was asked for");
}

static result respawn(struct supervisor *supervisor, uint64_t replica)
{
	TRY(check_replica(supervisor, replica));
	return repair_recall(supervisor, (unsigned)replica);
}

static result vote(struct supervisor *supervisor)
{
	TRY(check(supervisor));
	atomic_fetch_add(&supervisor->page->vote_request, 1);
	futex_signal(&supervisor->page->sequence);
	return OK;
}

static result set_vote_interval(struct supervisor *supervisor, uint64_t ns)
{
	if (ns < INTERVAL_MIN || ns > INTERVAL_MAX)
		return fail(STATUS_USAGE, "an interval between votes is 100us to 10s");
	TRY(check(supervisor));
	atomic_store(&supervisor->page->vote_interval, ns);
	/* It holds from a vote on, which may be far. */
	return vote(supervisor);
}

void request_count(struct supervisor *supervisor)
{
	struct tally *tally = &supervisor->tally;

	tally->positions = supervisor->agreed_position;
	tally->console_bytes = supervisor->commit.console_bytes;
	tally->commit_latency = &supervisor->commit.latency;
	json_decref(tally->devices);
	tally->devices = backends_statistics(supervisor->backends);
}

static json_t *statistics(struct supervisor *supervisor)
{
	request_count(supervisor);
	supervisor->tally.wall_ns = clock_monotonic_ns() - supervisor->begin_ns;
	return tally_json(&supervisor->tally, supervisor->members, supervisor->replicas, supervisor->leader);
}

const struct lockstep_requests supervisor_requests = {
	.retire = retire,
	.respawn = respawn,
	.vote = vote,
	.set_vote_interval = set_vote_interval,
	.statistics = statistics,
};
