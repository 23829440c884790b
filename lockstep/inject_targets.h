/*
 * What the targets of inject.c's table do. A check needs no machine and gets a fault whose numbers are within the
 * table's ranges; a commit gets a fault that was checked. Messages speak of the target; inject.c puts before them who
 * asked for it.
 */
#ifndef TERCET_LOCKSTEP_INJECT_TARGETS_H
#define TERCET_LOCKSTEP_INJECT_TARGETS_H

#include <jansson.h>

#include "base/result.h"
#include "lockstep/inject.h"

/* Highest value of `bit` in a byte, in a page table's entry (AMD64 APM vol. 2, 5.3) and in a control register; levels
 * of page tables in long mode (likewise); bytes of code that can be hit: what a CPU may have fetched, a cache line. */
enum {
	INJECT_TARGET_BYTE_BIT_MAX = 7,
	INJECT_TARGET_QUAD_BIT_MAX = 63,
	INJECT_TARGET_LEVELS = 4,
	INJECT_TARGET_CODE_MAX = 63,
	INJECT_TARGET_STOP_MAX = 3600, /* seconds */
	INJECT_TARGET_SLOW_MAX = 1000,
};

/* reg, rip, cr3, fpu: bit `bit` of the register `name`. Errors of a check: no such register, or not one of the x87 and
 * SSE registers; a bit that means nothing. Of the commit: KVM does not accept the value, or does not keep it. */
must_check result inject_target_check_register(const struct inject_fault *fault);
must_check result inject_target_check_fpu(const struct inject_fault *fault);
must_check result inject_target_flip_register(const struct inject_fault *fault, struct inject_context *context);

/* mem: a byte at a guest-physical address. Errors: not RAM. */
must_check result inject_target_flip_memory(const struct inject_fault *fault, struct inject_context *context);

/* code: a byte at RIP + `address`. page-table: the entry of level `address` that maps RIP, or of the lowest level
 * above it where a larger page is mapped. Errors: not mapped, or not by 4-level tables; no RAM there. */
must_check result inject_target_flip_code(const struct inject_fault *fault, struct inject_context *context);
must_check result inject_target_flip_page_table(const struct inject_fault *fault, struct inject_context *context);

/* device: bit `bit` of the saved state of device `name`. Errors of the check: no such device or bit, no memory; of the
 * commit: the device cannot hold that state. */
must_check result inject_target_check_device(const struct inject_fault *fault);
must_check result inject_target_flip_device(const struct inject_fault *fault, struct inject_context *context);

/* tape: a byte of the replica's own tape, `address` bytes before the last that was written; the mirror is not hit.
 * Errors: less is written. control: byte `address` of the replica's own control page. */
must_check result inject_target_flip_tape(const struct inject_fault *fault, struct inject_context *context);
must_check result inject_target_flip_control(const struct inject_fault *fault, struct inject_context *context);

/* The process itself: SIGKILL; SIGSTOP, announced in control.stopped_until_ns; nothing for ever; slow_factor. */
must_check result inject_target_kill(const struct inject_fault *fault, struct inject_context *context);
must_check result inject_target_stop(const struct inject_fault *fault, struct inject_context *context);
must_check result inject_target_hang(const struct inject_fault *fault, struct inject_context *context);
must_check result inject_target_slow(const struct inject_fault *fault, struct inject_context *context);

/* Every register with the bits that mean something, and every device with its bits of state. NULL: no memory. */
json_t *inject_target_registers_json(void);
json_t *inject_target_devices_json(void);

#endif
