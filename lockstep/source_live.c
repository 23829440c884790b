/* The leader's source: the host's clock and the supervisor's inbox, written down on the tape. */
#include "lockstep/source.h"

#include <string.h>

#include "base/futex.h"
#include "devices/device.h"
#include "lockstep/guest_time.h"

/* Output may gather for this part of the vote interval: a terminal shows it as soon, and one vote serves many
 * bytes. */
#define OUTPUT_DELAY_PART 10
/* A halted leader looks around at least so often, whatever wakes it. */
#define IDLE_LOOK_NS (100 * NS_PER_MS)
/* While it waits for room on the tape. */
#define ROOM_LOOK_NS (200 * NS_PER_US)

static struct source_live *as_live(struct source *source)
{
	return (struct source_live *)(void *)source;
}

static void write_entry(struct source_live *live, enum tape_kind kind, uint64_t position, const void *payload,
			uint16_t length)
{
	struct replica_statistics *statistics = &live->links.own->control->statistics;

	statistics->tape_entries[kind]++;
	statistics->tape_bytes += tape_write(&live->tape, kind, position, payload, length);
}

static uint64_t present(const struct source_live *live, const struct source_view *view)
{
	uint64_t now = guest_time_now(live->links.supervisor);

	return now > view->now ? now : view->now;
}

/* Wakes followers that asked for `position`, or all that sleep. */
static void wake_followers(struct source_live *live, uint64_t position, bool all)
{
	struct control *own = live->links.own->control;
	bool wake = false;

	for (unsigned i = 0; i < live->links.replicas; i++) {
		const struct control *peer;

		if (i == live->links.index)
			continue;
		peer = live->links.peers[i].control;
		if (atomic_load_explicit(&peer->waiting, memory_order_relaxed) &&
		    (all || atomic_load_explicit(&peer->wake_at, memory_order_relaxed) <= position))
			wake = true;
	}
	if (wake)
		futex_signal(&own->sequence);
}

static bool must_leave(const struct source_live *live)
{
	return atomic_load_explicit(&live->links.supervisor->command, memory_order_acquire) == COMMAND_END;
}

/* Bytes of the tape that some follower has not read yet. */
static uint64_t tape_unread(const struct source_live *live)
{
	uint64_t written = live->tape.at;
	uint32_t alive = atomic_load_explicit(&live->links.supervisor->live, memory_order_acquire);
	uint64_t unread = 0;

	for (unsigned i = 0; i < live->links.replicas; i++) {
		if (i == live->links.index || !(alive >> i & 1))
			continue;
		uint64_t read = atomic_load_explicit(&live->links.peers[i].control->tape_read, memory_order_acquire);
		/* A follower that claims to have read what is not written has a broken control page; its vote,
		 * or the lack of it, will tell. */
		uint64_t behind = read <= written ? written - read : 0;

		if (behind > unread)
			unread = behind;
	}
	return unread;
}

/* A bit that flipped in what followers wait for is mended before the leader waits itself. */
static void republish(const struct source_live *live, const struct source_view *view)
{
	checked_word_store(live->tape.written, live->tape.at);
	checked_word_store(&live->links.own->control->reached, view->position);
}

static void wait_for_tape(struct source_live *live, const struct source_view *view)
{
	struct stopwatch *time = &live->links.own->control->statistics.time;
	unsigned before = (unsigned)time->stage;

	if (tape_unread(live) <= live->tape.ring.size / 2)
		return;
	(void)stopwatch_enter(time, STAGE_WAIT_ROOM);
	while (tape_unread(live) > live->tape.ring.size / 2 && !must_leave(live) && !source_attention(&live->links)) {
		const _Atomic uint32_t *word = &live->links.supervisor->sequence;

		republish(live, view);
		control_beat(live->links.own->control);
		wake_followers(live, view->position, true);
		futex_wait(word, atomic_load(word), ROOM_LOOK_NS);
	}
	(void)stopwatch_enter(time, before);
}

static result live_time(struct source *source, const struct source_view *view, struct input *input)
{
	struct source_live *live = as_live(source);

	input->kind = INPUT_TIME;
	input->value = present(live, view);
	write_entry(live, TAPE_TIME, view->position, &input->value, sizeof(input->value));
	return OK;
}

/* Whether a vote waits for its verdict: output that comes meanwhile goes with the next. */
static bool vote_at_hand(const struct source_live *live)
{
	return atomic_load_explicit(&live->links.own->control->votes, memory_order_relaxed) >
	       atomic_load_explicit(&live->links.supervisor->verdicts, memory_order_acquire);
}

/* What a device waits for is not gathered. */
static uint64_t output_delay(const struct source_live *live, const struct source_view *view)
{
	return view->output_urgent ? 0 : live->output_delay;
}

/* Everything that was done has been voted on: there is nothing new here. */
static bool stands(const struct source_view *view)
{
	return view->exits_unvoted == 0 && view->output_pending == 0;
}

/* Whether the machine is to stand still, and has not voted where it is. Where no vote is possible, it goes on to the
 * next position. */
static bool pause_due(const struct source_live *live, const struct source_view *view)
{
	return guest_time_frozen(live->links.supervisor) && !stands(view) && view->position > live->voted_position;
}

/* Whether a vote is due at this position, and why. */
static enum vote_cause vote_due(struct source_live *live, const struct source_view *view, uint64_t host)
{
	if (view->ended && !view->end_voted)
		return VOTE_CAUSE_END;
	if (atomic_load_explicit(&live->links.supervisor->vote_request, memory_order_acquire) != live->request_seen &&
	    !vote_at_hand(live))
		return VOTE_CAUSE_REQUEST;
	if (view->ended)
		return 0;
	if (pause_due(live, view))
		return VOTE_CAUSE_PAUSE;
	if (view->parted && !vote_at_hand(live))
		return VOTE_CAUSE_REQUEST;
	if (view->exits_unvoted >= CONTROL_EXITS_PER_VOTE || view->output_pending >= CONTROL_OUTPUT_PER_VOTE ||
	    live->tape.at - live->voted_at >= CONTROL_TAPE_PER_VOTE ||
	    view->inbox_taken - live->voted_inbox >= CONTROL_INBOX_PER_VOTE)
		return VOTE_CAUSE_BACKLOG;
	if (view->output_pending > 0) {
		if (live->output_since == 0)
			live->output_since = host;
		if (host - live->output_since >= output_delay(live, view) && !vote_at_hand(live))
			return VOTE_CAUSE_OUTPUT;
	}
	/* A halted guest that has voted where it stands has nothing new to say. */
	if (host >= live->next_vote && view->position > live->voted_position)
		return VOTE_CAUSE_INTERVAL;
	return 0;
}

static struct input ask_vote(struct source_live *live, const struct source_view *view, enum vote_cause cause,
			     uint64_t host)
{
	uint64_t value = cause;
	uint64_t interval = supervisor_page_vote_interval(live->links.supervisor, live->vote_interval);

	if (interval != live->vote_interval) {
		live->vote_interval = interval;
		live->output_delay = interval / OUTPUT_DELAY_PART;
	}
	live->next_vote = host + live->vote_interval;
	live->output_since = 0;
	live->voted_position = view->position;
	live->request_seen = atomic_load(&live->links.supervisor->vote_request);
	write_entry(live, TAPE_VOTE, view->position, &value, sizeof(value));
	live->voted_at = live->tape.at;
	live->voted_inbox = view->inbox_taken;
	wake_followers(live, view->position, true);
	return (struct input){ .kind = INPUT_VOTE, .value = cause };
}

/* Key presses that wait. */
static uint64_t keys_waiting(const struct source_live *live, const struct source_view *view)
{
	return atomic_load_explicit(&live->links.supervisor->console_written, memory_order_acquire) -
	       view->console_taken;
}

static bool button_waits(const struct source_live *live, const struct source_view *view)
{
	return atomic_load_explicit(&live->links.supervisor->buttons, memory_order_acquire) > view->buttons_taken;
}

static bool reset_waits(const struct source_live *live, const struct source_view *view)
{
	return atomic_load_explicit(&live->links.supervisor->resets, memory_order_acquire) > view->resets_taken;
}

/* The host time at which the guest's devices want to be looked at. */
static uint64_t deadline_of(const struct source_live *live, const struct source_view *view)
{
	return view->deadline == DEVICE_NO_DEADLINE ? UINT64_MAX :
						      guest_time_to_host(live->links.supervisor, view->deadline);
}

/* What the inbox has next, if something can be done with it: a device takes it, or it is void. */
static bool look_into_inbox(const struct source_live *live, const struct source_view *view, struct inbox_entry *entry,
			    bool *is_void)
{
	const struct supervisor_page *page = live->links.supervisor;
	enum device_input_fit fit;
	bool there;

	if (atomic_load_explicit(&page->inbox_written, memory_order_acquire) == view->inbox_taken)
		return false;
	/* What is damaged is not there. */
	if (failed(inbox_look(page, view->inbox_taken, entry, &there)) || !there)
		return false;
	fit = source_fit(&live->links, entry);
	/* Nobody waits behind what may get lost. */
	*is_void = fit == DEVICE_INPUT_NEVER ||
		   (fit == DEVICE_INPUT_WAIT && inbox_may_drop(&entry->input) &&
		    atomic_load_explicit(&page->inbox_written, memory_order_acquire) != entry->end);
	return *is_void || fit == DEVICE_INPUT_FITS;
}

enum source_need source_live_needs(const struct source_live *live, const struct source_view *view, uint64_t begin,
				   uint64_t segment_max, uint64_t host, uint64_t *next)
{
	const struct supervisor_page *page = live->links.supervisor;
	struct inbox_entry entry;
	bool is_void;
	/* In a segment that began after the last vote there is nothing to vote about before it has lasted. */
	uint64_t last_vote = live->next_vote - live->vote_interval > begin ? live->next_vote - live->vote_interval :
									     begin;
	uint64_t deadline = deadline_of(live, view);
	uint64_t output = view->output_pending == 0 ? UINT64_MAX :
			  live->output_since == 0   ? host + output_delay(live, view) :
						      live->output_since + output_delay(live, view);

	*next = last_vote + segment_max;
	if (output < *next && !vote_at_hand(live))
		*next = output;
	if (host >= *next || (atomic_load(&page->vote_request) != live->request_seen && !vote_at_hand(live)) ||
	    guest_time_frozen(page))
		return SOURCE_NEEDS_VOTE;
	if (host >= deadline || reset_waits(live, view) || (keys_waiting(live, view) > 0 && view->console_room > 0) ||
	    button_waits(live, view) || look_into_inbox(live, view, &entry, &is_void))
		return SOURCE_NEEDS_INPUT;
	if (deadline < *next)
		*next = deadline;
	return SOURCE_NEEDS_NOTHING;
}

void source_live_stop(struct source_live *live, uint64_t position, const struct stop_point *stop)
{
	write_entry(live, TAPE_STOP, position, stop, sizeof(*stop));
}

/* Inputs that the supervisor has for us and that the guest can take. */
static bool take_inbox(struct source_live *live, const struct source_view *view, struct input *input)
{
	const struct supervisor_page *page = live->links.supervisor;
	uint64_t waiting = keys_waiting(live, view);
	bool is_void;

	if (look_into_inbox(live, view, &live->entry, &is_void)) {
		uint8_t bytes[INBOX_TAPED_MAX];

		input->kind = is_void ? INPUT_SKIP : INPUT_DEVICE;
		input->value = live->entry.end;
		input->entry = &live->entry;
		if (is_void)
			write_entry(live, TAPE_SKIP, view->position, &input->value, sizeof(input->value));
		else
			write_entry(live, TAPE_DEVICE, view->position, bytes, inbox_to_tape(&live->entry, bytes));
		return true;
	}

	if (waiting > 0 && waiting <= CONTROL_INPUT_SIZE && view->console_room > 0) {
		uint64_t length = waiting < view->console_room ? waiting : view->console_room;

		input->kind = INPUT_CONSOLE;
		input->length = (uint16_t)(length < TAPE_CONSOLE_MAX ? length : TAPE_CONSOLE_MAX);
		ring_read(page->console, CONTROL_INPUT_SIZE, view->console_taken, input->data, input->length);
		write_entry(live, TAPE_CONSOLE, view->position, input->data, input->length);
		return true;
	}
	if (button_waits(live, view)) {
		input->kind = INPUT_BUTTON;
		write_entry(live, TAPE_BUTTON, view->position, NULL, 0);
		return true;
	}
	return false;
}

/* Sleeps in a halted guest until something may be due; in one that stands still, until somebody has something to
 * say. */
static void idle(struct source_live *live, const struct source_view *view, uint32_t sequence, bool still)
{
	struct stopwatch *time = &live->links.own->control->statistics.time;
	unsigned before = (unsigned)time->stage;
	uint64_t begin = stopwatch_enter(time, STAGE_HALT);
	uint64_t until = begin + IDLE_LOOK_NS;
	uint64_t deadline = deadline_of(live, view);

	if (!still && deadline < until)
		until = deadline;
	/* Not while a verdict is awaited, which ends the sleep by itself. */
	if (!still && live->output_since && !vote_at_hand(live) &&
	    live->output_since + output_delay(live, view) < until)
		until = live->output_since + output_delay(live, view);
	if (!still && view->position > live->voted_position && live->next_vote < until)
		until = live->next_vote;
	republish(live, view);
	control_beat(live->links.own->control);
	/* Followers have nothing else to wait for now. */
	wake_followers(live, view->position, true);
	if (until > begin)
		futex_wait(&live->links.supervisor->sequence, sequence, until - begin);
	(void)stopwatch_enter(time, before);
}

static void book_lateness(struct source_live *live, uint64_t late_ns)
{
	struct replica_statistics *statistics = &live->links.own->control->statistics;

	if (late_ns > statistics->late_max_ns)
		statistics->late_max_ns = late_ns;
}

/* What there is for a running guest, if there is something. */
static bool take_input(struct source_live *live, const struct source_view *view, struct input *input)
{
	uint64_t now = guest_time_now(live->links.supervisor);

	if (now >= view->deadline && now > view->now) {
		book_lateness(live, now - view->deadline);
		write_entry(live, TAPE_TIME, view->position, &now, sizeof(now));
		input->kind = INPUT_TIME;
		input->value = now;
		return true;
	}
	return take_inbox(live, view, input);
}

/* Somebody asked for a reset. One whose guest has powered off is only waiting for that. */
static bool take_reset(struct source_live *live, const struct source_view *view, struct input *input)
{
	if (!reset_waits(live, view) || !view->may_vote)
		return false;
	write_entry(live, TAPE_RESET, view->position, NULL, 0);
	input->kind = INPUT_RESET;
	return true;
}

static result live_next(struct source *source, const struct source_view *view, struct input *input)
{
	struct source_live *live = as_live(source);

	*input = (struct input){ .kind = INPUT_CLOSED };
	if (live->links.replicas > 1) {
		wait_for_tape(live, view);
		wake_followers(live, view->position, false);
	}
	for (;;) {
		/* Read before the looking around that it guards: what comes later ends the sleep. */
		uint32_t sequence = atomic_load(&live->links.supervisor->sequence);
		uint64_t host = clock_monotonic_ns();
		enum vote_cause cause = vote_due(live, view, host);

		if (must_leave(live)) {
			input->kind = INPUT_LEAVE;
			return OK;
		}
		if (source_attention(&live->links)) {
			input->kind = INPUT_ATTENTION;
			return OK;
		}
		if (cause != 0) {
			/* Where the instruction was not complete, the vote comes at the next position. */
			*input = ask_vote(live, view, cause, host);
			return OK;
		}
		if (take_reset(live, view, input))
			return OK;

		bool still = view->ended || (guest_time_frozen(live->links.supervisor) && stands(view));

		if (!still && (take_input(live, view, input) || !view->must_wait))
			return OK;
		idle(live, view, sequence, still);
	}
}

static const struct source_operations live_operations = { .time = live_time, .next = live_next };

void source_live_init(struct source_live *live, const struct source_links *links, uint64_t vote_interval)
{
	*live = (struct source_live){
		.source = { .operations = &live_operations },
		.links = *links,
		.tape = { .ring = links->own->tape,
			  .mirror = links->own->tape_mirror,
			  .written = &links->own->control->tape_written,
			  .at = checked_word_load(&links->own->control->tape_written, 0) },
		.vote_interval = vote_interval,
		.output_delay = vote_interval / OUTPUT_DELAY_PART,
		.next_vote = clock_monotonic_ns() + vote_interval,
		.request_seen = atomic_load(&links->supervisor->vote_request),
	};
	live->voted_at = live->tape.at;
}

enum device_input_fit source_fit(const struct source_links *links, const struct inbox_entry *entry)
{
	return links->devices.fits ? links->devices.fits(links->devices.context, entry) : DEVICE_INPUT_NEVER;
}

bool source_attention(const struct source_links *links)
{
	return supervisor_page_calls(links->supervisor, links->index, *links->attention_seen);
}
