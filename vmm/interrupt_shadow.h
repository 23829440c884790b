/*
 * The instruction behind an STI is executed before any interrupt is taken (AMD64 APM vol. 2, 15.21.5). An emulated
 * CPU forgets that when the host interrupts it right there: QEMU's TCG saves the shadow in the VMCB and does not
 * load it again at VMRUN. An interrupt window then opens one instruction early, in one replica and not in others.
 */
#ifndef TERCET_VMM_INTERRUPT_SHADOW_H
#define TERCET_VMM_INTERRUPT_SHADOW_H

#include <stdbool.h>

#include "base/result.h"
#include "vmm/kvm_vcpu.h"
#include "vmm/ram.h"

/* Whether the CPU that runs us loses interrupt shadows: asked once, by the emulator's signature. */
bool interrupt_shadow_is_lost(void);

/* To be called when an interrupt window has opened. Where the instruction before is an STI, steps over the one
 * behind it, and so on; the exit at hand is then the window, or the exit of a stepped instruction. What it does
 * depends on the guest's state alone, so replicas that got there early and late end at the same place. */
must_check result interrupt_shadow_finish(struct kvm_vcpu *vcpu, const struct ram *ram);

#endif
