/* Booting payloads: the registers that are their contract, arguments, and memory that is too small. */
#include "tests/unit/kernel_images.h"

#include <string.h>

#define MIB (UINT64_C(1) << 20)

static result boot(struct ram *ram, const struct elf_image *image, const char *arguments, int initrd_fd,
		   struct cpu_state *entry)
{
	const struct boot_source source = {
		.kind = BOOT_PAYLOAD,
		.kernel_fd = elf_file(image, UINT64_MAX),
		.kernel_name = "payload",
		.initrd_fd = initrd_fd,
		.initrd_name = "initrd",
		.command_line = arguments,
	};

	return boot_load(ram, &source, entry);
}

START_TEST(good)
{
	const struct elf_image image = elf_good();
	struct ram ram;
	struct cpu_state entry;
	char arguments[] = "one two=3";
	char back[sizeof(arguments)];

	guest_memory_make(&ram, 16 * MIB + 4096);
	must_succeed(boot(&ram, &image, arguments, -1, &entry));
	ck_assert_uint_eq(entry.rip, 2 * MIB + 0x10);
	ck_assert_uint_eq(entry.gpr[GPR_RDI], 16 * MIB + 4096);
	must_succeed(ram_read(&ram, entry.gpr[GPR_RSI], back, sizeof(back)));
	ck_assert_str_eq(back, arguments);
	ck_assert_uint_eq(entry.gpr[GPR_RSP], 16 * MIB + 4096 - 8192);
	ck_assert_uint_eq(entry.segment[SEG_CS].selector & 3, 3);
	ck_assert_uint_eq(entry.rflags & 0x3000, 0x3000);
	ck_assert(!boot_needs_shim(BOOT_PAYLOAD));
	ck_assert(boot_needs_shim(BOOT_LINUX));
	ram_unmap(&ram);
}
END_TEST

START_TEST(memory_beyond_the_hole)
{
	const struct elf_image image = elf_good();
	struct ram ram;
	struct cpu_state entry;

	guest_memory_make(&ram, (UINT64_C(3) << 30) + 16 * MIB);
	must_succeed(boot(&ram, &image, "", -1, &entry));
	ck_assert_uint_eq(entry.gpr[GPR_RDI], UINT64_C(3) << 30);
	ram_unmap(&ram);
}
END_TEST

START_TEST(arguments_of_every_length)
{
	const struct elf_image image = elf_good();
	struct ram ram;
	struct cpu_state entry;
	static char arguments[4097];
	static char back[4096];

	guest_memory_make(&ram, 16 * MIB);
	memset(arguments, 'a', 4095);
	must_succeed(boot(&ram, &image, arguments, -1, &entry));
	must_succeed(ram_read(&ram, entry.gpr[GPR_RSI], back, sizeof(back)));
	ck_assert_str_eq(back, arguments);
	arguments[4095] = 'a';
	must_fail(boot(&ram, &image, arguments, -1, &entry), STATUS_USAGE, "at most 4095 characters");
	arguments[0] = '\0';
	must_succeed(boot(&ram, &image, arguments, -1, &entry));
	must_succeed(ram_read(&ram, entry.gpr[GPR_RSI], back, 1));
	ck_assert_int_eq(back[0], '\0');
	ram_unmap(&ram);
}
END_TEST

START_TEST(no_initrd)
{
	const struct elf_image image = elf_good();
	struct ram ram;
	struct cpu_state entry;

	guest_memory_make(&ram, 16 * MIB);
	must_fail(boot(&ram, &image, "", guest_memory_file("x", 1, 1), &entry), STATUS_USAGE,
		  "--initrd: a payload takes no initrd");
	ram_unmap(&ram);
}
END_TEST

/* Segments that end everywhere around the end of memory: refused with a size that works, or loaded with the stack
 * and the arguments beyond their end. */
START_TEST(asks_for_enough)
{
	struct ram ram, larger;
	struct cpu_state entry;
	unsigned refused = 0, loaded = 0;

	guest_memory_make(&ram, 16 * MIB);
	for (uint64_t end = 14 * MIB; end <= 17 * MIB; end += 0x10000 - 0x10) {
		struct elf_image image = elf_good();

		image.segments[2].p_memsz = end - image.segments[2].p_paddr;
		result r = boot(&ram, &image, "arguments", -1, &entry);

		if (!failed(r)) {
			loaded++;
			ck_assert_uint_le(end, entry.gpr[GPR_RSP] - MIB);
			continue;
		}
		refused++;
		uint64_t mib = must_ask_for_memory(r);

		guest_memory_make(&larger, mib * MIB);
		must_succeed(boot(&larger, &image, "arguments", -1, &entry));
		ck_assert_uint_le(end, entry.gpr[GPR_RSP] - MIB);
		ram_unmap(&larger);
	}
	ck_assert_uint_gt(refused, 0);
	ck_assert_uint_gt(loaded, 0);
	ram_unmap(&ram);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("boot_payload");
	TCase *tests = tcase_create("payloads");

	tcase_add_test(tests, good);
	tcase_add_test(tests, memory_beyond_the_hole);
	tcase_add_test(tests, arguments_of_every_length);
	tcase_add_test(tests, no_initrd);
	tcase_add_test(tests, asks_for_enough);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
