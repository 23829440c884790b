#include "lockstep/fail_stop_tape.h"

#include <inttypes.h>
#include <stdio.h>
#include <zlib.h>

#include "base/bytes.h"

enum { CRC_SIZE = 4, ALIGNMENT = 8, DESCRIBED_BYTES = 64 };

struct fail_stop_tape fail_stop_tape_of(const struct fail_stop_side *side)
{
	return (struct fail_stop_tape){ .side = side, .at = side->tape_begin };
}

/* The entry at `at`, if there is one: its checksum decides. */
static bool entry_at(const struct fail_stop_side *side, uint64_t at, struct fail_stop_tape_item *item)
{
	const uint8_t *bytes = side->tape + (at - side->tape_begin);
	uint64_t rest = side->tape_end - at;

	if (rest < TAPE_HEADER_SIZE)
		return false;
	struct bytes_reader header = bytes_reader_over(bytes, TAPE_HEADER_SIZE);
	uint32_t crc = bytes_get_u32(&header);
	uint16_t kind = bytes_get_u16(&header);
	uint16_t length = bytes_get_u16(&header);
	uint64_t position = bytes_get_u64(&header);
	uint64_t size = TAPE_HEADER_SIZE + ((uint64_t)length + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;

	if (length > TAPE_PAYLOAD_MAX || size > rest ||
	    crc != (uint32_t)crc32_z(0, bytes + CRC_SIZE, TAPE_HEADER_SIZE - CRC_SIZE + (size_t)length))
		return false;
	*item = (struct fail_stop_tape_item){
		.at = at,
		.size = size,
		.bytes = bytes,
		.kind = kind,
		.length = length,
		.position = position,
		.payload = bytes + TAPE_HEADER_SIZE,
	};
	return true;
}

/* Entries begin at multiples of their alignment. */
static uint64_t next_entry(const struct fail_stop_side *side, uint64_t at)
{
	struct fail_stop_tape_item item;

	for (at = (at + ALIGNMENT) / ALIGNMENT * ALIGNMENT; at < side->tape_end; at += ALIGNMENT)
		if (entry_at(side, at, &item))
			return at;
	return side->tape_end;
}

bool fail_stop_tape_next(struct fail_stop_tape *tape, struct fail_stop_tape_item *item)
{
	const struct fail_stop_side *side = tape->side;

	if (tape->at == side->tape_begin && side->tape_begin > 0 && !entry_at(side, tape->at, item)) {
		uint64_t first = next_entry(side, tape->at);

		/* A longer stretch cannot be the rest of one entry. */
		if (first - tape->at < TAPE_HEADER_SIZE + TAPE_PAYLOAD_MAX)
			tape->at = first;
	}
	if (tape->at >= side->tape_end)
		return false;
	if (!entry_at(side, tape->at, item))
		*item = (struct fail_stop_tape_item){
			.at = tape->at,
			.size = next_entry(side, tape->at) - tape->at,
			.bytes = side->tape + (tape->at - side->tape_begin),
			.damaged = true,
		};
	tape->at = item->at + item->size;
	return true;
}

static void put_bytes(char *text, size_t size, const char *prefix, const struct fail_stop_tape_item *item)
{
	const uint8_t *bytes = item->damaged ? item->bytes : item->payload;
	uint64_t length = item->damaged ? item->size : item->length;
	size_t used = (size_t)snprintf(text, size, "%s", prefix);

	for (uint64_t i = 0; i < length && i < DESCRIBED_BYTES && used + 3 < size; i++)
		used += (size_t)snprintf(text + used, size - used, " %02x", bytes[i]);
	if (length > DESCRIBED_BYTES && used + 5 < size)
		(void)snprintf(text + used, size - used, " ...");
}

static void put_keys(char *text, size_t size, const struct fail_stop_tape_item *item)
{
	size_t used = (size_t)snprintf(text, size, "console \"");

	for (unsigned i = 0; i < item->length && used + 6 < size; i++) {
		uint8_t key = item->payload[i];
		bool plain = key >= ' ' && key <= '~' && key != '"' && key != '\\';

		used += (size_t)snprintf(text + used, size - used, plain ? "%c" : "\\x%02x", key);
	}
	(void)snprintf(text + used, size - used, "\"");
}

void fail_stop_tape_describe(const struct fail_stop_tape_item *item, char *text, size_t size)
{
	char prefix[64];

	if (item->damaged) {
		(void)snprintf(prefix, sizeof(prefix), "DAMAGED: %" PRIu64 " bytes:", item->size);
		put_bytes(text, size, prefix, item);
	} else if (item->kind == TAPE_TIME && item->length == sizeof(uint64_t)) {
		(void)snprintf(text, size, "time %" PRIu64 " ns", bytes_load_u64(item->payload));
	} else if (item->kind == TAPE_VOTE && item->length == sizeof(uint64_t)) {
		uint64_t cause = bytes_load_u64(item->payload);

		(void)snprintf(text, size, "vote, cause %" PRIu64 " (%s)", cause,
			       cause < VOTE_CAUSES ? vote_cause_name((enum vote_cause)cause) : "unknown");
	} else if (item->kind == TAPE_STOP && item->length == sizeof(struct stop_point)) {
		struct stop_point stop;

		memcpy(&stop, item->payload, sizeof(stop));
		(void)snprintf(text, size, "stop at 0x%" PRIx64 " after %" PRIu64 " ns, %" PRIu64 " ns between visits",
			       stop.cpu.rip, stop.run_ns, stop.recurs_ns);
	} else if (item->kind == TAPE_CONSOLE) {
		put_keys(text, size, item);
	} else {
		(void)snprintf(prefix, sizeof(prefix), "%s (kind %u)%s",
			       tape_kind_name((enum tape_kind)item->kind), item->kind, item->length > 0 ? ":" : "");
		put_bytes(text, size, prefix, item);
	}
}
