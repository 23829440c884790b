/* Breakpoints by debug registers, which write nothing into the guest: for hosts whose debug registers work in guests,
 * and guests that do not use their own. */
#include "vmm/breakpoint.h"

#include "base/log.h"

static result arm(struct breakpoints *breakpoints, bool *armed)
{
	struct machine *machine = breakpoints->machine;
	uint64_t addresses[KVM_VCPU_WATCHES];

	invariant(breakpoints->count <= KVM_VCPU_WATCHES);
	for (unsigned i = 0; i < breakpoints->count; i++)
		addresses[i] = breakpoints->planted[i].linear;
	TRY(kvm_vcpu_watch(&machine->vcpu, addresses, breakpoints->count, armed));
	if (*armed && machine->has_shim)
		trap_shim_watch(&machine->shim, kvm_vcpu_watch_bits(breakpoints->count));
	return OK;
}

static void disarm(struct breakpoints *breakpoints)
{
	struct machine *machine = breakpoints->machine;
	bool watched;
	result r = kvm_vcpu_watch(&machine->vcpu, NULL, 0, &watched);

	if (failed(r))
		log_error("%s", r.failure->message);
	if (machine->has_shim)
		trap_shim_watch(&machine->shim, 0);
}

static result caught(struct breakpoints *breakpoints, bool *hit)
{
	struct machine *machine = breakpoints->machine;
	const struct kvm_run *run = machine->vcpu.run;

	if (run->exit_reason != KVM_EXIT_DEBUG)
		return OK;
	TRY(kvm_vcpu_get_paging(&machine->vcpu, &breakpoints->here));
	kvm_vcpu_peek(&machine->vcpu, &breakpoints->here);
	*hit = breakpoints_at(breakpoints, &breakpoints->here);
	if (*hit)
		machine->in_shim = false;
	return OK;
}

const struct breakpoint_kind breakpoint_debug = {
	.name = "debug",
	.limit = KVM_VCPU_WATCHES,
	.length = 0,
	.arm = arm,
	.disarm = disarm,
	.caught = caught,
};
