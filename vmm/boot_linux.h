/*
 * Booting Linux: bzImage by the 64-bit boot protocol (Documentation/arch/x86/boot.rst, "64-bit BOOT PROTOCOL"), or
 * an ELF vmlinux at its 64-bit entry, with the same boot parameters.
 */
#ifndef TERCET_VMM_BOOT_LINUX_H
#define TERCET_VMM_BOOT_LINUX_H

#include "base/result.h"
#include "vmm/boot.h"

/* As boot_load, for BOOT_LINUX. */
must_check result boot_linux_load(struct ram *ram, const struct boot_source *source, struct cpu_state *entry);

#endif
