/*
 * One KVM vCPU: run it, read and write what it holds. Wraps ioctls and nothing more: what the values mean is
 * decided in machine.c and trap_shim.c.
 */
#ifndef TERCET_VMM_KVM_VCPU_H
#define TERCET_VMM_KVM_VCPU_H

#include <linux/kvm.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/result.h"
#include "vmm/kvm_vm.h"
#include "vmm/registers.h"

struct kvm_vcpu {
	int fd;
	struct kvm_run *run; /* shared with KVM; general registers come with every exit in run->s.regs.regs */
	size_t run_size;
	volatile sig_atomic_t kicked; /* see kvm_vcpu_kick */
};

/* Makes the VM's only vCPU. Errors: STATUS_HOST with what KVM refuses. Destroy takes one that was never made. */
must_check result kvm_vcpu_create(struct kvm_vcpu *vcpu, const struct kvm_vm *vm);
void kvm_vcpu_destroy(struct kvm_vcpu *vcpu);

/* Sets the CPU model (4.20 KVM_SET_CPUID2). */
must_check result kvm_vcpu_set_cpuid(struct kvm_vcpu *vcpu, const struct kvm_cpuid_entry2 *entries,
				     unsigned count);

enum kvm_vcpu_stop {
	KVM_VCPU_EXITED,      /* run->exit_reason tells why */
	KVM_VCPU_INTERRUPTED, /* a signal, or immediate_exit; the guest's state is complete */
};

/* Runs the guest (4.10 KVM_RUN). Errors: what KVM refuses. */
must_check result kvm_vcpu_run(struct kvm_vcpu *vcpu, enum kvm_vcpu_stop *stop);

/* Ends the run at hand, or the next one if there is none (5. kvm_run: immediate_exit). For signal handlers, of the
 * vCPU's own thread. */
void kvm_vcpu_kick(struct kvm_vcpu *vcpu);

/* Completes the instruction whose exit is at hand without running further (run->immediate_exit): stops
 * INTERRUPTED when it is complete, EXITED when the same instruction needs one more exit. */
must_check result kvm_vcpu_complete(struct kvm_vcpu *vcpu, enum kvm_vcpu_stop *stop);

/* Executes one instruction: KVM_EXIT_DEBUG, or the exit that it makes (4.87 KVM_SET_GUEST_DEBUG). */
must_check result kvm_vcpu_step(struct kvm_vcpu *vcpu);

/* Moves RIP alone (4.11 KVM_GET_REGS, 4.12 KVM_SET_REGS). No instruction may wait to be completed. */
must_check result kvm_vcpu_set_rip(struct kvm_vcpu *vcpu, uint64_t rip);

enum kvm_vcpu_place {
	KVM_VCPU_OUTSIDE,  /* in no nested guest */
	KVM_VCPU_ENTERING, /* behind VMRUN, before the nested guest's first instruction */
	KVM_VCPU_NESTED,   /* in its nested guest */
};

/* Where a vCPU with nested virtualisation stands (4.114 KVM_GET_NESTED_STATE). */
must_check result kvm_vcpu_find(const struct kvm_vcpu *vcpu, enum kvm_vcpu_place *place);

enum { KVM_VCPU_WATCHES = 4 }; /* debug registers with an address (AMD64 APM vol. 2, 13.1.1) */

/* Stops before the instructions at these linear addresses are executed (KVM_EXIT_DEBUG), or with `count` 0 no longer
 * (4.87 KVM_SET_GUEST_DEBUG). The guest must not use debug registers itself: then `*watched` is false. */
must_check result kvm_vcpu_watch(struct kvm_vcpu *vcpu, const uint64_t *addresses, unsigned count, bool *watched);

/* The bits of DR7 that make them count: for a nested guest they must be in its VMCB, too. */
uint64_t kvm_vcpu_watch_bits(unsigned count);

/* Queues an external interrupt, which the guest must be able to take (4.16 KVM_INTERRUPT). */
must_check result kvm_vcpu_interrupt(struct kvm_vcpu *vcpu, uint8_t vector);

/* Reads or writes `count` (at most 16) MSRs by number (4.18 KVM_GET_MSRS, 4.19 KVM_SET_MSRS). Errors: the first
 * that KVM refuses. */
must_check result kvm_vcpu_get_msrs(const struct kvm_vcpu *vcpu, const uint32_t *numbers, uint64_t *values,
				    unsigned count);
must_check result kvm_vcpu_set_msrs(struct kvm_vcpu *vcpu, const uint32_t *numbers, const uint64_t *values,
				    unsigned count);

/* What KVM holds of the vCPU, as far as the guest can tell: for a nested guest that is the nested guest.
 * Everything is read, so `state` needs no initial value; efer comes as KVM has it. */
must_check result kvm_vcpu_get_state(const struct kvm_vcpu *vcpu, struct cpu_state *state);

/* KVM's general registers in the order of the canonical state, as `run->s.regs.regs` has them at an exit. */
void kvm_vcpu_gprs(const struct kvm_regs *regs, uint64_t gpr[GPR_COUNT]);

/* General registers, RIP and RFLAGS as they were when KVM_RUN returned, without asking KVM; the rest of `state`
 * stays. */
void kvm_vcpu_peek(const struct kvm_vcpu *vcpu, struct cpu_state *state);

/* Only what address translation needs: segments, CR0, CR3, CR4, EFER; the rest is zero. */
must_check result kvm_vcpu_get_paging(const struct kvm_vcpu *vcpu, struct cpu_state *state);

/* The reverse. Pending events are replaced by those in `state`. */
must_check result kvm_vcpu_set_state(struct kvm_vcpu *vcpu, const struct cpu_state *state);

/* Leaves nested guest mode at once, without an exit to the shim (4.115 KVM_SET_NESTED_STATE). */
must_check result kvm_vcpu_leave_nested(struct kvm_vcpu *vcpu);

#endif
