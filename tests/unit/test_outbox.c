/* The outbox: everything that was put comes out in order, votes cover all of it, damaged streams are refused. */
#include "tests/unit/guest_memory.h"

#include <stdatomic.h>
#include <string.h>

#include "lockstep/outbox.h"

enum { SIZE = 1 << 14 };

static uint8_t memory[SIZE];
static _Atomic uint64_t written;
static struct outbox outbox;
static struct digest_context digests;

static void setup(void)
{
	const uint8_t key[DIGEST_KEY_SIZE] = { 9 };

	atomic_store(&written, 0);
	outbox_init(&outbox, (struct ring){ memory, SIZE }, &written);
	must_succeed(digest_create(&digests, key));
}

static void teardown(void)
{
	digest_destroy(&digests);
}

/* Copies what was voted since `from`, as a supervisor does. */
static uint64_t copy_from(uint64_t from, uint8_t *stream)
{
	ring_get(&outbox.ring, from, stream, outbox.voted - from);
	return outbox.voted - from;
}

START_TEST(gathers)
{
	uint8_t stream[SIZE];
	struct outbox_record record;
	uint64_t at = 0;

	outbox_put(&outbox, OUTPUT_CONSOLE, 10, "he", 2);
	outbox_put(&outbox, OUTPUT_CONSOLE, 11, "", 0);
	outbox_put(&outbox, OUTPUT_CONSOLE, 12, "llo", 3);
	ck_assert_uint_eq(atomic_load(&written), 0);
	ck_assert_uint_eq(outbox_pending(&outbox), 5);
	(void)outbox_vote(&outbox, &digests, 0);
	ck_assert_uint_eq(outbox_pending(&outbox), 0);
	ck_assert_uint_eq(outbox.voted, OUTBOX_HEADER_SIZE + 5);
	outbox_put(&outbox, OUTPUT_CONSOLE, 13, "!", 1);
	ck_assert_uint_eq(outbox_pending(&outbox), 1);
	(void)outbox_vote(&outbox, &digests, 1);
	uint64_t length = copy_from(0, stream);

	must_succeed(outbox_next(stream, length, &at, &record));
	ck_assert_int_eq(record.channel, OUTPUT_CONSOLE);
	ck_assert_uint_eq(record.position, 10);
	ck_assert_uint_eq(record.length, 5);
	ck_assert_mem_eq(record.data, "hello", 5);
	must_succeed(outbox_next(stream, length, &at, &record));
	ck_assert_uint_eq(record.position, 13);
	ck_assert_mem_eq(record.data, "!", 1);
	ck_assert_uint_eq(at, length);
}
END_TEST

START_TEST(nothing_to_say)
{
	struct digest a = outbox_vote(&outbox, &digests, 5);
	struct digest b = digest_of(&digests, DIGEST_OUTPUT, 5, "", 0);

	ck_assert_mem_eq(&a, &b, sizeof(a));
	ck_assert_uint_eq(outbox.voted, 0);
}
END_TEST

/* A long random stream through a small ring, released vote by vote. */
START_TEST(long_streams)
{
	static uint8_t stream[SIZE];
	uint64_t seed = 17, put = 0, taken = 0;

	for (uint64_t vote = 0; vote < 500; vote++) {
		uint64_t begin = outbox.voted;
		uint64_t at = 0;
		struct outbox_record record;
		uint64_t last = 0;

		while (outbox_pending(&outbox) < 5000) {
			uint8_t bytes[700];
			uint64_t length = fixture_random(&seed) % sizeof(bytes);

			for (uint64_t i = 0; i < length; i++)
				bytes[i] = (uint8_t)((put + i) * 7 % 251);
			outbox_put(&outbox, OUTPUT_CONSOLE, put + 1, bytes, length);
			put += length;
		}
		struct digest told = outbox_vote(&outbox, &digests, vote);
		uint64_t length = copy_from(begin, stream);
		/* What the supervisor hashes before it releases is what was voted. */
		struct digest again = digest_of(&digests, DIGEST_OUTPUT, vote, stream, length);

		ck_assert_mem_eq(&told, &again, sizeof(told));
		while (at < length) {
			must_succeed(outbox_next(stream, length, &at, &record));
			ck_assert_uint_le(record.length, OUTBOX_DATA_MAX);
			ck_assert_uint_gt(record.position, last);
			ck_assert_uint_le(record.position, taken + 1);
			last = record.position;
			for (uint32_t i = 0; i < record.length; i++, taken++)
				if (record.data[i] != (uint8_t)(taken * 7 % 251))
					ck_abort_msg("byte %ju of the stream", (uintmax_t)taken);
		}
		ck_assert_uint_eq(taken, put);
	}
	ck_assert_uint_gt(atomic_load(&written), 10 * SIZE);
}
END_TEST

/* Equal outputs have equal digests, and every difference shows: a byte, the position, how it falls into votes. */
START_TEST(digests_tell)
{
	static uint8_t other_memory[SIZE] = { 0 };
	_Atomic uint64_t other_written = 0;
	struct outbox other;
	struct digest a, b;

	outbox_init(&other, (struct ring){ other_memory, SIZE }, &other_written);
	for (unsigned round = 0; round < 5; round++) {
		outbox_put(&outbox, OUTPUT_CONSOLE, round, "abc", 3);
		/* What is gathered does not depend on the portions. */
		outbox_put(&other, OUTPUT_CONSOLE, round + (round == 3), "a", 1);
		outbox_put(&other, OUTPUT_CONSOLE, round + 1, round == 4 ? "bd" : "bc", 2);
		a = outbox_vote(&outbox, &digests, round);
		b = outbox_vote(&other, &digests, round + (round == 2));
		ck_assert_int_eq(memcmp(&a, &b, sizeof(a)) == 0, round < 2);
	}
}
END_TEST

static const struct damage {
	unsigned offset, width;
	uint32_t value;
} damages[] = {
	{ 0, 2, 0 },      { 0, 2, OUTPUT_VCONSOLE + 1 },
	{ 0, 2, 0x0101 }, { 2, 2, 1 },
	{ 2, 2, 0x8000 }, { 4, 4, 0 },
	{ 4, 4, 6 }, /* longer than what there is */
	{ 4, 4, OUTBOX_DATA_MAX + 1 }, { 4, 4, 0x80000000 },
	{ 4, 4, UINT32_MAX },
};

START_TEST(damaged)
{
	uint8_t stream[8192] = { 0 };
	struct outbox_record record;
	uint64_t at = 0;

	outbox_put(&outbox, OUTPUT_CONSOLE, 1, "hello", 5);
	(void)outbox_vote(&outbox, &digests, 0);
	uint64_t length = copy_from(0, stream);

	ck_assert_uint_eq(length, 21);
	must_succeed(outbox_next(stream, length, &at, &record));
	at = 0;
	memcpy(stream + damages[_i].offset, &damages[_i].value, damages[_i].width);
	/* The room of 8 KiB would be enough for a record of OUTBOX_DATA_MAX + 1. */
	if (damages[_i].value == OUTBOX_DATA_MAX + 1)
		length = sizeof(stream);
	must_fail(outbox_next(stream, length, &at, &record), STATUS_FAILED,
		  "a record that no replica writes, at byte 0");
	ck_assert_uint_eq(at, 0);
}
END_TEST

START_TEST(truncated)
{
	uint8_t stream[64];
	struct outbox_record record;

	outbox_put(&outbox, OUTPUT_CONSOLE, 1, "hello", 5);
	(void)outbox_vote(&outbox, &digests, 0);
	(void)copy_from(0, stream);
	for (uint64_t length = 0; length < 21; length++) {
		uint64_t at = 0;

		must_fail(outbox_next(stream, length, &at, &record), STATUS_FAILED, "at byte 0");
	}
}
END_TEST

START_TEST(largest_records)
{
	static uint8_t bytes[2 * OUTBOX_DATA_MAX + 1], stream[SIZE];
	struct outbox_record record;
	const uint32_t lengths[] = { OUTBOX_DATA_MAX, OUTBOX_DATA_MAX, 1 };
	uint64_t at = 0;

	outbox_put(&outbox, OUTPUT_CONSOLE, 1, bytes, sizeof(bytes));
	ck_assert_uint_eq(outbox_pending(&outbox), sizeof(bytes) + 2 * OUTBOX_HEADER_SIZE);
	(void)outbox_vote(&outbox, &digests, 0);
	uint64_t length = copy_from(0, stream);

	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		must_succeed(outbox_next(stream, length, &at, &record));
		ck_assert_uint_eq(record.length, lengths[i]);
	}
	ck_assert_uint_eq(at, length);
}
END_TEST

/* Starts again where another one's stream was voted: what was put and not voted is gone, wherever it stood. */
START_TEST(restarted)
{
	static uint8_t other_memory[SIZE] = { 0 };
	_Atomic uint64_t other_written = 0;
	struct outbox other;
	uint8_t stream[64];
	struct outbox_record record;
	uint64_t at = 0;
	const uint64_t voted = UINT64_C(5) * SIZE - 10; /* across the ring's end */

	outbox_put(&outbox, OUTPUT_CONSOLE, 1, "released", 8);
	(void)outbox_vote(&outbox, &digests, 0);
	outbox_put(&outbox, OUTPUT_CONSOLE, 2, "lost", 4);
	if (_i)
		(void)outbox_vote(&outbox, &digests, 1);
	outbox_put(&outbox, OUTPUT_CONSOLE, 3, "lost, too", 9);
	outbox_restart(&outbox, voted);
	ck_assert_uint_eq(outbox_pending(&outbox), 0);
	ck_assert_uint_eq(outbox.voted, voted);
	ck_assert_uint_eq(atomic_load(&written), voted);
	/* From here on it is the same as one that never was anywhere else. */
	outbox_init(&other, (struct ring){ other_memory, SIZE }, &other_written);
	outbox_restart(&other, voted);
	outbox_put(&outbox, OUTPUT_CONSOLE, 4, "new", 3);
	outbox_put(&other, OUTPUT_CONSOLE, 4, "new", 3);
	struct digest a = outbox_vote(&outbox, &digests, 2), b = outbox_vote(&other, &digests, 2);

	ck_assert_mem_eq(&a, &b, sizeof(a));
	ck_assert_uint_eq(atomic_load(&written), voted + OUTBOX_HEADER_SIZE + 3);
	ck_assert_uint_eq(copy_from(voted, stream), OUTBOX_HEADER_SIZE + 3);
	must_succeed(outbox_next(stream, OUTBOX_HEADER_SIZE + 3, &at, &record));
	ck_assert_uint_eq(record.position, 4);
	ck_assert_uint_eq(record.length, 3);
	ck_assert_mem_eq(record.data, "new", 3);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("outbox");
	TCase *tests = tcase_create("streams");

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, gathers);
	tcase_add_test(tests, nothing_to_say);
	tcase_add_test(tests, long_streams);
	tcase_add_test(tests, digests_tell);
	tcase_add_loop_test(tests, damaged, 0, (int)ARRAY_SIZE(damages));
	tcase_add_test(tests, truncated);
	tcase_add_test(tests, largest_records);
	tcase_add_loop_test(tests, restarted, 0, 2);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
