/* Stops: which places a signal may leave a machine at, how one is booked, and that another machine finds it. */
#include "tests/unit/stepped_guest.h"

#include <string.h>

#include "vmm/instruction.h"
#include "vmm/machine_stop.h"

GUEST_CODE(loop, STEPPED_LOOP("50"));

/* Calls, each of which takes its time; then an exit. The memory that they write is all different. */
GUEST_CODE(calls, "mov $30, %ebp\n"
		  "1: call 2f\n"
		  "mov %rbx, 0x400000(,%rbp,8)\n"
		  "dec %ebp\n"
		  "jnz 1b\n"
		  "out %al, $0x80\n"
		  "jmp .\n"
		  "2: push %rbp\n"
		  "mov $3000000, %ecx\n"
		  "3: add %rcx, %rbx\n"
		  "dec %ecx\n"
		  "jnz 3b\n"
		  "pop %rbp\n"
		  "ret");

GUEST_CODE(repeats, "1: mov $0x400000, %edi\n"
		    "mov $0x400000, %ecx\n"
		    "rep stosb\n"
		    "jmp 1b");

static bool stop_allowed(void)
{
	bool allowed;

	must_succeed(machine_stop_allowed(&guest.machine, &state, &allowed));
	return allowed;
}

START_TEST(fit_places)
{
	start(loop_begin, loop_end);
	must_exit(0x80);
	interrupt_after(5000);
	ck_assert(stop_allowed());
	ck_assert_uint_eq(state.rip, GUEST_MACHINE_CODE + LOOP_SPIN);
	/* Not with anything planted, nor with what the guest still has to take. */
	plant_at(LOOP_ADD);
	ck_assert(!stop_allowed());
	breakpoints_lift(&breakpoints);
	ck_assert(stop_allowed());
	struct cpu_state fit = state;
	const struct {
		size_t offset;
		uint64_t bits;
	} unfit[] = {
		{ offsetof(struct cpu_state, rflags), 1 << 8 },
		{ offsetof(struct cpu_state, rflags), 1 << 16 },
		{ offsetof(struct cpu_state, rip), LOOP_SPIN ^ 0x800 }, /* 00 00: add %al, (%rax), where it is mapped */
	};

	for (size_t i = 0; i < ARRAY_SIZE(unfit); i++) {
		struct cpu_state changed = fit;
		uint64_t value;

		memcpy(&value, (uint8_t *)&changed + unfit[i].offset, sizeof(value));
		value ^= unfit[i].bits;
		memcpy((uint8_t *)&changed + unfit[i].offset, &value, sizeof(value));
		if (i == 2)
			must_succeed(ram_write(&guest.ram, value, "\x90", 1)); /* one byte is too short */
		must_succeed(machine_import(&guest.machine, &changed, false));
		ck_assert_msg(!stop_allowed(), "case %zu", i);
	}
	must_succeed(machine_import(&guest.machine, &fit, false));
	ck_assert(stop_allowed());
}
END_TEST

START_TEST(repeating_is_unfit)
{
	unsigned inside = 0;

	start(repeats_begin, repeats_end);
	for (unsigned i = 0; i < 20; i++) {
		interrupt_after(1000);
		bool allowed = stop_allowed();

		must_succeed(machine_export(&guest.machine, &state));
		if (state.rip == GUEST_MACHINE_CODE + 10) {
			ck_assert(!allowed);
			inside++;
		}
	}
	ck_assert_uint_gt(inside, 0);
}
END_TEST

/* Runs a machine of `calls` to its end and gives its last exit. */
static struct exit_record last_exit(void)
{
	while (run() != MACHINE_EXITED)
		;
	return guest.machine.exit.record;
}

/* The stop of one machine, at the return of a call that a signal interrupted, is found by another one, and both go the
 * same way from there. */
START_TEST(stopped_and_found)
{
	static uint8_t memory[GUEST_MACHINE_MEMORY];
	struct exit_record booked, end;
	struct cpu_state stopped;
	struct breakpoint place;
	uint64_t callers[4];
	unsigned hits = 0;

	start(calls_begin, calls_end);
	do {
		interrupt_after(12000);
		must_succeed(machine_export(&guest.machine, &state));
	} while (instruction_return_addresses(&guest.ram, &state, callers, 4) == 0);
	ck_assert_uint_eq(callers[0], GUEST_MACHINE_CODE + 10);
	place = (struct breakpoint){ callers[0], callers[0] };
	plant(&place, 1);
	must_hit(10);
	breakpoints_lift(&breakpoints);
	ck_assert(stop_allowed());
	stopped = state;
	machine_stop_book(&guest.machine, &state);
	booked = guest.machine.exit.record;
	ck_assert_uint_eq(booked.position, 1);
	ck_assert_uint_eq(guest.machine.position, 1);
	ck_assert_str_eq(exit_reason_name((enum exit_reason)booked.reason), "preempted");
	ck_assert_mem_eq(booked.gpr, stopped.gpr, sizeof(booked.gpr));
	ck_assert_uint_eq(booked.rip, stopped.rip);
	ck_assert_uint_eq(booked.rflags, stopped.rflags);
	ck_assert(guest.machine.voted); /* an interrupt would wait for its window */
	ck_assert(machine_can_vote(&guest.machine));
	ck_assert(!machine_exit_is_timed(&guest.machine));
	ck_assert_int_eq(answer(), OUTCOME_RUN);
	guest_machine_settle(&guest);
	memcpy(memory, guest.ram.memory, sizeof(memory));
	end = last_exit();
	ck_assert_uint_eq(end.position, 2);
	ck_assert(!guest.machine.voted);
	stepped_guest_teardown();

	start(calls_begin, calls_end);
	plant(&place, 1);
	for (;;) {
		must_hit(10);
		hits++;
		ck_assert_uint_le(hits, 30);
		if (registers_compare(&state, &stopped, NULL, NULL) == 0)
			break;
		must_step_to(18);
	}
	breakpoints_lift(&breakpoints);
	ck_assert(memcmp(memory, guest.ram.memory, sizeof(memory)) == 0);
	machine_stop_book(&guest.machine, &state);
	ck_assert_mem_eq(&guest.machine.exit.record, &booked, sizeof(booked));
	ck_assert_int_eq(answer(), OUTCOME_RUN);
	struct exit_record other = last_exit();

	ck_assert_mem_eq(&other, &end, sizeof(end));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("machine_stop");
	TCase *tests = tcase_create("KVM");

	tcase_add_checked_fixture(tests, NULL, stepped_guest_teardown);
	tcase_add_test(tests, fit_places);
	tcase_add_test(tests, repeating_is_unfit);
	tcase_add_test(tests, stopped_and_found);
	tcase_set_timeout(tests, 60);
	if (guest_machine_available("stops"))
		suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
