#include "vmm/machine_stop.h"

#include <string.h>

#include "vmm/breakpoint.h"
#include "vmm/instruction.h"

#define RFLAGS_TF (1ull << 8)
#define RFLAGS_RF (1ull << 16)

static bool breakpoints_planted(const struct machine *machine)
{
	return machine->breakpoints && machine->breakpoints->count > 0;
}

static bool events_on_the_way(const struct cpu_state *state)
{
	return ((state->pending_interrupt | state->pending_exception) & CPU_EVENT_VALID) || state->nmi;
}

/* Whether the vCPU is in its guest; then it is that, and not the shim any more, whose registers KVM shows. */
static result find_guest(struct machine *machine, bool *inside)
{
	enum kvm_vcpu_place place = KVM_VCPU_NESTED;

	if (machine->has_shim)
		TRY(kvm_vcpu_find(&machine->vcpu, &place));
	*inside = place == KVM_VCPU_NESTED;
	if (*inside)
		machine->in_shim = false;
	return OK;
}

result machine_stop_takes_interrupts(struct machine *machine, bool *takes)
{
	bool inside;

	TRY(find_guest(machine, &inside));
	*takes = machine_interrupts_enabled(machine);
	return OK;
}

result machine_stop_allowed(struct machine *machine, struct cpu_state *state, bool *allowed)
{
	struct instruction instruction;
	bool inside;

	*allowed = false;
	if (breakpoints_planted(machine))
		return OK;
	TRY(find_guest(machine, &inside));
	if (!inside)
		return OK;
	TRY(machine_export(machine, state));
	*allowed = !events_on_the_way(state) && !state->interrupt_shadow &&
		   !(state->rflags & (RFLAGS_TF | RFLAGS_RF)) &&
		   instruction_decode(machine->ram, state, instruction_pointer(state), &instruction) &&
		   instruction.may_stop;
	return OK;
}

void machine_stop_book(struct machine *machine, const struct cpu_state *state)
{
	struct exit_record *record = &machine->exit.record;

	invariant(!breakpoints_planted(machine));
	machine->position++;
	machine->voted = true;
	memset(&machine->exit, 0, sizeof(machine->exit));
	record->position = machine->position;
	record->reason = EXIT_PREEMPTED;
	record->event = machine->event;
	memcpy(record->gpr, state->gpr, sizeof(record->gpr));
	record->rip = state->rip;
	record->rflags = state->rflags;
}
