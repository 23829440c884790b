/* The guest's own address translation, over tables of all page sizes, damaged ones and loops. */
#include "tests/unit/guest_memory.h"

#include "vmm/page_walk.h"

#define MIB (UINT64_C(1) << 20)
#define P 1u    /* present */
#define PS 0x80u /* large page */

enum { PML4 = 0x1000, PDPT = 0x2000, PD = 0x3000, PT = 0x4000 };

static struct ram ram;
static struct cpu_state state;

static void put(uint64_t table, unsigned index, uint64_t entry)
{
	must_succeed(ram_write(&ram, table + 8ull * index, &entry, sizeof(entry)));
}

static void setup(void)
{
	guest_memory_make(&ram, 16 * MIB);
	state = (struct cpu_state){ .cr0 = 0x80000011, .cr3 = PML4 | 0x18, .cr4 = 0x20, .efer = 0x500 };
	put(PML4, 0, PDPT | P);
	put(PML4, 511, PDPT | P | UINT64_C(1) << 63); /* NX counts for nothing here */
	put(PDPT, 0, PD | P);
	put(PDPT, 1, 0x40000000 | P | PS);
	put(PD, 0, PT | P);
	put(PD, 1, 0x600000 | P | PS | 0x1000); /* the PAT bit of a large page is no address */
	put(PT, 0, 0x8000 | P);
	put(PT, 1, 0xA000 | P | UINT64_C(0x7F) << 52);
	put(PT, 511, 0xC000 | P);
}

static void teardown(void)
{
	ram_unmap(&ram);
}

static void maps(uint64_t linear, uint64_t expected)
{
	uint64_t physical = 0;

	ck_assert_msg(page_walk(&ram, &state, linear, &physical), "0x%jx is not mapped", (uintmax_t)linear);
	ck_assert_msg(physical == expected, "0x%jx is at 0x%jx", (uintmax_t)linear, (uintmax_t)physical);
}

static void maps_not(uint64_t linear)
{
	uint64_t physical;

	ck_assert_msg(!page_walk(&ram, &state, linear, &physical), "0x%jx is mapped", (uintmax_t)linear);
}

START_TEST(page_sizes)
{
	maps(0, 0x8000);
	maps(0xFFF, 0x8FFF);
	maps(0x1234, 0xA234);
	maps(0x1FFFFF, 0xCFFF);
	maps(0x200000, 0x600000);
	maps(0x3FFFFF, 0x7FFFFF);
	maps(0x40000000, 0x40000000);
	maps(0x7FFFFFFF, 0x7FFFFFFF);
	maps(0xFFFFFF8000001000, 0xA000);
	/* There are no pages of 512 GiB: bit 7 says nothing at the top. */
	put(PML4, 0, PDPT | P | PS);
	maps(0x1234, 0xA234);
	maps_not(0x2000);
	maps_not(0x400000);
	maps_not(0x80000000);
	maps_not(0x8000000000);
}
END_TEST

START_TEST(not_present_at_each_level)
{
	const uint64_t tables[] = { PT, PD, PDPT, PML4 };

	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		uint64_t entry;

		must_succeed(ram_read(&ram, tables[i], &entry, sizeof(entry)));
		put(tables[i], 0, entry & ~(uint64_t)P);
		maps_not(0);
		/* A table outside of memory is none. */
		if (tables[i] != PT) {
			put(tables[i], 0, 0x000FFFFFFFFFF000 | P);
			maps_not(0);
		}
		put(tables[i], 0, entry);
		maps(0, 0x8000);
	}
	state.cr3 = 0x000FFFFFFFFFF000;
	maps_not(0);
}
END_TEST

START_TEST(tables_that_loop)
{
	put(PML4, 3, PML4 | P);
	/* Four steps through the same table end at that table's page. */
	maps((UINT64_C(3) << 39 | UINT64_C(3) << 30 | UINT64_C(3) << 21 | UINT64_C(3) << 12) + 5, PML4 + 5);
}
END_TEST

START_TEST(modes)
{
	state.cr0 = 0x11;
	maps(0x123456789, 0x123456789);
	state.cr0 = 0x80000011;
	state.cr4 = 0x1020; /* 5 levels */
	maps_not(0);
	state.cr4 = 0x20;
	state.efer = 0x100; /* not in long mode */
	maps_not(0);
}
END_TEST

START_TEST(reads_across_pages)
{
	uint8_t bytes[16] = { 0 };

	must_succeed(ram_write(&ram, 0x8FFC, "abcd", 4));
	must_succeed(ram_write(&ram, 0xA000, "efgh", 4));
	must_succeed(ram_write(&ram, 0xAFFE, "yz", 2));
	ck_assert_uint_eq(page_walk_read(&ram, &state, 0xFFC, bytes, 8), 8);
	ck_assert_mem_eq(bytes, "abcdefgh", 8);
	ck_assert_uint_eq(page_walk_read(&ram, &state, 0xFFC, bytes, 0), 0);
	/* As far as it is mapped, and as far as there is memory. */
	ck_assert_uint_eq(page_walk_read(&ram, &state, 0x1FFE, bytes, 15), 2);
	ck_assert_mem_eq(bytes, "yz", 2);
	ck_assert_uint_eq(page_walk_read(&ram, &state, 0x40000000, bytes, 15), 0);
	ck_assert_uint_eq(page_walk_read(&ram, &state, 0x2000, bytes, 15), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("page_walk");
	TCase *tests = tcase_create("tables");

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, page_sizes);
	tcase_add_test(tests, not_present_at_each_level);
	tcase_add_test(tests, tables_that_loop);
	tcase_add_test(tests, modes);
	tcase_add_test(tests, reads_across_pages);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
