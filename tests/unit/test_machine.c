/* A machine on real KVM: what its exits look like, that completing them early changes nothing, and that a machine goes
 * on where another one was exported. */
#include "tests/unit/guest_machine.h"

#include <signal.h>
#include <string.h>
#include <sys/time.h>

enum { RAX = GPR_RAX, HISTORY = 1000 };

/* Every kind of exit that ring 3 has, then a loop that computes with everything that is exported. */
GUEST_CODE(tour, "mov $0x80, %edx\n"
		 "mov $0x12345678, %eax\n"
		 "out %eax, %dx\n"             /* 1 */
		 "xor %eax, %eax\n"
		 "in %dx, %eax\n"              /* 2 */
		 "mov %rax, %rbx\n"
		 "mov $0x3F8, %edx\n"
		 "lea 9f(%rip), %rsi\n"
		 "mov $5, %ecx\n"
		 "cld\n"
		 "rep outsb\n"
		 "mov $0x3FD, %edx\n"
		 "mov $0x300FFE, %edi\n"       /* across a page's end */
		 "mov $5, %ecx\n"
		 "rep insb\n"
		 "mov $0xE0000000, %esi\n"
		 "movabs $0x1122334455667788, %rax\n"
		 "mov %rax, (%rsi)\n"
		 "mov (%rsi), %r9\n"
		 "movdqu (%rsi), %xmm2\n"      /* two exits for one instruction */
		 "mov $0x40, %edx\n"
		 "in %dx, %al\n"               /* needs the time */
		 "movl $0x11111111, 0x400000\n"
		 "fldpi\n"
		 "fld1\n"
		 "movq %rbx, %xmm7\n"
		 "mov $60, %ebp\n"
		 "1: paddq %xmm7, %xmm7\n"
		 "fadd %st(1), %st\n"
		 "movq %xmm7, %rax\n"
		 "imul %rbp, %rax\n"
		 "mov %ebp, %ecx\n"
		 "shl $12, %ecx\n"
		 "mov %rax, 0x500000(%rcx)\n"
		 "xor %rax, %r15\n"
		 "fstl 0x600000\n"
		 "mov 0x600000, %r14\n"
		 "out %al, $0x80\n"
		 "dec %ebp\n"
		 "jnz 1b\n"
		 "mov $42, %al\n"
		 "out %al, $0xF4\n"
		 "jmp .\n"
		 "9: .ascii \"hello\"");
GUEST_CODE(crash, "ud2");
GUEST_CODE(spin, "jmp .");

static struct guest_machine guest;

static void start_tour(void)
{
	guest_machine_make(&guest, tour_begin, tour_end);
}

static void teardown(void)
{
	guest_machine_destroy(&guest);
}

/* The next exit, which must be one of this kind. */
static const struct exit_record *step_to(enum exit_reason reason, uint64_t address, uint32_t size)
{
	const struct exit_record *record = &guest.machine.exit.record;
	uint64_t before = guest.machine.position;

	ck_assert_int_eq(guest_machine_step(&guest), OUTCOME_RUN);
	ck_assert_uint_eq(guest.machine.position, before + 1);
	ck_assert_uint_eq(record->position, before + 1);
	ck_assert_str_eq(exit_reason_name((enum exit_reason)record->reason), exit_reason_name(reason));
	ck_assert_uint_eq(record->address, address);
	ck_assert_uint_eq(record->size, size);
	return record;
}

START_TEST(exits)
{
	uint8_t bytes[5];
	const struct exit_record *record;

	start_tour();
	record = step_to(EXIT_PORT_OUT, 0x80, 4);
	ck_assert_uint_eq(record->data, 0x12345678);
	ck_assert_uint_eq(record->gpr[RAX], 0x12345678);
	ck_assert_uint_eq(record->gpr[GPR_RDX], 0x80);
	ck_assert_uint_eq(record->rflags & 0x202, 0x2); /* interrupts are off */
	ck_assert(!machine_interrupts_enabled(&guest.machine));
	ck_assert(!machine_can_wake(&guest.machine));
	record = step_to(EXIT_PORT_IN, 0x80, 4);
	ck_assert_uint_eq(record->gpr[RAX], 0);
	ck_assert_uint_eq(record->data, 1);

	/* "hello", in as many exits as KVM likes. */
	while (guest.fixture.output_length < 5) {
		record = step_to(EXIT_PORT_OUT, 0x3F8, 1);
		ck_assert_uint_eq(record->gpr[GPR_RBX], 0x12345678); /* what was read */
	}
	ck_assert_uint_eq(guest.fixture.output_length, 5);
	ck_assert_mem_eq(guest.fixture.output, "hello", 5);

	uint64_t read = 0;

	while (read < 5) {
		record = step_to(EXIT_PORT_IN, 0x3FD, 1);
		ck_assert_uint_eq(record->data, guest.machine.exit.count);
		read += record->data;
	}
	ck_assert_uint_eq(read, 5);
	record = step_to(EXIT_MMIO_WRITE, 0xE0000000, 8);
	ck_assert_uint_eq(record->data, 0x1122334455667788);
	ck_assert_uint_eq(record->gpr[GPR_RDI], 0x301003);
	ck_assert_uint_eq(record->gpr[GPR_RCX], 0);
	must_succeed(ram_read(&guest.ram, 0x300FFE, bytes, sizeof(bytes)));
	ck_assert_mem_eq(bytes, "\x60\x60\x60\x60\x60", 5); /* transmitter empty (16550A data sheet, LSR) */
	for (unsigned i = 0; i < 3; i++)
		(void)step_to(EXIT_MMIO_READ, i == 2 ? 0xE0000008 : 0xE0000000, 8);
	record = step_to(EXIT_PORT_IN, 0x40, 1);
	ck_assert_uint_eq(record->gpr[GPR_R9], UINT64_MAX);
	ck_assert_uint_eq(board_now(guest.board), 1000);
	for (unsigned i = 0; i < 60; i++)
		(void)step_to(EXIT_PORT_OUT, 0x80, 1);
	(void)step_to(EXIT_PORT_OUT, 0xF4, 1);
	ck_assert_uint_eq(guest.fixture.requests, 1);
	ck_assert_uint_eq(guest.fixture.argument, 42);
}
END_TEST

static struct exit_record uninterrupted[HISTORY];
static size_t uninterrupted_count;

static bool at_the_end(const struct guest_machine *machine)
{
	return machine->machine.exit.record.address == 0xF4;
}

/* The whole tour without a stop. */
static void run_uninterrupted(void)
{
	start_tour();
	uninterrupted_count = 0;
	do {
		ck_assert_uint_lt(uninterrupted_count, HISTORY);
		(void)guest_machine_step(&guest);
		uninterrupted[uninterrupted_count++] = guest.machine.exit.record;
	} while (!at_the_end(&guest));
	ck_assert_uint_gt(uninterrupted_count, 65);
}

static void must_be_at(const struct guest_machine *machine, size_t index)
{
	const struct exit_record *expected = &uninterrupted[index];
	const struct exit_record *record = &machine->machine.exit.record;

	ck_assert_uint_lt(index, uninterrupted_count);
	if (memcmp(record, expected, sizeof(*record)) != 0)
		ck_abort_msg("at position %ju: %s at 0x%jx, rip 0x%jx, instead of %s at 0x%jx, rip 0x%jx",
			     (uintmax_t)record->position, exit_reason_name((enum exit_reason)record->reason),
			     (uintmax_t)record->address, (uintmax_t)record->rip,
			     exit_reason_name((enum exit_reason)expected->reason), (uintmax_t)expected->address,
			     (uintmax_t)expected->rip);
}

/* Settled and exported at every position, the guest makes the same exits. */
START_TEST(settling_changes_nothing)
{
	struct cpu_state state;

	run_uninterrupted();
	guest_machine_destroy(&guest);
	start_tour();
	do {
		(void)guest_machine_step(&guest);
		must_be_at(&guest, guest.machine.position - 1);
		guest_machine_settle(&guest);
		must_be_at(&guest, guest.machine.position - 1);
		must_succeed(machine_export(&guest.machine, &state));
	} while (!at_the_end(&guest));
	ck_assert_uint_eq(guest.machine.position, uninterrupted_count);
}
END_TEST

/* A settled instruction is complete: IN has its value, RIP is behind it. */
START_TEST(settled_is_complete)
{
	struct cpu_state state;

	start_tour();
	(void)step_to(EXIT_PORT_OUT, 0x80, 4);
	uint64_t in_at = step_to(EXIT_PORT_IN, 0x80, 4)->rip;

	guest_machine_settle(&guest);
	must_succeed(machine_export(&guest.machine, &state));
	ck_assert_uint_eq(state.rip, in_at + 1);
	ck_assert_uint_eq(state.gpr[RAX], 0x12345678);
	ck_assert_uint_eq(guest.machine.position, 2);
	/* REP INSB, whatever its exits: afterwards all five bytes are there. */
	while (guest.machine.exit.record.address != 0x3FD)
		(void)guest_machine_step(&guest);
	do {
		guest_machine_settle(&guest);
		must_succeed(machine_export(&guest.machine, &state));
		if (state.gpr[GPR_RCX] > 0)
			(void)step_to(EXIT_PORT_IN, 0x3FD, 1);
	} while (state.gpr[GPR_RCX] > 0);
	ck_assert_uint_eq(state.gpr[GPR_RDI], 0x301003);
	ck_assert_uint_eq(ram_page(&guest.ram, 0x301)[2], 0x60);
}
END_TEST

/* The second half of a wide access is a position of its own, whoever completes the first. */
START_TEST(settling_can_take_more_exits)
{
	bool settled;

	start_tour();
	while (guest.machine.exit.record.reason != EXIT_MMIO_READ)
		(void)guest_machine_step(&guest);
	(void)step_to(EXIT_MMIO_READ, 0xE0000000, 8);
	uint64_t position = guest.machine.position, rip = guest.machine.exit.record.rip;

	must_succeed(machine_settle(&guest.machine, &settled));
	ck_assert(!settled);
	ck_assert_uint_eq(guest.machine.position, position + 1);
	ck_assert_uint_eq(guest.machine.exit.record.position, position + 1);
	ck_assert_uint_eq(guest.machine.exit.record.address, 0xE0000008);
	enum exit_outcome outcome;
	struct cpu_state state;

	must_succeed(machine_answer(&guest.machine, &outcome));
	must_succeed(machine_settle(&guest.machine, &settled));
	ck_assert(settled);
	ck_assert_uint_eq(guest.machine.position, position + 1);
	must_succeed(machine_export(&guest.machine, &state));
	ck_assert_uint_gt(state.rip, rip);
	for (unsigned i = 0; i < 16; i++)
		ck_assert_uint_eq(state.xmm[2][i], 0xFF);
}
END_TEST

/* Exported at any position into a fresh machine, the tour goes on as if nothing had happened, to the same state. */
START_TEST(export_and_import)
{
	struct cpu_state final, state;

	run_uninterrupted();
	guest_machine_settle(&guest);
	must_succeed(machine_export(&guest.machine, &final));
	struct guest_machine finished = guest;

	start_tour();
	for (size_t position = 1; position < uninterrupted_count;) {
		static struct guest_machine copy;

		(void)guest_machine_step(&guest);
		guest_machine_settle(&guest);
		position = guest.machine.position;
		guest_machine_copy(&copy, &guest);
		must_succeed(machine_export(&guest.machine, &state));
		struct cpu_state copied;

		must_succeed(machine_export(&copy.machine, &copied));
		ck_assert_uint_eq(registers_compare(&state, &copied, NULL, NULL), 0);
		ck_assert_mem_eq(&state, &copied, sizeof(state));
		while (copy.machine.position < uninterrupted_count) {
			(void)guest_machine_step(&copy);
			must_be_at(&copy, copy.machine.position - 1);
		}
		guest_machine_settle(&copy);
		must_succeed(machine_export(&copy.machine, &copied));
		ck_assert_mem_eq(&final, &copied, sizeof(final));
		ck_assert(memcmp(ram_page(&copy.ram, 0), ram_page(&finished.ram, 0), GUEST_MACHINE_MEMORY) == 0);
		guest_machine_destroy(&copy);
	}
	guest_machine_destroy(&finished);
}
END_TEST

START_TEST(state_at_the_start)
{
	struct cpu_state state;

	start_tour();
	must_succeed(machine_export(&guest.machine, &state));
	ck_assert_uint_eq(state.rip, GUEST_MACHINE_CODE);
	ck_assert_uint_eq(state.segment[SEG_CS].selector, 0x33);
	ck_assert_uint_eq(state.segment[SEG_CS].attributes, 0xAFB);
	ck_assert_uint_eq(state.segment[SEG_SS].attributes, 0xCF3);
	ck_assert_uint_eq(state.cr0, 0x80010033);
	ck_assert_uint_eq(state.efer, 0xD00);
	ck_assert_uint_eq(guest.machine.msrs.efer, 0xD00);
	ck_assert_uint_eq(state.mxcsr, 0x1F80);
	ck_assert_uint_eq(state.fcw, 0x37F);
	ck_assert_uint_eq(state.rflags, 0x3002);
	ck_assert_uint_eq(state.msr[CPU_MSR_PAT], 0x0007040600070406);
}
END_TEST

static bool is_dirty(const uint64_t *bitmap, uint64_t page)
{
	return bitmap[page / 64] >> (page % 64) & 1;
}

START_TEST(dirty_pages)
{
	uint64_t bitmap[GUEST_MACHINE_BITMAP];
	const uint64_t none[ARRAY_SIZE(bitmap)] = { 0 };

	start_tour();
	guest_machine_collect_dirty(&guest, bitmap);
	ck_assert(is_dirty(bitmap, 0x200)); /* loaded from user space */
	ck_assert(!is_dirty(bitmap, 0x400));
	while (guest.machine.exit.record.address != 0x40)
		(void)guest_machine_step(&guest);
	guest_machine_collect_dirty(&guest, bitmap);
	ck_assert(is_dirty(bitmap, 0x300)); /* by INSB */
	ck_assert(is_dirty(bitmap, 0x301));
	ck_assert(!is_dirty(bitmap, 0x400));
	(void)guest_machine_step(&guest);
	must_succeed(ram_write(&guest.ram, 0x700000, "x", 1));
	guest_machine_collect_dirty(&guest, bitmap);
	ck_assert(is_dirty(bitmap, 0x400));
	ck_assert(is_dirty(bitmap, 0x500 + 60));
	ck_assert(is_dirty(bitmap, 0x600));
	ck_assert(is_dirty(bitmap, 0x700));
	unsigned pages = 0;

	for (uint64_t page = 0; page < 64 * ARRAY_SIZE(bitmap); page++)
		pages += is_dirty(bitmap, page);
	ck_assert_uint_eq(pages, 4 + guest_machine_dirty_tables());
	guest_machine_collect_dirty(&guest, bitmap);
	ck_assert_mem_eq(bitmap, none, sizeof(none));
}
END_TEST

START_TEST(triple_fault)
{
	guest_machine_make(&guest, crash_begin, crash_end);
	ck_assert_int_eq(guest_machine_step(&guest), OUTCOME_CRASHED);
	ck_assert_uint_eq(guest.machine.exit.record.reason, EXIT_SHUTDOWN);
}
END_TEST

static void on_alarm(int number)
{
	(void)number;
}

/* A signal ends a run that has no exit, and moves nothing. */
START_TEST(signals)
{
	const struct sigaction action = { .sa_handler = on_alarm };
	const struct itimerval soon = { .it_value = { .tv_usec = 20000 }, .it_interval = { .tv_usec = 20000 } };
	const struct itimerval never = { { 0, 0 }, { 0, 0 } };
	enum machine_stop stop = MACHINE_EXITED;

	guest_machine_make(&guest, spin_begin, spin_end);
	must_succeed(machine_prepare(&guest.machine));
	ck_assert_int_eq(sigaction(SIGALRM, &action, NULL), 0);
	ck_assert_int_eq(setitimer(ITIMER_REAL, &soon, NULL), 0);
	for (unsigned i = 0; i < 3; i++) {
		must_succeed(machine_run(&guest.machine, &stop));
		ck_assert_int_eq(stop, MACHINE_INTERRUPTED);
		ck_assert_uint_eq(guest.machine.position, 0);
	}
	ck_assert_int_eq(setitimer(ITIMER_REAL, &never, NULL), 0);
	struct cpu_state state;

	must_succeed(machine_export(&guest.machine, &state));
	ck_assert_uint_eq(state.rip, GUEST_MACHINE_CODE);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("machine");
	TCase *tests = tcase_create("KVM");

	tcase_add_checked_fixture(tests, NULL, teardown);
	tcase_add_test(tests, exits);
	tcase_add_test(tests, settling_changes_nothing);
	tcase_add_test(tests, settled_is_complete);
	tcase_add_test(tests, settling_can_take_more_exits);
	tcase_add_test(tests, export_and_import);
	tcase_add_test(tests, state_at_the_start);
	tcase_add_test(tests, dirty_pages);
	tcase_add_test(tests, triple_fault);
	tcase_add_test(tests, signals);
	tcase_set_timeout(tests, 60);
	if (guest_machine_available("machine"))
		suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
