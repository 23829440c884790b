/* Breakpoints for guests behind the trap shim: HLT. In ring 0 it is an exit of KVM's, in the others a #GP, which the
 * shim intercepts while breakpoints are planted. */
#include "vmm/breakpoint.h"

enum { OPCODE_HLT = 0xF4 };

/* What is exported and what is imported must not have an instruction between them. */
static result complete(struct machine *machine)
{
	enum kvm_vcpu_stop stop;

	TRY(kvm_vcpu_complete(&machine->vcpu, &stop));
	if (stop != KVM_VCPU_INTERRUPTED)
		return fail(STATUS_FAILED, "breakpoints cannot be planted in the middle of an instruction");
	return OK;
}

/*
 * The intercept counts from the next VMRUN on. A vCPU that stands in the shim comes to it by itself. One in its guest
 * is put before it with the same state, but an event that is staged there must not meet an interrupt window (see
 * machine_prepare).
 */
static result arm(struct breakpoints *breakpoints, bool *armed)
{
	struct machine *machine = breakpoints->machine;
	enum kvm_vcpu_place place;
	struct cpu_state state;

	*armed = true;
	if (!machine->has_shim || machine->shim.intercepts_faults)
		return OK;
	TRY(complete(machine));
	TRY(kvm_vcpu_find(&machine->vcpu, &place));
	if (place != KVM_VCPU_OUTSIDE) {
		machine->in_shim = false;
		TRY(machine_export(machine, &state));
		bool event = (state.pending_exception | state.pending_interrupt) & CPU_EVENT_VALID;

		*armed = !(place == KVM_VCPU_ENTERING || state.nmi ||
			   (event && machine->vcpu.run->request_interrupt_window));
		if (!*armed)
			return OK;
	}
	trap_shim_intercept_faults(&machine->shim, true);
	if (place == KVM_VCPU_OUTSIDE)
		return OK;
	TRY(machine_import(machine, &state, machine->halted));
	trap_shim_arm(&machine->shim);
	return OK;
}

/* Until its next VMRUN the guest's faults still come to the shim; machine_run gives them back. */
static void disarm(struct breakpoints *breakpoints)
{
	if (breakpoints->machine->has_shim)
		trap_shim_intercept_faults(&breakpoints->machine->shim, false);
}

/* HLT of ring 0: KVM has skipped it. */
static result caught_halt(struct breakpoints *breakpoints, bool *hit)
{
	struct machine *machine = breakpoints->machine;
	struct cpu_state *here = &breakpoints->here;

	TRY(kvm_vcpu_get_paging(&machine->vcpu, here));
	kvm_vcpu_peek(&machine->vcpu, here);
	here->rip--;
	if (!breakpoints_at(breakpoints, here))
		return OK;
	TRY(kvm_vcpu_set_rip(&machine->vcpu, here->rip));
	machine->in_shim = false;
	*hit = true;
	return OK;
}

/* HLT of the other rings: the guest has come out, and its registers are in the VMCB. */
static result caught_fault(struct breakpoints *breakpoints, bool *hit)
{
	struct machine *machine = breakpoints->machine;
	struct cpu_state *here = &breakpoints->here;

	/* In this order: what stands in the VMCB is the guest's, what KVM says of it the shim's. */
	TRY(kvm_vcpu_get_paging(&machine->vcpu, here));
	kvm_vcpu_peek(&machine->vcpu, here);
	trap_shim_merge(&machine->shim, here);
	if (!trap_shim_fault_is_plain(&machine->shim) || !breakpoints_at(breakpoints, here))
		return OK;
	trap_shim_forget_fault(&machine->shim);
	TRY(complete(machine));
	machine->in_shim = true;
	*hit = true;
	return OK;
}

static result caught(struct breakpoints *breakpoints, bool *hit)
{
	const struct machine *machine = breakpoints->machine;

	if (machine->vcpu.run->exit_reason == KVM_EXIT_HLT)
		return caught_halt(breakpoints, hit);
	if (machine->has_shim && trap_shim_stopped(&machine->shim, machine->vcpu.run) &&
	    trap_shim_code(&machine->shim) == TRAP_GENERAL_PROTECTION)
		return caught_fault(breakpoints, hit);
	return OK;
}

const struct breakpoint_kind breakpoint_halt = {
	.name = "halt",
	.limit = BREAKPOINTS_MAX + BREAKPOINTS_WAY,
	.length = 1,
	.bytes = { OPCODE_HLT },
	.arm = arm,
	.disarm = disarm,
	.caught = caught,
};
