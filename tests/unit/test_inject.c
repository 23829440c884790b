/* Faults on purpose: what a user may write, and faults in memory and devices of a machine without a vCPU. */
#include "tests/unit/guest_memory.h"

#include <string.h>

#include "lockstep/inject.h"

static struct inject_fault fault;

START_TEST(understood)
{
	must_succeed(inject_parse("1:reg:rax:5@1000", 3, &fault));
	ck_assert_uint_eq(fault.replica, 1);
	ck_assert_str_eq(fault.name, "rax");
	ck_assert_uint_eq(fault.bit, 5);
	ck_assert_uint_eq(fault.position, 1000);
	must_succeed(inject_parse("0:mem:0x7F000:7@0", 1, &fault));
	ck_assert_uint_eq(fault.address, 0x7F000);
	ck_assert_uint_eq(fault.bit, 7);
	must_succeed(inject_parse("4:device:i8254:100@18446744073709551615", 5, &fault));
	ck_assert_str_eq(fault.name, "i8254");
	ck_assert_uint_eq(fault.position, UINT64_MAX);
	must_succeed(inject_parse("0:reg:cs.base:63@1", 1, &fault));
	must_succeed(inject_parse("0:reg:xmm15:127@1", 1, &fault));
	must_succeed(inject_parse("0:reg:st0:79@1", 1, &fault));
}
END_TEST

static const struct {
	const char *spec, *words;
} refused[] = {
	{ "", "give REPLICA:TARGET@POSITION" },
	{ "@", "give REPLICA:TARGET@POSITION" },
	{ "1", "give REPLICA:TARGET@POSITION" },
	{ ":::@", "give REPLICA:TARGET@POSITION" },
	{ "1:reg:rax:5", "give REPLICA:TARGET@POSITION" },
	{ "1:reg:rax@5", "give REPLICA:TARGET@POSITION" },
	{ "1:reg:rax:5@", "give REPLICA:TARGET@POSITION" },
	{ "1:reg:rax:@5", "give REPLICA:TARGET@POSITION" },
	{ ":reg:rax:1@5", "give REPLICA:TARGET@POSITION" },
	{ "1:reg::1@5", "give REPLICA:TARGET@POSITION" },
	{ "1:reg:rax:5:6@7", "give REPLICA:TARGET@POSITION" },
	{ "1:reg:rax:5@7:8", "give REPLICA:TARGET@POSITION" },
	{ "0:mem:0x10@5:3", "give REPLICA:TARGET@POSITION" },
	{ "0@5:mem:0x10:3", "give REPLICA:TARGET@POSITION" },
	{ "1:reg:rax:5@7@8", "give REPLICA:TARGET@POSITION" },
	{ "1:reg:rax:5@7x", "give REPLICA:TARGET@POSITION" },
	{ "1:reg:rax:5x@7", "give REPLICA:TARGET@POSITION" },
	{ "one:reg:rax:5@7", "give REPLICA:TARGET@POSITION" },
	{ "-1:reg:rax:5@7", "give REPLICA:TARGET@POSITION" },
	{ " 1:reg:rax:5@7", "give REPLICA:TARGET@POSITION" },
	{ "1:reg:rax:5@ -7", "give REPLICA:TARGET@POSITION" },
	{ "1:reg:rax:5@+7", "give REPLICA:TARGET@POSITION" },
	{ "1:mem:-4096:5@7", "give REPLICA:TARGET@POSITION" },
	{ "1:reg:rax:5@18446744073709551616", "give REPLICA:TARGET@POSITION" },
	{ "1:register:rax:5@7", "give REPLICA:TARGET@POSITION" },
	{ "1::rax:5@7", "give REPLICA:TARGET@POSITION" },
	{ "1:mem:rax:5@7", "give REPLICA:TARGET@POSITION" },
	{ "1:device:0123456789012345678901234567890123456789:5@7", "give REPLICA:TARGET@POSITION" },
	{ "1:device:0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
	  "000000000000000000000000000000000:5@7",
	  "give REPLICA:TARGET@POSITION" },
	{ "3:reg:rax:5@7", "replicas are numbered 0 to 2" },
	{ "4294967296:reg:rax:5@7", "replicas are numbered 0 to 2" },
	{ "1:reg:eax:5@7", "there is no register \"eax\"" },
	{ "1:reg:rax:64@7", "register rax has no bit 64" },
	{ "1:reg:rax:4294967296@7", "register rax has no bit 4294967296" },
	{ "1:reg:st0:80@7", "register st0 has no bit 80" },
	{ "1:reg:rflags:22@7", "register rflags has no bit 22 that means something" },
	{ "1:mem:0x1000:8@7", "a byte of memory has bits 0 to 7, not 8" },
};

START_TEST(not_understood)
{
	must_fail(inject_parse(refused[_i].spec, 3, &fault), STATUS_USAGE, refused[_i].words);
	must_fail(inject_parse(refused[_i].spec, 3, &fault), STATUS_USAGE, "--inject");
}
END_TEST

/* Without a vCPU: memory and devices do not need one. */
static struct ram ram;
static struct machine machine;

static void setup(void)
{
	const struct board_config config = { .ram_size = 16 << 20 };

	guest_memory_make(&ram, 16 << 20);
	machine = (struct machine){ .ram = &ram };
	must_succeed(board_create(&machine.board, &config));
}

static void teardown(void)
{
	board_destroy(machine.board);
	ram_unmap(&ram);
}

static result commit(const char *spec)
{
	must_succeed(inject_parse(spec, 1, &fault));
	return inject_commit(&fault, &machine);
}

START_TEST(memory)
{
	uint64_t dirty[4096 / 64] = { 0 };

	must_succeed(commit("0:mem:0x3007:6@0"));
	ck_assert_uint_eq(ram_page(&ram, 3)[7], 0x40);
	ram_collect_dirty(&ram, dirty);
	ck_assert_uint_eq(dirty[0], 8);
	must_succeed(commit("0:mem:0x3007:6@0"));
	ck_assert_uint_eq(ram_page(&ram, 3)[7], 0);
	must_fail(commit("0:mem:0x1000000:0@0"), STATUS_GUEST, "not in guest RAM");
	must_fail(commit("0:mem:0xFFFFFFFFFFFFFFFF:0@0"), STATUS_GUEST, "not in guest RAM");
}
END_TEST

enum { STATE = 16384 };

static size_t save(uint8_t *bytes)
{
	struct bytes_writer writer = bytes_writer_over(bytes, STATE);

	board_save(machine.board, &writer);
	ck_assert(!writer.overflow);
	return writer.used;
}

/* Every device: a flip changes one bit of its state and no other, or is refused and changes nothing. */
START_TEST(devices)
{
	static uint8_t before[STATE], after[STATE];

	for (size_t index = 0; index < board_device_count(machine.board); index++) {
		size_t offset, length, size = save(before);
		unsigned flipped = 0;

		ck_assert(board_saved_device(before, size, index, &offset, &length));
		fault = (struct inject_fault){ .target = 2 };
		(void)strncat(fault.name, board_device_name(machine.board, index), sizeof(fault.name) - 1);
		for (fault.bit = 0; fault.bit < 8 * length; fault.bit++) {
			bool done = !failed(inject_commit(&fault, &machine));

			ck_assert_uint_eq(save(after), size);
			for (size_t i = 0; i < size; i++) {
				unsigned expected = done && i == offset + fault.bit / 8 ? 1u << fault.bit % 8 : 0;

				if ((unsigned)(before[i] ^ after[i]) != expected)
					ck_abort_msg("bit %ju of %s", (uintmax_t)fault.bit, fault.name);
			}
			flipped += done;
			if (done)
				must_succeed(inject_commit(&fault, &machine));
		}
		ck_assert(flipped > 0 || length == 0);
		must_fail(inject_commit(&fault, &machine), STATUS_USAGE, "bits of state");
		fault.bit = UINT64_MAX;
		must_fail(inject_commit(&fault, &machine), STATUS_USAGE, "bits of state");
	}
	must_fail(commit("0:device:nothing:0@0"), STATUS_USAGE, "there is no device \"nothing\"");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("inject");
	TCase *specs = tcase_create("specs");
	TCase *faults = tcase_create("faults");

	tcase_add_test(specs, understood);
	tcase_add_loop_test(specs, not_understood, 0, (int)ARRAY_SIZE(refused));
	suite_add_tcase(suite, specs);
	tcase_add_checked_fixture(faults, setup, teardown);
	tcase_add_test(faults, memory);
	tcase_add_test(faults, devices);
	tcase_set_timeout(faults, 60);
	suite_add_tcase(suite, faults);
	return fixture_run(suite);
}
