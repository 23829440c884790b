/*
 * One KVM virtual machine: memory slots, dirty logs, the MSR filter. With kvm_vcpu.c the only code that
 * speaks KVM (sections are those of the kernel's Documentation/virt/kvm/api.rst).
 */
#ifndef TERCET_VMM_KVM_VM_H
#define TERCET_VMM_KVM_VM_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/result.h"
#include "vmm/ram.h"

struct kvm_vm {
	int kvm_fd;
	int vm_fd;
	size_t run_size; /* bytes of the vCPU's shared page (KVM_GET_VCPU_MMAP_SIZE) */
	bool can_leave_nested; /* KVM_CAP_NESTED_STATE */
	bool watches_pages;    /* KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 */
};

/* Opens /dev/kvm and makes a VM without in-kernel interrupt chips.
 * Errors: STATUS_HOST with the missing feature and what to do. */
must_check result kvm_vm_create(struct kvm_vm *vm);
void kvm_vm_destroy(struct kvm_vm *vm);

enum { KVM_VM_CPUID_MAX = 256 };

/* The CPU features that KVM can give to a guest (4.46 KVM_GET_SUPPORTED_CPUID). */
must_check result kvm_vm_supported_cpuid(const struct kvm_vm *vm, struct kvm_cpuid_entry2 entries[KVM_VM_CPUID_MAX],
					 unsigned *count);

/* Whether KVM offers SVM to guests, so that a trap shim can run. */
must_check result kvm_vm_offers_svm(const struct kvm_vm *vm, bool *offered);

/* Maps RAM as slots 0 (below the hole) and 1 (above 4 GiB), with dirty logging. */
must_check result kvm_vm_map_ram(struct kvm_vm *vm, const struct ram *ram);

/* Gives the guest the same RAM anew: KVM forgets whatever it derived from its contents, and the dirty log. */
must_check result kvm_vm_remap_ram(struct kvm_vm *vm, const struct ram *ram);

/* Maps `size` bytes at `memory` as slot 2 at `address`, without dirty logging. */
must_check result kvm_vm_map_private(struct kvm_vm *vm, uint64_t address, void *memory, uint64_t size);

/* Adds the pages that the guest may have written since the last call to `bitmap` (one bit a page number): those whose
 * writes are watched for and that it wrote, and those whose writes are not. */
must_check result kvm_vm_collect_dirty(struct kvm_vm *vm, const struct ram *ram, uint64_t *bitmap);

/* Watches for writes to the pages in `bitmap` from now on. Each page that the guest wrote is to be passed here before
 * it is not collected again (4.117 KVM_CLEAR_DIRTY_LOG); where KVM cannot leave that to us, it is watched anyway. */
must_check result kvm_vm_watch_pages(struct kvm_vm *vm, const struct ram *ram, uint64_t *bitmap);

/* Sends every MSR access but those to `passed` (MSR numbers) to user space (4.97 KVM_X86_SET_MSR_FILTER). */
must_check result kvm_vm_filter_msrs(struct kvm_vm *vm, const uint32_t *passed, size_t count);

#endif
