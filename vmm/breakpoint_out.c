/* Breakpoints for payloads: OUT to a port that no device of the board has. It needs a ring that may use ports, changes
 * no register and no flag, and KVM serves it everywhere. */
#include "vmm/breakpoint.h"

enum { OPCODE_OUT = 0xE6, OUT_PORT = 0xE6 };

static result arm(struct breakpoints *breakpoints, bool *armed)
{
	(void)breakpoints;
	*armed = true;
	return OK;
}

static void disarm(struct breakpoints *breakpoints)
{
	(void)breakpoints;
}

static bool planted_at(const struct breakpoints *breakpoints, struct cpu_state *state, uint64_t rip)
{
	state->rip = rip;
	return breakpoints_at(breakpoints, state);
}

/* Some KVMs come out with RIP on the OUT and move it when they complete it, others come out with RIP behind it. */
static result caught(struct breakpoints *breakpoints, bool *hit)
{
	struct machine *machine = breakpoints->machine;
	struct kvm_run *run = machine->vcpu.run;
	const uint64_t rip = run->s.regs.regs.rip;
	enum kvm_vcpu_stop stop;
	struct cpu_state state;

	if (run->exit_reason != KVM_EXIT_IO || run->io.direction != KVM_EXIT_IO_OUT || run->io.port != OUT_PORT ||
	    run->io.size != 1 || run->io.count != 1)
		return OK;
	TRY(kvm_vcpu_get_paging(&machine->vcpu, &state));
	bool on = planted_at(breakpoints, &state, rip);
	bool behind = planted_at(breakpoints, &state, rip - breakpoint_out.length);

	if (!on && !behind)
		return OK;
	TRY(kvm_vcpu_complete(&machine->vcpu, &stop));
	if (stop != KVM_VCPU_INTERRUPTED)
		return fail(STATUS_FAILED, "KVM does not complete an OUT");
	bool moved = run->s.regs.regs.rip != rip;

	*hit = moved ? on : behind;
	if (*hit) {
		machine->in_shim = false;
		return kvm_vcpu_set_rip(&machine->vcpu, moved ? rip : rip - breakpoint_out.length);
	}
	/* The guest's own OUT, beside a breakpoint: the exit is shown as it was. */
	run->exit_reason = KVM_EXIT_IO;
	run->s.regs.regs.rip = rip;
	return OK;
}

const struct breakpoint_kind breakpoint_out = {
	.name = "out",
	.limit = BREAKPOINTS_MAX + 1,
	.length = 2,
	.bytes = { OPCODE_OUT, OUT_PORT },
	.arm = arm,
	.disarm = disarm,
	.caught = caught,
};
