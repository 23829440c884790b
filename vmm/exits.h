/*
 * Exits: what made the guest come out, in a form that does not depend on KVM, and a table of what answers each.
 * Answering is a pure function of (board, exit): it reads no clock and does no I/O, so it is tested without KVM.
 */
#ifndef TERCET_VMM_EXITS_H
#define TERCET_VMM_EXITS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/result.h"
#include "devices/board.h"
#include "vmm/cpu_model.h"
#include "vmm/registers.h"

/* The numbers are part of the exit record's byte format. */
enum exit_reason {
	EXIT_PORT_IN = 1,
	EXIT_PORT_OUT = 2,
	EXIT_MMIO_READ = 3,
	EXIT_MMIO_WRITE = 4,
	EXIT_HALT = 5,
	EXIT_INTERRUPT_WINDOW = 6,
	EXIT_MSR_READ = 7,
	EXIT_MSR_WRITE = 8,
	EXIT_RDTSC = 9,
	EXIT_CPUID = 10,
	EXIT_UNDEFINED = 11, /* an instruction that this CPU does not have */
	EXIT_TASK_PRIORITY = 12,
	EXIT_SHUTDOWN = 13, /* triple fault */
	EXIT_INTERNAL = 14, /* KVM cannot go on */
	EXIT_PREEMPTED = 15, /* none of the guest's: it was stopped between two instructions (machine_stop.h) */
	EXIT_REASONS
};

/* The name of a reason, for statistics and reports ("port_in", ...). */
const char *exit_reason_name(enum exit_reason reason);

#define EXIT_EVENT_INTERRUPT 0x100u

/* One exit, as it is digested and logged: little-endian, no padding. */
struct exit_record {
	uint64_t position;
	uint32_t reason; /* enum exit_reason */
	uint16_t size;   /* bytes of one access */
	uint16_t event;  /* what was delivered on the way here: EXIT_EVENT_INTERRUPT | vector, or 0 */
	uint64_t address; /* port, guest-physical address, MSR number, CPUID leaf */
	uint64_t data;    /* what the guest wrote; for reads the number of accesses */
	uint64_t gpr[GPR_COUNT];
	uint64_t rip;
	uint64_t rflags;
};

_Static_assert(sizeof(struct exit_record) == 176, "an exit record has no padding");

/* An exit at hand, with where its answer goes. */
struct machine_exit {
	struct exit_record record;
	uint8_t *data;   /* port and MMIO accesses: `count` times `size` bytes, in or out */
	uint32_t count;  /* accesses (string instructions read several at once) */
	uint64_t result; /* MSR_READ, RDTSC: the value */
	struct cpuid_registers cpuid;
	bool refused; /* MSR accesses: the guest takes #GP */
};

/* What an exit means for the machine. */
enum exit_outcome {
	OUTCOME_RUN,     /* enter the guest again */
	OUTCOME_HALTED,  /* enter it again once an interrupt is pending */
	OUTCOME_CRASHED, /* it cannot go on */
};

/* MSRs that are kept outside KVM's direct reach. */
struct exit_msrs {
	uint64_t efer; /* as the guest sees it */
	/* KVM takes only their lower halves for an AMD CPU (svm_set_msr), and the guest can read all 64 bits. */
	uint64_t sysenter_esp;
	uint64_t sysenter_eip;
};

struct exit_context {
	struct board *board;
	const struct cpu_model *cpu_model;
	struct exit_msrs *msrs;
};

/* Whether the answer needs the guest's time; then the board must have been advanced to the present. */
bool exit_is_timed(const struct board *board, const struct machine_exit *exit);

/* Answers an exit. */
enum exit_outcome exit_answer(const struct exit_context *context, struct machine_exit *exit);

/* The guest's TSC runs at 1 GHz: it is the guest's time in ns. */
#define EXIT_TSC_HZ 1000000000ull

#endif
