/* breakpoints_self_test: a loop of three rounds, in a machine of its own. */
#include <string.h>

#include "base/fd.h"
#include "vmm/boot_paging.h"
#include "vmm/breakpoint.h"

enum { ROUNDS = 3, END_PORT = 0x80, TRIAL_CODE = 0x200000, TRIAL_STACK = 0x210000, TRIAL_MEMORY = 16 << 20 };

/* 1: add %rcx, %rbx; dec %ecx; jnz 1b; out %al, $END_PORT; jmp . */
static const uint8_t code[] = { 0x48, 0x01, 0xCB, 0xFF, 0xC9, 0x75, 0xF9, 0xE6, END_PORT, 0xEB, 0xFE };

struct trial {
	struct ram ram;
	struct board *board;
	struct machine machine;
	struct breakpoints breakpoints;
};

static result go_on(struct trial *trial, bool step, enum machine_stop *stop)
{
	struct cpu_state state;

	if (step) {
		TRY(machine_export(&trial->machine, &state));
		TRY(breakpoints_step(&trial->breakpoints, &state, stop));
		if (*stop != MACHINE_INTERRUPTED)
			return OK;
	}
	do
		TRY(machine_run(&trial->machine, stop));
	while (*stop == MACHINE_INTERRUPTED);
	return OK;
}

static result expect(struct trial *trial, enum machine_stop stop, uint64_t offset, uint64_t rcx, uint64_t rbx)
{
	struct cpu_state state;

	if (stop != MACHINE_BREAKPOINT)
		return fail(STATUS_HOST, "a breakpoint was not hit");
	TRY(machine_export(&trial->machine, &state));
	if (state.rip != TRIAL_CODE + offset || state.gpr[GPR_RCX] != rcx || state.gpr[GPR_RBX] != rbx)
		return fail(STATUS_HOST, "a breakpoint leaves the guest with wrong registers (at 0x%llx)",
			    (unsigned long long)state.rip);
	return OK;
}

static result run_rounds(struct trial *trial)
{
	const struct breakpoint place = { TRIAL_CODE, TRIAL_CODE };
	uint8_t left[sizeof(code)];
	enum machine_stop stop;
	uint64_t sum = 0;
	bool planted;

	TRY(machine_prepare(&trial->machine));
	TRY(breakpoints_plant(&trial->breakpoints, &place, 1, &planted));
	if (!planted)
		return fail(STATUS_HOST, "a breakpoint cannot be planted");
	for (uint64_t left_rounds = ROUNDS; left_rounds > 0; left_rounds--) {
		TRY(go_on(trial, false, &stop));
		TRY(expect(trial, stop, 0, left_rounds, sum));
		sum += left_rounds;
		TRY(go_on(trial, true, &stop));
		TRY(expect(trial, stop, 3, left_rounds, sum));
	}
	TRY(go_on(trial, false, &stop));
	if (stop != MACHINE_EXITED || trial->machine.exit.record.reason != EXIT_PORT_OUT ||
	    trial->machine.exit.record.address != END_PORT || trial->machine.exit.record.gpr[GPR_RBX] != sum)
		return fail(STATUS_HOST, "a guest does not go on rightly behind a breakpoint");
	breakpoints_lift(&trial->breakpoints);
	TRY(ram_read(&trial->ram, TRIAL_CODE, left, sizeof(left)));
	if (memcmp(left, code, sizeof(code)) != 0)
		return fail(STATUS_HOST, "a breakpoint changes the guest's memory");
	return OK;
}

static result run_in_machine(struct trial *trial, enum breakpoint_backend backend, bool user)
{
	struct cpu_state entry;

	TRY(ram_write(&trial->ram, TRIAL_CODE, code, sizeof(code)));
	TRY(boot_paging_enter(&trial->ram, user, &entry));
	entry.rip = TRIAL_CODE;
	entry.gpr[GPR_RSP] = TRIAL_STACK;
	entry.gpr[GPR_RCX] = ROUNDS;
	TRY(machine_import(&trial->machine, &entry, false));
	breakpoints_create(&trial->breakpoints, &trial->machine, backend);
	result r = run_rounds(trial);

	breakpoints_destroy(&trial->breakpoints);
	return r;
}

static result run_trial(struct trial *trial, enum breakpoint_backend backend, bool trap_shim, bool user)
{
	const struct board_config config = { .ram_size = TRIAL_MEMORY };

	TRY(board_create(&trial->board, &config));
	result r = machine_create(&trial->machine, &trial->ram, trial->board, trap_shim);

	if (!failed(r)) {
		r = run_in_machine(trial, backend, user);
		machine_destroy(&trial->machine);
	}
	board_destroy(trial->board);
	return r;
}

static result run_ring(enum breakpoint_backend backend, bool trap_shim, bool user)
{
	struct trial trial;
	int fd;

	memset(&trial, 0, sizeof(trial));
	TRY(fd_sealed_memory(&fd, "breakpoint trial", TRIAL_MEMORY));
	result r = ram_map(&trial.ram, fd, TRIAL_MEMORY, true);

	if (!failed(r)) {
		r = run_trial(&trial, backend, trap_shim, user);
		ram_unmap(&trial.ram);
	}
	fd_close(&fd);
	return in_context(r, "breakpoints by \"%s\" in ring %d", breakpoint_backend_name(backend), user ? 3 : 0);
}

result breakpoints_self_test(enum breakpoint_backend backend, bool trap_shim)
{
	if (backend == BREAKPOINT_OUT && trap_shim)
		return fail(STATUS_HOST, "breakpoints by \"out\" are for guests that may use every port in every ring");
	/* Payloads have one ring, kernels have two. */
	if (trap_shim)
		TRY(run_ring(backend, trap_shim, false));
	return run_ring(backend, trap_shim, true);
}
