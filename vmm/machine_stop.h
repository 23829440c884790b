/*
 * Stops: a machine that was interrupted between two instructions, far from any exit, takes that place for a position
 * of its own: a virtual exit, EXIT_PREEMPTED. Which place that is, is decided above; here is which places are fit for
 * it, and how it is booked.
 */
#ifndef TERCET_VMM_MACHINE_STOP_H
#define TERCET_VMM_MACHINE_STOP_H

#include <stdbool.h>

#include "base/result.h"
#include "vmm/machine.h"
#include "vmm/registers.h"

/*
 * After MACHINE_INTERRUPTED: whether another machine can be brought to this very place. Not so while the vCPU is
 * outside its guest (in the shim), with an event on its way to the guest, in an interrupt shadow, with RFLAGS.TF or RF,
 * with breakpoints planted, and at instructions that no breakpoint can be set on (instruction_decode). If it is,
 * `state` is the guest's exported state.
 */
must_check result machine_stop_allowed(struct machine *machine, struct cpu_state *state, bool *allowed);

/* After MACHINE_INTERRUPTED: whether interrupts are on where the guest is. What was so at its last exit may be long
 * ago: behind the shim that may have been in a kernel that runs a program now. */
must_check result machine_stop_takes_interrupts(struct machine *machine, bool *takes);

/*
 * Books a stop: the machine, which stands at `state` (exported), is at the next position, whose exit has the reason
 * EXIT_PREEMPTED and the registers of `state`. From there it goes on like from any exit: machine_answer (which has
 * nothing to do), inputs, a vote if it is one, machine_prepare. As at a vote point, a pending interrupt waits for the
 * window: the way is the same whether a signal or a breakpoint stopped the machine. Nothing may be planted any more.
 */
void machine_stop_book(struct machine *machine, const struct cpu_state *state);

#endif
