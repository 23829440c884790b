/* Booting Linux: hand-made kernels, damaged in every way, and the boot parameters field by field against the boot
 * protocol (the kernel's Documentation/arch/x86/boot.rst and zero-page.rst). */
#include "tests/unit/kernel_images.h"

#include <string.h>


#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

static struct ram ram;
static struct boot_source source;
static struct cpu_state entry;
static struct boot_params parameters;

static void setup(void)
{
	guest_memory_make(&ram, 64 * MIB);
	source = (struct boot_source){
		.kind = BOOT_LINUX,
		.kernel_name = "kernel",
		.initrd_fd = -1,
		.initrd_name = "initrd",
		.command_line = "console=ttyS0",
	};
	for (unsigned i = 0; i < BOOT_SEED_SIZE; i++)
		source.seed[i] = (uint8_t)(200 - i);
}

static void teardown(void)
{
	ram_unmap(&ram);
}

static result boot(const struct bzimage *image)
{
	source.kernel_fd = bzimage_file(image, UINT64_MAX);
	return boot_load(&ram, &source, &entry);
}

static void take_parameters(void)
{
	ck_assert_uint_eq(entry.gpr[GPR_RSI], BOOT_PARAMETERS);
	must_succeed(ram_read(&ram, entry.gpr[GPR_RSI], &parameters, sizeof(parameters)));
}

START_TEST(kernel)
{
	const struct bzimage image = bzimage_good();
	uint8_t *bytes = malloc(image.kernel_size + 16);

	must_succeed(boot(&image));
	ck_assert_uint_eq(entry.rip, 16 * MIB + 0x200);
	ck_assert_uint_eq(entry.segment[SEG_CS].selector, 0x10);
	ck_assert_uint_eq(entry.rflags, 0x2); /* interrupts off */
	must_succeed(ram_read(&ram, 16 * MIB, bytes, image.kernel_size + 16));
	for (size_t i = 0; i < image.kernel_size; i++)
		if (bytes[i] != bzimage_byte(i))
			ck_abort_msg("byte %zu of the kernel", i);
	ck_assert_uint_eq(bytes_load_u64(bytes + image.kernel_size), 0);
	must_succeed(ram_read(&ram, 16 * MIB - 8, bytes, 8));
	ck_assert_uint_eq(bytes_load_u64(bytes), 0);
	free(bytes);
}
END_TEST

/* The sentinel and everything else that the loader does not know is zero; the header is the file's but for what the
 * loader must write. */
START_TEST(parameters_field_by_field)
{
	const struct bzimage image = bzimage_good();
	struct boot_params expected = { .hdr = image.header };
	char line[BOOT_COMMAND_LINE_MAX];

	must_succeed(boot(&image));
	take_parameters();
	expected.hdr.syssize = (uint32_t)(image.kernel_size / 16);
	expected.hdr.type_of_loader = 0xFF;
	expected.hdr.cmd_line_ptr = BOOT_COMMAND_LINE;
	expected.hdr.setup_data = BOOT_SEED;
	expected.hdr.ramdisk_image = 0;
	expected.hdr.ramdisk_size = 0;
	ck_assert_uint_ne(parameters.acpi_rsdp_addr, 0);
	expected.acpi_rsdp_addr = parameters.acpi_rsdp_addr;
	expected.e820_entries = parameters.e820_entries;
	memcpy(expected.e820_table, parameters.e820_table, sizeof(expected.e820_table));
	for (size_t i = 0; i < sizeof(parameters); i++)
		if (((uint8_t *)&parameters)[i] != ((uint8_t *)&expected)[i])
			ck_abort_msg("byte 0x%zx of the boot parameters", i);

	char signature[9] = { 0 };

	must_succeed(ram_read(&ram, parameters.acpi_rsdp_addr, signature, 8));
	ck_assert_str_eq(signature, "RSD PTR ");
	must_succeed(ram_read(&ram, BOOT_COMMAND_LINE, line, sizeof("console=ttyS0")));
	ck_assert_str_eq(line, "console=ttyS0");
}
END_TEST

START_TEST(random_seed)
{
	const struct bzimage image = bzimage_good();
	struct setup_data header;
	uint8_t seed[BOOT_SEED_SIZE];

	must_succeed(boot(&image));
	must_succeed(ram_read(&ram, BOOT_SEED, &header, sizeof(header)));
	ck_assert_uint_eq(header.next, 0);
	ck_assert_uint_eq(header.type, 9);
	ck_assert_uint_eq(header.len, BOOT_SEED_SIZE);
	must_succeed(ram_read(&ram, BOOT_SEED + sizeof(header), seed, sizeof(seed)));
	ck_assert_mem_eq(seed, source.seed, sizeof(seed));
}
END_TEST

/* Whether the table says that all of [address, address + size) is RAM, or that none of it is. */
static bool told_as_ram(uint64_t address, uint64_t size)
{
	for (unsigned i = 0; i < parameters.e820_entries; i++) {
		const struct boot_e820_entry *range = &parameters.e820_table[i];

		if (range->type == 1 && address >= range->addr && address + size <= range->addr + range->size)
			return true;
	}
	return false;
}

START_TEST(memory_map)
{
	const uint64_t sizes[] = { 64 * MIB, 3 * GIB, 3 * GIB + 16 * MIB };
	const struct bzimage image = bzimage_good();
	uint64_t size = sizes[_i], low = size < 3 * GIB ? size : 3 * GIB;

	ram_unmap(&ram);
	guest_memory_make(&ram, size);
	must_succeed(boot(&image));
	take_parameters();
	for (unsigned i = 1; i < parameters.e820_entries; i++) {
		const struct boot_e820_entry *before = &parameters.e820_table[i - 1];

		ck_assert_uint_gt(parameters.e820_table[i].addr, before->addr);
		ck_assert_uint_le(before->addr + before->size, parameters.e820_table[i].addr);
	}
	ck_assert(told_as_ram(0, 0x9F000));
	ck_assert(!told_as_ram(0x9F000, 1));
	ck_assert(!told_as_ram(BOOT_ACPI, 1));
	ck_assert(told_as_ram(MIB, low - MIB));
	ck_assert(!told_as_ram(low, 1));
	ck_assert(!told_as_ram(0xD0000000, 1)); /* the trap shim is reserved, too: */
	bool reserved = false;

	for (unsigned i = 0; i < parameters.e820_entries; i++)
		reserved |= parameters.e820_table[i].addr == 0xD0000000 && parameters.e820_table[i].type == 2 &&
			    parameters.e820_table[i].size == 0x10000;
	ck_assert(reserved);
	ck_assert_int_eq(told_as_ram(4 * GIB, 1), size > low);
	if (size > low)
		ck_assert(told_as_ram(4 * GIB, size - low));
	ck_assert(!told_as_ram(4 * GIB + size - low, 1));
}
END_TEST

/* Of a short header only what is there counts: the bytes behind it are code. */
START_TEST(header_ends_where_it_says)
{
	struct bzimage image = bzimage_good();
	const size_t full = sizeof(struct setup_header);

	for (size_t end = offsetof(struct setup_header, handover_offset); end <= full; end += 4) {
		image.header.jump = (uint16_t)(0xEB | (BZIMAGE_SETUP_HEADER + end - 0x202) << 8);
		image.header_size = end;
		must_succeed(boot(&image));
		take_parameters();
		for (size_t i = end; i < full; i++)
			ck_assert_uint_eq(((uint8_t *)&parameters.hdr)[i], 0);
		ck_assert_uint_eq(parameters.hdr.init_size, image.header.init_size);
		ck_assert_uint_eq(parameters.hdr.handover_offset,
				  end >= offsetof(struct setup_header, kernel_info_offset) ? 0x190 : 0);
	}
	/* A longer one than this program knows. */
	image.header.jump = 0xEB | 0x7F << 8;
	image.header_size = full;
	must_succeed(boot(&image));
	take_parameters();
	ck_assert_uint_eq(parameters.hdr.kernel_info_offset, image.header.kernel_info_offset);
	ck_assert_uint_eq(parameters._pad7[0], 0);
	/* Too short for its version, and none at all. */
	image.header.jump = (uint16_t)(0xEB | (0x264 - 0x202 - 1) << 8);
	must_fail(boot(&image), STATUS_INPUT, "kernel is damaged: its setup header is too short");
	image.header.jump = 0x6A00 | 0xE9;
	must_fail(boot(&image), STATUS_INPUT, "kernel is damaged");
}
END_TEST

#define FIELD(member, value, words) { offsetof(struct setup_header, member), \
				      sizeof(((struct setup_header *)0)->member), value, words }

static const struct damage {
	size_t offset, width;
	uint64_t value;
	const char *words;
} damages[] = {
	FIELD(boot_flag, 0, "kernel is not a Linux kernel"),
	FIELD(header, 0, "kernel is not a Linux kernel"),
	FIELD(header, 0x53726449, "kernel is not a Linux kernel"),
	FIELD(version, 0x20B, "not a 64-bit kernel"),
	FIELD(version, 0, "not a 64-bit kernel"),
	FIELD(xloadflags, 0, "not a 64-bit kernel"),
	FIELD(xloadflags, 0x2, "not a 64-bit kernel"),
	FIELD(loadflags, 0, "not a 64-bit kernel"),
	FIELD(setup_sects, 255, "kernel is cut off"),
	FIELD(syssize, UINT32_MAX, "kernel is cut off"),
	FIELD(syssize, 0x10000, "kernel is cut off"),
	FIELD(syssize, 0x1F, "kernel is damaged"), /* without an entry */
	FIELD(pref_address, 0, "kernel is damaged: it wants"),
	FIELD(pref_address, BOOT_PARAMETERS, "kernel is damaged: it wants"),
	FIELD(pref_address, 0xFFFFF, "kernel is damaged: it wants"),
	FIELD(pref_address, 0xC0000000, "kernel is damaged: it wants"),
	FIELD(pref_address, 0xD0000000, "kernel is damaged: it wants"),
	FIELD(pref_address, 0x100000000, "kernel is damaged: it wants"),
	FIELD(pref_address, UINT64_MAX, "kernel is damaged: it wants"),
	FIELD(pref_address, UINT64_MAX - 4 * 0x100000 + 1, "kernel is damaged: it wants"), /* ends at 0 */
	FIELD(init_size, UINT32_MAX, "kernel is damaged: it wants"),
	FIELD(init_size, 0xC0000000, "kernel is damaged: it wants"),
	FIELD(init_size, 0x10000000, "give --memory"),
	FIELD(pref_address, 62 * 0x100000, "give --memory"),
	FIELD(cmdline_size, 5, "--append: kernel takes a command line of at most 5 characters"),
};

START_TEST(damaged)
{
	const struct damage *damage = &damages[_i];
	struct bzimage image = bzimage_good();

	image.header.syssize = (uint32_t)(image.kernel_size / 16);
	memcpy((uint8_t *)&image.header + damage->offset, &damage->value, damage->width);
	/* The file stays as it is, whatever it says of its set-up code. */
	if (damage->offset == offsetof(struct setup_header, setup_sects)) {
		struct bzimage good = bzimage_good();

		source.kernel_fd = bzimage_file(&image, bzimage_size(&good));
		must_fail(boot_load(&ram, &source, &entry), STATUS_INPUT, damage->words);
		return;
	}
	must_fail(boot(&image), damage->offset == offsetof(struct setup_header, cmdline_size) ? STATUS_USAGE :
											       STATUS_INPUT,
		  damage->words);
}
END_TEST

START_TEST(cut_off)
{
	const struct bzimage image = bzimage_good();
	const uint64_t full = bzimage_size(&image);
	const uint64_t edges[] = { 0, 0x1F1, 0x1FE, 0x202, 0x206, 0x238, 0x264, 0x26C, 512 * 8, 512 * 8 + 0x200, full };

	for (size_t i = 0; i < ARRAY_SIZE(edges); i++)
		for (uint64_t size = edges[i] ? edges[i] - 1 : 0; size <= edges[i] + 1 && size <= full; size++) {
			source.kernel_fd = bzimage_file(&image, size);
			result r = boot_load(&ram, &source, &entry);

			if (size == full)
				must_succeed(r);
			else
				must_fail(r, STATUS_INPUT, "kernel");
		}
}
END_TEST

/* setup_sects 0 means 4, for the sake of kernels older than all of us. */
START_TEST(four_sectors)
{
	struct bzimage image = bzimage_good();
	uint8_t byte;

	image.header.setup_sects = 0;
	must_succeed(boot(&image));
	must_succeed(ram_read(&ram, 16 * MIB, &byte, 1));
	ck_assert_uint_eq(byte, bzimage_byte(0));
	take_parameters();
	ck_assert_uint_eq(parameters.hdr.setup_sects, 0);
}
END_TEST

START_TEST(kernel_asks_for_enough)
{
	struct bzimage image = bzimage_good();

	for (uint64_t size = 47 * MIB; size <= 52 * MIB; size += MIB / 2 + 0x1230) {
		image.header.init_size = (uint32_t)size;
		result r = boot(&image);

		if (16 * MIB + size <= 64 * MIB) {
			must_succeed(r);
			continue;
		}
		uint64_t mib = must_ask_for_memory(r);

		ram_unmap(&ram);
		guest_memory_make(&ram, mib * MIB);
		must_succeed(boot(&image));
		ram_unmap(&ram);
		guest_memory_make(&ram, 64 * MIB);
	}
}
END_TEST

START_TEST(initrd)
{
	struct bzimage image = bzimage_good();
	enum { SIZE = 3 * 4096 + 123 };
	static uint8_t bytes[SIZE], back[SIZE];

	for (unsigned i = 0; i < SIZE; i++)
		bytes[i] = (uint8_t)(i * 3);
	source.initrd_fd = guest_memory_file(bytes, SIZE, SIZE);
	must_succeed(boot(&image));
	take_parameters();
	ck_assert_uint_eq(parameters.hdr.ramdisk_size, SIZE);
	ck_assert_uint_eq(parameters.hdr.ramdisk_image % 4096, 0);
	ck_assert_uint_eq(parameters.hdr.ramdisk_image, 64 * MIB - 4 * 4096);
	ck_assert_uint_eq(parameters.ext_ramdisk_image, 0);
	ck_assert_uint_eq(parameters.ext_ramdisk_size, 0);
	must_succeed(ram_read(&ram, parameters.hdr.ramdisk_image, back, SIZE));
	ck_assert_mem_eq(bytes, back, SIZE);

	/* Not above what the kernel can reach: its last byte may be at initrd_addr_max. */
	image.header.initrd_addr_max = 32 * MIB - 1;
	must_succeed(boot(&image));
	take_parameters();
	ck_assert_uint_eq(parameters.hdr.ramdisk_image, 32 * MIB - 4 * 4096);
	image.header.initrd_addr_max = UINT32_MAX;
	must_succeed(boot(&image));
	take_parameters();
	ck_assert_uint_eq(parameters.hdr.ramdisk_image, 64 * MIB - 4 * 4096);
	/* Nor where the kernel itself is; more memory would not help. */
	const uint32_t low[] = { 0, 4096, 20 * MIB - 1, 20 * MIB + SIZE - 2 };

	for (size_t i = 0; i < ARRAY_SIZE(low); i++) {
		image.header.initrd_addr_max = low[i];
		must_fail(boot(&image), STATUS_INPUT, "does not fit beside the kernel below");
	}
	image.header.initrd_addr_max = 20 * MIB + SIZE - 1;
	must_succeed(boot(&image));
}
END_TEST

START_TEST(no_initrd)
{
	struct bzimage image = bzimage_good();

	source.initrd_fd = guest_memory_file(NULL, 0, 0);
	must_fail(boot(&image), STATUS_INPUT, "initrd is empty");
	/* Whatever the file says: there is none. */
	source.initrd_fd = -1;
	image.header.ramdisk_image = 0x1000;
	image.header.ramdisk_size = 0x1000;
	must_succeed(boot(&image));
	take_parameters();
	ck_assert_uint_eq(parameters.hdr.ramdisk_image, 0);
	ck_assert_uint_eq(parameters.hdr.ramdisk_size, 0);
}
END_TEST

START_TEST(initrd_asks_for_enough)
{
	const struct bzimage image = bzimage_good();
	unsigned refused = 0;

	/* Files without content: only their sizes matter. The kernel ends at 20 MiB. */
	const uint64_t sizes[] = { 44 * MIB, 44 * MIB + 1, 45 * MIB - 1, 100 * MIB, 500 * MIB };

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		source.initrd_fd = guest_memory_file(NULL, 0, sizes[i]);
		result r = boot(&image);

		if (!failed(r)) {
			ck_assert_uint_le(sizes[i], 44 * MIB);
			continue;
		}
		refused++;
		uint64_t mib = must_ask_for_memory(r);

		ram_unmap(&ram);
		guest_memory_make(&ram, mib * MIB);
		must_succeed(boot(&image));
		ram_unmap(&ram);
		guest_memory_make(&ram, 64 * MIB);
	}
	ck_assert_uint_eq(refused, 4);
	/* No size that exists would do for this one. */
	source.initrd_fd = guest_memory_file(NULL, 0, 5 * GIB);
	must_fail(boot(&image), STATUS_INPUT, "initrd (5368709120 bytes) does not fit beside the kernel below");
}
END_TEST

START_TEST(vmlinux)
{
	struct elf_image image = elf_good();

	source.kernel_fd = elf_file(&image, UINT64_MAX);
	source.initrd_fd = guest_memory_file("ramdisk", 7, 7);
	must_succeed(boot_load(&ram, &source, &entry));
	take_parameters();
	ck_assert_uint_eq(entry.rip, image.header.e_entry);
	ck_assert_uint_eq(parameters.hdr.header, 0x53726448);
	ck_assert_uint_eq(parameters.hdr.boot_flag, 0xAA55);
	ck_assert_uint_eq(parameters.hdr.type_of_loader, 0xFF);
	ck_assert_uint_eq(parameters.hdr.loadflags & LOADED_HIGH, LOADED_HIGH);
	ck_assert_uint_eq(parameters.hdr.ramdisk_size, 7);
	ck_assert_uint_eq(parameters.hdr.ramdisk_image, 64 * MIB - 4096);

	/* The kernel's first page tables lie behind its segments: that memory must be there. */
	source.initrd_fd = -1;
	image.segments[2].p_memsz = 60 * MIB - image.segments[2].p_paddr;
	source.kernel_fd = elf_file(&image, UINT64_MAX);
	must_succeed(boot_load(&ram, &source, &entry));
	image.segments[2].p_memsz++;
	source.kernel_fd = elf_file(&image, UINT64_MAX);
	uint64_t mib = must_ask_for_memory(boot_load(&ram, &source, &entry));

	ram_unmap(&ram);
	guest_memory_make(&ram, mib * MIB);
	must_succeed(boot_load(&ram, &source, &entry));
}
END_TEST

START_TEST(neither)
{
	source.kernel_fd = guest_memory_file("#!/bin/sh\n", 10, 4096);
	must_fail(boot_load(&ram, &source, &entry), STATUS_INPUT, "kernel is not a Linux kernel");
	source.kernel_fd = guest_memory_file(NULL, 0, 0);
	must_fail(boot_load(&ram, &source, &entry), STATUS_INPUT, "kernel is not a Linux kernel");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("boot_linux");
	TCase *tests = tcase_create("protocol");

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, kernel);
	tcase_add_test(tests, parameters_field_by_field);
	tcase_add_test(tests, random_seed);
	tcase_add_loop_test(tests, memory_map, 0, 3);
	tcase_add_test(tests, header_ends_where_it_says);
	tcase_add_loop_test(tests, damaged, 0, (int)ARRAY_SIZE(damages));
	tcase_add_test(tests, cut_off);
	tcase_add_test(tests, four_sectors);
	tcase_add_test(tests, kernel_asks_for_enough);
	tcase_add_test(tests, initrd);
	tcase_add_test(tests, no_initrd);
	tcase_add_test(tests, initrd_asks_for_enough);
	tcase_add_test(tests, vmlinux);
	tcase_add_test(tests, neither);
	tcase_set_timeout(tests, 60);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
