/* Faults in the state of a machine, committed: each target hits what it names, and nothing else. */
#include "tests/unit/guest_machine.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "lockstep/inject.h"
#include "vmm/boot.h"

enum { STATE = 16384 };

static result commit(const char *target, struct inject_context *context)
{
	struct inject_fault fault;

	must_succeed(inject_parse_target(target, "now", &fault));
	return inject_commit(&fault, context);
}

/* How many bits differ; `*bit` is the first. */
static unsigned differences(const void *a, const void *b, size_t length, uint64_t *bit)
{
	const uint8_t *x = a, *y = b;
	unsigned count = 0;

	for (size_t i = 0; i < length; i++) {
		for (unsigned j = 0; j < 8 && x[i] != y[i]; j++) {
			if (!((x[i] ^ y[i]) >> j & 1))
				continue;
			if (count++ == 0)
				*bit = 8 * i + j;
		}
	}
	return count;
}

/* --- memory and devices: a machine without a vCPU will do --- */

static struct ram bare_ram;
static struct machine bare;
static struct inject_context bare_context = { .machine = &bare };

static void make_bare(void)
{
	const struct board_config config = { .ram_size = GUEST_MACHINE_MEMORY };

	guest_memory_make(&bare_ram, GUEST_MACHINE_MEMORY);
	bare = (struct machine){ .ram = &bare_ram };
	must_succeed(board_create(&bare.board, &config));
}

static void destroy_bare(void)
{
	board_destroy(bare.board);
	ram_unmap(&bare_ram);
}

static void hits_memory(void)
{
	uint64_t dirty[GUEST_MACHINE_MEMORY / 4096 / 64] = { 0 };

	make_bare();
	must_succeed(commit("mem:0x3007:6", &bare_context));
	ck_assert_uint_eq(ram_page(&bare_ram, 3)[7], 0x40);
	ram_collect_dirty(&bare_ram, dirty);
	ck_assert_uint_eq(dirty[0], 8);
	must_succeed(commit("mem:0x3007:6", &bare_context));
	ck_assert_uint_eq(ram_page(&bare_ram, 3)[7], 0);
	must_fail(commit("mem:0x1000000:0", &bare_context), STATUS_GUEST, "not in guest RAM");
	must_fail(commit("mem:0xFFFFFFFFFFFFFFFF:0", &bare_context), STATUS_GUEST, "not in guest RAM");
	must_fail(commit("mem:0x1000000:0", &bare_context), STATUS_GUEST, "inject mem:0x1000000:0@now: ");
	destroy_bare();
}

static size_t save(const struct board *board, uint8_t *bytes)
{
	struct bytes_writer writer = bytes_writer_over(bytes, STATE);

	board_save(board, &writer);
	ck_assert(!writer.overflow);
	return writer.used;
}

/* Every device: a flip changes one bit of its state and no other, or is refused and changes nothing. */
static void hits_devices(void)
{
	static uint8_t saved[STATE], again[STATE];

	make_bare();
	for (size_t index = 0; index < board_device_count(bare.board); index++) {
		size_t offset, length, size = save(bare.board, saved);
		unsigned flipped = 0;

		ck_assert(board_saved_device(saved, size, index, &offset, &length));
		for (size_t bit = 0; bit < 8 * length; bit++) {
			char target[64];

			(void)snprintf(target, sizeof(target), "device:%s:%zu", board_device_name(bare.board, index),
				       bit);
			bool done = !failed(commit(target, &bare_context));
			uint64_t at = 8 * offset + bit;

			ck_assert_uint_eq(save(bare.board, again), size);
			ck_assert_msg(differences(saved, again, size, &at) == (done ? 1 : 0), "%s", target);
			ck_assert_msg(at == 8 * offset + bit, "%s", target);
			flipped += done;
			if (done)
				must_succeed(commit(target, &bare_context));
			else
				must_fail(commit(target, &bare_context), STATUS_GUEST, "cannot hold that state");
		}
		ck_assert(flipped > 0 || length == 0);
	}
	destroy_bare();
}

/* --- the rest of a machine, on KVM --- */

GUEST_CODE(work, "mov $0x80, %edx\n"
		 "1: inc %eax\n"
		 "out %eax, %dx\n"
		 "jmp 1b");

enum { EXTRA_TABLE = 0x400000 };

static struct guest_machine guest;
static struct inject_context context = { .machine = &guest.machine };

/* Everything that a flip can reach. */
struct snapshot {
	struct cpu_state cpu;
	uint8_t devices[STATE];
	size_t devices_size;
	uint8_t ram[GUEST_MACHINE_MEMORY];
};

static struct snapshot before, after;

static void take(struct snapshot *snapshot)
{
	must_succeed(machine_export(&guest.machine, &snapshot->cpu));
	snapshot->devices_size = save(guest.board, snapshot->devices);
	memcpy(snapshot->ram, ram_page(&guest.ram, 0), sizeof(snapshot->ram));
}

static void start_guest(void)
{
	guest_machine_make(&guest, work_begin, work_end);
	ck_assert_int_eq(guest_machine_step(&guest), OUTCOME_RUN);
	guest_machine_settle(&guest);
	take(&before);
}

static void enter(const struct cpu_state *state)
{
	must_succeed(machine_import(&guest.machine, state, false));
	take(&before);
}

enum place { NOWHERE, CPU, RAM };

/* Since `before`, this one bit has changed, and no other anywhere. */
static void differs_in(enum place place, uint64_t bit)
{
	uint64_t at = bit;

	take(&after);
	ck_assert_uint_eq(differences(&before.cpu, &after.cpu, sizeof(before.cpu), &at), place == CPU);
	ck_assert_uint_eq(differences(before.ram, after.ram, sizeof(before.ram), &at), place == RAM);
	ck_assert_uint_eq(at, bit);
	ck_assert_uint_eq(after.devices_size, before.devices_size);
	ck_assert_mem_eq(after.devices, before.devices, before.devices_size);
}

/* The flip does that, and the same flip undoes it. */
static void flips(const char *target, enum place place, uint64_t bit)
{
	must_succeed(commit(target, &context));
	differs_in(place, bit);
	must_succeed(commit(target, &context));
	differs_in(NOWHERE, 0);
}

static void misses(const char *target, enum status status, const char *words)
{
	must_fail(commit(target, &context), status, words);
	differs_in(NOWHERE, 0);
}

static uint64_t place_in_cpu(const char *name)
{
	return 8 * (uint64_t)register_find(name)->offset;
}

/* The guest goes on where it was. */
static void still_runs(void)
{
	uint64_t rax = before.cpu.gpr[GPR_RAX];

	for (unsigned i = 1; i <= 5; i++) {
		ck_assert_int_eq(guest_machine_step(&guest), OUTCOME_RUN);
		ck_assert_uint_eq(guest.machine.exit.record.reason, EXIT_PORT_OUT);
		ck_assert_uint_eq(guest.machine.exit.record.data, rax + i);
	}
}

/* Every bit of every register: it alone has changed (and what it gives a meaning, or takes it from), or nothing. */
static void hits_registers(void)
{
	static struct cpu_state expected, state;

	start_guest();
	for (size_t i = 0; i < register_count; i++) {
		const struct register_info *info = &register_table[i];
		/* What KVM and the CPU take as it comes. */
		bool plain = i <= GPR_COUNT || strncmp(info->name, "xmm", 3) == 0 || strncmp(info->name, "st", 2) == 0;
		unsigned flipped = 0;

		for (unsigned bit = 0; bit < 8u * info->width; bit++) {
			struct inject_fault fault;
			char target[64];

			(void)snprintf(target, sizeof(target), "reg:%s:%u", info->name, bit);
			if (failed(inject_parse_target(target, "now", &fault)))
				continue;
			bool done = !failed(inject_commit(&fault, &context));

			expected = before.cpu;
			if (done)
				ck_assert(register_flip(&expected, info, bit));
			registers_canonicalise(&expected);
			must_succeed(machine_export(&guest.machine, &state));
			ck_assert_msg(memcmp(&state, &expected, sizeof(state)) == 0, "%s", target);
			ck_assert_msg(done == (memcmp(&state, &before.cpu, sizeof(state)) != 0), "%s", target);
			ck_assert_msg(done || !plain, "%s cannot be flipped", target);
			flipped += done;
			if (done)
				must_succeed(machine_import(&guest.machine, &before.cpu, false));
		}
		ck_assert_msg(flipped > 0 || before.cpu.fsw == 0, "no bit of %s can be flipped", info->name);
	}
	differs_in(NOWHERE, 0);
	flips("reg:rbx:17", CPU, place_in_cpu("rbx") + 17);
	flips("reg:fs.base:46", CPU, place_in_cpu("fs.base") + 46);
	flips("reg:star:63", CPU, place_in_cpu("star") + 63);
	misses("reg:fip:3", STATUS_GUEST, "inject reg:fip:3@now: bit 3 of register fip means nothing as");
	misses("reg:cr0:31", STATUS_GUEST, "register cr0 cannot have that value: KVM");
	misses("reg:gdtr.limit:16", STATUS_GUEST, "register gdtr.limit does not keep that value");
	still_runs();
	guest_machine_destroy(&guest);
}

static void hits_rip(void)
{
	start_guest();
	flips("rip:0", CPU, place_in_cpu("rip"));
	flips("rip:47", CPU, place_in_cpu("rip") + 47);
	flips("rip:63", CPU, place_in_cpu("rip") + 63);
	still_runs();
	guest_machine_destroy(&guest);
}

static void hits_cr3(void)
{
	start_guest();
	flips("cr3:3", CPU, place_in_cpu("cr3") + 3);
	flips("cr3:13", CPU, place_in_cpu("cr3") + 13);
	misses("cr3:63", STATUS_GUEST, "inject cr3:63@now: register cr3 cannot have that value");
	still_runs();
	guest_machine_destroy(&guest);
}

static void hits_fpu(void)
{
	start_guest();
	flips("fpu:xmm15:127", CPU, place_in_cpu("xmm15") + 127);
	flips("fpu:xmm0:0", CPU, place_in_cpu("xmm0"));
	flips("fpu:st7:79", CPU, place_in_cpu("st7") + 79);
	flips("fpu:fcw:10", CPU, place_in_cpu("fcw") + 10);
	flips("fpu:mxcsr:13", CPU, place_in_cpu("mxcsr") + 13);
	flips("fpu:ftw:7", CPU, place_in_cpu("ftw") + 7);
	still_runs();
	guest_machine_destroy(&guest);
}

/* Maps the guest's code by small pages, one of which lies elsewhere. */
static void map_small_pages(uint64_t moved_to)
{
	enum { ENTRIES = 512, BITS = 0x67 /* present, writable, user, accessed, dirty */ };
	uint64_t table[ENTRIES];
	const uint64_t directory_entry = EXTRA_TABLE | BITS;

	for (uint64_t i = 0; i < ENTRIES; i++)
		table[i] = (GUEST_MACHINE_CODE + i * RAM_PAGE_SIZE) | BITS;
	table[1] = moved_to | BITS;
	must_succeed(ram_write(&guest.ram, EXTRA_TABLE, table, sizeof(table)));
	/* The second 2 MiB of the first directory (boot_paging.c). */
	must_succeed(ram_write(&guest.ram, BOOT_PAGE_TABLES + 2 * RAM_PAGE_SIZE + 8, &directory_entry, 8));
}

static void hits_code(void)
{
	struct cpu_state state;

	start_guest();
	state = before.cpu;
	/* The next instruction is the jump, behind it is nothing. */
	ck_assert_uint_eq(before.ram[state.rip], 0xEB);
	flips("code:0:0", RAM, 8 * state.rip);
	flips("code:1:7", RAM, 8 * (state.rip + 1) + 7);
	flips("code:63:4", RAM, 8 * (state.rip + 63) + 4);
	still_runs();

	/* Across the end of a page, through the guest's tables; in 64-bit mode the base of CS counts for nothing. */
	map_small_pages(0x800000);
	state.rip = GUEST_MACHINE_CODE + RAM_PAGE_SIZE - 1;
	state.segment[SEG_CS].base = 0x10000;
	enter(&state);
	flips("code:0:0", RAM, 8 * state.rip);
	flips("code:1:3", RAM, 8 * 0x800000 + 3);
	flips("code:63:3", RAM, 8 * (0x800000 + 62) + 3);
	/* In compatibility mode it does. */
	state.segment[SEG_CS].attributes = (uint16_t)(state.segment[SEG_CS].attributes & ~0x200);
	state.rip = 0x1FFFFF;
	enter(&state);
	flips("code:4:3", RAM, 8 * (0x1FFFFF + 0x10000 + 4) + 3);
	state.segment[SEG_CS].base = 0xFFFFF000;
	enter(&state);
	flips("code:0:3", RAM, 8 * (0x1FFFFF - 0x1000) + 3);

	/* Mapped, but not to RAM; and not mapped. */
	state = before.cpu;
	state.segment[SEG_CS].base = 0;
	state.segment[SEG_CS].attributes |= 0x200;
	state.rip = 0xE0000000;
	enter(&state);
	misses("code:0:0", STATUS_GUEST, "not in guest RAM");
	state.rip = 0x7F0000000000;
	enter(&state);
	misses("code:0:0", STATUS_GUEST, "the code at 0x7f0000000000 is not mapped");
	guest_machine_destroy(&guest);
}

static void hits_page_table(void)
{
	struct cpu_state state;
	char target[32];

	start_guest();
	/* Large pages (boot_paging.c): the directory's entry is the last there is. */
	flips("page-table:4:63", RAM, 8 * BOOT_PAGE_TABLES + 63);
	flips("page-table:3:5", RAM, 8 * (BOOT_PAGE_TABLES + RAM_PAGE_SIZE) + 5);
	for (unsigned level = 1; level <= 2; level++) {
		(void)snprintf(target, sizeof(target), "page-table:%u:12", level);
		flips(target, RAM, 8 * (BOOT_PAGE_TABLES + 2 * RAM_PAGE_SIZE + 8) + 12);
	}
	/* There are no pages of 512 GiB: bit 7 says nothing at the top. */
	must_succeed(commit("page-table:4:7", &context));
	take(&before);
	flips("page-table:2:5", RAM, 8 * (BOOT_PAGE_TABLES + 2 * RAM_PAGE_SIZE + 8) + 5);
	/* What maps nothing any more cannot be hit again. */
	must_succeed(commit("page-table:2:0", &context));
	must_fail(commit("page-table:4:1", &context), STATUS_GUEST, "is not mapped");
	guest_machine_destroy(&guest);

	start_guest();
	map_small_pages(0x800000);
	state = before.cpu;
	state.rip = GUEST_MACHINE_CODE + RAM_PAGE_SIZE;
	enter(&state);
	flips("page-table:1:1", RAM, 8 * (EXTRA_TABLE + 8) + 1);
	flips("page-table:2:1", RAM, 8 * (BOOT_PAGE_TABLES + 2 * RAM_PAGE_SIZE + 8) + 1);
	must_succeed(commit("page-table:1:0", &context));
	must_fail(commit("page-table:1:0", &context), STATUS_GUEST, "the code at 0x201000 is not mapped");
	guest_machine_destroy(&guest);

	/* Paging off, as a CPU comes out of reset (in protected mode). */
	start_guest();
	state = before.cpu;
	state.cr0 &= ~(UINT64_C(1) << 31);
	state.efer = 0;
	state.cr4 = 0;
	state.segment[SEG_CS].attributes = 0xCFB;
	enter(&state);
	misses("page-table:4:0", STATUS_GUEST, "the guest has not switched paging on");
	flips("code:2:0", RAM, 8 * (state.rip + 2));
	guest_machine_destroy(&guest);
}

/* --- all of them --- */

static const struct {
	const char *target;
	bool needs_kvm;
	void (*test)(void);
} tests[] = {
	{ "reg", true, hits_registers },
	{ "rip", true, hits_rip },
	{ "cr3", true, hits_cr3 },
	{ "fpu", true, hits_fpu },
	{ "mem", false, hits_memory },
	{ "code", true, hits_code },
	{ "page-table", true, hits_page_table },
	{ "device", false, hits_devices },
};

START_TEST(committed)
{
	if (!tests[_i].needs_kvm || guest_machine_available(tests[_i].target))
		tests[_i].test();
}
END_TEST

/* Those that need a settled machine; test_inject_process.c has the others. */
START_TEST(every_target_is_tested)
{
	json_t *space = inject_targets_json();
	size_t index, found = 0;
	json_t *target;

	json_array_foreach(json_object_get(space, "targets"), index, target) {
		if (!json_is_true(json_object_get(target, "settled")))
			continue;
		ck_assert_uint_lt(found, ARRAY_SIZE(tests));
		ck_assert_str_eq(json_string_value(json_object_get(target, "name")), tests[found++].target);
	}
	ck_assert_uint_eq(found, ARRAY_SIZE(tests));
	json_decref(space);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("inject_targets");
	TCase *targets = tcase_create("targets");

	tcase_add_loop_test(targets, committed, 0, (int)ARRAY_SIZE(tests));
	tcase_add_test(targets, every_target_is_tested);
	tcase_set_timeout(targets, 60);
	suite_add_tcase(suite, targets);
	return fixture_run(suite);
}
