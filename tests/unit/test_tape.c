/* The tape: round trips across the ring's end, the second copy, and the refusal of everything that a leader does not
 * write. */
#include "tests/unit/guest_memory.h"

#include <string.h>
#include <zlib.h>

#include "base/checked_word.h"
#include "lockstep/tape.h"

enum { SIZE = 256 };

static uint8_t memory[SIZE], mirror_memory[SIZE];
static _Atomic uint64_t written_word;
static struct tape_writer writer;
static struct tape_reader reader;

/* One copy. */
static void start_at(uint64_t offset)
{
	memset(memory, 0xC3, sizeof(memory));
	memset(mirror_memory, 0x3C, sizeof(mirror_memory));
	checked_word_store(&written_word, offset);
	writer = (struct tape_writer){ .ring = { memory, SIZE }, .written = &written_word, .at = offset };
	reader = (struct tape_reader){ .ring = { memory, SIZE }, .written = &written_word, .at = offset };
}

/* Two copies. */
static void start_mirrored_at(uint64_t offset)
{
	start_at(offset);
	writer.mirror = (struct ring){ mirror_memory, SIZE };
	reader.mirror = (struct ring){ mirror_memory, SIZE };
}

static uint64_t written(void)
{
	return checked_word_load(&written_word, UINT64_MAX);
}

static void setup(void)
{
	start_at(0);
}

static bool peek(struct tape_entry *entry)
{
	bool there;

	must_succeed(tape_peek(&reader, entry, &there));
	return there;
}

static void must_refuse(const char *words)
{
	struct tape_entry entry;
	bool there = true;

	must_fail(tape_peek(&reader, &entry, &there), STATUS_FAILED, words);
	ck_assert(!there);
}

START_TEST(empty)
{
	struct tape_entry entry;

	ck_assert(!peek(&entry));
	start_at(UINT64_C(1) << 40);
	ck_assert(!peek(&entry));
}
END_TEST

/* Every kind and length from every place of the ring, near the start and far from it. */
START_TEST(round_trips)
{
	uint8_t payload[TAPE_PAYLOAD_MAX];

	for (unsigned i = 0; i < sizeof(payload); i++)
		payload[i] = (uint8_t)(i + 100);
	for (uint64_t place = 0; place < 2 * SIZE; place += 8) {
		start_at(place + (place & 8 ? UINT64_C(1) << 47 : 0));
		for (unsigned length = 1; length <= TAPE_CONSOLE_MAX; length++) {
			struct tape_entry entry;
			uint64_t before = written();
			uint64_t size = tape_write(&writer, TAPE_CONSOLE, place + length, payload, (uint16_t)length);

			ck_assert_uint_eq(size, TAPE_HEADER_SIZE + (length + 7) / 8 * 8);
			ck_assert_uint_eq(written(), before + size);
			ck_assert_uint_eq(writer.at, before + size);
			ck_assert(peek(&entry));
			ck_assert_int_eq(entry.kind, TAPE_CONSOLE);
			ck_assert_uint_eq(entry.length, length);
			ck_assert_uint_eq(entry.position, place + length);
			ck_assert_mem_eq(entry.payload, payload, length);
			/* Peeking is not consuming. */
			ck_assert(peek(&entry));
			tape_consume(&reader, &entry);
			ck_assert_uint_eq(reader.at, before + size);
			ck_assert(!peek(&entry));
		}
	}
}
END_TEST

START_TEST(kinds)
{
	struct tape_entry entry;
	const uint64_t now = 0x123456789ABCDEF0, cause = 3;

	(void)tape_write(&writer, TAPE_TIME, 5, &now, sizeof(now));
	(void)tape_write(&writer, TAPE_BUTTON, 5, NULL, 0);
	(void)tape_write(&writer, TAPE_VOTE, 6, &cause, sizeof(cause));
	ck_assert(peek(&entry));
	ck_assert_int_eq(entry.kind, TAPE_TIME);
	ck_assert_uint_eq(tape_entry_value(&entry), now);
	tape_consume(&reader, &entry);
	ck_assert(peek(&entry));
	ck_assert_int_eq(entry.kind, TAPE_BUTTON);
	ck_assert_uint_eq(entry.length, 0);
	ck_assert_uint_eq(entry.position, 5);
	tape_consume(&reader, &entry);
	ck_assert(peek(&entry));
	ck_assert_int_eq(entry.kind, TAPE_VOTE);
	ck_assert_uint_eq(tape_entry_value(&entry), 3);
	ck_assert_uint_eq(entry.position, 6);
	ck_assert_str_eq(tape_kind_name(TAPE_TIME), "time");
	ck_assert_str_eq(tape_kind_name(TAPE_CONSOLE), "console");
	ck_assert_str_eq(tape_kind_name(TAPE_BUTTON), "button");
	ck_assert_str_eq(tape_kind_name(TAPE_VOTE), "vote");
	ck_assert_str_eq(tape_kind_name(TAPE_KINDS), "unknown");
	ck_assert_str_eq(tape_kind_name((enum tape_kind)0), "unknown");
}
END_TEST

/* The format as it stands in the header, byte by byte. */
START_TEST(format)
{
	uint8_t expected[TAPE_HEADER_SIZE + 8] = { 0 };

	(void)tape_write(&writer, TAPE_CONSOLE, 0x0102030405060708, "abc", 3);
	bytes_store_u16(expected + 4, 2);
	bytes_store_u16(expected + 6, 3);
	bytes_store_u64(expected + 8, 0x0102030405060708);
	memcpy(expected + 16, "abc", 3);
	bytes_store_u32(expected, (uint32_t)crc32(0, expected + 4, 15));
	ck_assert_mem_eq(memory, expected, sizeof(expected));
}
END_TEST

/* Each bit of an entry, across the ring's end too. The zeros behind a payload mean nothing. */
START_TEST(every_bit_flipped)
{
	const uint64_t start = _i ? SIZE - 24 : 0;
	struct tape_entry entry;
	const uint64_t length = 11, used = TAPE_HEADER_SIZE + length;

	start_at(start);
	uint64_t size = tape_write(&writer, TAPE_CONSOLE, 77, "hello world", (uint16_t)length);

	ck_assert_uint_eq(size, 32);
	for (unsigned bit = 0; bit < 8 * size; bit++) {
		uint8_t *byte = &memory[(start + bit / 8) % SIZE];
		bool there;

		*byte ^= (uint8_t)(1u << bit % 8);
		if (bit < 8 * used)
			must_refuse("damaged at byte");
		else
			must_succeed(tape_peek(&reader, &entry, &there));
		*byte ^= (uint8_t)(1u << bit % 8);
	}
	ck_assert(peek(&entry));
	ck_assert_mem_eq(entry.payload, "hello world", length);
}
END_TEST

/* Writes an entry with a right checksum whatever it holds, and `given` bytes of it. */
static void forge(uint16_t kind, uint16_t length, uint64_t position, uint64_t given)
{
	uint8_t bytes[TAPE_HEADER_SIZE + 8 * TAPE_PAYLOAD_MAX] = { 0 };

	bytes_store_u16(bytes + 4, kind);
	bytes_store_u16(bytes + 6, length);
	bytes_store_u64(bytes + 8, position);
	if (length <= 8 * TAPE_PAYLOAD_MAX)
		bytes_store_u32(bytes, (uint32_t)crc32(0, bytes + 4, 12u + length));
	ring_put(&writer.ring, writer.at, bytes, given < SIZE ? given : SIZE);
	writer.at += given;
	checked_word_store(&written_word, writer.at);
}

static const struct forgery {
	uint16_t kind, length;
	uint64_t given;
	bool good;
} forgeries[] = {
	{ TAPE_TIME, 8, 24, true },
	{ TAPE_TIME, 0, 16, false },
	{ TAPE_TIME, 7, 24, false },
	{ TAPE_TIME, 9, 32, false },
	{ TAPE_TIME, 16, 32, false },
	{ TAPE_VOTE, 8, 24, true },
	{ TAPE_VOTE, 4, 24, false },
	{ TAPE_BUTTON, 0, 16, true },
	{ TAPE_BUTTON, 1, 24, false },
	{ TAPE_CONSOLE, 1, 24, true },
	{ TAPE_CONSOLE, 0, 16, false },
	{ TAPE_CONSOLE, 64, 80, true },
	{ TAPE_CONSOLE, 65, 88, false },
	{ TAPE_CONSOLE, 0xFFFF, 200, false },
	{ 0, 0, 16, false },
	{ TAPE_KINDS, 8, 24, false },
	{ 0xFFFF, 8, 24, false },
	/* Cut off. */
	{ TAPE_TIME, 8, 23, false },
	{ TAPE_TIME, 8, 16, false },
	{ TAPE_CONSOLE, 64, 79, false },
};

START_TEST(forged)
{
	struct tape_entry entry;
	const struct forgery *forgery = &forgeries[_i];

	forge(forgery->kind, forgery->length, 1, forgery->given);
	if (forgery->good)
		ck_assert(peek(&entry));
	else
		must_refuse("damaged at byte");
}
END_TEST

START_TEST(truncated)
{
	struct tape_entry entry;

	(void)tape_write(&writer, TAPE_CONSOLE, 1, "0123456789abcdef", 16);
	for (uint64_t size = 0; size <= 32; size++) {
		bool there = true;

		checked_word_store(&written_word, size);
		if (size == 0)
			ck_assert(!peek(&entry));
		else if (size == 32)
			ck_assert(peek(&entry));
		else
			must_fail(tape_peek(&reader, &entry, &there), STATUS_FAILED, "damaged");
	}
}
END_TEST

START_TEST(overrun)
{
	const uint64_t now = 1;
	struct tape_entry entry;

	for (unsigned i = 0; i < 10; i++)
		(void)tape_write(&writer, TAPE_TIME, i, &now, sizeof(now));
	ck_assert(peek(&entry)); /* 240 bytes: all there */
	ck_assert_uint_eq(entry.position, 0);
	(void)tape_write(&writer, TAPE_TIME, 10, &now, sizeof(now));
	must_refuse("overrun: 264 bytes are written, 0 are read");
	/* A writer that goes back is no better. */
	reader.at = 240;
	checked_word_store(&written_word, 216);
	must_refuse("overrun: 216 bytes are written, 240 are read");
	checked_word_store(&written_word, CHECKED_WORD_MAX);
	must_refuse("overrun");
}
END_TEST

START_TEST(full_to_the_brim)
{
	struct tape_entry entry;
	const uint8_t payload[TAPE_CONSOLE_MAX] = { 1 };

	start_at(24);
	for (unsigned i = 0; i < 3; i++)
		(void)tape_write(&writer, TAPE_CONSOLE, i, payload, sizeof(payload));
	(void)tape_write(&writer, TAPE_BUTTON, 3, NULL, 0);
	ck_assert_uint_eq(written() - reader.at, SIZE);
	for (unsigned i = 0; i < 4; i++) {
		ck_assert(peek(&entry));
		ck_assert_uint_eq(entry.position, i);
		tape_consume(&reader, &entry);
	}
	ck_assert(!peek(&entry));
}
END_TEST

START_TEST(out_of_order)
{
	struct tape_entry entry;

	(void)tape_write(&writer, TAPE_BUTTON, 9, NULL, 0);
	(void)tape_write(&writer, TAPE_BUTTON, 9, NULL, 0);
	(void)tape_write(&writer, TAPE_BUTTON, 8, NULL, 0);
	for (unsigned i = 0; i < 2; i++) {
		ck_assert(peek(&entry));
		tape_consume(&reader, &entry);
	}
	must_refuse("position 8 comes after 9");
}
END_TEST

/* How much is written is told by a word in which a flipped bit is seen: then there is nothing new, until the leader
 * writes again. */
START_TEST(damaged_word)
{
	struct tape_entry entry;

	(void)tape_write(&writer, TAPE_BUTTON, 1, NULL, 0);
	ck_assert(peek(&entry));
	for (unsigned bit = 0; bit < 64; bit++) {
		atomic_fetch_xor(&written_word, UINT64_C(1) << bit);
		ck_assert(!peek(&entry));
		atomic_fetch_xor(&written_word, UINT64_C(1) << bit);
	}
	(void)tape_write(&writer, TAPE_BUTTON, 2, NULL, 0);
	for (unsigned i = 1; i <= 2; i++) {
		ck_assert(peek(&entry));
		ck_assert_uint_eq(entry.position, i);
		tape_consume(&reader, &entry);
	}
	ck_assert(!peek(&entry));
}
END_TEST

/* Both copies are the same bytes, wherever in the ring. */
START_TEST(mirrored)
{
	start_mirrored_at(SIZE - 24);
	(void)tape_write(&writer, TAPE_CONSOLE, 77, "hello world", 11);
	ck_assert_mem_eq(memory + SIZE - 24, mirror_memory + SIZE - 24, 24);
	ck_assert_mem_eq(memory, mirror_memory, 8);
	ck_assert_mem_ne(memory + 8, mirror_memory + 8, 8); /* nothing else was written */
}
END_TEST

/* Each bit of an entry in either copy: it is read all the same. Which one it was is counted. */
START_TEST(damaged_in_one_copy)
{
	const uint64_t start = SIZE - 24, length = 11;
	uint64_t mended = 0;
	struct tape_entry entry;

	start_mirrored_at(start);
	(void)tape_write(&writer, TAPE_CONSOLE, 77, "hello world", (uint16_t)length);
	for (unsigned bit = 0; bit < 8 * (TAPE_HEADER_SIZE + length); bit++) {
		uint64_t place = (start + bit / 8) % SIZE;
		uint8_t *const copies[] = { &memory[place], &mirror_memory[place] };

		for (unsigned i = 0; i < ARRAY_SIZE(copies); i++) {
			*copies[i] ^= (uint8_t)(1u << bit % 8);
			memset(&entry, 0xEE, sizeof(entry));
			ck_assert(peek(&entry));
			mended += i == 0;
			ck_assert_uint_eq(reader.mended, mended);
			ck_assert_int_eq(entry.kind, TAPE_CONSOLE);
			ck_assert_uint_eq(entry.position, 77);
			ck_assert_uint_eq(entry.length, length);
			ck_assert_mem_eq(entry.payload, "hello world", length);
			*copies[i] ^= (uint8_t)(1u << bit % 8);
		}
	}
}
END_TEST

START_TEST(damaged_in_both_copies)
{
	struct tape_entry entry;

	start_mirrored_at(0);
	(void)tape_write(&writer, TAPE_BUTTON, 1, NULL, 0);
	(void)tape_write(&writer, TAPE_CONSOLE, 2, "abc", 3);
	(void)tape_write(&writer, TAPE_BUTTON, 3, NULL, 0);
	memory[16 + 9] ^= 4;
	mirror_memory[16 + 17] ^= 1;
	ck_assert(peek(&entry)); /* what stands before it is good */
	tape_consume(&reader, &entry);
	must_refuse("damaged at byte 16: wrong checksum");
	mirror_memory[16 + 17] ^= 1;
	ck_assert(peek(&entry));
	ck_assert_uint_eq(entry.position, 2);
}
END_TEST

/* A copy that is whole but out of order is refused, whichever it is. */
START_TEST(mirror_is_validated_too)
{
	struct tape_entry entry;

	start_mirrored_at(0);
	(void)tape_write(&writer, TAPE_BUTTON, 9, NULL, 0);
	(void)tape_write(&writer, TAPE_BUTTON, 8, NULL, 0);
	ck_assert(peek(&entry));
	tape_consume(&reader, &entry);
	memory[16] ^= 1;
	must_refuse("position 8 comes after 9");
}
END_TEST

/* A tape that ends: what is behind is none of the reader's business, be it good or bad. */
START_TEST(ends)
{
	struct tape_entry entry;

	(void)tape_write(&writer, TAPE_BUTTON, 1, NULL, 0);
	(void)tape_write(&writer, TAPE_BUTTON, 2, NULL, 0);
	reader.ends = true;
	reader.end = 16;
	ck_assert(peek(&entry));
	ck_assert_uint_eq(entry.position, 1);
	tape_consume(&reader, &entry);
	ck_assert(!peek(&entry));
	memset(memory + 16, 0xFF, 16);
	ck_assert(!peek(&entry));
	/* An end in the middle of an entry is no end that a leader makes. */
	reader = (struct tape_reader){ .ring = { memory, SIZE }, .written = &written_word, .ends = true, .end = 15 };
	must_refuse("damaged at byte 0");
	/* An end that the leader has not come to ends nothing yet. */
	reader.end = 48;
	ck_assert(peek(&entry));
	tape_consume(&reader, &entry);
	must_refuse("damaged at byte 16");
}
END_TEST

START_TEST(writer_keeps_to_the_format)
{
	(void)tape_write(&writer, TAPE_TIME, 1, "1234567", 7);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("tape");
	TCase *tests = tcase_create("entries");

	tcase_add_checked_fixture(tests, setup, NULL);
	tcase_add_test(tests, empty);
	tcase_add_test(tests, round_trips);
	tcase_add_test(tests, kinds);
	tcase_add_test(tests, format);
	tcase_add_loop_test(tests, every_bit_flipped, 0, 2);
	tcase_add_loop_test(tests, forged, 0, (int)ARRAY_SIZE(forgeries));
	tcase_add_test(tests, truncated);
	tcase_add_test(tests, overrun);
	tcase_add_test(tests, full_to_the_brim);
	tcase_add_test(tests, out_of_order);
	tcase_add_test(tests, damaged_word);
	tcase_add_test(tests, mirrored);
	tcase_add_test(tests, damaged_in_one_copy);
	tcase_add_test(tests, damaged_in_both_copies);
	tcase_add_test(tests, mirror_is_validated_too);
	tcase_add_test(tests, ends);
	tcase_add_test_raise_signal(tests, writer_keeps_to_the_format, 6 /* SIGABRT */);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
