#include "lockstep/device_link.h"

#include "base/futex.h"
#include "lockstep/attend.h"
#include "lockstep/fetches.h"

/* --- what devices ask for --- */

static void on_output(void *context, enum output_channel channel, const void *data, size_t length)
{
	struct replica *replica = context;

	if (replica->leads && replica->output_host_ns == 0)
		replica->output_host_ns = clock_monotonic_ns();
	replica->output_urgent |= channel == OUTPUT_DISK || channel == OUTPUT_NET;
	outbox_put(&replica->outbox, channel, replica->machine.position, data, length);
}

static bool on_memory_read(void *context, uint64_t address, void *data, size_t length)
{
	const struct replica *replica = context;

	return !failed(ram_read(&replica->ram, address, data, length));
}

static bool on_memory_write(void *context, uint64_t address, const void *data, size_t length)
{
	struct replica *replica = context;

	return !failed(ram_write(&replica->ram, address, data, length));
}

static size_t on_output_room(void *context)
{
	const struct replica *replica = context;
	uint64_t pending = outbox_pending(&replica->outbox);

	return pending < CONTROL_OUTPUT_MAX ? (size_t)(CONTROL_OUTPUT_MAX - pending) : 0;
}

static uint64_t fetches_taken(const struct replica *replica)
{
	return atomic_load_explicit(&replica->supervisor->fetches_taken[replica->config.index], memory_order_acquire);
}

static void seek(struct fetch_sought *sought, const struct device_fetch *fetch)
{
	if (fetch->device != sought->device || fetch->id != sought->id)
		return;
	sought->found = true;
	sought->check = fetches_check(fetch);
}

static void on_fetch(void *context, const struct device_fetch *fetch)
{
	struct replica *replica = context;
	struct fetch_state *state = &replica->fetches;

	if (state->sought)
		seek(state->sought, fetch);
	else if (replica->leads)
		state->lost |= !fetches_put(replica->own.control, &state->made, fetches_taken(replica),
					    replica->epoch, fetch);
}

struct device_board device_link_board(struct replica *replica)
{
	return (struct device_board){
		.context = replica,
		.output = on_output,
		.memory_read = on_memory_read,
		.memory_write = on_memory_write,
		.output_room = on_output_room,
		.fetch = on_fetch,
	};
}

/* --- what comes for them --- */

/* Whether this replica's device asked for just what was served: a leader may have asked for something else. */
static bool asked_for(struct replica *replica, const struct inbox_entry *entry)
{
	struct fetch_sought sought = { .device = entry->input.device, .id = entry->input.id };

	replica->fetches.sought = &sought;
	board_fetch_again(replica->board);
	replica->fetches.sought = NULL;
	return sought.found && sought.check == entry->asked;
}

static enum device_input_fit fits(void *context, const struct inbox_entry *entry)
{
	struct replica *replica = context;
	enum device_input_fit fit;

	if (inbox_answers(&entry->input) && entry->input.epoch != replica->epoch)
		return DEVICE_INPUT_NEVER;
	fit = board_input_fits(replica->board, &entry->input);
	if (fit != DEVICE_INPUT_FITS || !inbox_answers(&entry->input) || asked_for(replica, entry))
		return fit;
	/* The device still waits for what it asked for. */
	replica->fetches.lost = replica->leads;
	return DEVICE_INPUT_NEVER;
}

struct source_devices device_link_devices(struct replica *replica)
{
	return (struct source_devices){ .context = replica, .fits = fits };
}

void device_link_input(struct replica *replica, const struct inbox_entry *entry)
{
	board_input(replica->board, &entry->input);
	replica->inbox_taken = entry->end;
}

/* --- fetches that were lost --- */

void device_link_lead(struct replica *replica)
{
	replica->fetches.lost = true;
}

void device_link_attend(struct replica *replica)
{
	struct fetch_state *state = &replica->fetches;
	uint32_t again = atomic_load_explicit(&replica->supervisor->fetch_again, memory_order_acquire);

	if (again != state->again_seen) {
		state->again_seen = again;
		state->lost = true;
	}
	/* Should a bit of it have flipped, the supervisor would wait. */
	checked_word_store(&replica->own.control->fetches_written, state->made);
	if (state->rung != state->made) {
		state->rung = state->made;
		attend_ring(replica);
	}
	/* With the ring half empty, or there would be no end of it. */
	if (!state->lost || state->made - fetches_taken(replica) > FETCHES / 2)
		return;
	state->lost = false;
	board_fetch_again(replica->board);
	if (state->rung != state->made)
		attend_ring(replica);
	state->rung = state->made;
}
