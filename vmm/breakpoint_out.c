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

static bool planted_at(struct breakpoints *breakpoints, uint64_t rip)
{
	breakpoints->here.rip = rip;
	return breakpoints_at(breakpoints, &breakpoints->here);
}

/* Some KVMs come out with RIP on the OUT and move it when they complete it, others come out with RIP behind it and have
 * nothing to complete. */
static result learn(struct breakpoints *breakpoints, uint64_t rip, bool *hit)
{
	struct machine *machine = breakpoints->machine;
	bool on = planted_at(breakpoints, rip);
	bool behind = planted_at(breakpoints, rip - breakpoint_out.length);
	struct kvm_run *run = machine->vcpu.run;
	enum kvm_vcpu_stop stop;

	if (!on && !behind)
		return OK;
	TRY(kvm_vcpu_complete(&machine->vcpu, &stop));
	if (stop != KVM_VCPU_INTERRUPTED)
		return fail(STATUS_FAILED, "KVM does not complete an OUT");
	bool moved = run->s.regs.regs.rip != rip;

	*hit = moved ? on : behind;
	if (*hit) {
		breakpoints->rip_behind = !moved;
		breakpoints->here.rip = moved ? rip : rip - breakpoint_out.length;
		return kvm_vcpu_set_rip(&machine->vcpu, breakpoints->here.rip);
	}
	/* The guest's own OUT, beside a breakpoint: the exit is shown as it was. */
	run->exit_reason = KVM_EXIT_IO;
	run->s.regs.regs.rip = rip;
	return OK;
}

static result caught(struct breakpoints *breakpoints, bool *hit)
{
	struct machine *machine = breakpoints->machine;
	struct kvm_run *run = machine->vcpu.run;
	const uint64_t rip = run->s.regs.regs.rip;

	if (run->exit_reason != KVM_EXIT_IO || run->io.direction != KVM_EXIT_IO_OUT || run->io.port != OUT_PORT ||
	    run->io.size != 1 || run->io.count != 1)
		return OK;
	/* In ring 3, without a kernel, nothing changes the page tables. */
	if (!breakpoints->paging_known)
		TRY(kvm_vcpu_get_paging(&machine->vcpu, &breakpoints->here));
	breakpoints->paging_known = true;
	kvm_vcpu_peek(&machine->vcpu, &breakpoints->here);
	if (!breakpoints->rip_behind) {
		TRY(learn(breakpoints, rip, hit));
	} else if (planted_at(breakpoints, rip - breakpoint_out.length)) {
		*hit = true;
		run->s.regs.regs.rip = breakpoints->here.rip;
		run->kvm_dirty_regs = KVM_SYNC_X86_REGS;
	}
	if (*hit)
		machine->in_shim = false;
	return OK;
}

const struct breakpoint_kind breakpoint_out = {
	.name = "out",
	.limit = BREAKPOINTS_MAX + BREAKPOINTS_WAY,
	.length = 2,
	.bytes = { OPCODE_OUT, OUT_PORT },
	.arm = arm,
	.disarm = disarm,
	.caught = caught,
};
