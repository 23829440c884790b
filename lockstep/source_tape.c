/* A follower's source: its leader's tape. It enters a segment only once the tape tells how the segment ends. */
#include "lockstep/source.h"

#include <inttypes.h>
#include <string.h>

#include "base/futex.h"
#include "lockstep/guest_time.h"

/* A follower that has caught up sleeps until its leader is so many positions ahead, or for so long: waking it for
 * every exit would cost the leader a system call each. */
#define WAKE_DISTANCE 64
/* Where replicas meet at every exit, a follower needs to know of each: when its leader enters the next segment, or has
 * read the time that the exit at hand asks for. */
enum { WAKE_STRICT_NEXT = 1, WAKE_STRICT_TIME = 0 };
#define CATCH_UP_NS (500 * NS_PER_US)
/* While the leader does not move at all. */
#define LOOK_NS (100 * NS_PER_MS)
/* A leader's time may be ahead of ours by no more than this: both are CLOCK_MONOTONIC of one host. */
#define TIME_AHEAD_MAX_NS (1 * NS_PER_MS)

static struct source_tape *as_tape(struct source *source)
{
	return (struct source_tape *)(void *)source;
}

static bool must_leave(const struct source_tape *follower)
{
	return atomic_load_explicit(&follower->links.supervisor->command, memory_order_acquire) == COMMAND_END;
}

static uint64_t leader_reached(struct source_tape *follower)
{
	/* What a dead leader's own word says no longer counts. */
	if (follower->tape.ends)
		return follower->reached_end;
	follower->reached = checked_word_load(&follower->leader->control->reached, follower->reached);
	return follower->reached;
}

static uint64_t tape_written(const struct source_tape *follower)
{
	return checked_word_load(follower->tape.written, follower->tape.at);
}

/* Whether followers may enter a segment as soon as their leader does: all its inputs are known. */
static bool opened(const struct source_tape *follower, uint64_t position)
{
	return position > 0 && checked_word_load(&follower->leader->control->closed, 0) == position;
}

/* Whether the leader has not gone on from `reached` and `written`. */
static bool stands(struct source_tape *follower, uint64_t reached, uint64_t written)
{
	return leader_reached(follower) == reached && tape_written(follower) == written &&
	       !(follower->links.strict && opened(follower, reached));
}

/* Sleeps until the leader has gone on from `reached` and `written`. */
static void wait_for_leader(struct source_tape *follower, uint64_t reached, uint64_t written, uint64_t *patience)
{
	struct control *own = follower->links.own->control;
	const struct control *leader = follower->leader->control;
	struct stopwatch *time = &own->statistics.time;
	uint32_t sequence = atomic_load(&leader->sequence);
	unsigned before = (unsigned)time->stage;

	(void)stopwatch_enter(time, STAGE_WAIT_LEADER);
	control_beat(own);
	/* Should a bit of it have flipped, the leader would wait for us. */
	atomic_store_explicit(&own->tape_read, follower->tape.at, memory_order_release);
	atomic_store(&own->wake_at, reached + follower->wake_distance);
	atomic_store(&own->waiting, 1);
	if (stands(follower, reached, written) && !source_attention(&follower->links))
		futex_wait(&leader->sequence, sequence, *patience);
	atomic_store(&own->waiting, 0);
	(void)stopwatch_enter(time, before);
	/* An idle guest costs next to nothing: each fruitless sleep doubles the next. */
	if (stands(follower, reached, written))
		*patience = *patience * 2 < LOOK_NS ? *patience * 2 : LOOK_NS;
}

void source_tape_set_end(struct source_tape *follower, uint64_t end, uint64_t reached)
{
	follower->tape.ends = true;
	follower->tape.end = end;
	follower->reached_end = reached;
}

bool source_tape_exhausted(const struct source_tape *follower, uint64_t position)
{
	return follower->tape.ends && follower->tape.at >= follower->tape.end && position >= follower->reached_end;
}

/* What ends a wait, besides the leader. */
static bool disturbed(const struct source_tape *follower, const struct source_view *view, struct input *input)
{
	if (must_leave(follower))
		input->kind = INPUT_LEAVE;
	else if (source_attention(&follower->links) || source_tape_exhausted(follower, view->position))
		input->kind = INPUT_ATTENTION;
	else
		return false;
	return true;
}

/* The next entry, which must be one of this position. */
static result next_here(struct source_tape *follower, const struct source_view *view,
			struct tape_entry *entry, bool *there)
{
	TRY(tape_peek(&follower->tape, entry, there));
	if (!*there)
		return OK;
	if (entry->position < view->position)
		return fail(STATUS_FAILED, "the tape has a %s entry left over from position %llu at position %llu",
			    tape_kind_name(entry->kind), (unsigned long long)entry->position,
			    (unsigned long long)view->position);
	*there = entry->position == view->position;
	return OK;
}

static void consume(struct source_tape *follower, const struct tape_entry *entry)
{
	tape_consume(&follower->tape, entry);
	atomic_store_explicit(&follower->links.own->control->tape_read, follower->tape.at, memory_order_release);
}

/* A time that goes back, or that has not come yet, is a sick leader's. */
static result check_time(struct source_tape *follower, const struct source_view *view, uint64_t now)
{
	uint64_t host = guest_time_bound(follower->links.supervisor);

	if (now >= view->now && now <= host + TIME_AHEAD_MAX_NS)
		return OK;
	follower->links.own->control->statistics.input_faults++;
	return fail(STATUS_NO_MAJORITY,
		    "the leader's time is not plausible: it says %llu ns after %llu ns, where this replica's clock "
		    "says %llu ns",
		    (unsigned long long)now, (unsigned long long)view->now, (unsigned long long)host);
}

static result tape_source_time(struct source *source, const struct source_view *view, struct input *input)
{
	struct source_tape *follower = as_tape(source);
	uint64_t patience = CATCH_UP_NS;

	follower->wake_distance = follower->links.strict ? WAKE_STRICT_TIME : WAKE_DISTANCE;
	for (;;) {
		/* In this order: what the leader read at this position is on the tape before it reaches the next. */
		uint64_t reached = leader_reached(follower);
		uint64_t written = tape_written(follower);
		struct tape_entry entry;
		bool there;

		TRY(next_here(follower, view, &entry, &there));
		if (there && entry.kind == TAPE_TIME) {
			input->kind = INPUT_TIME;
			input->value = tape_entry_value(&entry);
			TRY(check_time(follower, view, input->value));
			consume(follower, &entry);
			return OK;
		}
		if (disturbed(follower, view, input))
			return OK;
		if (!follower->tape.blind && (there || reached > view->position))
			return fail(STATUS_NO_MAJORITY,
				    "this replica reads the clock at position %llu and its leader did not: they have "
				    "diverged",
				    (unsigned long long)view->position);
		wait_for_leader(follower, reached, written, &patience);
	}
}

/* The supervisor keeps what was typed until it is voted on: a leader that passes on something else is sick. */
static result check_console(struct source_tape *follower, const struct source_view *view,
			    const struct tape_entry *entry)
{
	const struct supervisor_page *page = follower->links.supervisor;
	uint64_t waiting = atomic_load_explicit(&page->console_written, memory_order_acquire) - view->console_taken;
	uint8_t typed[TAPE_CONSOLE_MAX];

	if (entry->length > view->console_room)
		return fail(STATUS_NO_MAJORITY, "the leader delivers %u key presses where there is room for %llu",
			    entry->length, (unsigned long long)view->console_room);
	if (waiting < entry->length || waiting > CONTROL_INPUT_SIZE)
		return fail(STATUS_NO_MAJORITY, "the leader delivers key presses that nobody typed");
	ring_read(page->console, CONTROL_INPUT_SIZE, view->console_taken, typed, entry->length);
	if (memcmp(typed, entry->payload, entry->length) != 0)
		return fail(STATUS_NO_MAJORITY, "the leader delivers other key presses than were typed");
	return OK;
}

/* So does it keep the inbox. Whether a device waits for what is in there, this replica knows itself. */
static result check_device(struct source_tape *follower, const struct source_view *view,
			   const struct tape_entry *taped)
{
	struct inbox_entry *entry = &follower->entry;
	uint8_t bytes[INBOX_TAPED_MAX];
	bool there;

	TRY(inbox_look(follower->links.supervisor, view->inbox_taken, entry, &there));
	if (!there || taped->length != inbox_to_tape(entry, bytes) ||
	    memcmp(bytes, taped->payload, taped->length) != 0)
		return fail(STATUS_NO_MAJORITY, "the leader has something for a device that the inbox has not");
	if (source_fit(&follower->links, entry) != DEVICE_INPUT_FITS)
		return fail(STATUS_NO_MAJORITY,
			    "the leader has something for device %" PRIu32 " that it does not wait for here",
			    entry->input.device);
	return OK;
}

static result check_skip(const struct source_tape *follower, const struct source_view *view, uint64_t end)
{
	enum device_input_fit fit;
	struct inbox_entry entry;
	bool there;

	TRY(inbox_look(follower->links.supervisor, view->inbox_taken, &entry, &there));
	if (!there || entry.end != end)
		return fail(STATUS_NO_MAJORITY, "the leader skips what the inbox has not");
	fit = source_fit(&follower->links, &entry);
	if (fit == DEVICE_INPUT_NEVER || (fit == DEVICE_INPUT_WAIT && inbox_may_drop(&entry.input)))
		return OK;
	return fail(STATUS_NO_MAJORITY, "the leader skips what device %" PRIu32 " waits for here", entry.input.device);
}

static result to_input(struct source_tape *follower, const struct source_view *view, const struct tape_entry *entry,
		       struct input *input)
{
	switch (entry->kind) {
	case TAPE_TIME:
		input->kind = INPUT_TIME;
		input->value = tape_entry_value(entry);
		return check_time(follower, view, input->value);
	case TAPE_CONSOLE:
		input->kind = INPUT_CONSOLE;
		input->length = entry->length;
		memcpy(input->data, entry->payload, entry->length);
		return check_console(follower, view, entry);
	case TAPE_BUTTON:
		input->kind = INPUT_BUTTON;
		if (atomic_load(&follower->links.supervisor->buttons) <= view->buttons_taken)
			return fail(STATUS_NO_MAJORITY, "the leader presses a power button that nobody pressed");
		return OK;
	case TAPE_DEVICE:
		input->kind = INPUT_DEVICE;
		input->entry = &follower->entry;
		return check_device(follower, view, entry);
	case TAPE_RESET:
		input->kind = INPUT_RESET;
		if (atomic_load(&follower->links.supervisor->resets) <= view->resets_taken)
			return fail(STATUS_NO_MAJORITY, "the leader resets a machine of which nobody wanted that");
		if (!view->may_vote || (view->ended && !view->end_voted))
			return fail(STATUS_NO_MAJORITY, "the leader resets the machine where this replica cannot be");
		return OK;
	case TAPE_SKIP:
		input->kind = INPUT_SKIP;
		input->value = tape_entry_value(entry);
		return check_skip(follower, view, input->value);
	case TAPE_VOTE:
		input->kind = INPUT_VOTE;
		input->value = tape_entry_value(entry);
		if (input->value == 0 || input->value >= VOTE_CAUSES)
			return fail(STATUS_NO_MAJORITY, "the leader votes for a reason that does not exist");
		return OK;
	case TAPE_STOP:
		if (view->must_wait || view->ended)
			return fail(STATUS_NO_MAJORITY, "the leader was preempted where this replica does not run");
		input->kind = INPUT_STOP;
		memcpy(&follower->stop, entry->payload, sizeof(follower->stop));
		input->stop = &follower->stop;
		return OK;
	case TAPE_KINDS:
		break;
	}
	return fail(STATUS_NO_MAJORITY, "the tape has an entry of a kind that does not exist");
}

/*
 * Whether the segment at hand may be entered: the leader has come to its end. Or, where the leader has been inside
 * for suspiciously long, the supervisor wants to see whether we come out of it; all inputs must be known then.
 */
static bool segment_open(struct source_tape *follower, const struct source_view *view, uint64_t reached)
{
	const struct supervisor_page *page = follower->links.supervisor;

	return reached > view->position || (follower->links.strict && opened(follower, view->position)) ||
	       (atomic_load_explicit(&page->probe, memory_order_acquire) == view->position && view->position > 0 &&
		opened(follower, view->position));
}

/* The logs of what was not voted on are only so long; a leader that is well sees to a vote long before. */
static result check_vote_is_due(const struct source_view *view)
{
	if (view->exits_unvoted < CONTROL_EXIT_LOG && view->output_pending < CONTROL_OUTBOX_SIZE / 2)
		return OK;
	return fail(STATUS_NO_MAJORITY,
		    "the leader asks for no vote, %llu exits and %llu bytes of output after the last one",
		    (unsigned long long)view->exits_unvoted, (unsigned long long)view->output_pending);
}

static result tape_source_next(struct source *source, const struct source_view *view, struct input *input)
{
	struct source_tape *follower = as_tape(source);
	struct replica_statistics *statistics = &follower->links.own->control->statistics;
	uint64_t patience = CATCH_UP_NS;

	follower->wake_distance = follower->links.strict ? WAKE_STRICT_NEXT : WAKE_DISTANCE;
	for (;;) {
		/* In this order: an entry of this position is on the tape before the position is closed or left. */
		uint64_t reached = leader_reached(follower);
		bool open = segment_open(follower, view, reached);
		uint64_t written = tape_written(follower);
		struct tape_entry entry;
		bool there;

		TRY(next_here(follower, view, &entry, &there));
		if (there && !must_leave(follower)) {
			TRY(to_input(follower, view, &entry, input));
			consume(follower, &entry);
			return OK;
		}
		if (disturbed(follower, view, input))
			return OK;
		/* Whether there is something for this position will be known once its leader has written again. */
		if (follower->tape.blind) {
			wait_for_leader(follower, reached, written, &patience);
			continue;
		}
		if (open && !view->must_wait && !view->ended) {
			TRY(check_vote_is_due(view));
			if (reached > view->position && reached - view->position > statistics->lag_max)
				statistics->lag_max = reached - view->position;
			input->kind = INPUT_CLOSED;
			return OK;
		}
		if (reached > view->position)
			return fail(STATUS_NO_MAJORITY,
				    "this replica is %s at position %llu and its leader went on: they have diverged",
				    view->ended ? "at its end" : "halted", (unsigned long long)view->position);
		wait_for_leader(follower, reached, written, &patience);
	}
}

static const struct source_operations tape_operations = { .time = tape_source_time, .next = tape_source_next };

void source_tape_init(struct source_tape *follower, const struct source_links *links, unsigned leader, uint64_t at)
{
	const struct area *area = &links->peers[leader];

	*follower = (struct source_tape){
		.source = { .operations = &tape_operations },
		.links = *links,
		.tape = { .ring = area->tape, .mirror = area->tape_mirror, .written = &area->control->tape_written,
			  .at = at },
		.leader = area,
		.wake_distance = WAKE_DISTANCE,
	};
	atomic_store_explicit(&links->own->control->tape_read, at, memory_order_release);
}
