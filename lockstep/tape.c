#include "lockstep/tape.h"

#include <string.h>
#include <zlib.h>

#include "base/bytes.h"
#include "base/checked_word.h"

enum { CRC_SIZE = 4, ENTRY_MAX = TAPE_HEADER_SIZE + TAPE_PAYLOAD_MAX };
/* No checked word has this value. */
#define DAMAGED UINT64_MAX

struct kind_info {
	const char *name;
	uint16_t least, most; /* bytes of payload */
};

static const struct kind_info kinds[TAPE_KINDS] = {
	[TAPE_TIME] = { "time", 8, 8 },
	[TAPE_CONSOLE] = { "console", 1, TAPE_CONSOLE_MAX },
	[TAPE_BUTTON] = { "button", 0, 0 },
	[TAPE_VOTE] = { "vote", 8, 8 },
	[TAPE_STOP] = { "stop", sizeof(struct stop_point), sizeof(struct stop_point) },
	[TAPE_DEVICE] = { "device", 8, INBOX_TAPED_MAX },
	[TAPE_SKIP] = { "skip", 8, 8 },
	[TAPE_RESET] = { "reset", 0, 0 },
};

const char *tape_kind_name(enum tape_kind kind)
{
	return (unsigned)kind < TAPE_KINDS && kinds[kind].name ? kinds[kind].name : "unknown";
}

static uint64_t entry_size(uint16_t length)
{
	return TAPE_HEADER_SIZE + ((uint64_t)length + 7) / 8 * 8;
}

uint64_t tape_write(struct tape_writer *writer, enum tape_kind kind, uint64_t position, const void *payload,
		    uint16_t length)
{
	uint8_t bytes[ENTRY_MAX];
	struct bytes_writer entry = bytes_writer_over(bytes, sizeof(bytes));
	uint64_t at = writer->at;

	invariant(length >= kinds[kind].least && length <= kinds[kind].most);
	memset(bytes, 0, entry_size(length));
	bytes_put_u32(&entry, 0);
	bytes_put_u16(&entry, (uint16_t)kind);
	bytes_put_u16(&entry, length);
	bytes_put_u64(&entry, position);
	bytes_put(&entry, payload, length);
	bytes_store_u32(bytes, (uint32_t)crc32_z(0, bytes + CRC_SIZE, entry.used - CRC_SIZE));
	ring_put(&writer->ring, at, bytes, entry_size(length));
	if (writer->mirror.data)
		ring_put(&writer->mirror, at, bytes, entry_size(length));
	writer->at = at + entry_size(length);
	checked_word_store(writer->written, writer->at);
	return entry_size(length);
}

/* The entry at the reader's place in one of the copies. */
static result read_entry(const struct ring *ring, const struct tape_reader *reader, uint64_t written,
			 struct tape_entry *entry)
{
	uint8_t bytes[ENTRY_MAX];

	ring_get(ring, reader->at, bytes, TAPE_HEADER_SIZE);

	struct bytes_reader header = bytes_reader_over(bytes, TAPE_HEADER_SIZE);
	uint32_t crc = bytes_get_u32(&header);
	uint16_t kind = bytes_get_u16(&header);

	entry->length = bytes_get_u16(&header);
	entry->position = bytes_get_u64(&header);
	if (kind == 0 || kind >= TAPE_KINDS || entry->length < kinds[kind].least || entry->length > kinds[kind].most ||
	    entry_size(entry->length) > written - reader->at)
		return fail(STATUS_FAILED, "the tape is damaged at byte %llu: kind %u with %u bytes",
			    (unsigned long long)reader->at, kind, entry->length);
	entry->kind = (enum tape_kind)kind;
	ring_get(ring, reader->at + TAPE_HEADER_SIZE, entry->payload, entry->length);
	memcpy(bytes + TAPE_HEADER_SIZE, entry->payload, entry->length);
	if (crc != (uint32_t)crc32_z(0, bytes + CRC_SIZE, TAPE_HEADER_SIZE - CRC_SIZE + (size_t)entry->length))
		return fail(STATUS_FAILED, "the tape is damaged at byte %llu: wrong checksum",
			    (unsigned long long)reader->at);
	return OK;
}

result tape_peek(struct tape_reader *reader, struct tape_entry *entry, bool *there)
{
	uint64_t written = reader->ends ? reader->end : checked_word_load(reader->written, DAMAGED);

	*there = false;
	reader->blind = written == DAMAGED;
	if (reader->blind || written == reader->at || (reader->ends && written < reader->at))
		return OK;
	if (written < reader->at || written - reader->at > reader->ring.size)
		return fail(STATUS_FAILED, "the tape was overrun: %llu bytes are written, %llu are read",
			    (unsigned long long)written, (unsigned long long)reader->at);

	result r = read_entry(&reader->ring, reader, written, entry);

	if (failed(r) && reader->mirror.data) {
		reader->mended++;
		r = read_entry(&reader->mirror, reader, written, entry);
	}
	TRY(r);
	if (entry->position < reader->position)
		return fail(STATUS_FAILED, "the tape is damaged at byte %llu: position %llu comes after %llu",
			    (unsigned long long)reader->at, (unsigned long long)entry->position,
			    (unsigned long long)reader->position);
	*there = true;
	return OK;
}

void tape_consume(struct tape_reader *reader, const struct tape_entry *entry)
{
	reader->at += entry_size(entry->length);
	reader->position = entry->position;
}

uint64_t tape_entry_value(const struct tape_entry *entry)
{
	return bytes_load_u64(entry->payload);
}
