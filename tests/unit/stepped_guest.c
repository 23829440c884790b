#include "tests/unit/stepped_guest.h"

#include <signal.h>
#include <sys/time.h>

struct guest_machine guest;
struct breakpoints breakpoints;
struct cpu_state state;

void start(const uint8_t *code, const uint8_t *code_end)
{
	guest_machine_make(&guest, code, code_end);
	breakpoints_create(&breakpoints, &guest.machine, BREAKPOINT_OUT);
	must_succeed(machine_prepare(&guest.machine));
}

void start_behind_shim(const uint8_t *code, const uint8_t *code_end, enum breakpoint_backend backend, bool user)
{
	guest_machine_make_behind_shim(&guest, code, code_end, user);
	breakpoints_create(&breakpoints, &guest.machine, backend);
	must_succeed(machine_prepare(&guest.machine));
}

void stepped_guest_teardown(void)
{
	if (guest.machine.breakpoints)
		breakpoints_destroy(&breakpoints);
	guest_machine_destroy(&guest);
}

struct breakpoint at(uint64_t offset)
{
	return (struct breakpoint){ GUEST_MACHINE_CODE + offset, GUEST_MACHINE_CODE + offset };
}

void plant(const struct breakpoint *places, unsigned count)
{
	bool planted = false;

	must_succeed(breakpoints_plant(&breakpoints, places, count, &planted));
	ck_assert(planted);
}

void plant_at(uint64_t offset)
{
	const struct breakpoint place = at(offset);

	plant(&place, 1);
}

enum machine_stop run(void)
{
	enum machine_stop stop;

	must_succeed(machine_run(&guest.machine, &stop));
	return stop;
}

void must_stand_at(uint64_t offset)
{
	must_succeed(machine_export(&guest.machine, &state));
	ck_assert_msg(state.rip == GUEST_MACHINE_CODE + offset, "the guest stands at %#jx, not at %#jx",
		      (uintmax_t)(state.rip - GUEST_MACHINE_CODE), (uintmax_t)offset);
}

void must_hit(uint64_t offset)
{
	uint64_t position = guest.machine.position;

	ck_assert_int_eq(run(), MACHINE_BREAKPOINT);
	ck_assert_uint_eq(guest.machine.position, position);
	must_stand_at(offset);
}

enum machine_stop step(void)
{
	enum machine_stop stop;

	must_succeed(machine_export(&guest.machine, &state));
	must_succeed(breakpoints_step(&breakpoints, &state, &stop));
	return stop;
}

void must_step_to(uint64_t offset)
{
	ck_assert_int_eq(step(), MACHINE_BREAKPOINT);
	must_stand_at(offset);
}

enum exit_outcome answer(void)
{
	enum exit_outcome outcome;

	must_succeed(machine_answer(&guest.machine, &outcome));
	must_succeed(machine_prepare(&guest.machine));
	return outcome;
}

void must_exit(uint16_t port)
{
	uint64_t position = guest.machine.position;

	ck_assert_int_eq(run(), MACHINE_EXITED);
	ck_assert_uint_eq(guest.machine.position, position + 1);
	ck_assert_uint_eq(guest.machine.exit.record.reason, EXIT_PORT_OUT);
	ck_assert_uint_eq(guest.machine.exit.record.address, port);
	(void)answer();
}

void must_count_loop(const uint8_t *code, uint64_t rounds)
{
	uint64_t sum = 0;

	plant_at(LOOP_ADD);
	for (uint64_t left = rounds; left > 0; left--) {
		must_hit(LOOP_ADD);
		ck_assert_uint_eq(state.gpr[GPR_RCX], left);
		ck_assert_uint_eq(state.gpr[GPR_RBX], sum);
		ck_assert_uint_eq(state.gpr[GPR_RDX], 3 * sum);
		/* Again at once, and nothing has changed. */
		struct cpu_state before = state;

		must_hit(LOOP_ADD);
		ck_assert_mem_eq(&before, &state, sizeof(state));
		sum += left;
		must_step_to(LOOP_LEA);
		ck_assert_uint_eq(state.gpr[GPR_RBX], sum);
	}
	must_exit(0x80);
	ck_assert_uint_eq(guest.machine.exit.record.gpr[GPR_RBX], rounds * (rounds + 1) / 2);
	ck_assert_uint_eq(guest.machine.position, 1);
	breakpoints_lift(&breakpoints);
	ck_assert_mem_eq(guest.ram.memory + GUEST_MACHINE_CODE, code, LOOP_LENGTH);
}

static void on_alarm(int number)
{
	(void)number;
}

enum machine_stop run_with_signals(unsigned first, unsigned apart)
{
	const struct sigaction action = { .sa_handler = on_alarm };
	const struct itimerval soon = { .it_value = { .tv_usec = (suseconds_t)first },
					.it_interval = { .tv_usec = (suseconds_t)apart } };
	const struct itimerval never = { { 0, 0 }, { 0, 0 } };
	enum machine_stop stop;

	ck_assert_int_eq(sigaction(SIGALRM, &action, NULL), 0);
	ck_assert_int_eq(setitimer(ITIMER_REAL, &soon, NULL), 0);
	stop = run();
	ck_assert_int_eq(setitimer(ITIMER_REAL, &never, NULL), 0);
	return stop;
}

void interrupt_after(unsigned microseconds)
{
	ck_assert_int_eq(run_with_signals(microseconds, 20000), MACHINE_INTERRUPTED);
}
