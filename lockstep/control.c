#include "lockstep/control.h"

#include <stddef.h>
#include <string.h>
#include <zlib.h>

#include "base/fd.h"

enum { ALIGNMENT = 4096, CHANGES_MIN = 4096 };

struct area_layout {
	uint64_t exit_log, tape, tape_mirror, outbox, page_hashes, changes, changes_size, end;
};

static uint64_t aligned(uint64_t size)
{
	return (size + ALIGNMENT - 1) & ~(uint64_t)(ALIGNMENT - 1);
}

static struct area_layout layout_of(uint64_t pages)
{
	struct area_layout layout = { .changes_size = pages > CHANGES_MIN ? pages : CHANGES_MIN };

	layout.exit_log = aligned(sizeof(struct control));
	layout.tape = layout.exit_log + aligned(CONTROL_EXIT_LOG * sizeof(struct exit_record));
	layout.tape_mirror = layout.tape + CONTROL_TAPE_SIZE;
	layout.outbox = layout.tape_mirror + CONTROL_TAPE_SIZE;
	layout.page_hashes = layout.outbox + CONTROL_OUTBOX_SIZE;
	layout.changes = layout.page_hashes + aligned(pages * sizeof(struct digest));
	layout.end = layout.changes + aligned(layout.changes_size * sizeof(struct pagehash_change));
	return layout;
}

uint64_t area_size(uint64_t pages)
{
	return layout_of(pages).end;
}

result area_map(struct area *area, int fd, uint64_t pages, bool writable)
{
	struct area_layout layout = layout_of(pages);
	void *memory;

	*area = (struct area){ .memory = NULL };
	TRY(fd_check_sealed(fd, "a replica's shared area", layout.end));
	TRY(fd_map(fd, "a replica's shared area", layout.end, writable, &memory));

	uint8_t *base = memory;

	*area = (struct area){
		.memory = memory,
		.size = layout.end,
		.control = memory,
		.tape = { base + layout.tape, CONTROL_TAPE_SIZE },
		.tape_mirror = { base + layout.tape_mirror, CONTROL_TAPE_SIZE },
		.outbox = { base + layout.outbox, CONTROL_OUTBOX_SIZE },
		.exit_log = (struct exit_record *)(void *)(base + layout.exit_log),
		.page_hashes = (struct digest *)(void *)(base + layout.page_hashes),
		.changes = (struct pagehash_change *)(void *)(base + layout.changes),
		.changes_size = layout.changes_size,
	};
	return OK;
}

void area_unmap(struct area *area)
{
	fd_unmap(area->memory, area->size);
	*area = (struct area){ .memory = NULL };
}

void area_init(struct area *area)
{
	area->control->magic = CONTROL_MAGIC;
	area->control->version = CONTROL_VERSION;
}

result area_check(const struct area *area, unsigned replica)
{
	if (area->control->magic != CONTROL_MAGIC || area->control->version != CONTROL_VERSION)
		return fail(STATUS_FAILED, "the shared area of replica %u is not of this version of tercet", replica);
	return OK;
}

void control_beat(struct control *control)
{
	/* Nobody else writes it. */
	atomic_store_explicit(&control->beats, atomic_load_explicit(&control->beats, memory_order_relaxed) + 1,
			      memory_order_relaxed);
}

result supervisor_page_create(struct supervisor_page **page, int *fd, const char *name)
{
	void *memory;

	TRY(fd_exclusive_memory(fd, name, sizeof(**page), &memory));
	*page = memory;
	(*page)->magic = CONTROL_MAGIC;
	(*page)->version = CONTROL_VERSION;
	return OK;
}

result supervisor_page_map(struct supervisor_page **page, int fd, bool writable)
{
	void *memory;

	TRY(fd_check_sealed(fd, "the supervisor's page", sizeof(**page)));
	TRY(fd_map(fd, "the supervisor's page", sizeof(**page), writable, &memory));
	*page = memory;
	return OK;
}

result supervisor_page_check(const struct supervisor_page *page)
{
	if (page->magic != CONTROL_MAGIC || page->version != CONTROL_VERSION)
		return fail(STATUS_FAILED, "the supervisor's page is not of this version of tercet");
	return OK;
}

uint64_t supervisor_page_vote_interval(const struct supervisor_page *page, uint64_t configured)
{
	uint64_t asked = atomic_load(&page->vote_interval);

	return asked != 0 ? asked : configured;
}

bool supervisor_page_calls(const struct supervisor_page *page, unsigned replica, uint32_t seen)
{
	return atomic_load_explicit(&page->attention[replica], memory_order_acquire) != seen;
}

void supervisor_page_forget(struct supervisor_page *page, unsigned replica)
{
	atomic_store(&page->orders[replica].serial, 0);
	atomic_store(&page->injections[replica].serial, 0);
	atomic_store(&page->fetches_taken[replica], 0);
}

uint32_t vote_record_crc(const struct vote_record *record)
{
	const uint8_t *bytes = (const uint8_t *)record;
	const size_t behind = offsetof(struct vote_record, devices) + CONTROL_DEVICES_MAX;
	size_t devices = record->devices_size < CONTROL_DEVICES_MAX ? record->devices_size : CONTROL_DEVICES_MAX;
	uint32_t crc = (uint32_t)crc32_z(0, bytes, offsetof(struct vote_record, devices) + devices);

	/* What lies between is nothing. */
	return (uint32_t)crc32_z(crc, bytes + behind, offsetof(struct vote_record, crc) - behind);
}

result vote_record_take(const struct area *area, uint64_t number, struct vote_record *record)
{
	memcpy(record, &area->control->records[number % CONTROL_VOTE_SLOTS], sizeof(*record));
	if (record->crc != vote_record_crc(record))
		return fail(STATUS_FAILED, "vote record %llu is damaged", (unsigned long long)number);
	if (record->number != number)
		return fail(STATUS_FAILED, "vote record %llu stands where %llu is expected",
			    (unsigned long long)record->number, (unsigned long long)number);
	if (record->devices_size > CONTROL_DEVICES_MAX || record->cause >= VOTE_CAUSES || record->cause == 0 ||
	    record->end > END_DEAD_HALT)
		return fail(STATUS_FAILED, "vote record %llu has values that no replica writes",
			    (unsigned long long)number);
	return OK;
}

const char *vote_cause_name(enum vote_cause cause)
{
	static const char *const names[VOTE_CAUSES] = {
		[VOTE_CAUSE_INTERVAL] = "interval",
		[VOTE_CAUSE_OUTPUT] = "output",
		[VOTE_CAUSE_BACKLOG] = "backlog",
		[VOTE_CAUSE_END] = "shutdown",
		[VOTE_CAUSE_REQUEST] = "request",
		[VOTE_CAUSE_PAUSE] = "pause",
	};

	return cause < VOTE_CAUSES && names[cause] ? names[cause] : "unknown";
}
