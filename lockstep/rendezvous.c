#include "lockstep/rendezvous.h"

#include <string.h>

#include "base/futex.h"
#include "base/log.h"
#include "lockstep/attend.h"

/* Who waits looks up so often: whoever died meanwhile wakes nobody. */
#define LOOK_NS (5 * NS_PER_MS)
/* So long somebody is waited for. A replica that went wrong may never come; the vote that is asked for then, and the
 * watchdog, deal with it. */
#define PATIENCE_NS NS_PER_S

/* Wakes those who wait for this replica: at a rendezvous, or with its tape. */
static void wake_peers(struct replica *replica, uint64_t position)
{
	struct control *own = replica->own.control;

	/* What was written before is seen by whoever is not seen to wait. */
	atomic_thread_fence(memory_order_seq_cst);
	for (unsigned i = 0; i < replica->config.replicas; i++) {
		const struct control *peer = replica->peers[i].control;

		if (i == replica->config.index)
			continue;
		if (atomic_load(&peer->awaits) == replica->config.index + 1 ||
		    (replica->leads && atomic_load(&peer->waiting) && atomic_load(&peer->wake_at) <= position)) {
			futex_signal(&own->sequence);
			return;
		}
	}
}

/* Whether a peer takes part and has not come here yet. One that complains does not come before it is answered. */
static bool is_missing(const struct replica *replica, unsigned peer)
{
	const struct control *control = replica->peers[peer].control;

	return (atomic_load(&replica->supervisor->live) >> peer & 1) &&
	       atomic_load(&control->met) < replica->machine.position && atomic_load(&control->complaint) == 0;
}

/* Waits for one peer; `*came` is false if it took too long. */
static result await_peer(struct replica *replica, unsigned peer, bool *came)
{
	struct control *own = replica->own.control;
	const struct control *control = replica->peers[peer].control;
	uint64_t begin = 0;

	*came = true;
	while (is_missing(replica, peer) && !replica->leave && !replica->rejoined) {
		uint32_t sequence = atomic_load(&control->sequence);
		uint64_t now = clock_monotonic_ns();

		begin = begin == 0 ? now : begin;
		if (now - begin >= PATIENCE_NS) {
			*came = false;
			break;
		}
		attend_beat(replica);
		if (attend_called(replica)) {
			TRY(attend(replica));
			continue;
		}
		/* In this order: a peer that comes now either sees that it is awaited, or is seen. */
		atomic_store(&own->awaits, peer + 1);
		if (is_missing(replica, peer))
			futex_wait(&control->sequence, sequence, LOOK_NS);
		atomic_store(&own->awaits, 0);
	}
	return OK;
}

/* A peer that is far ahead, since this replica came late into the machine, may have no record of this exit any more. */
static bool differs(const struct replica *replica, unsigned peer)
{
	const struct exit_record *own = &replica->machine.exit.record;
	struct exit_record other = replica->peers[peer].exit_log[own->position % CONTROL_EXIT_LOG];

	return (atomic_load(&replica->supervisor->live) >> peer & 1) &&
	       atomic_load(&replica->peers[peer].control->met) >= own->position && other.position == own->position &&
	       memcmp(&other, own, sizeof(other)) != 0;
}

result rendezvous_meet(struct replica *replica)
{
	struct replica_statistics *statistics = replica_statistics_of(replica);
	bool all = true;

	if (!replica->config.strict || replica->config.replicas == 1)
		return OK;
	(void)stopwatch_enter(&statistics->time, STAGE_RENDEZVOUS);
	atomic_store(&replica->own.control->met, replica->machine.position);
	wake_peers(replica, replica->machine.position);
	statistics->meetings++;
	for (unsigned i = 0; i < replica->config.replicas; i++) {
		bool came;

		if (i == replica->config.index)
			continue;
		TRY(await_peer(replica, i, &came));
		if (replica->leave || replica->rejoined)
			return OK;
		all = all && came;
		if (!differs(replica, i))
			continue;
		log_debug("differs from replica %u at position %llu", i,
			  (unsigned long long)replica->machine.position);
		statistics->partings++;
		replica->parted = true;
	}
	if (!all) {
		statistics->absences++;
		replica->parted = true;
	}
	(void)stopwatch_enter(&statistics->time, STAGE_EXIT);
	return OK;
}

void rendezvous_open(struct replica *replica)
{
	if (replica->config.strict && replica->leads && replica->config.replicas > 1)
		wake_peers(replica, replica->machine.position + 1);
}
