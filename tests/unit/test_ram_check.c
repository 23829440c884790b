/* Memories compared byte for byte, holes and all. */
#include "tests/unit/guest_memory.h"

#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "lockstep/ram_check.h"

enum { COUNT = 3 };
#define SIZE (UINT64_C(64) << 20)

static int fds[COUNT];

static void setup(void)
{
	for (unsigned i = 0; i < COUNT; i++)
		must_succeed(fd_sealed_memory(&fds[i], "ram", SIZE));
}

static void teardown(void)
{
	for (unsigned i = 0; i < COUNT; i++)
		fd_close(&fds[i]);
}

static void put(unsigned i, uint64_t offset, uint8_t byte)
{
	ck_assert_int_eq(pwrite(fds[i], &byte, 1, (off_t)offset), 1);
}

static void must_differ(unsigned count, uint64_t wanted)
{
	uint64_t pages, differing;

	must_succeed(ram_check_compare(fds, count, SIZE, &pages, &differing));
	ck_assert_uint_eq(pages, SIZE / 4096);
	ck_assert_uint_eq(differing, wanted);
}

START_TEST(untouched)
{
	must_differ(COUNT, 0);
}
END_TEST

START_TEST(alike)
{
	for (uint64_t offset = 0; offset < SIZE; offset += 777777)
		for (unsigned i = 0; i < COUNT; i++)
			put(i, offset, 0x77);
	/* What is zero is the same as what was never touched. */
	put(1, SIZE / 2, 0);
	must_differ(COUNT, 0);
}
END_TEST

/* Any byte of any of them, first and last included, alone in a hole or among others. */
START_TEST(one_byte)
{
	static const uint64_t offsets[] = { 0, 4095, 4096, (1 << 20) - 1, 1 << 20, SIZE / 2 + 5, SIZE - 1 };

	for (size_t k = 0; k < ARRAY_SIZE(offsets); k++) {
		for (unsigned i = 0; i < COUNT; i++) {
			put(i, offsets[k], 1);
			must_differ(COUNT, 1);
			put(i, offsets[k], 0);
			must_differ(COUNT, 0);
		}
	}
}
END_TEST

START_TEST(pages_are_counted_once)
{
	put(0, 10 * 4096, 1);
	put(1, 10 * 4096, 2);
	put(2, 10 * 4096 + 9, 3);
	put(2, SIZE - 4096, 4);
	must_differ(COUNT, 2);
	must_differ(2, 1);
	must_differ(1, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ram_check");
	TCase *tests = tcase_create("memories");

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, untouched);
	tcase_add_test(tests, alike);
	tcase_add_test(tests, one_byte);
	tcase_add_test(tests, pages_are_counted_once);
	tcase_set_timeout(tests, 60);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
