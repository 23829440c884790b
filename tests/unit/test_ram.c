/* Guest memory: where it lies, the door and its walls, the dirty set. */
#include "tests/unit/guest_memory.h"

#include <string.h>

#include "base/fd.h"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

START_TEST(sizes)
{
	must_succeed(ram_check_size(RAM_SIZE_MIN));
	must_succeed(ram_check_size(RAM_SIZE_MAX));
	must_succeed(ram_check_size(100 * MIB + RAM_PAGE_SIZE));
	const uint64_t wrong[] = { 0, RAM_SIZE_MIN - 4096, RAM_SIZE_MAX + 4096, 100 * MIB + 1, UINT64_MAX };

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		must_fail(ram_check_size(wrong[i]), STATUS_USAGE, "--memory");
}
END_TEST

START_TEST(mapping_checks_the_file)
{
	struct ram ram;
	int fd;

	must_succeed(fd_sealed_memory(&fd, "test", 16 * MIB));
	must_fail(ram_map(&ram, fd, 32 * MIB, true), STATUS_FAILED, "guest RAM has 16777216 bytes");
	must_fail(ram_map(&ram, guest_memory_file(NULL, 0, 16 * MIB), 16 * MIB, true), STATUS_FAILED,
		  "guest RAM is not a sealed memory");
	ram_unmap(&ram);
	ck_assert_int_eq(ram.fd, -1);
}
END_TEST

/* RAM of a size, and what its layout must be. */
static const struct layout {
	uint64_t size, low, high;
} layouts[] = {
	{ 16 * MIB, 16 * MIB, 0 },
	{ 3 * GIB - 4096, 3 * GIB - 4096, 0 },
	{ 3 * GIB, 3 * GIB, 0 },
	{ 3 * GIB + 4096, 3 * GIB, 4096 },
	{ 5 * GIB, 3 * GIB, 2 * GIB },
};

START_TEST(layout)
{
	const struct layout *expected = &layouts[_i];
	struct ram ram;
	uint64_t page;

	guest_memory_make(&ram, expected->size);
	uint64_t low = expected->low, high = expected->high;

	ck_assert_uint_eq(ram_low_size(&ram), low);
	ck_assert_uint_eq(ram_high_size(&ram), high);
	ck_assert_uint_eq(ram_pages(&ram), expected->size / 4096);
	ck_assert_uint_eq(ram_bitmap_words(&ram), (expected->size / 4096 + 63) / 64);

	/* The walls, from both sides. */
	ck_assert(ram_contains(&ram, 0, low));
	ck_assert(!ram_contains(&ram, 0, low + 1));
	ck_assert(ram_contains(&ram, low - 1, 1));
	ck_assert(!ram_contains(&ram, low, 1));
	ck_assert(ram_contains(&ram, low, 0));
	ck_assert(!ram_contains(&ram, low + 1, 0));
	ck_assert(!ram_contains(&ram, RAM_HOLE_END - 1, 1));
	ck_assert(!ram_contains(&ram, RAM_HOLE_END - 1, 2));
	ck_assert(ram_contains(&ram, RAM_HOLE_END, high));
	ck_assert(!ram_contains(&ram, RAM_HOLE_END, high + 1));
	ck_assert(!ram_contains(&ram, RAM_HOLE_END + high, 1));
	/* Wrapping ranges. */
	ck_assert(!ram_contains(&ram, 4096, UINT64_MAX));
	ck_assert(!ram_contains(&ram, 4096, UINT64_MAX - 4095));
	ck_assert(!ram_contains(&ram, UINT64_MAX, 1));
	ck_assert(!ram_contains(&ram, UINT64_MAX, UINT64_MAX));
	ck_assert(!ram_contains(&ram, RAM_HOLE_END + 4096, UINT64_MAX - 4095));

	/* Page numbers and addresses are each other's inverse. */
	const uint64_t pages[] = { 0, 1, low / 4096 - 1, ram_pages(&ram) - 1, low / 4096 };

	for (size_t i = 0; i < ARRAY_SIZE(pages) && pages[i] < ram_pages(&ram); i++) {
		uint64_t address = ram_page_address(&ram, pages[i]);

		ck_assert_uint_eq(address, pages[i] < low / 4096 ? pages[i] * 4096 :
								   4 * GIB + pages[i] * 4096 - low);
		ck_assert(ram_page_of(&ram, address + 4095, &page));
		ck_assert_uint_eq(page, pages[i]);
	}
	ck_assert(!ram_page_of(&ram, low, &page));
	ck_assert(!ram_page_of(&ram, RAM_HOLE_END + high, &page));
	ram_unmap(&ram);
}
END_TEST

static void dirty_of(struct ram *ram, uint64_t *bitmap)
{
	memset(bitmap, 0, ram_bitmap_words(ram) * sizeof(*bitmap));
	ram_collect_dirty(ram, bitmap);
}

START_TEST(touched)
{
	uint64_t first, count;
	struct ram ram;

	guest_memory_make(&ram, 16 * MIB);
	must_succeed(ram_next_touched(&ram, 0, &first, &count));
	ck_assert_uint_eq(first, ram_pages(&ram));
	ck_assert_uint_eq(count, 0);
	must_succeed(ram_write(&ram, 4096 * 2000 - 1, "xy", 2));
	must_succeed(ram_next_touched(&ram, 0, &first, &count));
	/* The host may have given more than was asked for. */
	ck_assert_uint_le(first, 1999);
	ck_assert_uint_ge(first + count, 2001);
	must_succeed(ram_next_touched(&ram, 2000, &first, &count));
	ck_assert_uint_eq(first, 2000);
	ck_assert_uint_ge(count, 1);
	must_succeed(ram_next_touched(&ram, ram_pages(&ram), &first, &count));
	ck_assert_uint_eq(count, 0);
	ram_unmap(&ram);
}
END_TEST

/* All of it is zero then, and what was not before is booked; what was never touched stays a hole. */
START_TEST(clear)
{
	static uint64_t dirty[16 * MIB / 4096 / 64];
	static const uint8_t zeros[4096];
	struct ram ram;

	guest_memory_make(&ram, 16 * MIB);
	must_succeed(ram_clear(&ram));
	dirty_of(&ram, dirty);
	for (size_t i = 0; i < ARRAY_SIZE(dirty); i++)
		ck_assert_uint_eq(dirty[i], 0);
	must_succeed(ram_write(&ram, 4096 * 65, "x", 1));
	must_succeed(ram_write(&ram, 16 * MIB - 1, "x", 1));
	dirty_of(&ram, dirty);
	/* By the guest, which nobody hears of here. */
	ram.memory[4096 * 700] = 1;
	must_succeed(ram_clear(&ram));
	dirty_of(&ram, dirty);
	for (uint64_t page = 0; page < ram_pages(&ram); page++) {
		bool written = page == 65 || page == 700 || page == ram_pages(&ram) - 1;

		/* The host may have given more than was asked for. */
		if (written)
			ck_assert(dirty[page / 64] >> (page % 64) & 1);
	}
	for (uint64_t page = 0; page < ram_pages(&ram); page++)
		ck_assert_mem_eq(ram_page(&ram, page), zeros, sizeof(zeros));
	ram_unmap(&ram);
}
END_TEST

START_TEST(door)
{
	static uint64_t dirty[16 * MIB / 4096 / 64];
	uint64_t none[ARRAY_SIZE(dirty)] = { 0 };
	uint8_t bytes[10000], back[10000];
	struct ram ram;

	guest_memory_make(&ram, 16 * MIB);
	dirty_of(&ram, dirty);
	ck_assert_mem_eq(dirty, none, sizeof(none));
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 7);
	must_succeed(ram_write(&ram, 4096 * 65 - 1, bytes, 4098));
	must_succeed(ram_read(&ram, 4096 * 65 - 1, back, 4098));
	ck_assert_mem_eq(bytes, back, 4098);
	ck_assert_mem_eq(ram_page(&ram, 65), bytes + 1, 4096);
	dirty_of(&ram, dirty);
	ck_assert_uint_eq(dirty[1], 7); /* pages 64, 65, 66 */
	dirty[1] = 0;
	ck_assert_mem_eq(dirty, none, sizeof(none));
	/* Collected means forgotten; reading and writing nothing is no write. */
	must_succeed(ram_read(&ram, 0, back, 4098));
	must_succeed(ram_write(&ram, 5000, bytes, 0));
	must_succeed(ram_write(&ram, 16 * MIB, bytes, 0));
	dirty_of(&ram, dirty);
	ck_assert_mem_eq(dirty, none, sizeof(none));
	/* The last byte, and one more. */
	must_succeed(ram_write(&ram, 16 * MIB - 1, bytes, 1));
	must_fail(ram_write(&ram, 16 * MIB - 1, bytes, 2), STATUS_GUEST, "0xffffff with 2 bytes is not in guest RAM");
	must_fail(ram_read(&ram, 16 * MIB - 1, back, 2), STATUS_GUEST, "not in guest RAM");
	must_fail(ram_read(&ram, UINT64_MAX, back, 2), STATUS_GUEST, "not in guest RAM");
	dirty_of(&ram, dirty);
	ck_assert_uint_eq(dirty[ARRAY_SIZE(dirty) - 1], UINT64_C(1) << 63);
	/* Collecting adds to what the caller has. */
	memset(dirty, 0xFF, sizeof(dirty));
	ram_collect_dirty(&ram, dirty);
	ck_assert_uint_eq(dirty[0], UINT64_MAX);
	ram_unmap(&ram);
}
END_TEST

START_TEST(patches_are_not_booked)
{
	struct ram ram;
	uint64_t bitmap[16 * MIB / 4096 / 64] = { 0 };
	const uint64_t none[ARRAY_SIZE(bitmap)] = { 0 };
	uint8_t byte;

	guest_memory_make(&ram, 16 * MIB);
	must_succeed(ram_patch(&ram, 5000, "x", 1));
	must_succeed(ram_read(&ram, 5000, &byte, 1));
	ck_assert_uint_eq(byte, 'x');
	ram_collect_dirty(&ram, bitmap);
	ck_assert_mem_eq(bitmap, none, sizeof(none));
	must_fail(ram_patch(&ram, 16 * MIB - 1, "xy", 2), STATUS_GUEST, "not in guest RAM");
	ram_unmap(&ram);
}
END_TEST

START_TEST(high_memory)
{
	struct ram ram;
	uint8_t byte = 0;
	uint64_t page;
	const uint64_t value = 0x1122334455667788;

	guest_memory_make(&ram, 3 * GIB + 2 * MIB);
	must_succeed(ram_write(&ram, 4 * GIB + 4096, &value, sizeof(value)));
	must_succeed(ram_read(&ram, 4 * GIB + 4097, &byte, 1));
	ck_assert_uint_eq(byte, 0x77);
	ck_assert(ram_page_of(&ram, 4 * GIB + 4096, &page));
	ck_assert_uint_eq(page, 3 * GIB / 4096 + 1);
	ck_assert_mem_eq(ram_page(&ram, page), &value, sizeof(value));
	/* Neighbours in the file, strangers in the guest's address space. */
	must_fail(ram_write(&ram, 3 * GIB - 4, &value, 8), STATUS_GUEST, "not in guest RAM");
	must_fail(ram_write(&ram, 4 * GIB - 4, &value, 8), STATUS_GUEST, "not in guest RAM");
	ram_unmap(&ram);
}
END_TEST

START_TEST(files)
{
	struct ram ram;
	uint8_t back[6];
	uint64_t dirty[16 * MIB / 4096 / 64] = { 0 };
	int fd = guest_memory_file("0123456789", 10, 10);

	guest_memory_make(&ram, 16 * MIB);
	must_succeed(ram_write_file(&ram, 4094, fd, "digits", 3, 6));
	must_succeed(ram_read(&ram, 4094, back, 6));
	ck_assert_mem_eq(back, "345678", 6);
	ram_collect_dirty(&ram, dirty);
	ck_assert_uint_eq(dirty[0], 3);
	must_fail(ram_write_file(&ram, 0, fd, "digits", 5, 6), STATUS_INPUT, "digits ends early");
	must_fail(ram_write_file(&ram, 16 * MIB - 5, fd, "digits", 0, 6), STATUS_GUEST, "not in guest RAM");
	ram_unmap(&ram);
}
END_TEST

START_TEST(read_only)
{
	struct ram ram, view;
	int view_fd;
	const uint8_t byte = 0x42;

	guest_memory_make(&ram, 16 * MIB);
	must_succeed(fd_read_only_view(ram.fd, "RAM", &view_fd));
	must_succeed(ram_map(&view, view_fd, 16 * MIB, false));
	must_succeed(ram_write(&ram, 77, &byte, 1));
	ck_assert_uint_eq(ram_page(&view, 0)[77], 0x42);
	ck_assert_ptr_null(view.device_dirty);
	ram_unmap(&view);
	ram_unmap(&ram);
}
END_TEST

START_TEST(read_only_is_not_written)
{
	struct ram view;
	int fd, view_fd;

	must_succeed(fd_sealed_memory(&fd, "test", 16 * MIB));
	must_succeed(fd_read_only_view(fd, "RAM", &view_fd));
	must_succeed(ram_map(&view, view_fd, 16 * MIB, false));
	/* A broken invariant: aborts. */
	must_succeed(ram_write(&view, 0, "x", 1));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ram");
	TCase *tests = tcase_create("memory");

	tcase_add_test(tests, sizes);
	tcase_add_test(tests, mapping_checks_the_file);
	tcase_add_loop_test(tests, layout, 0, (int)ARRAY_SIZE(layouts));
	tcase_add_test(tests, touched);
	tcase_add_test(tests, clear);
	tcase_add_test(tests, door);
	tcase_add_test(tests, patches_are_not_booked);
	tcase_add_test(tests, high_memory);
	tcase_add_test(tests, files);
	tcase_add_test(tests, read_only);
	tcase_add_test_raise_signal(tests, read_only_is_not_written, 6 /* SIGABRT */);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
