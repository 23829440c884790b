/* Which pages the patrol adds to a vote: as many as are due, in turn, and none that nobody ever touched. */
#include "tests/unit/guest_memory.h"

#include <string.h>

#include "base/fd.h"
#include "base/futex.h"
#include "lockstep/scrub.h"

enum { PAGES = RAM_SIZE_MIN / RAM_PAGE_SIZE, RATE = 1000 }; /* pages a second */

static struct replica *replica;
static uint64_t dirty[PAGES / 64], fresh[PAGES / 64];
static uint64_t fresh[PAGES / 64];

static void setup(void)
{
	int area;

	replica = calloc(1, sizeof(*replica));
	ck_assert_ptr_nonnull(replica);
	must_succeed(fd_sealed_memory(&area, "area", area_size(PAGES)));
	must_succeed(area_map(&replica->own, area, PAGES, true));
	fd_close(&area);
	guest_memory_make(&replica->ram, RAM_SIZE_MIN);
	replica->machine.ram = &replica->ram;
	replica->box = (struct ballot_box){
		.machine = &replica->machine, .area = &replica->own, .scrub = dirty, .fresh = fresh,
		.compared = true,
	};
	replica->config.scrub = (uint64_t)RATE * RAM_PAGE_SIZE;
}

static void teardown(void)
{
	ram_unmap(&replica->ram);
	area_unmap(&replica->own);
	free(replica);
}

static void touch(uint64_t page)
{
	must_succeed(ram_write(&replica->ram, page * RAM_PAGE_SIZE, "x", 1));
}

/* A vote `ms` after the last one, and how many pages the patrol has added to it. */
static unsigned scrub_after(uint64_t ms)
{
	unsigned count = 0;

	memset(dirty, 0, sizeof(dirty));
	replica->scrub_since = clock_monotonic_ns() - ms * NS_PER_MS;
	scrub_add(replica);
	for (unsigned i = 0; i < PAGES / 64; i++)
		count += (unsigned)__builtin_popcountll(dirty[i]);
	return count;
}

static bool has(uint64_t page)
{
	return dirty[page / 64] >> page % 64 & 1;
}

/* The host may have made more than was touched, but not all of it. */
static uint64_t touched_pages(void)
{
	uint64_t first, count, all = 0;

	for (uint64_t from = 0; from < PAGES; from = first + count) {
		must_succeed(ram_next_touched(&replica->ram, from, &first, &count));
		all += count;
	}
	return all;
}

START_TEST(untouched_memory)
{
	ck_assert_uint_eq(scrub_after(1000), 0);
	ck_assert_uint_eq(touched_pages(), 0);
	touch(9);
	touch(500);
	/* Once each, and from the beginning again with the next vote. */
	for (unsigned round = 0; round < 3; round++) {
		unsigned count = scrub_after(1000);

		if (count == 0)
			count = scrub_after(1000);
		ck_assert(has(9) && has(500));
		ck_assert_uint_eq(count, touched_pages());
		ck_assert_uint_lt(count, PAGES / 2);
	}
	/* What is counted is what was added. */
	ck_assert_uint_eq(replica->own.control->statistics.pages_scrubbed, 3 * touched_pages());
}
END_TEST

/* All of memory comes by, in turn, as much as is due each time. */
START_TEST(in_turn)
{
	uint8_t seen[PAGES] = { 0 };
	unsigned total = 0;

	for (unsigned page = 0; page < PAGES; page++)
		touch(page);
	while (total < PAGES) {
		/* Between looking and now there is a moment. */
		unsigned count = scrub_after(100);

		ck_assert(total + count == PAGES || count >= RATE / 10);
		for (unsigned page = 0; page < PAGES; page++) {
			seen[page] = (uint8_t)(seen[page] + has(page));
			ck_assert_uint_le(seen[page], 1);
		}
		total += count;
	}
	ck_assert_uint_gt(scrub_after(100), 0);
	ck_assert(has(0));
}
END_TEST

START_TEST(none)
{
	touch(9);
	replica->box.compared = _i != 0;
	if (_i == 1)
		replica->config.scrub = 0;
	/* The first vote has nothing before it. */
	if (_i == 2) {
		replica->scrub_since = 0;
		scrub_add(replica);
		ck_assert_uint_ne(replica->scrub_since, 0);
		ck_assert_uint_eq(replica->own.control->statistics.pages_scrubbed, 0);
		return;
	}
	ck_assert_uint_eq(scrub_after(1000), 0);
}
END_TEST

/* Where hashing is slow it is a small part of the time, whatever was asked for. */
START_TEST(affordable)
{
	for (unsigned page = 0; page < PAGES; page++)
		touch(page);
	replica->own.control->statistics.pages_hashed = 100;
	replica->own.control->statistics.time.ns[STAGE_HASH] = 100 * NS_PER_MS;
	/* A millisecond each: of 1.6 seconds a 32th is enough for 50. */
	unsigned count = scrub_after(1600);

	ck_assert_uint_ge(count, 50);
	ck_assert_uint_lt(count, 400);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("scrub");
	TCase *tests = tcase_create("scrub");

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, untouched_memory);
	tcase_add_test(tests, in_turn);
	tcase_add_loop_test(tests, none, 0, 3);
	tcase_add_test(tests, affordable);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
