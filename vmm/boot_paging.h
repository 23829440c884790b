/*
 * The first page tables and descriptors of a guest that starts in 64-bit mode.
 */
#ifndef TERCET_VMM_BOOT_PAGING_H
#define TERCET_VMM_BOOT_PAGING_H

#include <stdbool.h>

#include "base/result.h"
#include "vmm/ram.h"
#include "vmm/registers.h"

/* Writes page tables that map the first 4 GiB where they are, with accessed and dirty bits set already, and
 * fills `entry` with a flat 64-bit state: interrupts off, paging on, in ring 0 or, with `user`, ring 3 and I/O
 * privilege level 3. RIP, RSP and the general registers are left 0 for the caller. */
must_check result boot_paging_enter(struct ram *ram, bool user, struct cpu_state *entry);

#endif
