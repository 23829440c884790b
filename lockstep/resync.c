#include "lockstep/resync.h"

#include <stdlib.h>
#include <string.h>

/* Pages whose hashes are looked at in one comparison. */
enum { BLOCK = 64 };

static bool same_digest(const struct digest *a, const struct digest *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

static void copy_page(struct replica *replica, const struct resync_origin *origin, uint64_t page)
{
	ram_replace_page(&replica->ram, page, origin->memory + page * RAM_PAGE_SIZE);
	/* The hash of what arrived, not of what was promised. */
	(void)pagehash_replace(&replica->box.pages, page);
}

uint64_t resync_copy(struct replica *replica, const struct resync_origin *origin, uint64_t first, uint64_t count)
{
	const struct digest *own = replica->own.page_hashes;
	const uint64_t end = first + count;
	uint64_t copied = 0;

	invariant(end <= ram_pages(&replica->ram));
	for (; first < end; first += BLOCK) {
		const uint64_t block = end - first < BLOCK ? end - first : BLOCK;

		if (memcmp(own + first, origin->table + first, block * sizeof(*own)) == 0)
			continue;
		for (uint64_t page = first; page < first + block; page++) {
			if (same_digest(&own[page], &origin->table[page]))
				continue;
			copy_page(replica, origin, page);
			copied++;
		}
	}
	replica_statistics_of(replica)->pages_copied += copied;
	return copied;
}

static struct digest memory_digest(struct replica *replica)
{
	pagehash_recount(&replica->box.pages);
	return pagehash_digest(&replica->box.pages);
}

/* A table that does not speak of its memory, on either side: then every page is looked at. */
static void copy_all(struct replica *replica, const struct resync_origin *origin)
{
	for (uint64_t page = 0; page < ram_pages(&replica->ram); page++) {
		if (memcmp(ram_page(&replica->ram, page), origin->memory + page * RAM_PAGE_SIZE, RAM_PAGE_SIZE) == 0) {
			(void)pagehash_replace(&replica->box.pages, page);
			continue;
		}
		copy_page(replica, origin, page);
		replica_statistics_of(replica)->pages_copied++;
	}
}

static result take_memory(struct replica *replica, const struct resync_origin *origin)
{
	const struct digest *wanted = &origin->record->ballot.digests[VOTE_RAM];
	struct digest got;

	/* What this machine wrote since its last vote is not in its table yet. */
	TRY(ballot_box_refresh(&replica->box));
	(void)resync_copy(replica, origin, 0, ram_pages(&replica->ram));
	got = memory_digest(replica);
	if (!same_digest(&got, wanted)) {
		copy_all(replica, origin);
		got = memory_digest(replica);
	}
	if (!same_digest(&got, wanted))
		return fail(STATUS_FAILED, "the memory that is to be taken over is not what was voted");
	return machine_forget_memory(&replica->machine);
}

static result take_devices(struct replica *replica, const struct vote_record *record)
{
	struct bytes_reader reader = bytes_reader_over(record->devices, record->devices_size);

	TRY(board_load(replica->board, &reader));
	if (reader.at != reader.size)
		return fail(STATUS_FAILED, "the devices that are to be taken over have something behind their end");
	return OK;
}

result resync_take(struct replica *replica, const struct resync_origin *origin)
{
	const struct vote_record *record = origin->record;

	if (record->end != END_RUNNING && record->end != END_POWER_OFF && record->end != END_RESET)
		return fail(STATUS_FAILED, "a machine that can never go on has no state to take over");
	/* First: an import ends what the machine is in the middle of, and that may write memory. */
	TRY(machine_import(&replica->machine, &record->cpu, record->halted != 0));
	TRY(take_memory(replica, origin));
	TRY(take_devices(replica, record));
	machine_place(&replica->machine, record->position);
	replica->end = (enum machine_end)record->end;
	replica->end_value = record->end_value;
	replica->end_voted = record->end != END_RUNNING;
	replica->console_taken = record->console_taken;
	replica->buttons_taken = record->buttons_taken;
	replica->inbox_taken = record->inbox_taken;
	replica->resets_taken = record->resets_taken;
	replica->boots = record->boots;
	replica->output_urgent = false;
	replica->output_host_ns = 0;
	replica->moved = false;
	replica->rejoined = true;
	outbox_restart(&replica->outbox, record->output_end);
	return ballot_box_take_over(&replica->box, record);
}
