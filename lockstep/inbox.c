#include "lockstep/inbox.h"

#include <string.h>

#include "lockstep/control.h"

enum { ASKED_SIZE = 8, HEAD_SIZE = ASKED_SIZE + DEVICE_INPUT_HEADER, LENGTH_AT = ASKED_SIZE + 40 };

bool inbox_answers(const struct device_input *input)
{
	return input->kind == INPUT_DISK_READ || input->kind == INPUT_ENTROPY;
}

bool inbox_may_drop(const struct device_input *input)
{
	return input->kind == INPUT_NET;
}

static uint64_t entry_size(uint32_t length)
{
	return ((uint64_t)HEAD_SIZE + length + 7) / 8 * 8;
}

static uint64_t to_bytes(const struct device_input *input, uint64_t asked, uint8_t bytes[INBOX_ENTRY_MAX])
{
	struct bytes_writer writer = bytes_writer_over(bytes, INBOX_ENTRY_MAX);
	const uint64_t size = entry_size(input->length);

	bytes_put_u64(&writer, asked);
	device_input_put(&writer, input);
	invariant(!writer.overflow);
	memset(bytes + writer.used, 0, size - writer.used);
	return size;
}

/* `size` bytes of an entry that begins at `at`; it must be all of them. */
static result from_bytes(const uint8_t *bytes, uint64_t size, uint64_t at, struct inbox_entry *entry)
{
	struct bytes_reader reader = bytes_reader_over(bytes, size);

	entry->begin = at;
	entry->end = at + size;
	entry->asked = bytes_get_u64(&reader);
	TRY(device_input_get(&reader, &entry->input));
	if (entry_size(entry->input.length) != size)
		return fail(STATUS_FAILED, "an entry of the inbox has a length that does not fit");
	while (reader.at < size)
		if (bytes_get_u8(&reader) != 0)
			return fail(STATUS_FAILED, "an entry of the inbox has something behind its end");
	return OK;
}

bool inbox_put(struct supervisor_page *page, uint64_t kept, const struct device_input *input, uint64_t asked)
{
	const struct ring ring = { page->inbox, CONTROL_INBOX_SIZE };
	uint64_t written = atomic_load_explicit(&page->inbox_written, memory_order_relaxed);
	uint8_t bytes[INBOX_ENTRY_MAX];

	if (written + entry_size(input->length) - kept > CONTROL_INBOX_SIZE)
		return false;
	uint64_t size = to_bytes(input, asked, bytes);

	ring_put(&ring, written, bytes, size);
	atomic_store_explicit(&page->inbox_written, written + size, memory_order_release);
	return true;
}

result inbox_look(const struct supervisor_page *page, uint64_t at, struct inbox_entry *entry, bool *there)
{
	uint64_t written = atomic_load_explicit(&page->inbox_written, memory_order_acquire);
	uint64_t left = written - at;
	uint8_t bytes[INBOX_ENTRY_MAX];
	uint64_t size;

	*there = written != at;
	if (!*there)
		return OK;
	if (at > written || left > CONTROL_INBOX_SIZE || left < HEAD_SIZE)
		return fail(STATUS_FAILED, "the inbox has nothing at byte %llu of %llu", (unsigned long long)at,
			    (unsigned long long)written);
	ring_read(page->inbox, CONTROL_INBOX_SIZE, at, bytes, HEAD_SIZE);
	size = entry_size(bytes_load_u32(bytes + LENGTH_AT));
	if (size > INBOX_ENTRY_MAX || size > left)
		return fail(STATUS_FAILED, "the inbox is damaged at byte %llu", (unsigned long long)at);
	ring_read(page->inbox, CONTROL_INBOX_SIZE, at, bytes, size);
	return from_bytes(bytes, size, at, entry);
}

uint16_t inbox_to_tape(const struct inbox_entry *entry, uint8_t bytes[INBOX_TAPED_MAX])
{
	bytes_store_u64(bytes, entry->end);
	return (uint16_t)(8 + to_bytes(&entry->input, entry->asked, bytes + 8));
}

result inbox_from_tape(const uint8_t *bytes, uint16_t size, uint64_t at, struct inbox_entry *entry)
{
	if (size < 8 || size > INBOX_TAPED_MAX)
		return fail(STATUS_FAILED, "an entry of the inbox has %u bytes", size);
	TRY(from_bytes(bytes + 8, size - 8u, at, entry));
	if (bytes_load_u64(bytes) != entry->end)
		return fail(STATUS_FAILED, "an entry of the inbox ends at byte %llu, not %llu",
			    (unsigned long long)entry->end, (unsigned long long)bytes_load_u64(bytes));
	return OK;
}

result inbox_void(uint64_t at, uint64_t end, struct inbox_entry *entry)
{
	uint64_t size = end - at;

	if (end < at || size % 8 != 0 || size < HEAD_SIZE || size > entry_size(DEVICE_INPUT_MAX))
		return fail(STATUS_INPUT, "nothing that was skipped takes the inbox from byte %llu to %llu",
			    (unsigned long long)at, (unsigned long long)end);
	*entry = (struct inbox_entry){ .begin = at, .end = end };
	/* An answer to nobody, which devices never wait for. */
	entry->input.device = UINT32_MAX;
	entry->input.length = (uint32_t)(size - HEAD_SIZE);
	entry->input.kind = entry->input.length > 0 ? INPUT_ENTROPY : INPUT_DISK_DONE;
	entry->input.total = entry->input.length;
	entry->input.id = UINT64_MAX;
	return OK;
}
