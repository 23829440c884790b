/* Loading ELF files: good ones, and every way in which one can be cut off, damaged or hostile. */
#include "tests/unit/kernel_images.h"

#include <string.h>

#include "vmm/boot_elf.h"

#define MIB (UINT64_C(1) << 20)

static struct ram ram;

static void setup(void)
{
	guest_memory_make(&ram, 16 * MIB);
}

static void teardown(void)
{
	ram_unmap(&ram);
}

static result load(const struct elf_image *image, uint64_t *entry, uint64_t *end)
{
	return boot_elf_load(&ram, elf_file(image, UINT64_MAX), "it", entry, end);
}

START_TEST(good)
{
	const struct elf_image image = elf_good();
	uint64_t entry, end;
	uint8_t bytes[0x3000];

	must_succeed(load(&image, &entry, &end));
	ck_assert_uint_eq(entry, 2 * MIB + 0x10);
	ck_assert_uint_eq(end, 4 * MIB + 0x3100);
	must_succeed(ram_read(&ram, 2 * MIB, bytes, sizeof(bytes)));
	for (size_t i = 0; i < sizeof(bytes); i++)
		if (bytes[i] != (i < 0x1800 ? elf_byte(ELF_DATA + i) : 0))
			ck_abort_msg("code byte 0x%zx", i);
	must_succeed(ram_read(&ram, 4 * MIB + 0x100, bytes, sizeof(bytes)));
	for (size_t i = 0; i < sizeof(bytes); i++)
		if (bytes[i] != (i < 0x10 ? elf_byte(2 * ELF_DATA + i) : 0))
			ck_abort_msg("data byte 0x%zx", i);
	/* A note is not loaded. */
	must_succeed(ram_read(&ram, 0, bytes, 4));
	ck_assert_uint_eq(bytes_load_u32(bytes), 0);
}
END_TEST

START_TEST(recognised)
{
	const struct elf_image image = elf_good();
	bool is_elf;

	must_succeed(boot_elf_is_elf(elf_file(&image, UINT64_MAX), "it", &is_elf));
	ck_assert(is_elf);
	for (uint64_t size = 0; size <= sizeof(Elf64_Ehdr); size++) {
		must_succeed(boot_elf_is_elf(elf_file(&image, size), "it", &is_elf));
		ck_assert_int_eq(is_elf, size == sizeof(Elf64_Ehdr));
	}
	for (unsigned i = 0; i < SELFMAG; i++) {
		struct elf_image other = image;

		other.header.e_ident[i] ^= 1;
		must_succeed(boot_elf_is_elf(elf_file(&other, UINT64_MAX), "it", &is_elf));
		ck_assert(!is_elf);
	}
	must_fail(boot_elf_is_elf(-1, "it", &is_elf), STATUS_INPUT, "it");
}
END_TEST

START_TEST(cut_off)
{
	const struct elf_image image = elf_good();
	const uint64_t needed = 2 * ELF_DATA + 0x800; /* the code's end is behind the data's */
	uint64_t entry, end;
	/* Around every boundary, and some in between. */
	const uint64_t edges[] = { 0, 4, sizeof(Elf64_Ehdr), sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr),
				   sizeof(Elf64_Ehdr) + 3 * sizeof(Elf64_Phdr), ELF_DATA, 2 * ELF_DATA,
				   2 * ELF_DATA + 0x10, needed };

	for (size_t i = 0; i < ARRAY_SIZE(edges); i++)
		for (uint64_t size = edges[i] ? edges[i] - 1 : 0; size <= edges[i] + 1; size++) {
			int fd = elf_file(&image, size);
			result r = boot_elf_load(&ram, fd, "it", &entry, &end);

			if (size >= needed)
				must_succeed(r);
			else
				must_fail(r, STATUS_INPUT, "it");
		}
}
END_TEST

#define FIELD(member, value, words) { offsetof(struct elf_image, member), sizeof(((struct elf_image *)0)->member), \
				      value, words }

/* One field each that spoils the file. */
static const struct damage {
	size_t offset, width;
	uint64_t value;
	const char *words;
} damages[] = {
	FIELD(header.e_ident[EI_CLASS], ELFCLASS32, "not a static 64-bit x86 executable"),
	FIELD(header.e_ident[EI_DATA], ELFDATA2MSB, "not a static 64-bit x86 executable"),
	FIELD(header.e_machine, EM_386, "not a static 64-bit x86 executable"),
	FIELD(header.e_machine, EM_AARCH64, "not a static 64-bit x86 executable"),
	FIELD(header.e_type, ET_DYN, "not a static 64-bit x86 executable"),
	FIELD(header.e_type, ET_REL, "not a static 64-bit x86 executable"),
	FIELD(header.e_phentsize, 32, "damaged program header table"),
	FIELD(header.e_phentsize, 0, "damaged program header table"),
	FIELD(header.e_phnum, 0, "damaged program header table"),
	FIELD(header.e_phnum, 33, "damaged program header table"),
	FIELD(header.e_phnum, 0xFFFF, "damaged program header table"),
	FIELD(header.e_phoff, 0x100000, "it"),
	FIELD(header.e_phoff, UINT64_MAX, "it"),
	FIELD(header.e_phoff, UINT64_MAX - 3 * sizeof(Elf64_Phdr) + 1, "it"),
	FIELD(header.e_phoff, INT64_MAX - 10, "it"),
	FIELD(header.e_entry, 0, "starts at 0x0"),
	FIELD(header.e_entry, MIB - 1, "starts at 0xfffff"),
	FIELD(header.e_entry, 4 * MIB + 0x3100, "outside of what it loads"),
	FIELD(header.e_entry, UINT64_MAX, "outside of what it loads"),
	FIELD(segments[0].p_filesz, 0x1801, "damaged or cut off"),
	FIELD(segments[0].p_filesz, UINT64_MAX, "damaged or cut off"),
	FIELD(segments[0].p_offset, 4 * ELF_DATA, "damaged or cut off"),
	FIELD(segments[0].p_offset, UINT64_MAX, "damaged or cut off"),
	FIELD(segments[0].p_offset, UINT64_MAX - 0x1000, "damaged or cut off"),
	FIELD(segments[0].p_paddr, 0, "only addresses from 1 MiB on are free"),
	FIELD(segments[0].p_paddr, 0x7000, "only addresses from 1 MiB on are free"), /* our boot parameters */
	FIELD(segments[0].p_paddr, MIB - 1, "only addresses from 1 MiB on are free"),
	FIELD(segments[0].p_paddr, UINT64_MAX, "where a guest has no memory"),
	FIELD(segments[0].p_paddr, UINT64_MAX - 0x1000, "where a guest has no memory"),
	FIELD(segments[0].p_paddr, 0xBFFFF000, "where a guest has no memory"),
	FIELD(segments[0].p_paddr, 0xD0000000, "where a guest has no memory"), /* the trap shim */
	FIELD(segments[0].p_paddr, 0x100000000, "where a guest has no memory"),
	FIELD(segments[2].p_memsz, UINT64_MAX, "where a guest has no memory"),
	FIELD(segments[2].p_memsz, UINT64_MAX - 4 * MIB - 0x100 + 1, "where a guest has no memory"), /* ends at 0 */
	FIELD(segments[2].p_memsz, 0xF, "damaged or cut off"),
	FIELD(segments[2].p_paddr, 16 * MIB, "does not fit into the guest's memory"),
	FIELD(segments[2].p_paddr, 16 * MIB - 0x1000, "does not fit into the guest's memory"),
	FIELD(segments[2].p_memsz, 0x10000000, "does not fit into the guest's memory"),
};

START_TEST(damaged)
{
	const struct damage *damage = &damages[_i];
	struct elf_image image = elf_good();
	uint64_t entry, end;

	memcpy((uint8_t *)&image + damage->offset, &damage->value, damage->width);
	must_fail(load(&image, &entry, &end), STATUS_INPUT, damage->words);
}
END_TEST

START_TEST(nothing_to_load)
{
	struct elf_image image = elf_good();
	uint64_t entry, end;

	image.segments[0].p_type = PT_NOTE;
	image.segments[2].p_memsz = 0;
	image.segments[2].p_filesz = 0;
	must_fail(load(&image, &entry, &end), STATUS_INPUT, "has nothing to load");
}
END_TEST

/* The size that a failure names is one that works. */
START_TEST(asks_for_enough)
{
	const uint64_t addresses[] = { 16 * MIB, 15 * MIB + 0xFFF, 17 * MIB - 1, 100 * MIB, 2000 * MIB };
	uint64_t entry, end;

	for (size_t i = 0; i < ARRAY_SIZE(addresses); i++) {
		struct elf_image image = elf_good();
		struct ram larger;

		image.segments[2].p_paddr = addresses[i];
		image.segments[2].p_memsz = 2 * MIB;
		uint64_t mib = must_ask_for_memory(load(&image, &entry, &end));

		guest_memory_make(&larger, mib * MIB);
		must_succeed(ram_check_size(mib * MIB));
		must_succeed(boot_elf_load(&larger, elf_file(&image, UINT64_MAX), "it", &entry, &end));
		ck_assert_uint_eq(end, addresses[i] + 2 * MIB);
		ck_assert(ram_contains(&larger, end, BOOT_ELF_ROOM));
		ram_unmap(&larger);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("boot_elf");
	TCase *tests = tcase_create("files");

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, good);
	tcase_add_test(tests, recognised);
	tcase_add_test(tests, cut_off);
	tcase_add_loop_test(tests, damaged, 0, (int)ARRAY_SIZE(damages));
	tcase_add_test(tests, nothing_to_load);
	tcase_add_test(tests, asks_for_enough);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
