/*
 * Booting a payload: a static ELF that runs in ring 3 without a kernel (guest-tools/payloads/payload.h has
 * its side of the contract).
 */
#ifndef TERCET_VMM_BOOT_PAYLOAD_H
#define TERCET_VMM_BOOT_PAYLOAD_H

#include "base/result.h"
#include "vmm/boot.h"

/* As boot_load, for BOOT_PAYLOAD: RDI is the size of RAM below the hole, RSI the argument string; the stack
 * ends 8 KiB below the end of that RAM. */
must_check result boot_payload_load(struct ram *ram, const struct boot_source *source, struct cpu_state *entry);

#endif
