#include "tests/fault/forge_tape.h"

#include <string.h>
#include <zlib.h>

#include "base/bytes.h"
#include "base/futex.h"
#include "tests/fault/damage.h"

enum { CRC_SIZE = 4, ENTRY_MAX = TAPE_HEADER_SIZE + TAPE_PAYLOAD_MAX };
enum { COPY_FIRST = 1, COPY_SECOND = 2, COPIES = 3 }; /* 3: both */
/* Bytes of an entry that carries a number: all of the header, and the number. */
enum { NUMBER_ENTRY = TAPE_HEADER_SIZE + 8 };

typedef uint64_t writer_function(struct tape_writer *writer, enum tape_kind kind, uint64_t position,
				 const void *payload, uint16_t length);

/* What a forged entry says. */
struct entry {
	uint16_t kind, length;
	uint64_t position;
	uint8_t payload[TAPE_PAYLOAD_MAX];
};

static void damage_copy(struct plan *plan, const struct ring *ring, uint64_t at, uint64_t strike)
{
	uint8_t byte;

	ring_get(ring, at + strike % NUMBER_ENTRY, &byte, 1);
	byte = damage_byte(byte, (unsigned)(strike / NUMBER_ENTRY % DAMAGE_BYTE_WAYS), plan_random(plan));
	ring_put(ring, at + strike % NUMBER_ENTRY, &byte, 1);
}

/* The strikes that matter most come last: those that both copies show. */
static void damage_entry(struct plan *plan, struct tape_writer *writer, uint64_t at, uint64_t strike)
{
	uint64_t copies = 1 + strike / (NUMBER_ENTRY * DAMAGE_BYTE_WAYS);

	plan_log(plan, "strike %llu: tape byte %llu + %llu in copies %llu", (unsigned long long)strike,
		 (unsigned long long)at, (unsigned long long)(strike % NUMBER_ENTRY), (unsigned long long)copies);
	if (copies & COPY_FIRST)
		damage_copy(plan, &writer->ring, at, strike);
	if (copies & COPY_SECOND)
		damage_copy(plan, &writer->mirror, at, strike);
}

/* --- entries that are whole --- */

static void put_entry(struct tape_writer *writer, const struct entry *entry)
{
	uint8_t bytes[ENTRY_MAX] = { 0 };
	struct bytes_writer out = bytes_writer_over(bytes, sizeof(bytes));
	uint64_t size = TAPE_HEADER_SIZE + ((uint64_t)entry->length + 7) / 8 * 8;
	uint16_t length = entry->length < TAPE_PAYLOAD_MAX ? entry->length : TAPE_PAYLOAD_MAX;

	bytes_put_u32(&out, 0);
	bytes_put_u16(&out, entry->kind);
	bytes_put_u16(&out, entry->length);
	bytes_put_u64(&out, entry->position);
	bytes_put(&out, entry->payload, length);
	bytes_store_u32(bytes, (uint32_t)crc32_z(0, bytes + CRC_SIZE, out.used - CRC_SIZE));
	/* A length that no entry has takes as much room as an entry can. */
	size = size < sizeof(bytes) ? size : sizeof(bytes);
	ring_put(&writer->ring, writer->at, bytes, size);
	ring_put(&writer->mirror, writer->at, bytes, size);
	writer->at += size;
	checked_word_store(writer->written, writer->at);
}

/* Instead of the entry that was to be written. */
enum { INSTEAD_KIND, INSTEAD_LENGTH, INSTEAD_POSITION, INSTEAD_VALUE, INSTEAD_PARTS };

static void change_entry(struct plan *plan, struct entry *entry, uint64_t strike)
{
	unsigned way = (unsigned)(strike / INSTEAD_PARTS % DAMAGE_NUMBER_WAYS);
	uint64_t random = plan_random(plan);

	switch (strike % INSTEAD_PARTS) {
	case INSTEAD_KIND:
		entry->kind = (uint16_t)damage_number(entry->kind, way, random);
		break;
	case INSTEAD_LENGTH:
		entry->length = (uint16_t)damage_number(entry->length, way, random);
		break;
	case INSTEAD_POSITION:
		entry->position = damage_number(entry->position, way, random);
		break;
	default:
		bytes_store_u64(entry->payload, damage_number(bytes_load_u64(entry->payload), way, random));
		break;
	}
}

/* Besides it: what nobody typed or pressed, and a vote too many. */
static const struct entry additions[] = {
	{ .kind = TAPE_CONSOLE, .length = 1, .payload = "x" },
	{ .kind = TAPE_CONSOLE, .length = TAPE_CONSOLE_MAX, .payload = "never typed" },
	{ .kind = TAPE_BUTTON },
	{ .kind = TAPE_RESET },
	{ .kind = TAPE_VOTE, .length = 8, .payload = { VOTE_CAUSE_INTERVAL } },
	{ .kind = TAPE_VOTE, .length = 8, .payload = { VOTE_CAUSE_END } },
	{ .kind = TAPE_TIME, .length = 8, .payload = { 1 } },
	{ .kind = TAPE_TIME, .length = 8, .payload = { 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF } },
};

enum { CHANGES = INSTEAD_PARTS * DAMAGE_NUMBER_WAYS, OMISSION = 1 };

static uint64_t forge_entry(struct plan *plan, writer_function *write, struct tape_writer *writer,
			    const struct entry *honest, uint64_t strike)
{
	struct entry entry = *honest;
	uint64_t before = writer->at;

	plan_log(plan, "strike %llu: forged in place of tape byte %llu, kind %u, position %llu",
		 (unsigned long long)strike, (unsigned long long)writer->at, entry.kind,
		 (unsigned long long)entry.position);
	if (strike < CHANGES) {
		change_entry(plan, &entry, strike);
		put_entry(writer, &entry);
	} else if (strike < CHANGES + ARRAY_SIZE(additions)) {
		entry = additions[strike - CHANGES];
		entry.position = honest->position;
		put_entry(writer, &entry);
		(void)write(writer, (enum tape_kind)honest->kind, honest->position, honest->payload, honest->length);
	}
	return writer->at - before;
}

/* --- both --- */

uint64_t forge_tape_write(struct plan *plan, writer_function *write, struct tape_writer *writer, enum tape_kind kind,
			  uint64_t position, const void *payload, uint16_t length)
{
	struct entry entry = { .kind = (uint16_t)kind, .length = length, .position = position };
	_Atomic uint64_t *written = writer->written;
	_Atomic uint64_t hidden;
	uint64_t strike, size, at = writer->at;
	bool due = length == 8 && plan_random(plan) % plan->every == 0;

	if (due && plan_is(plan, "tape") &&
	    plan_strike(plan, (uint64_t)COPIES * NUMBER_ENTRY * DAMAGE_BYTE_WAYS, &strike)) {
		writer->written = &hidden;
		size = write(writer, kind, position, payload, length);
		writer->written = written;
		damage_entry(plan, writer, at, strike);
		checked_word_store(written, writer->at);
		return size;
	}
	if (due && plan_is(plan, "tape-forge") &&
	    plan_strike(plan, CHANGES + ARRAY_SIZE(additions) + OMISSION, &strike)) {
		memcpy(entry.payload, payload, length);
		return forge_entry(plan, write, writer, &entry, strike);
	}
	return write(writer, kind, position, payload, length);
}
