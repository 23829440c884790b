/* Breakpoints and stops behind the trap shim, in ring 0 and in ring 3: needs nested SVM, as the lab has it. */
#include "tests/unit/stepped_guest.h"

#include <stdio.h>
#include <string.h>

#include "vmm/machine_stop.h"

enum {
	ROUNDS = 12,
	IDT = 0x300000,
	GATES = 0x21,
	VECTOR_GP = 13,
	VECTOR_TIMER = 0x20,
	HANDLER = 0x100, /* of each guest that has one */
	RFLAGS_IF = 0x200,
	CALLS = 8,
};

GUEST_CODE(loop, STEPPED_LOOP("12"));

/* A #GP with an error code, whose handler keeps the code and the frame, and goes on behind it. Here and below, offsets
 * from the code's begin are counted in the comments. */
GUEST_CODE(fault, "mov $0x1234, %eax\n"        /* 0 */
		  "mov $3, %ecx\n"             /* 5 */
		  "1: add %ecx, %ebx\n"        /* 10 */
		  "mov %eax, %ds\n"            /* 12: #GP(0x1234) */
		  "dec %ecx\n"                 /* 14 */
		  "jnz 1b\n"
		  "out %al, $0x80\n"
		  "2: jmp 2b\n"
		  ".org fault_begin + 0x100\n"
		  "pop %r8\n"
		  "mov (%rsp), %r9\n"
		  "mov 16(%rsp), %r10\n"
		  "add %r10, %r11\n"
		  "addq $2, (%rsp)\n"
		  "iretq");
enum { FAULT_ADD = 10, FAULT_DEC = 14 };

/* The guest's own HLT. */
GUEST_CODE(halts, "mov $3, %ecx\n"             /* 0 */
		  "1: hlt\n"                   /* 5 */
		  "dec %ecx\n"                 /* 6 */
		  "jnz 1b\n"
		  "out %al, $0x80");
enum { HALTS_HLT = 5, HALTS_DEC = 6 };

/* The timer on, then nothing that exits but its interrupt's handler. */
GUEST_CODE(ticking, GUEST_TIMER
		    "mov $0xFF, %al\n"
		    "out %al, $0x40\n"
		    "out %al, $0x40\n"
		    "nop\n"
		    "2: jmp 2b\n"
		    ".org ticking_begin + 0x100\n"
		    "inc %r12\n"
		    "mov %r12, 0x401000\n"
		    "mov $0x20, %al\n"
		    "out %al, $0x20\n"
		    "iretq");
enum { TICKING_OUTS = 8, TICKING_SPIN = 31, TICK_NS = 60000000 };

/* Calls that take their time. */
GUEST_CODE(calls, "mov $8, %ebp\n"             /* 0 */
		  "1: call 2f\n"               /* 5 */
		  "mov %rbx, 0x400000(,%rbp,8)\n" /* 10 */
		  "dec %ebp\n"                 /* 18 */
		  "jnz 1b\n"
		  "out %al, $0x80\n"
		  "2: mov $5000000, %ecx\n"
		  "3: add %rcx, %rbx\n"
		  "dec %ecx\n"
		  "jnz 3b\n"
		  "ret");
enum { CALLS_RETURN = 10, CALLS_DEC = 18 };

/* Every test is done in ring 0 and in ring 3. */
static const bool rings[] = { false, true };

static void start_in(int ring, const uint8_t *code, const uint8_t *code_end)
{
	start_behind_shim(code, code_end, BREAKPOINT_HALT, rings[ring]);
}

/* A trap gate (AMD64 APM vol. 2, 4.8.4) to HANDLER; with interrupts on, if wanted. */
static void set_gate(int ring, unsigned vector, bool interrupts)
{
	const uint64_t handler = GUEST_MACHINE_CODE + HANDLER;
	const uint64_t selector = rings[ring] ? 0x33 : 0x10;
	const uint64_t gate[2] = {
		(handler & 0xFFFF) | selector << 16 | UINT64_C(0xEF00) << 32 | (handler >> 16 & 0xFFFF) << 48,
		handler >> 32,
	};

	must_succeed(ram_write(&guest.ram, IDT + vector * sizeof(gate), gate, sizeof(gate)));
	must_succeed(machine_export(&guest.machine, &state));
	state.idt_base = IDT;
	state.idt_limit = GATES * sizeof(gate) - 1;
	state.rflags |= interrupts ? RFLAGS_IF : 0;
	must_succeed(machine_import(&guest.machine, &state, false));
	must_succeed(machine_prepare(&guest.machine));
}

START_TEST(loop_is_counted)
{
	start_in(_i, loop_begin, loop_end);
	must_count_loop(loop_begin, ROUNDS);
}
END_TEST

static bool stop_allowed(void)
{
	bool allowed;

	must_succeed(machine_stop_allowed(&guest.machine, &state, &allowed));
	return allowed;
}

/* Stops at a jump to itself by a signal. */
static void stop_at(uint64_t offset)
{
	do
		interrupt_after(2000);
	while (!stop_allowed() || state.rip != GUEST_MACHINE_CODE + offset);
}

/* All of the canonical state: at a hit, behind an exit and by a signal. */
START_TEST(states_are_equal)
{
	struct cpu_state exited, stopped;

	start_in(_i, loop_begin, loop_end);
	must_exit(0x80);
	guest_machine_settle(&guest);
	must_stand_at(LOOP_NOP);
	exited = state;
	stop_at(LOOP_SPIN);
	stopped = state;
	stepped_guest_teardown();
	start_in(_i, loop_begin, loop_end);
	plant_at(LOOP_NOP);
	must_exit(0x80);
	must_hit(LOOP_NOP);
	ck_assert_mem_eq(&state, &exited, sizeof(state));
	must_step_to(LOOP_SPIN);
	ck_assert_mem_eq(&state, &stopped, sizeof(state));
	plant_at(LOOP_SPIN);
	must_hit(LOOP_SPIN);
	ck_assert_mem_eq(&state, &stopped, sizeof(state));
	must_step_to(LOOP_SPIN);
	ck_assert_mem_eq(&state, &stopped, sizeof(state));
}
END_TEST

/* Planted while the guest runs, and lifted, many times; nothing else of the state moves. */
START_TEST(planted_in_the_middle)
{
	struct cpu_state before;

	start_in(_i, loop_begin, loop_end);
	must_exit(0x80);
	stop_at(LOOP_SPIN);
	before = state;
	for (unsigned i = 0; i < 5; i++) {
		plant_at(LOOP_SPIN);
		must_hit(LOOP_SPIN);
		ck_assert_mem_eq(&state, &before, sizeof(state));
		breakpoints_lift(&breakpoints);
		stop_at(LOOP_SPIN);
		ck_assert_mem_eq(&state, &before, sizeof(state));
	}
	ck_assert_uint_eq(guest.machine.position, 1);
}
END_TEST

/* The guest's own #GP, with the intercept off and on: the same frame, the same error code, the same position. */
START_TEST(faults_are_given_back)
{
	struct exit_record plain;

	start_in(_i, fault_begin, fault_end);
	set_gate(_i, VECTOR_GP, false);
	must_exit(0x80);
	plain = guest.machine.exit.record;
	ck_assert_uint_eq(plain.gpr[GPR_R8], 0x1234);
	ck_assert_uint_eq(plain.gpr[GPR_R9], GUEST_MACHINE_CODE + 12);
	stepped_guest_teardown();

	start_in(_i, fault_begin, fault_end);
	set_gate(_i, VECTOR_GP, false);
	plant_at(FAULT_DEC);
	for (uint64_t left = 3; left > 0; left--) {
		must_hit(FAULT_DEC);
		ck_assert_uint_eq(state.gpr[GPR_RCX], left);
		ck_assert_uint_eq(state.gpr[GPR_R8], 0x1234);
		must_step_to(FAULT_DEC + 2);
	}
	must_exit(0x80);
	ck_assert_mem_eq(&guest.machine.exit.record, &plain, sizeof(plain));
	stepped_guest_teardown();

	/* With a breakpoint on the one that faults: the step ends behind it, and the handler has been. */
	start_in(_i, fault_begin, fault_end);
	set_gate(_i, VECTOR_GP, false);
	plant_at(FAULT_ADD + 2);
	for (uint64_t left = 3; left > 0; left--) {
		must_hit(FAULT_ADD + 2);
		must_step_to(FAULT_DEC);
		ck_assert_uint_eq(state.gpr[GPR_R8], 0x1234);
	}
	/* Just lifted, the intercept still counts. */
	breakpoints_lift(&breakpoints);
	must_exit(0x80);
	ck_assert_mem_eq(&guest.machine.exit.record, &plain, sizeof(plain));
}
END_TEST

/* What comes at any moment may come between a breakpoint's #GP and our hearing of it; when it is lifted then, the guest
 * must not get that #GP. */
GUEST_CODE(innocent, "1: jmp 1b\n"             /* 0 */
		     ".org innocent_begin + 0x100\n"
		     "pop %r8\n"
		     "inc %r9\n"
		     "iretq");

START_TEST(lifted_on_the_way)
{
	enum { TIMES = 400, STEP_US = 7, LONGEST_US = 700 };
	unsigned interrupted = 0;

	start_in(_i, innocent_begin, innocent_end);
	set_gate(_i, VECTOR_GP, false);
	for (unsigned i = 0; i < TIMES; i++) {
		const unsigned us = 1 + i * STEP_US % LONGEST_US;
		bool planted = false;

		for (const struct breakpoint place = at(0); !planted;) {
			must_succeed(breakpoints_plant(&breakpoints, &place, 1, &planted));
			if (!planted)
				interrupt_after(us);
		}
		interrupted += run_with_signals(us, us) == MACHINE_INTERRUPTED;
		breakpoints_lift(&breakpoints);
		interrupt_after(us);
	}
	ck_assert_uint_gt(interrupted, 0);
	stop_at(0);
	ck_assert_uint_eq(state.gpr[GPR_R9], 0);
	ck_assert_uint_eq(guest.machine.position, 0);
}
END_TEST

/* One of the guest's own that we made, by refusing an MSR, must not be forgotten: the guest would ask again. */
GUEST_CODE(refused, "1: mov $40000000, %edx\n"   /* 0 */
		    "2: dec %edx\n"              /* 5 */
		    "jnz 2b\n"
		    "mov $0xC0010055, %ecx\n"
		    "rdmsr\n"
		    "jmp 1b\n"
		    "nop\n"                      /* 18: nobody comes here */
		    ".org refused_begin + 0x100\n"
		    "pop %r8\n"
		    "inc %r9\n"
		    "addq $2, (%rsp)\n"
		    "iretq");
enum { REFUSED_NOWHERE = 18 };

static void must_ask(uint64_t refusals)
{
	while (run() != MACHINE_EXITED)
		;
	ck_assert_int_eq(guest.machine.exit.record.reason, EXIT_MSR_READ);
	ck_assert_uint_eq(guest.machine.exit.record.gpr[GPR_R9], refusals);
}

START_TEST(refusals_are_not_forgotten)
{
	enum { TIMES = 60, APART_US = 5 };
	uint64_t refusals = 0;

	start_in(0, refused_begin, refused_end);
	set_gate(0, VECTOR_GP, false);
	for (unsigned i = 0; i < TIMES; i++) {
		const unsigned us = 1 + i * APART_US;
		enum machine_stop stop;

		/* So that faults come to the shim when the guest asks, and a signal comes between. */
		do
			interrupt_after(300);
		while (!stop_allowed());
		plant_at(REFUSED_NOWHERE);
		must_ask(refusals++);
		(void)answer();
		stop = run_with_signals(us, us);
		breakpoints_lift(&breakpoints);
		if (stop == MACHINE_INTERRUPTED)
			must_ask(refusals++);
		else
			ck_assert_uint_eq(guest.machine.exit.record.gpr[GPR_R9], refusals++);
		(void)answer();
	}
}
END_TEST

/* An instruction that faults comes twice: before its fault, and when the handler is done. */
GUEST_CODE(twice, "movabs $0x7000000000, %rsi\n" /* 0: nothing is mapped there */
		  "mov %rax, (%rsi)\n"           /* 10 */
		  "out %al, $0x80\n"             /* 13 */
		  ".org twice_begin + 0x100\n"
		  "pop %r8\n"
		  "mov $0x401000, %esi\n"
		  "inc %r9\n"
		  "iretq");
enum { TWICE_STORE = 10, TWICE_OUT = 13, VECTOR_PF = 14 };

START_TEST(faulting_instructions_are_met_again)
{
	start_in(_i, twice_begin, twice_end);
	set_gate(_i, VECTOR_PF, false);
	plant_at(TWICE_STORE);
	must_hit(TWICE_STORE);
	ck_assert_uint_eq(state.gpr[GPR_R9], 0);
	must_step_to(HANDLER);
	must_hit(TWICE_STORE);
	ck_assert_uint_eq(state.gpr[GPR_R9], 1);
	ck_assert_uint_eq(state.cr2, 0x7000000000);
	must_step_to(TWICE_OUT);
	must_exit(0x80);
	ck_assert_uint_eq(guest.machine.position, 1);
	/* With the handler's own first instruction under a breakpoint. */
	stepped_guest_teardown();
	start_in(_i, twice_begin, twice_end);
	set_gate(_i, VECTOR_PF, false);
	plant_at(HANDLER);
	must_hit(HANDLER);
	must_step_to(HANDLER + 2);
	must_exit(0x80);
}
END_TEST

/* In ring 0 its HLT is its own, with breakpoints beside it and on it. */
START_TEST(halts_pass_through)
{
	start_in(0, halts_begin, halts_end);
	plant_at(_i ? HALTS_HLT : HALTS_DEC);
	for (unsigned i = 1; i <= 3; i++) {
		if (_i) {
			must_hit(HALTS_HLT);
			breakpoints_lift(&breakpoints);
		}
		ck_assert_int_eq(run(), MACHINE_EXITED);
		ck_assert_uint_eq(guest.machine.exit.record.reason, EXIT_HALT);
		ck_assert_uint_eq(guest.machine.position, i);
		guest.machine.halted = false; /* as an interrupt would do */
		must_succeed(machine_prepare(&guest.machine));
		if (_i) {
			plant_at(HALTS_HLT);
		} else {
			must_hit(HALTS_DEC);
			ck_assert_uint_eq(state.gpr[GPR_RCX], 4 - i);
			must_step_to(HALTS_DEC + 2);
		}
	}
	must_exit(0x80);
}
END_TEST

/* --- two machines --- */

/* A tick comes at a stop: the window, the delivery, the handler's exit. */
static void tick(struct exit_record *records, unsigned count)
{
	enum exit_outcome outcome;

	must_succeed(machine_answer(&guest.machine, &outcome));
	ck_assert_int_eq(outcome, OUTCOME_RUN);
	guest_machine_settle(&guest);
	board_advance(guest.board, board_now(guest.board) + TICK_NS);
	ck_assert(board_interrupt_pending(guest.board));
	must_succeed(machine_prepare(&guest.machine));
	ck_assert_uint_eq(guest.machine.event, 0);
	for (unsigned i = 0; i < count; i++) {
		while (run() != MACHINE_EXITED)
			;
		records[i] = guest.machine.exit.record;
		(void)answer();
	}
}

static void start_ticking(int ring)
{
	start_in(ring, ticking_begin, ticking_end);
	set_gate(ring, VECTOR_TIMER, true);
	for (unsigned i = 0; i < (unsigned)TICKING_OUTS; i++) {
		ck_assert_int_eq(run(), MACHINE_EXITED);
		(void)answer();
	}
}

/* Stopped by a signal, and found by a breakpoint, a machine takes interrupts in the same way. */
START_TEST(both_go_on_alike)
{
	struct exit_record signalled[2][3], found[2][3];
	struct cpu_state end;

	start_ticking(_i);
	for (unsigned round = 0; round < 2; round++) {
		stop_at(TICKING_SPIN);
		machine_stop_book(&guest.machine, &state);
		signalled[round][0] = guest.machine.exit.record;
		tick(&signalled[round][1], 2);
	}
	stop_at(TICKING_SPIN);
	end = state;
	ck_assert_uint_eq(end.gpr[GPR_R12], 2);
	ck_assert_uint_eq(signalled[1][0].reason, EXIT_PREEMPTED);
	ck_assert_uint_eq(signalled[1][1].reason, EXIT_INTERRUPT_WINDOW);
	ck_assert_uint_eq(signalled[1][1].rip, signalled[1][0].rip);
	ck_assert_uint_eq(signalled[1][2].reason, EXIT_PORT_OUT);
	ck_assert_uint_eq(signalled[1][2].event, EXIT_EVENT_INTERRUPT | VECTOR_TIMER);
	stepped_guest_teardown();

	start_ticking(_i);
	for (unsigned round = 0; round < 2; round++) {
		plant_at(TICKING_SPIN);
		must_hit(TICKING_SPIN);
		breakpoints_lift(&breakpoints);
		machine_stop_book(&guest.machine, &state);
		found[round][0] = guest.machine.exit.record;
		tick(&found[round][1], 2);
	}
	ck_assert_mem_eq(signalled, found, sizeof(found));
	plant_at(TICKING_SPIN);
	must_hit(TICKING_SPIN);
	ck_assert_mem_eq(&state, &end, sizeof(end));
}
END_TEST

/* The return of a call that a signal interrupted, found by registers, and the memory is the same. */
START_TEST(stopped_and_found)
{
	static uint8_t memory[GUEST_MACHINE_MEMORY];
	const struct breakpoint place = at(CALLS_RETURN);
	struct cpu_state stopped;
	unsigned hits = 0;
	bool planted;

	start_in(_i, calls_begin, calls_end);
	do {
		interrupt_after(5000);
		must_succeed(breakpoints_plant(&breakpoints, &place, 1, &planted));
	} while (!planted); /* the signal may have come on the very way into the guest */
	must_hit(CALLS_RETURN);
	stopped = state;
	breakpoints_lift(&breakpoints);
	memcpy(memory, guest.ram.memory, sizeof(memory));
	stepped_guest_teardown();
	start_in(_i, calls_begin, calls_end);
	plant_at(CALLS_RETURN);
	for (;;) {
		must_hit(CALLS_RETURN);
		hits++;
		ck_assert_uint_le(hits, CALLS);
		if (registers_compare(&state, &stopped, NULL, NULL) == 0)
			break;
		must_step_to(CALLS_DEC);
	}
	breakpoints_lift(&breakpoints);
	ck_assert(memcmp(memory, guest.ram.memory, sizeof(memory)) == 0);
	must_exit(0x80);
}
END_TEST

START_TEST(self_tests)
{
	must_succeed(breakpoints_self_test(BREAKPOINT_HALT, true));
	result r = breakpoints_self_test(BREAKPOINT_DEBUG, true);

	/* An emulated CPU has none that work; another one may. */
	if (failed(r))
		must_fail(r, STATUS_HOST, "breakpoints by \"debug\" in ring 0: a breakpoint was not hit");
}
END_TEST

static bool svm_available(void)
{
	struct kvm_vm vm;
	bool offered = false;

	if (!guest_machine_available("breakpoints behind the trap shim"))
		return false;
	must_succeed(kvm_vm_create(&vm));
	must_succeed(kvm_vm_offers_svm(&vm, &offered));
	kvm_vm_destroy(&vm);
	if (!offered)
		printf("skip breakpoints behind the trap shim: KVM does not offer nested SVM\n");
	return offered;
}

static void add_tests(Suite *suite)
{
	const int both = (int)ARRAY_SIZE(rings);
	TCase *tests = tcase_create("KVM");
	TCase *backends = tcase_create("backends");

	tcase_add_checked_fixture(tests, NULL, stepped_guest_teardown);
	tcase_add_loop_test(tests, loop_is_counted, 0, both);
	tcase_add_loop_test(tests, states_are_equal, 0, both);
	tcase_add_loop_test(tests, planted_in_the_middle, 0, both);
	tcase_add_loop_test(tests, faults_are_given_back, 0, both);
	tcase_add_loop_test(tests, lifted_on_the_way, 0, both);
	tcase_add_test(tests, refusals_are_not_forgotten);
	tcase_add_loop_test(tests, faulting_instructions_are_met_again, 0, both);
	tcase_add_loop_test(tests, halts_pass_through, 0, 2);
	tcase_add_loop_test(tests, both_go_on_alike, 0, both);
	tcase_add_loop_test(tests, stopped_and_found, 0, both);
	tcase_set_timeout(tests, 120);
	tcase_add_test(backends, self_tests);
	tcase_set_timeout(backends, 120);
	suite_add_tcase(suite, tests);
	suite_add_tcase(suite, backends);
}

int main(void)
{
	Suite *suite = suite_create("breakpoints behind the trap shim");

	/* A case that is made must be added: else Check does not free it. */
	if (svm_available())
		add_tests(suite);
	return fixture_run(suite);
}
