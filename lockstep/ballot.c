#include "lockstep/ballot.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/futex.h"

result ballot_box_create(struct ballot_box *box, struct area *area, struct machine *machine,
			 struct outbox *outbox, const uint8_t key[DIGEST_KEY_SIZE], bool compared)
{
	const size_t words = ram_bitmap_words(machine->ram);

	*box = (struct ballot_box){
		.area = area,
		.machine = machine,
		.outbox = outbox,
		.compared = compared,
		.dirty = calloc(words, sizeof(uint64_t)),
		.watch = calloc(words, sizeof(uint64_t)),
		.scrub = calloc(words, sizeof(uint64_t)),
		.fresh = calloc(words, sizeof(uint64_t)),
	};
	if (!box->dirty || !box->watch || !box->scrub || !box->fresh)
		return fail(STATUS_FAILED, "no memory for a map of dirty pages");
	TRY(hotpages_create(&box->hot, ram_pages(machine->ram)));
	TRY(digest_create(&box->digests, key));
	pagehash_init(&box->pages, &box->digests, machine->ram, area->page_hashes);
	return OK;
}

void ballot_box_destroy(struct ballot_box *box)
{
	digest_destroy(&box->digests);
	hotpages_destroy(&box->hot);
	free(box->dirty);
	free(box->watch);
	free(box->scrub);
	free(box->fresh);
	box->dirty = box->watch = box->scrub = box->fresh = NULL;
}

void ballot_box_log_exit(struct ballot_box *box)
{
	const struct exit_record *record = &box->machine->exit.record;

	box->area->exit_log[record->position % CONTROL_EXIT_LOG] = *record;
}

/* Positions voted_position + 1 .. position; the log is a ring. */
static struct digest digest_exits(struct ballot_box *box, const struct vote_record *record)
{
	uint64_t position = record->position;

	invariant(position - box->voted_position <= CONTROL_EXIT_LOG);
	digest_begin(&box->digests, DIGEST_EXITS, record->number);
	/* Where the machine stands is part of what it went through. */
	digest_add(&box->digests, record, offsetof(struct vote_record, ballot));
	while (box->voted_position < position) {
		uint64_t first = (box->voted_position + 1) % CONTROL_EXIT_LOG;
		uint64_t count = position - box->voted_position;

		if (count > CONTROL_EXIT_LOG - first)
			count = CONTROL_EXIT_LOG - first;
		digest_add(&box->digests, &box->area->exit_log[first], count * sizeof(struct exit_record));
		box->voted_position += count;
	}
	return digest_end(&box->digests);
}

static void book_change(void *context, const struct pagehash_change *change)
{
	struct ballot_box *box = context;

	hotpages_note(&box->hot, change->page);
	box->area->changes[box->changes++ % box->area->changes_size] = *change;
}

static result fill_state(struct ballot_box *box, struct vote_record *record)
{
	struct digest *digests = record->ballot.digests;
	struct bytes_writer writer = bytes_writer_over(record->devices, sizeof(record->devices));

	TRY(machine_export(box->machine, &record->cpu));
	board_save(box->machine->board, &writer);
	if (writer.overflow)
		return fail(STATUS_FAILED, "the devices' state needs more than %zu bytes", sizeof(record->devices));
	record->devices_size = (uint32_t)writer.used;
	digests[VOTE_CPU] = digest_of(&box->digests, DIGEST_CPU, record->number, &record->cpu, sizeof(record->cpu));
	digests[VOTE_DEVICES] =
		digest_of(&box->digests, DIGEST_DEVICES, record->number, record->devices, record->devices_size);
	return OK;
}

static void add_scrub(struct ballot_box *box)
{
	const size_t words = ram_bitmap_words(box->machine->ram);

	for (size_t i = 0; i < words; i++) {
		box->fresh[i] |= box->dirty[i];
		box->dirty[i] |= box->scrub[i];
		box->scrub[i] = 0;
	}
}

/* Pages that were written since the last time are hashed again. */
static result hash_written(struct ballot_box *box, pagehash_changed *changed)
{
	struct stopwatch *time = &box->area->control->statistics.time;
	unsigned before = (unsigned)time->stage;

	(void)stopwatch_enter(time, STAGE_DIRTY_LOG);
	TRY(machine_collect_dirty(box->machine, box->dirty));
	hotpages_choose(&box->hot, box->dirty, box->watch);
	TRY(machine_watch_pages(box->machine, box->watch));
	add_scrub(box);
	(void)stopwatch_enter(time, STAGE_HASH);
	pagehash_update(&box->pages, box->dirty, changed, box);
	(void)stopwatch_enter(time, before);
	return OK;
}

static result fill_digests(struct ballot_box *box, struct vote_record *record)
{
	TRY(fill_state(box, record));
	TRY(hash_written(box, book_change));
	record->ballot.digests[VOTE_RAM] = pagehash_digest(&box->pages);
	record->ballot.digests[VOTE_EXITS] = digest_exits(box, record);
	return OK;
}

static struct vote_record *slot_of(struct ballot_box *box, uint64_t number)
{
	return &box->area->control->records[number % CONTROL_VOTE_SLOTS];
}

/* The record stands where the supervisor looks for it before its number does. */
static void publish(struct ballot_box *box, struct vote_record *record)
{
	record->cast_host_ns = clock_monotonic_ns();
	record->crc = vote_record_crc(record);
	box->area->control->statistics.pages_hashed = box->pages.hashed;
	box->votes = record->number + 1;
	box->cast_ns[record->number % CONTROL_VOTE_SLOTS] = record->cast_host_ns - box->waited_ns;
	atomic_store_explicit(&box->area->control->votes, box->votes, memory_order_release);
}

result ballot_box_cast(struct ballot_box *box, const struct vote_record *facts)
{
	struct vote_record *record = slot_of(box, box->votes);

	memset(record, 0, sizeof(*record));
	*record = *facts;
	record->number = box->votes;
	record->changes_begin = box->changes_voted;
	record->ballot.digests[VOTE_OUTPUT] = outbox_vote(box->outbox, &box->digests, record->number);
	record->output_end = box->outbox->voted;
	if (box->compared)
		TRY(fill_digests(box, record));
	else
		box->voted_position = record->position;
	record->changes_end = box->changes_voted = box->changes;
	publish(box, record);
	return OK;
}

result ballot_box_memory(struct ballot_box *box, struct digest *digest)
{
	TRY(hash_written(box, book_change));
	*digest = pagehash_digest(&box->pages);
	return OK;
}

result ballot_box_refresh(struct ballot_box *box)
{
	TRY(hash_written(box, NULL));
	return OK;
}

result ballot_box_take_over(struct ballot_box *box, const struct vote_record *other)
{
	struct vote_record *record = slot_of(box, other->number);

	/* A checkpoint's record may be this very slot's. */
	memmove(record, other, sizeof(*record));
	record->changes_begin = record->changes_end = box->changes_voted = box->changes;
	record->output_host_ns = 0;
	TRY(fill_state(box, record));
	record->ballot.digests[VOTE_RAM] = pagehash_digest(&box->pages);
	if (memcmp(&record->ballot, &other->ballot, sizeof(record->ballot)) != 0)
		return fail(STATUS_FAILED, "the state of vote %llu that was taken over is not what was voted",
			    (unsigned long long)other->number);
	box->voted_position = record->position;
	box->votes = record->number + 1;
	return OK;
}

void ballot_box_publish(struct ballot_box *box, uint64_t tape_at, uint32_t epoch)
{
	struct vote_record *record = slot_of(box, box->votes - 1);

	record->tape_at = tape_at;
	record->epoch = epoch;
	publish(box, record);
}

void ballot_box_wait(struct ballot_box *box, bool waits)
{
	const uint64_t now = clock_monotonic_ns();

	if (!waits)
		box->waited_ns += now - box->waits_since_ns;
	box->waits_since_ns = waits ? now : 0;
}

uint64_t ballot_box_since(const struct ballot_box *box, uint64_t vote)
{
	const uint64_t now = box->waits_since_ns != 0 ? box->waits_since_ns : clock_monotonic_ns();

	return now - box->waited_ns - box->cast_ns[vote % CONTROL_VOTE_SLOTS];
}

void ballot_box_scrub(struct ballot_box *box, uint64_t page, uint64_t count)
{
	invariant(count <= ram_pages(box->machine->ram) && page <= ram_pages(box->machine->ram) - count);
	for (const uint64_t end = page + count; page < end; page++) {
		const uint64_t bit = 1ull << (page % 64);

		if (box->fresh[page / 64] & bit)
			box->fresh[page / 64] &= ~bit;
		else
			box->scrub[page / 64] |= bit;
	}
	box->area->control->statistics.pages_scrubbed += count;
}
