/* The set hash over memory: incremental is the same as all at once, and what changed is found, however it changed. */
#include "tests/unit/guest_memory.h"

#include <string.h>

#include "lockstep/pagehash.h"

#define MIB (UINT64_C(1) << 20)
enum { PAGES = 4096, WORDS = PAGES / 64 };

static struct ram ram;
static struct digest_context digests;
static struct digest table[PAGES];
static uint64_t bitmap[WORDS];
static struct pagehash hash;

static void setup(void)
{
	const uint8_t key[DIGEST_KEY_SIZE] = { 1, 2, 3 };

	guest_memory_make(&ram, 16 * MIB);
	must_succeed(digest_create(&digests, key));
	memset(table, 0, sizeof(table));
	memset(bitmap, 0, sizeof(bitmap));
	pagehash_init(&hash, &digests, &ram, table);
}

static void teardown(void)
{
	digest_destroy(&digests);
	ram_unmap(&ram);
}

struct changes {
	size_t count;
	uint64_t last;
	struct digest hash;
	bool disordered;
};

static void note(void *context, const struct pagehash_change *change)
{
	struct changes *changes = context;

	if (changes->count > 0 && change->page <= changes->last)
		changes->disordered = true;
	changes->count++;
	changes->last = change->page;
	changes->hash = change->hash;
}

static struct changes update(void)
{
	struct changes changes = { 0 };

	ram_collect_dirty(&ram, bitmap);
	pagehash_update(&hash, bitmap, note, &changes);
	ck_assert(!changes.disordered);
	for (size_t i = 0; i < WORDS; i++)
		if (bitmap[i] != 0)
			ck_abort_msg("the bitmap is not empty");
	return changes;
}

/* The sum by the definition: every page, byte by byte carried. */
static struct digest all_at_once(void)
{
	struct digest sum = { .bytes = { 0 } };

	for (uint64_t page = 0; page < PAGES; page++) {
		struct digest one = pagehash_of(&digests, page, ram_page(&ram, page));
		unsigned carry = 0;

		for (unsigned i = 0; i < DIGEST_SIZE; i++) {
			carry += (unsigned)sum.bytes[i] + one.bytes[i];
			sum.bytes[i] = (uint8_t)carry;
			carry >>= 8;
		}
	}
	return sum;
}

static void same_as_all_at_once(void)
{
	struct digest told = pagehash_digest(&hash);
	struct digest expected = all_at_once();

	ck_assert_mem_eq(&told, &expected, sizeof(told));
}

START_TEST(zero_pages_are_free)
{
	const struct digest zero = { .bytes = { 0 } };
	struct digest sum = pagehash_digest(&hash);

	ck_assert_mem_eq(&sum, &zero, sizeof(zero));
	memset(bitmap, 0xFF, sizeof(bitmap));
	struct changes changes = update();

	ck_assert_uint_eq(changes.count, 0);
	ck_assert_uint_eq(hash.hashed, PAGES);
	sum = pagehash_digest(&hash);
	ck_assert_mem_eq(&sum, &zero, sizeof(zero));
	same_as_all_at_once();
	/* Back to zeros is back to nothing. */
	must_succeed(ram_write(&ram, 12345, "x", 1));
	ck_assert_uint_eq(update().count, 1);
	must_succeed(ram_write(&ram, 12345, "", 1));
	changes = update();
	ck_assert_uint_eq(changes.count, 1);
	ck_assert_mem_eq(&changes.hash, &zero, sizeof(zero));
	sum = pagehash_digest(&hash);
	ck_assert_mem_eq(&sum, &zero, sizeof(zero));
}
END_TEST

START_TEST(random_writes)
{
	uint64_t seed = 11;

	for (unsigned round = 0; round < 40; round++) {
		unsigned writes = 1 + (unsigned)(fixture_random(&seed) % 200);

		for (unsigned i = 0; i < writes; i++) {
			uint8_t bytes[100];
			uint64_t value = fixture_random(&seed);

			memset(bytes, (int)(value & 3), sizeof(bytes)); /* often what was there before */
			must_succeed(ram_write(&ram, (value >> 8) % (16 * MIB - sizeof(bytes)), bytes, value % 100));
		}
		(void)update();
		same_as_all_at_once();
		for (uint64_t page = 0; page < PAGES; page++) {
			struct digest one = pagehash_of(&digests, page, ram_page(&ram, page));

			if (memcmp(&one, &table[page], sizeof(one)) != 0)
				ck_abort_msg("the table is wrong about page %ju", (uintmax_t)page);
		}
	}
}
END_TEST

START_TEST(only_marked_pages_are_hashed)
{
	must_succeed(ram_write(&ram, 4096 * 63, "a", 1));
	must_succeed(ram_write(&ram, 4096 * 64, "b", 1));
	must_succeed(ram_write(&ram, 4096 * 4095, "c", 1));
	struct changes changes = update();

	ck_assert_uint_eq(changes.count, 3);
	ck_assert_uint_eq(changes.last, 4095);
	ck_assert_uint_eq(hash.hashed, 3);
	/* Marked, but the same as before: hashed, and no change. */
	must_succeed(ram_write(&ram, 4096 * 64, "b", 1));
	struct digest before = pagehash_digest(&hash);

	changes = update();
	struct digest after = pagehash_digest(&hash);

	ck_assert_uint_eq(changes.count, 0);
	ck_assert_uint_eq(hash.hashed, 4);
	ck_assert_mem_eq(&before, &after, sizeof(before));
	/* Without anybody to tell. */
	must_succeed(ram_write(&ram, 4096, "d", 1));
	ram_collect_dirty(&ram, bitmap);
	pagehash_update(&hash, bitmap, NULL, NULL);
	same_as_all_at_once();
}
END_TEST

START_TEST(every_bit_of_a_page)
{
	uint8_t page[RAM_PAGE_SIZE];
	uint64_t seed = 3;

	for (size_t i = 0; i < sizeof(page); i++)
		page[i] = (uint8_t)fixture_random(&seed);
	must_succeed(ram_write(&ram, 4096 * 7, page, sizeof(page)));
	(void)update();
	const struct digest original = pagehash_digest(&hash);

	for (unsigned bit = 0; bit < 8 * RAM_PAGE_SIZE; bit++) {
		uint8_t flipped = page[bit / 8] ^ (uint8_t)(1u << bit % 8);

		if (failed(ram_write(&ram, 4096 * 7 + bit / 8, &flipped, 1)))
			ck_abort_msg("cannot flip bit %u", bit);
		ram_collect_dirty(&ram, bitmap);
		pagehash_update(&hash, bitmap, NULL, NULL);
		struct digest now = pagehash_digest(&hash);

		if (memcmp(&now, &original, sizeof(now)) == 0)
			ck_abort_msg("bit %u is not seen", bit);
		if (failed(ram_write(&ram, 4096 * 7 + bit / 8, &page[bit / 8], 1)))
			ck_abort_msg("cannot flip bit %u back", bit);
	}
	(void)update();
	struct digest again = pagehash_digest(&hash);

	ck_assert_mem_eq(&again, &original, sizeof(again));
}
END_TEST

/* A lone bit in a page of zeros, first and last bytes above all. */
START_TEST(a_bit_among_zeros)
{
	for (unsigned at = 0; at < RAM_PAGE_SIZE; at++) {
		uint8_t page[RAM_PAGE_SIZE] = { 0 };
		const struct digest zero = { .bytes = { 0 } };

		page[at] = (uint8_t)(1u << at % 8);
		struct digest one = pagehash_of(&digests, 5, page);

		if (memcmp(&one, &zero, sizeof(one)) == 0)
			ck_abort_msg("a bit in byte %u passes for zeros", at);
	}
}
END_TEST

/* From a page to one with another bit, to zeros and from them. */
START_TEST(flips)
{
	uint8_t page[RAM_PAGE_SIZE], other[RAM_PAGE_SIZE];
	uint64_t seed = 9;

	for (unsigned round = 0; round < 60; round++) {
		const size_t bit = fixture_random(&seed) % (8 * sizeof(page));
		struct digest wanted;

		memset(page, 0, sizeof(page));
		for (size_t i = 0; i < sizeof(page) && round % 3 == 0; i++)
			page[i] = (uint8_t)fixture_random(&seed);
		memcpy(other, page, sizeof(page));
		other[bit / 8] ^= (uint8_t)(1u << bit % 8);
		wanted = pagehash_of(&digests, round, round % 3 == 2 ? page : other);
		if (round % 3 == 2)
			memcpy(page, other, sizeof(page));
		ck_assert(pagehash_flip_towards(&digests, round, page, &wanted));
		if (round % 3 == 2)
			memset(other, 0, sizeof(other));
		ck_assert_mem_eq(page, other, sizeof(page));
		/* It is that already; and another bit is in the way. */
		ck_assert(!pagehash_flip_towards(&digests, round, page, &wanted));
		page[0] ^= 3;
		memcpy(other, page, sizeof(page));
		ck_assert(!pagehash_flip_towards(&digests, round, page, &wanted));
		ck_assert_mem_eq(page, other, sizeof(page));
	}
}
END_TEST

/* Pages that trade their contents, and one content on many pages: an XOR of position-blind hashes would cancel. */
START_TEST(swaps)
{
	uint8_t a[RAM_PAGE_SIZE], b[RAM_PAGE_SIZE];

	memset(a, 0xAA, sizeof(a));
	memset(b, 0xBB, sizeof(b));
	must_succeed(ram_write(&ram, 4096 * 10, a, sizeof(a)));
	must_succeed(ram_write(&ram, 4096 * 20, b, sizeof(b)));
	(void)update();
	const struct digest before = pagehash_digest(&hash);

	must_succeed(ram_write(&ram, 4096 * 10, b, sizeof(b)));
	must_succeed(ram_write(&ram, 4096 * 20, a, sizeof(a)));
	struct changes changes = update();
	struct digest after = pagehash_digest(&hash);

	ck_assert_uint_eq(changes.count, 2);
	ck_assert_mem_ne(&before, &after, sizeof(before));
	/* The same content on two pages more. */
	must_succeed(ram_write(&ram, 4096 * 30, a, sizeof(a)));
	must_succeed(ram_write(&ram, 4096 * 31, a, sizeof(a)));
	(void)update();
	struct digest more = pagehash_digest(&hash);

	ck_assert_mem_ne(&after, &more, sizeof(after));
	same_as_all_at_once();
}
END_TEST

/* One page at a time, whoever wrote it. */
START_TEST(replaced)
{
	uint8_t page[RAM_PAGE_SIZE];
	uint64_t seed = 21;

	for (unsigned round = 0; round < 20; round++) {
		uint64_t number = fixture_random(&seed) % 8; /* the same pages again and again */

		memset(page, (int)(round % 3), sizeof(page)); /* zeros, too */
		page[round] = (uint8_t)round;
		ram_replace_page(&ram, number, page);
		struct digest told = pagehash_replace(&hash, number);
		struct digest expected = pagehash_of(&digests, number, page);

		ck_assert_mem_eq(&told, &expected, sizeof(told));
		ck_assert_mem_eq(&table[number], &expected, sizeof(expected));
		ck_assert_mem_eq(ram_page(&ram, number), page, sizeof(page));
		same_as_all_at_once();
	}
	ck_assert_uint_eq(hash.hashed, 20);
	/* It was not booked as written. */
	ram_collect_dirty(&ram, bitmap);
	for (size_t i = 0; i < WORDS; i++)
		ck_assert_uint_eq(bitmap[i], 0);
}
END_TEST

/* Whatever happens to the table or to the sum, the digest is that of what the table says: a fault in either shows, and
 * when the table is right again, so is the digest. */
START_TEST(recounted)
{
	must_succeed(ram_write(&ram, 4096 * 5, "a", 1));
	must_succeed(ram_write(&ram, 4096 * 4095, "b", 1));
	(void)update();
	const struct digest right = pagehash_digest(&hash);

	hash.sum ^= (unsigned __int128)1 << (100 + _i);
	pagehash_recount(&hash);
	same_as_all_at_once();
	table[17].bytes[_i] ^= 1;
	pagehash_recount(&hash);
	struct digest wrong = pagehash_digest(&hash);

	ck_assert_mem_ne(&wrong, &right, sizeof(wrong));
	/* What rots in the table is as wrong as what rots in memory; hashed again, both are mended. */
	(void)pagehash_replace(&hash, 17);
	same_as_all_at_once();
}
END_TEST

static void count_life(void *context)
{
	++*(unsigned *)context;
}

/* While many pages are hashed it shows life now and then. */
START_TEST(alive)
{
	unsigned life = 0;

	hash.alive = count_life;
	hash.alive_context = &life;
	memset(bitmap, 0xFF, sizeof(bitmap));
	pagehash_update(&hash, bitmap, NULL, NULL);
	ck_assert_uint_ge(life, 8);
	ck_assert_uint_le(life, PAGES);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("pagehash");
	TCase *tests = tcase_create("pages");

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, zero_pages_are_free);
	tcase_add_test(tests, random_writes);
	tcase_add_test(tests, only_marked_pages_are_hashed);
	tcase_add_test(tests, every_bit_of_a_page);
	tcase_add_test(tests, a_bit_among_zeros);
	tcase_add_test(tests, flips);
	tcase_add_test(tests, swaps);
	tcase_add_test(tests, replaced);
	tcase_add_loop_test(tests, recounted, 0, DIGEST_SIZE);
	tcase_add_test(tests, alive);
	tcase_set_timeout(tests, 60);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
