/*
 * One machine: guest memory, a vCPU (behind the trap shim where the guest is a kernel), the board. It runs from
 * one position to the next and knows nothing of other replicas, of the host's clock or of where inputs come
 * from: time and inputs are handed in by the caller, at positions only.
 *
 * The order at a position is fixed, and the same in every replica:
 *   machine_run -> [machine_advance if machine_exit_is_timed] -> machine_answer -> inputs (machine_advance,
 *   board_console_input, ...) -> [machine_settle, machine_export, digests] -> machine_prepare -> machine_run
 */
#ifndef TERCET_VMM_MACHINE_H
#define TERCET_VMM_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/result.h"
#include "devices/board.h"
#include "vmm/cpu_model.h"
#include "vmm/exits.h"
#include "vmm/kvm_vcpu.h"
#include "vmm/kvm_vm.h"
#include "vmm/ram.h"
#include "vmm/registers.h"
#include "vmm/trap_shim.h"

struct breakpoints;

struct machine {
	struct kvm_vm vm;
	struct kvm_vcpu vcpu;
	struct trap_shim shim;
	bool has_shim;
	bool loses_shadows; /* see interrupt_shadow.h */
	bool in_shim; /* part of the guest's registers stands in the shim's VMCB */
	bool halted;
	bool voted;   /* this position is a vote point: see machine_vote_point */
	struct ram *ram;
	struct board *board;
	struct cpu_model cpu_model;
	struct exit_msrs msrs;
	struct machine_exit exit; /* the exit at hand */
	uint16_t event;           /* delivered at the last machine_prepare: see struct exit_record */
	uint64_t position;        /* exits completed since power-on */
	struct breakpoints *breakpoints; /* those that were made for it (breakpoint.h), or NULL */
};

/* Makes a machine over `ram` and `board`, which stay the caller's. With `trap_shim` the host must have nested
 * SVM. Errors: STATUS_HOST with what is missing. */
must_check result machine_create(struct machine *machine, struct ram *ram, struct board *board, bool trap_shim);
void machine_destroy(struct machine *machine);

enum machine_stop {
	MACHINE_EXITED,      /* at the next position, machine->exit tells why */
	MACHINE_INTERRUPTED, /* by a signal, somewhere inside the segment; run on to reach the position */
	MACHINE_BREAKPOINT,  /* likewise, right before an instruction with a breakpoint */
};

/* Enters the guest until its next exit; then machine->position has moved on by one. */
must_check result machine_run(struct machine *machine, enum machine_stop *stop);

/* Whether the exit at hand needs the guest's time: then advance the board before machine_answer. */
bool machine_exit_is_timed(const struct machine *machine);

/* Lets the devices answer the exit at hand. */
must_check result machine_answer(struct machine *machine, enum exit_outcome *outcome);

/* Whether a halted guest may be entered: an interrupt is pending. */
bool machine_can_wake(const struct machine *machine);

/* Whether a halted guest could ever wake: interrupts are on (RFLAGS.IF). */
bool machine_interrupts_enabled(const struct machine *machine);

/* Delivers a pending interrupt, or asks for an exit when the guest can take it. Last before machine_run. */
must_check result machine_prepare(struct machine *machine);

/* Completes the instruction of the exit at hand, so that state can be exported. An instruction that needs more
 * than one exit (a string input, a wide or split MMIO access) is not complete yet: then `*settled` is false and
 * the machine stands at the next position, with its exit at hand, as after machine_run. */
must_check result machine_settle(struct machine *machine, bool *settled);

/* The canonical state; only when settled. */
must_check result machine_export(struct machine *machine, struct cpu_state *state);

/* Replaces the vCPU's state, wherever it was; RAM and board are the caller's to replace. `halted` as exported. */
must_check result machine_import(struct machine *machine, const struct cpu_state *state, bool halted);

/* Whether state can be exported here and imported elsewhere with nothing lost; the same in equal machines. An
 * exception that the exit at hand raised, and that was not delivered yet, stands against it. */
bool machine_can_vote(const struct machine *machine);

/* Says that the machine's state was, or could have been, exported here and imported elsewhere. From here on a
 * machine goes the same way whether it is the old one or the new: a pending interrupt waits for the window. */
void machine_vote_point(struct machine *machine);

/* Makes the machine stand at `position`, a vote point whose state was imported, with no exit at hand. */
void machine_place(struct machine *machine, uint64_t position);

/* Makes KVM forget what it knows of guest memory that was replaced behind its back: page tables that it shadows. */
must_check result machine_forget_memory(struct machine *machine);

/* Adds the pages that were written since the last call, by the guest or by user space, to `bitmap`, and those that the
 * guest may have written unseen: all that it wrote once, until they are watched. */
must_check result machine_collect_dirty(struct machine *machine, uint64_t *bitmap);

/* Watches for writes of the guest to the pages in `bitmap` from now on. */
must_check result machine_watch_pages(struct machine *machine, uint64_t *bitmap);

#endif
