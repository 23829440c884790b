/*
 * The trap shim: three instructions that run the guest as their nested guest, so that RDTSC, RDTSCP, CPUID and
 * SVM's own instructions come to user space on a stock kvm_amd (docs/trap-shim.md tells the whole story).
 *
 * While the vCPU stands in the shim, part of the guest's registers is in the shim's VMCB and the rest in the
 * vCPU. The guest can reach the shim's pages if it tries to: what is read from them is guest data.
 */
#ifndef TERCET_VMM_TRAP_SHIM_H
#define TERCET_VMM_TRAP_SHIM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/result.h"
#include "vmm/kvm_vcpu.h"
#include "vmm/kvm_vm.h"
#include "vmm/registers.h"

#define TRAP_SHIM_ADDRESS 0xD0000000ull /* guest-physical, in the hole below 4 GiB */
#define TRAP_SHIM_SIZE 0x10000ull

struct trap_shim {
	uint8_t *memory; /* TRAP_SHIM_SIZE bytes, private to this process */
	bool intercepts_faults; /* see trap_shim_intercept_faults */
	uint64_t watch;         /* see trap_shim_watch */
};

/* Why the guest came out (VMCB exit codes, AMD64 APM vol. 2, appendix C). */
enum trap_shim_code {
	TRAP_GENERAL_PROTECTION = 0x4D, /* only while faults are intercepted */
	TRAP_RDTSC = 0x6E,
	TRAP_CPUID = 0x72,
	TRAP_VMRUN = 0x80,
	TRAP_VMMCALL = 0x81,
	TRAP_VMLOAD = 0x82,
	TRAP_VMSAVE = 0x83,
	TRAP_STGI = 0x84,
	TRAP_CLGI = 0x85,
	TRAP_SKINIT = 0x86,
	TRAP_RDTSCP = 0x87,
};

/* Allocates the shim and maps it into the VM. */
must_check result trap_shim_create(struct trap_shim *shim, struct kvm_vm *vm);
void trap_shim_destroy(struct trap_shim *shim);

/* Loads a guest state: fills the VMCB and puts the vCPU at the shim's VMRUN. The vCPU leaves nested mode
 * first if it is in it. */
must_check result trap_shim_load(struct trap_shim *shim, struct kvm_vcpu *vcpu, const struct cpu_state *guest);

/* Completes a state read from the vCPU, while it stands in the shim, with what is in the VMCB. */
void trap_shim_merge(const struct trap_shim *shim, struct cpu_state *state);

/* To be called once before the guest leaves a position, so that trap_shim_stopped can tell the shim's OUT from a
 * guest's. */
void trap_shim_arm(struct trap_shim *shim);

/* Whether the exit at hand is the shim's own OUT. */
bool trap_shim_stopped(const struct trap_shim *shim, const struct kvm_run *run);

/* Why the guest came out: a trap_shim_code, or anything else that a guest wrote there. */
uint64_t trap_shim_code(const struct trap_shim *shim);

/* Finishes a trapped instruction of `length` bytes: RIP moves on (by the CPU's own next_rip where it gives
 * one) and what the CPU clears at an instruction's end is cleared. `rax` is the guest's new RAX. */
void trap_shim_finish(struct trap_shim *shim, uint64_t rax, unsigned length);

/* The guest's registers that stand in the VMCB. */
uint64_t trap_shim_rax(const struct trap_shim *shim);
uint64_t trap_shim_rsp(const struct trap_shim *shim);
uint64_t trap_shim_rflags(const struct trap_shim *shim);
uint64_t trap_shim_rip(const struct trap_shim *shim);

/* Makes the guest take #UD at the trapped instruction. */
void trap_shim_undefined(struct trap_shim *shim);

/*
 * Whether the guest's #GP come to the shim, from the next VMRUN on. The guest does not notice: those that nobody wants
 * are given back to it by trap_shim_return_fault.
 */
void trap_shim_intercept_faults(struct trap_shim *shim, bool on);

/* With a #GP at hand: whether it was raised by an instruction, and not while an event was delivered. */
bool trap_shim_fault_is_plain(const struct trap_shim *shim);

/* Forgets the #GP at hand: the guest stands on the instruction that raised it, which has not been executed. */
void trap_shim_forget_fault(struct trap_shim *shim);

/*
 * If the exit at hand is a #GP, stages it for the guest, as its CPU would have raised it: as a double fault where it
 * came while another exception was delivered (AMD64 APM vol. 2, 8.2.9, and 15.12). False: it is another exit.
 * `sets_rf`: whether the CPU pushes the flags of a fault with RF set, which it does not do for an injected one.
 */
bool trap_shim_return_fault(struct trap_shim *shim, const struct kvm_run *run, bool sets_rf);

/* Bits of DR7 that the guest runs with besides its own, and that its state does not show; 0 for none. KVM's hardware
 * breakpoints need them at a VMRUN. */
void trap_shim_watch(struct trap_shim *shim, uint64_t bits);

/* Whether the guest was in ring 3 when it last came out to the shim. */
bool trap_shim_was_in_user_mode(const struct trap_shim *shim);

/* Whether the next entry delivers an event, and whether the guest could take an external interrupt there. */
bool trap_shim_event_staged(const struct trap_shim *shim);
bool trap_shim_interrupt_ready(const struct trap_shim *shim);

#endif
