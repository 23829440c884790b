#include "vmm/interrupt_shadow.h"

#include <cpuid.h>
#include <string.h>

#include "vmm/page_walk.h"

#define RFLAGS_IF (1ull << 9)
enum { OPCODE_STI = 0xFB };

bool interrupt_shadow_is_lost(void)
{
	/* Leaf 0x40000000: the hypervisor's signature in EBX, ECX, EDX. */
	static const char emulator[] = "TCGTCGTCGTCG";
	unsigned eax, signature[3];

	__cpuid(0x40000000, eax, signature[0], signature[1], signature[2]);
	return memcmp(signature, emulator, sizeof(signature)) == 0;
}

static result behind_sti(const struct kvm_vcpu *vcpu, const struct ram *ram, bool *behind)
{
	struct cpu_state state;
	uint8_t byte;

	*behind = false;
	if (!(vcpu->run->s.regs.regs.rflags & RFLAGS_IF))
		return OK;
	TRY(kvm_vcpu_get_paging(vcpu, &state));
	*behind = page_walk_read(ram, &state, state.segment[SEG_CS].base + vcpu->run->s.regs.regs.rip - 1, &byte, 1) ==
			  1 &&
		  byte == OPCODE_STI;
	return OK;
}

result interrupt_shadow_finish(struct kvm_vcpu *vcpu, const struct ram *ram)
{
	bool behind;

	while (vcpu->run->exit_reason == KVM_EXIT_IRQ_WINDOW_OPEN) {
		TRY(behind_sti(vcpu, ram, &behind));
		if (!behind)
			return OK;
		vcpu->run->request_interrupt_window = 0;
		TRY(kvm_vcpu_step(vcpu));
		if (vcpu->run->exit_reason == KVM_EXIT_DEBUG)
			vcpu->run->exit_reason = KVM_EXIT_IRQ_WINDOW_OPEN;
	}
	return OK;
}
