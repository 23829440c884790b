/* What answers each exit: a real board, the model of the CPU, the rules of the MSRs that are kept outside KVM. */
#include "tests/unit/guest_memory.h"

#include <string.h>

#include "vmm/exits.h"

#define MSR_EFER 0xC0000080u
#define MSR_TSC 0x10u
#define EFER_SCE UINT64_C(0x1)
#define EFER_LME UINT64_C(0x100)
#define EFER_LMA UINT64_C(0x400)
#define EFER_NXE UINT64_C(0x800)
#define EFER_SVME UINT64_C(0x1000)
#define EFER_FFXSR UINT64_C(0x4000)

static struct fixture fixture;
static struct board *board;
static struct cpu_model model;
static struct exit_msrs msrs;
static struct exit_context context;

static void setup(void)
{
	struct kvm_cpuid_entry2 host[] = {
		{ .function = 0, .ebx = 1, .ecx = 2, .edx = 3 },
		{ .function = 7, .ebx = UINT32_MAX },
	};

	fixture_init(&fixture);
	const struct board_config config = { .ram_size = 64u << 20, .out = fixture.board };

	must_succeed(board_create(&board, &config));
	cpu_model_derive(&model, host, ARRAY_SIZE(host));
	msrs.efer = EFER_LME | EFER_LMA;
	context = (struct exit_context){ .board = board, .cpu_model = &model, .msrs = &msrs };
}

static void teardown(void)
{
	board_destroy(board);
}

static struct machine_exit access_exit(enum exit_reason reason, uint64_t address, uint16_t size, uint32_t count,
				       uint8_t *data)
{
	return (struct machine_exit){
		.record = { .reason = reason, .address = address, .size = size },
		.data = data,
		.count = count,
	};
}

static enum exit_outcome answer(struct machine_exit *exit)
{
	return exit_answer(&context, exit);
}

START_TEST(ports)
{
	uint8_t data[8] = { 0x34, 0x12, 0xCD, 0xAB };
	struct machine_exit exit = access_exit(EXIT_PORT_OUT, 0x80, 4, 1, data);

	ck_assert_int_eq(answer(&exit), OUTCOME_RUN);
	memset(data, 0, sizeof(data));
	exit = access_exit(EXIT_PORT_IN, 0x80, 4, 1, data);
	ck_assert_int_eq(answer(&exit), OUTCOME_RUN);
	ck_assert_uint_eq(bytes_load_u32(data), 0xABCD1234);
	/* Nobody at home. */
	exit = access_exit(EXIT_PORT_IN, 0x1234, 2, 2, data);
	ck_assert_int_eq(answer(&exit), OUTCOME_RUN);
	ck_assert_uint_eq(bytes_load_u64(data), 0xFFFFFFFF);
	ck_assert_uint_eq(board_unassigned_accesses(board), 2);
}
END_TEST

START_TEST(strings)
{
	uint8_t data[] = "out, all of it";
	struct machine_exit exit = access_exit(EXIT_PORT_OUT, 0x3F8, 1, sizeof(data) - 1, data);

	ck_assert_int_eq(answer(&exit), OUTCOME_RUN);
	ck_assert_uint_eq(fixture.output_length, sizeof(data) - 1);
	ck_assert_mem_eq(fixture.output, data, sizeof(data) - 1);

	/* Read one after the other: the receiver's FIFO gives another byte each time. */
	board_console_input(board, (const uint8_t *)"k", 1);
	uint8_t line[3] = { 0xEE, 0xEE, 0xEE };

	exit = access_exit(EXIT_PORT_IN, 0x3FD, 1, 2, line);
	ck_assert_int_eq(answer(&exit), OUTCOME_RUN);
	ck_assert_uint_eq(line[0] & 1, 1);
	ck_assert_uint_eq(line[1] & 1, 1);
	ck_assert_uint_eq(line[2], 0xEE);
}
END_TEST

START_TEST(ends)
{
	uint8_t data[4] = { 7 };
	struct machine_exit exit = access_exit(EXIT_PORT_OUT, 0xF4, 1, 1, data);

	ck_assert_int_eq(answer(&exit), OUTCOME_RUN);
	ck_assert_uint_eq(fixture.requests, 1);
	ck_assert_int_eq(fixture.request, BOARD_REQUEST_EXIT);
	ck_assert_uint_eq(fixture.argument, 7);
}
END_TEST

START_TEST(memory)
{
	uint8_t data[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
	struct machine_exit exit = access_exit(EXIT_MMIO_WRITE, 0xFEE00000, 8, 1, data);

	ck_assert_int_eq(answer(&exit), OUTCOME_RUN);
	ck_assert_uint_eq(data[0], 1);
	exit.record.reason = EXIT_MMIO_READ;
	ck_assert_int_eq(answer(&exit), OUTCOME_RUN);
	ck_assert_uint_eq(bytes_load_u64(data), UINT64_MAX);
	ck_assert_uint_eq(board_unassigned_accesses(board), 2);
}
END_TEST

START_TEST(outcomes)
{
	const struct {
		enum exit_reason reason;
		enum exit_outcome outcome;
	} expected[] = {
		{ EXIT_HALT, OUTCOME_HALTED },       { EXIT_INTERRUPT_WINDOW, OUTCOME_RUN },
		{ EXIT_UNDEFINED, OUTCOME_RUN },     { EXIT_TASK_PRIORITY, OUTCOME_RUN },
		{ EXIT_SHUTDOWN, OUTCOME_CRASHED },  { EXIT_INTERNAL, OUTCOME_CRASHED },
		{ EXIT_PREEMPTED, OUTCOME_RUN },
	};

	for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
		struct machine_exit exit = { .record = { .reason = expected[i].reason } };

		ck_assert_int_eq(answer(&exit), expected[i].outcome);
		ck_assert(!exit.refused);
	}
}
END_TEST

START_TEST(names)
{
	for (unsigned a = 1; a < EXIT_REASONS; a++) {
		ck_assert_str_ne(exit_reason_name((enum exit_reason)a), "unknown");
		for (unsigned b = 1; b < a; b++)
			ck_assert_str_ne(exit_reason_name((enum exit_reason)a), exit_reason_name((enum exit_reason)b));
	}
	ck_assert_str_eq(exit_reason_name((enum exit_reason)0), "unknown");
	ck_assert_str_eq(exit_reason_name(EXIT_REASONS), "unknown");
	ck_assert_str_eq(exit_reason_name((enum exit_reason)-1), "unknown");
	ck_assert_str_eq(exit_reason_name(EXIT_RDTSC), "rdtsc");
}
END_TEST

static bool write_msr(uint32_t msr, uint64_t value)
{
	struct machine_exit exit = { .record = { .reason = EXIT_MSR_WRITE, .address = msr, .data = value } };

	ck_assert_int_eq(answer(&exit), OUTCOME_RUN);
	return !exit.refused;
}

static bool read_msr(uint32_t msr, uint64_t *value)
{
	struct machine_exit exit = { .record = { .reason = EXIT_MSR_READ, .address = msr } };

	ck_assert_int_eq(answer(&exit), OUTCOME_RUN);
	*value = exit.result;
	return !exit.refused;
}

START_TEST(efer)
{
	uint64_t value;
	const uint64_t writable = EFER_SCE | EFER_LME | EFER_NXE | EFER_FFXSR;

	ck_assert(read_msr(MSR_EFER, &value));
	ck_assert_uint_eq(value, EFER_LME | EFER_LMA);
	ck_assert(write_msr(MSR_EFER, writable));
	ck_assert(read_msr(MSR_EFER, &value));
	ck_assert_uint_eq(value, writable | EFER_LMA); /* LMA is the CPU's */
	ck_assert(write_msr(MSR_EFER, EFER_LME | EFER_LMA));
	ck_assert_uint_eq(msrs.efer, EFER_LME | EFER_LMA);

	/* One bit at a time: what is not writable is #GP, SVME above all, and changes nothing. */
	for (unsigned bit = 0; bit < 64; bit++) {
		uint64_t one = UINT64_C(1) << bit;
		bool lawful = ((writable | EFER_LMA) & one) != 0;

		ck_assert_int_eq(write_msr(MSR_EFER, EFER_LME | EFER_LMA | one), lawful);
		ck_assert_uint_eq(msrs.efer & ~(writable | EFER_LMA), 0);
		ck_assert_uint_eq(msrs.efer, EFER_LME | EFER_LMA | (lawful ? one : 0));
		msrs.efer = EFER_LME | EFER_LMA;
	}
	ck_assert(!write_msr(MSR_EFER, EFER_LME | EFER_SVME));

	/* Long mode cannot be left while it is active; before that, LME is free. */
	ck_assert(!write_msr(MSR_EFER, EFER_SCE));
	ck_assert_uint_eq(msrs.efer, EFER_LME | EFER_LMA);
	msrs.efer = EFER_LME;
	ck_assert(write_msr(MSR_EFER, EFER_SCE));
	ck_assert_uint_eq(msrs.efer, EFER_SCE);
	ck_assert(write_msr(MSR_EFER, EFER_LMA));
	ck_assert_uint_eq(msrs.efer, 0);
}
END_TEST

START_TEST(sysenter_msrs_keep_all_bits)
{
	static const uint32_t numbers[] = { 0x175, 0x176 };

	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		struct machine_exit exit = access_exit(EXIT_MSR_WRITE, numbers[i], 0, 0, NULL);

		exit.record.data = 0xFFFFFE0000003000ull + i;
		ck_assert_int_eq(exit_answer(&context, &exit), OUTCOME_RUN);
		ck_assert(!exit.refused);
	}
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		struct machine_exit exit = access_exit(EXIT_MSR_READ, numbers[i], 0, 0, NULL);

		ck_assert_int_eq(exit_answer(&context, &exit), OUTCOME_RUN);
		ck_assert(!exit.refused);
		ck_assert_uint_eq(exit.result, 0xFFFFFE0000003000ull + i);
	}
}
END_TEST

START_TEST(other_msrs)
{
	uint64_t value = 1;

	board_advance(board, 123456789);
	ck_assert(read_msr(MSR_TSC, &value));
	ck_assert_uint_eq(value, 123456789);
	ck_assert(!write_msr(MSR_TSC, 0));
	ck_assert(read_msr(0x8B, &value));
	ck_assert_uint_eq(value, 0);
	ck_assert(read_msr(0xC0010015, &value));
	ck_assert(write_msr(0xC0010015, 0x10));
	ck_assert(write_msr(0x8B, 0));
	/* APIC base, MTRR capabilities, TSC_AUX, VM_HSAVE_PA, VM_CR, KVM's clock, and numbers beyond all ranges. */
	const uint32_t unknown[] = { 0x1B, 0xFE, 0xC0000103, 0xC0010117, 0xC0010114, 0x4B564D01, 0, UINT32_MAX };

	for (size_t i = 0; i < ARRAY_SIZE(unknown); i++) {
		ck_assert_msg(!read_msr(unknown[i], &value), "MSR 0x%x can be read", unknown[i]);
		ck_assert_msg(!write_msr(unknown[i], 0), "MSR 0x%x can be written", unknown[i]);
	}
	ck_assert_uint_eq(msrs.efer, EFER_LME | EFER_LMA);
}
END_TEST

START_TEST(time_stamp)
{
	struct machine_exit exit = { .record = { .reason = EXIT_RDTSC } };

	board_advance(board, UINT64_C(0x123456789A));
	ck_assert_int_eq(answer(&exit), OUTCOME_RUN);
	ck_assert_uint_eq(exit.result, UINT64_C(0x123456789A));
}
END_TEST

START_TEST(cpuid)
{
	struct machine_exit exit = { .record = { .reason = EXIT_CPUID, .address = 0, .data = 0 } };

	ck_assert_int_eq(answer(&exit), OUTCOME_RUN);
	ck_assert_uint_eq(exit.cpuid.eax, 7);
	ck_assert_uint_eq(exit.cpuid.ebx, 1);
	ck_assert_uint_eq(exit.cpuid.ecx, 2);
	ck_assert_uint_eq(exit.cpuid.edx, 3);
	exit.record.address = 7;
	ck_assert_int_eq(answer(&exit), OUTCOME_RUN);
	ck_assert_uint_ne(exit.cpuid.ebx, 0);
	exit.record.data = 1; /* the subleaf */
	ck_assert_int_eq(answer(&exit), OUTCOME_RUN);
	ck_assert_uint_eq(exit.cpuid.ebx, 0);
}
END_TEST

START_TEST(timed)
{
	const struct {
		enum exit_reason reason;
		uint64_t address;
		bool needs_time;
	} expected[] = {
		{ EXIT_PORT_IN, 0x40, true },      { EXIT_PORT_OUT, 0x43, true },   { EXIT_PORT_IN, 0x71, true },
		{ EXIT_PORT_OUT, 0x70, false },    { EXIT_PORT_IN, 0x3F8, false },  { EXIT_PORT_OUT, 0x3F8, false },
		{ EXIT_RDTSC, 0, true },           { EXIT_MSR_READ, MSR_TSC, true },
		{ EXIT_MSR_READ, MSR_EFER, false }, { EXIT_MSR_WRITE, MSR_TSC, false }, { EXIT_HALT, 0, false },
		{ EXIT_CPUID, 0, false },          { EXIT_MMIO_READ, 0x40, false }, { EXIT_MMIO_WRITE, 0x43, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
		const struct machine_exit exit = {
			.record = { .reason = expected[i].reason, .address = expected[i].address, .size = 1 },
		};

		ck_assert_msg(exit_is_timed(board, &exit) == expected[i].needs_time, "row %zu", i);
	}
}
END_TEST

START_TEST(no_such_reason)
{
	struct machine_exit exit = { .record = { .reason = EXIT_REASONS } };

	(void)answer(&exit);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("exits");
	TCase *tests = tcase_create("answers");

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, ports);
	tcase_add_test(tests, strings);
	tcase_add_test(tests, ends);
	tcase_add_test(tests, memory);
	tcase_add_test(tests, outcomes);
	tcase_add_test(tests, names);
	tcase_add_test(tests, efer);
	tcase_add_test(tests, sysenter_msrs_keep_all_bits);
	tcase_add_test(tests, other_msrs);
	tcase_add_test(tests, time_stamp);
	tcase_add_test(tests, cpuid);
	tcase_add_test(tests, timed);
	tcase_add_test_raise_signal(tests, no_such_reason, 6 /* SIGABRT */);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
