/* candidates, what a dead leader left behind, where its tape ends after all */
#include "lockstep/succession.h"

#include <inttypes.h>

#include "base/log.h"
#include "lockstep/event.h"
#include "lockstep/leadership.h"
#include "lockstep/roster.h"
#include "lockstep/tape.h"

/* Followers that were seen at some position are this much farther at most when they hear that their leader is dead. */
enum { LEGACY_SLACK = 256 };

/* Who could lead: a live follower; better one that nobody copies at the moment. */
unsigned succession_candidate(const struct supervisor *supervisor, uint32_t among)
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

void succession_begin(struct supervisor *supervisor, unsigned to, struct leadership leadership)
{
	leadership.leader = to;
	leadership.tape_base = checked_word_load(&supervisor->members[to].area.control->tape_written, 0);
	supervisor->epoch++;
	supervisor->leader = to;
	supervisor->stalled_since = 0;
	supervisor->tally.failovers++;
	leadership_publish(supervisor->page, supervisor->epoch, &leadership);
	roster_call_all(supervisor);
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
struct leadership succession_legacy(const struct supervisor *supervisor, const struct member *leader)
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
	/* Where replicas meet at every exit, followers were inside the segment with their leader, and know all inputs
	 * of it: all of them go to its end. */
	if (supervisor->options->strict &&
	    checked_word_load(&leader->area.control->closed, 0) == legacy.reached_end && legacy.reached_end > 0)
		legacy.reached_end++;
	return legacy;
}

/* A leader that is no more is followed by another, where its tape ends. */
void succession_at_tape_end(struct supervisor *supervisor, struct leadership legacy)
{
	/* What they said of the old one is of no account any more. */
	for (unsigned i = 0; i < supervisor->replicas; i++)
		supervisor->members[i].dissents = false;
	succession_begin(supervisor, succession_candidate(supervisor, UINT32_MAX), legacy);
}

/* --- complaints of a tape --- */

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
void succession_amend(struct supervisor *supervisor)
{
	struct leadership *given = &supervisor->page->leaderships[supervisor->epoch % CONTROL_LEADERSHIPS];
	unsigned live = roster_live_count(supervisor);
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
	roster_call_all(supervisor);
}

bool succession_accused(const struct supervisor *supervisor, unsigned *accuser, struct leadership *legacy)
{
	unsigned live = roster_live_count(supervisor);

	for (*accuser = 0; *accuser < supervisor->replicas; ++*accuser)
		if (complains(supervisor, *accuser, supervisor->epoch) &&
		    2 * agreement(supervisor, *accuser, supervisor->epoch, legacy) > live)
			return true;
	return false;
}
