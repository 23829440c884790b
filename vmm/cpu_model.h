/*
 * The CPU that the guest sees: the host's model less everything that is not deterministic or not emulated.
 * Allow lists: a feature of a future CPU is absent until somebody has thought about it.
 */
#ifndef TERCET_VMM_CPU_MODEL_H
#define TERCET_VMM_CPU_MODEL_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/result.h"
#include "vmm/kvm_vm.h"

enum { CPU_MODEL_LEAVES = 32 };

struct cpuid_registers {
	uint32_t eax, ebx, ecx, edx;
};

struct cpu_model {
	unsigned count;
	struct kvm_cpuid_entry2 entries[CPU_MODEL_LEAVES]; /* what the guest sees */
};

/* Derives the model from what KVM supports. */
must_check result cpu_model_build(struct cpu_model *model, const struct kvm_vm *vm);

/* Derives the model from a given list (as KVM_GET_SUPPORTED_CPUID gives it); for tests and for the above. */
void cpu_model_derive(struct cpu_model *model, const struct kvm_cpuid_entry2 *supported, unsigned count);

/* What KVM must be told so that the guest can have `model`: for a trap shim that is SVM on top.
 * `entries` has room for CPU_MODEL_LEAVES + 1; gives their number. */
unsigned cpu_model_for_kvm(const struct cpu_model *model, bool trap_shim, struct kvm_cpuid_entry2 *entries);

/* The CPUID instruction. Leaves beyond the model give zeros. */
struct cpuid_registers cpu_model_cpuid(const struct cpu_model *model, uint32_t leaf, uint32_t subleaf);

#endif
