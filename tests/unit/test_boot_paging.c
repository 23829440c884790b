/* The first page tables and segments, read back by an own walk and as a CPU would read a GDT. */
#include "tests/unit/guest_memory.h"

#include <string.h>

#include "vmm/boot.h"
#include "vmm/boot_paging.h"
#include "vmm/page_walk.h"

#define MIB (UINT64_C(1) << 20)

static struct ram ram;
static struct cpu_state entry;

static void setup(void)
{
	guest_memory_make(&ram, 16 * MIB);
	memset(&entry, 0xEE, sizeof(entry));
}

static void teardown(void)
{
	ram_unmap(&ram);
}

START_TEST(first_4_gib_are_where_they_are)
{
	must_succeed(boot_paging_enter(&ram, _i, &entry));
	for (uint64_t linear = 0; linear < UINT64_C(1) << 32; linear += 0x1FF123) {
		uint64_t physical;

		if (!page_walk(&ram, &entry, linear, &physical) || physical != linear)
			ck_abort_msg("0x%jx is not mapped where it is", (uintmax_t)linear);
	}
	uint64_t ignored;

	ck_assert(page_walk(&ram, &entry, UINT32_MAX, &ignored));
	ck_assert(!page_walk(&ram, &entry, UINT64_C(1) << 32, &ignored));
}
END_TEST

/* Every present entry: writable, accessed, dirty; for users or not, as it was asked for. */
START_TEST(bits_are_preset)
{
	const uint64_t expected = _i ? 0x67 : 0x63;
	unsigned present = 0;

	must_succeed(boot_paging_enter(&ram, _i, &entry));
	for (uint64_t at = BOOT_PAGE_TABLES; at < BOOT_PAGE_TABLES + 6 * RAM_PAGE_SIZE; at += 8) {
		uint64_t value;

		must_succeed(ram_read(&ram, at, &value, sizeof(value)));
		if (value == 0)
			continue;
		present++;
		if ((value & 0x7F) != expected || value >> 52)
			ck_abort_msg("entry at 0x%jx is 0x%jx", (uintmax_t)at, (uintmax_t)value);
	}
	ck_assert_uint_eq(present, 1 + 4 + 4 * 512);
}
END_TEST

/* A descriptor's attributes as a VMCB has them: bits 47:40 and 55:52 (AMD64 APM vol. 2, 4.8). */
static uint16_t attributes_in_gdt(uint16_t selector)
{
	uint64_t descriptor;

	ck_assert_uint_le((selector & ~7u) + 7u, entry.gdt_limit);
	must_succeed(ram_read(&ram, entry.gdt_base + (selector & ~7u), &descriptor, sizeof(descriptor)));
	/* Flat: base 0, limit 0xFFFFF pages. */
	ck_assert_uint_eq(descriptor & 0xFF0F00FFFFFFFFFF, 0x000F00000000FFFF);
	return (uint16_t)((descriptor >> 40 & 0xFF) | (descriptor >> 52 & 0xF) << 8);
}

START_TEST(segments)
{
	const uint16_t ring = _i ? 3 : 0;
	static const enum cpu_segment_name data[] = { SEG_SS, SEG_DS, SEG_ES, SEG_FS, SEG_GS };

	must_succeed(boot_paging_enter(&ram, _i, &entry));
	const struct cpu_segment *code = &entry.segment[SEG_CS];

	ck_assert_uint_eq(code->selector & 3, ring);
	ck_assert_uint_eq(code->attributes, 0xA9B | ring << 5);
	ck_assert_uint_eq(attributes_in_gdt(code->selector), code->attributes);
	ck_assert_uint_eq(code->limit, UINT32_MAX);
	ck_assert_uint_eq(code->base, 0);
	for (size_t i = 0; i < ARRAY_SIZE(data); i++) {
		const struct cpu_segment *segment = &entry.segment[data[i]];

		ck_assert_uint_eq(segment->selector & 3, ring);
		ck_assert_uint_eq(segment->attributes, 0xC93 | ring << 5);
		ck_assert_uint_eq(attributes_in_gdt(segment->selector), segment->attributes);
		ck_assert_uint_eq(segment->limit, UINT32_MAX);
		ck_assert_uint_eq(segment->base, 0);
	}
	if (!ring) { /* __BOOT_CS and __BOOT_DS (boot.rst, "64-bit BOOT PROTOCOL") */
		ck_assert_uint_eq(code->selector, 0x10);
		ck_assert_uint_eq(entry.segment[SEG_DS].selector, 0x18);
	}
	ck_assert_uint_eq(entry.segment[SEG_TR].attributes, 0x08B);
}
END_TEST

START_TEST(control)
{
	struct cpu_state canonical;

	must_succeed(boot_paging_enter(&ram, _i, &entry));
	ck_assert_uint_eq(entry.cr0, 0x80010033);
	ck_assert_uint_eq(entry.cr3, BOOT_PAGE_TABLES);
	ck_assert_uint_eq(entry.cr4 & 0x20, 0x20);
	ck_assert_uint_eq(entry.efer, 0xD00);
	ck_assert_uint_eq(entry.rflags, _i ? 0x3002 : 0x2);
	ck_assert_uint_eq(entry.rip, 0);
	for (unsigned i = 0; i < GPR_COUNT; i++)
		ck_assert_uint_eq(entry.gpr[i], 0);
	ck_assert_uint_eq(entry.fcw, 0x37F);
	ck_assert_uint_eq(entry.mxcsr, 0x1F80);
	/* It begins as canonical as it will be. */
	canonical = entry;
	registers_canonicalise(&canonical);
	ck_assert_uint_eq(registers_compare(&canonical, &entry, NULL, NULL), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("boot_paging");
	TCase *tests = tcase_create("entry");

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_loop_test(tests, first_4_gib_are_where_they_are, 0, 2);
	tcase_add_loop_test(tests, bits_are_preset, 0, 2);
	tcase_add_loop_test(tests, segments, 0, 2);
	tcase_add_loop_test(tests, control, 0, 2);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
