/*
 * Whether a division raises an exception, which must be known before it is done here.
 */
#ifndef TERCET_VMM_NATIVE_DIVIDE_H
#define TERCET_VMM_NATIVE_DIVIDE_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/native_op.h"

/* Whether DIV or IDIV (`op->check` says which) is by something else than 0 and its quotient fits (AMD64 APM vol. 3,
 * DIV and IDIV). `memory` is the divisor in this process, or NULL if it is a register. */
bool native_divide_allowed(const struct native_cpu *cpu, const struct native_op *op, const uint8_t *memory);

#endif
