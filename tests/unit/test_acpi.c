/* The tables as an operating system finds them: by their pointers and checksums. */
#include "vmm/acpi.h"

#include <string.h>

#include "base/bytes.h"
#include "devices/acpi_pm.h"
#include "devices/reset_control.h"
#include "tests/unit/fixture.h"

#define BASE 0xE0000U

static struct acpi_tables tables;

static void setup(void)
{
	ck_assert(!failed(acpi_build(&tables, BASE)));
	ck_assert_uint_le(tables.size, sizeof(tables.data));
}

static const uint8_t *at(uint64_t address, size_t length)
{
	ck_assert_uint_ge(address, BASE);
	ck_assert_uint_le(address + length, BASE + tables.size);
	return tables.data + (address - BASE);
}

static unsigned sum(const uint8_t *bytes, size_t length)
{
	uint8_t total = 0;

	for (size_t i = 0; i < length; i++)
		total = (uint8_t)(total + bytes[i]);
	return total;
}

static const uint8_t *table(uint64_t address, const char *signature)
{
	const uint8_t *header = at(address, 36);
	uint32_t length = bytes_load_u32(header + 4);

	ck_assert_mem_eq(header, signature, 4);
	ck_assert_uint_eq(sum(at(address, length), length), 0);
	return header;
}

static const uint8_t *xsdt(void)
{
	return table(bytes_load_u64(at(tables.rsdp_address, 36) + 24), "XSDT");
}

static const uint8_t *fadt(void)
{
	return table(bytes_load_u64(xsdt() + 36), "FACP");
}

START_TEST(rsdp)
{
	const uint8_t *found = at(tables.rsdp_address, 36);

	ck_assert_uint_eq(tables.rsdp_address % 16, 0);
	ck_assert_mem_eq(found, "RSD PTR ", 8);
	ck_assert_uint_eq(found[15], 2);
	ck_assert_uint_eq(bytes_load_u32(found + 20), 36);
	ck_assert_uint_eq(sum(found, 20), 0);
	ck_assert_uint_eq(sum(found, 36), 0);
}
END_TEST

START_TEST(only_a_fadt)
{
	/* No MADT, no HPET: those would announce what is not there. */
	ck_assert_uint_eq(bytes_load_u32(xsdt() + 4), 36 + 8);
	(void)fadt();
}
END_TEST

START_TEST(fadt_fields)
{
	const uint8_t *f = fadt();

	ck_assert_uint_eq(f[8], 6);
	ck_assert_uint_eq(bytes_load_u32(f + 4), 276);
	ck_assert_uint_eq(bytes_load_u16(f + 46), 9);
	ck_assert_uint_eq(bytes_load_u32(f + 48), 0); /* no SMI_CMD */
	ck_assert_uint_eq(bytes_load_u32(f + 56), 0x600);
	ck_assert_uint_eq(bytes_load_u32(f + 64), 0x604);
	ck_assert_uint_eq(bytes_load_u32(f + 76), 0x608);
	ck_assert_uint_eq(f[88], 4);
	ck_assert_uint_eq(f[89], 2);
	ck_assert_uint_eq(f[91], 4);
	ck_assert_uint_eq(f[108], 0x32);
	/* Legacy devices, no 8042, no VGA; the RTC is there. */
	ck_assert_uint_eq(bytes_load_u16(f + 109) & 0x27, 0x05);
	uint32_t flags = bytes_load_u32(f + 112);

	ck_assert_uint_eq(flags & 1U << 4, 0);   /* the power button is fixed hardware */
	ck_assert_uint_eq(flags & 1U << 20, 0);  /* not hardware-reduced */
	ck_assert_uint_ne(flags & 1U << 8, 0);   /* the timer has 32 bits */
	ck_assert_uint_ne(flags & 1U << 10, 0);  /* reset register */
	ck_assert_uint_eq(f[116], 1);
	ck_assert_uint_eq(f[117], 8);
	ck_assert_uint_eq(bytes_load_u64(f + 120), 0xCF9);
	ck_assert_uint_eq(f[128], 0x06);
	/* The 64-bit blocks say the same. */
	ck_assert_uint_eq(bytes_load_u64(f + 152), bytes_load_u32(f + 56));
	ck_assert_uint_eq(bytes_load_u64(f + 176), bytes_load_u32(f + 64));
	ck_assert_uint_eq(bytes_load_u64(f + 212), bytes_load_u32(f + 76));
	ck_assert_uint_eq(f[149], 32);
	ck_assert_uint_eq(f[173], 16);
	ck_assert_uint_eq(f[209], 32);
}
END_TEST

START_TEST(facs)
{
	const uint8_t *f = fadt();
	uint64_t address = bytes_load_u32(f + 36);

	/* One of its two pointers, not both. */
	ck_assert_uint_eq(bytes_load_u64(f + 132), 0);
	ck_assert_uint_eq(address % 64, 0);
	ck_assert_mem_eq(at(address, 64), "FACS", 4);
	ck_assert_uint_eq(bytes_load_u32(at(address, 64) + 4), 64);
}
END_TEST

START_TEST(dsdt)
{
	const uint8_t *f = fadt();
	const uint8_t *d = table(bytes_load_u64(f + 140), "DSDT");
	uint32_t length = bytes_load_u32(d + 4);
	/* Name (_S5, Package (4) { 5, 0, 0, 0 }), in AML. */
	static const uint8_t s5[] = { 0x08, '_', 'S', '5', '_', 0x12, 0x07, 4, 0x0A, ACPI_PM_SLEEP_TYPE_S5, 0, 0, 0 };
	/* EisaId ("PNP0501") */
	static const uint8_t com1[] = { 0x0C, 0x41, 0xD0, 0x05, 0x01 };

	ck_assert_uint_eq(bytes_load_u32(f + 40), bytes_load_u64(f + 140));
	ck_assert_uint_eq((uint64_t)(d - tables.data) + length, tables.size);
	ck_assert_ptr_nonnull(memmem(d, length, s5, sizeof(s5)));
	ck_assert_ptr_nonnull(memmem(d, length, com1, sizeof(com1)));
}
END_TEST

START_TEST(tables_do_not_overlap)
{
	const uint8_t *f = fadt();
	const uint64_t starts[5] = { tables.rsdp_address, bytes_load_u64(at(tables.rsdp_address, 36) + 24),
				     bytes_load_u64(xsdt() + 36), bytes_load_u32(f + 36),
				     bytes_load_u64(f + 140) };
	const uint64_t lengths[5] = { 36, 44, 276, 64, tables.size - (bytes_load_u64(f + 140) - BASE) };

	for (unsigned i = 0; i < 5; i++)
		for (unsigned j = 0; j < 5; j++)
			if (i != j)
				ck_assert(starts[i] + lengths[i] <= starts[j] || starts[j] + lengths[j] <= starts[i]);
}
END_TEST

START_TEST(bad_bases)
{
	static struct acpi_tables other;

	ck_assert(failed(acpi_build(&other, BASE + 16)));
	ck_assert(failed(acpi_build(&other, UINT64_C(1) << 32)));
	ck_assert(failed(acpi_build(&other, UINT64_MAX - 63)));
	ck_assert(failed(acpi_build(&other, (UINT64_C(1) << 32) - 64)));
	ck_assert(!failed(acpi_build(&other, (UINT64_C(1) << 32) - 4096)));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("acpi");
	TCase *tests = tcase_create("tables");

	tcase_add_checked_fixture(tests, setup, NULL);
	tcase_add_test(tests, rsdp);
	tcase_add_test(tests, only_a_fadt);
	tcase_add_test(tests, fadt_fields);
	tcase_add_test(tests, facs);
	tcase_add_test(tests, dsdt);
	tcase_add_test(tests, tables_do_not_overlap);
	tcase_add_test(tests, bad_bases);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
