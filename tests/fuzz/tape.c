/*
 * A leader's tape with anything on it, as a follower reads it, for libFuzzer (tests/fuzz/run).
 *
 * The input is a list of steps: entries that are written, damage in one copy or both and in the word that says how far
 * it is written, and looks at what is next. Nothing is read outside of the ring; what is read has a kind and a length
 * that fit, and positions that do not go back; where nothing was damaged all that was written is there.
 *
 * Sources: base lockstep/tape.c
 * Defect: lockstep/tape.c s/entry->length > kinds\[kind\].most ||//
 */
#include <string.h>

#include "base/checked_word.h"
#include "lockstep/tape.h"
#include "tests/fuzz/input.h"

enum { RING = 1 << 14, LAST_MOST = 256 };

struct tape {
	uint8_t ring[RING];
	uint8_t mirror[RING];
	_Atomic uint64_t written;
	struct tape_writer writer;
	struct tape_reader reader;
	uint64_t position;
	bool damaged; /* ever: what is read may be anything that is well-formed then */
	uint64_t entries, read;
};

static void write_entry(struct tape *tape, struct input *input)
{
	static uint8_t payload[TAPE_PAYLOAD_MAX];
	static const uint16_t lengths[TAPE_KINDS] = { [TAPE_TIME] = 8, [TAPE_VOTE] = 8, [TAPE_SKIP] = 8,
						      [TAPE_STOP] = sizeof(struct stop_point) };
	unsigned what = (unsigned)input_next(input, 1), kind = 1 + what % (TAPE_KINDS - 1);
	uint16_t length = lengths[kind];

	if (kind == TAPE_CONSOLE)
		length = (uint16_t)(1 + what / 8 % TAPE_CONSOLE_MAX);
	else if (kind == TAPE_DEVICE)
		length = (uint16_t)(8 + input_next(input, 2) % (INBOX_TAPED_MAX - 8));
	tape->position += input_next(input, 1);
	/* A leader waits until there is room. */
	if (tape->writer.at - tape->reader.at + TAPE_HEADER_SIZE + TAPE_PAYLOAD_MAX + 8 > RING && what < 0xF0)
		return;
	input_bytes(input, payload, length);
	(void)tape_write(&tape->writer, (enum tape_kind)kind, tape->position, payload, length);
	tape->entries++;
}

static void look(struct tape *tape, bool consume)
{
	static struct tape_entry entry;
	uint64_t before = tape->reader.position;
	bool overrun = tape->writer.at - tape->reader.at > RING, there;
	result r = tape_peek(&tape->reader, &entry, &there);

	if (failed(r)) {
		invariant(tape->damaged || overrun);
		return;
	}
	if (!tape->damaged && !overrun)
		invariant(there == (tape->read < tape->entries) && !tape->reader.blind);
	if (!there)
		return;
	invariant(entry.kind >= TAPE_TIME && entry.kind < TAPE_KINDS && entry.length <= TAPE_PAYLOAD_MAX &&
		  entry.position >= before);
	if (!consume)
		return;
	tape_consume(&tape->reader, &entry);
	tape->read++;
	if (!overrun)
		invariant(tape->damaged || tape->reader.at <= tape->writer.at);
}

static void damage(struct tape *tape, struct input *input, unsigned how)
{
	uint64_t at = tape->reader.at + input_next(input, 2) % (LAST_MOST * (1 + how / 16));
	uint8_t bits = (uint8_t)input_next(input, 1);

	tape->damaged = true;
	if (how & 1U)
		tape->ring[at % RING] ^= bits;
	if (how & 2U)
		tape->mirror[at % RING] ^= bits;
	if (how & 4U)
		tape->written ^= (uint64_t)bits << input_next(input, 1) % 57;
	if (how & 8U)
		checked_word_store(&tape->written, input_next(input, 8) & CHECKED_WORD_MAX);
}

/* The leader writes again what followers wait for; or it is dead, and its tape ends somewhere. */
static void tell(struct tape *tape, struct input *input, unsigned how)
{
	if (how & 1U) {
		tape->damaged = true;
		tape->reader.ends = true;
		tape->reader.end = tape->reader.at + input_next(input, 2);
	} else {
		tape->reader.ends = false;
		checked_word_store(&tape->written, tape->writer.at);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct tape tape;
	struct input input = { data, size };
	uint64_t begin = input_next(&input, 2) * 8;

	memset(&tape, 0, sizeof(tape));
	checked_word_store(&tape.written, begin);
	tape.writer = (struct tape_writer){
		.ring = { tape.ring, RING }, .mirror = { tape.mirror, RING }, .written = &tape.written, .at = begin };
	tape.reader = (struct tape_reader){
		.ring = { tape.ring, RING }, .mirror = { tape.mirror, RING }, .written = &tape.written, .at = begin };
	while (input.left > 0) {
		unsigned op = (unsigned)input_next(&input, 1);

		switch (op & 3U) {
		case 0:
			write_entry(&tape, &input);
			break;
		case 1:
			look(&tape, op & 4U);
			break;
		case 2:
			look(&tape, true);
			break;
		default:
			if (op & 4U)
				damage(&tape, &input, op >> 3);
			else
				tell(&tape, &input, op >> 3);
			break;
		}
	}
	return 0;
}
