/*
 * One instruction of the guest: how long it is, what kind, and where the guest goes from it. For places to stop at and
 * for getting past a breakpoint without single-stepping. What is read is the guest's, which may be anything.
 */
#ifndef TERCET_VMM_INSTRUCTION_H
#define TERCET_VMM_INSTRUCTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/ram.h"
#include "vmm/registers.h"

enum {
	INSTRUCTION_MAX = 15,           /* bytes (AMD64 APM vol. 3, 1.1) */
	INSTRUCTION_LOOP_SEARCH = 256,  /* instructions that are searched for the ends of loops */
	INSTRUCTION_STACK_WORDS = 512,  /* how much of a stack is searched for return addresses */
};

struct instruction {
	uint64_t linear; /* where it is */
	uint8_t bytes[INSTRUCTION_MAX];
	uint8_t length;
	bool call;            /* a near CALL */
	bool repeated_string; /* a string instruction with REP, REPE or REPNE: stops may fall inside it */
	bool opens_shadow;    /* no interrupt is taken behind it: STI, MOV SS, POP SS (APM vol. 2, 8.3.1 and 15.21.5) */
	bool transfers;       /* a branch, a call, a return */
	bool leads_on;        /* a near JMP or CALL by a number in the instruction: always to `successor` */
	bool sets_flags;      /* all of the arithmetic ones; or all but CF, which it leaves as it is */
	bool may_stop;        /* see instruction_decode */
	/* Whether it is known which instruction comes next, unless this one faults; and that one's linear address. Not
	 * known for far transfers, system calls, interrupts, HLT, and what is read from memory that is not mapped. */
	bool has_successor;
	uint64_t successor;
};

/*
 * The linear address that RIP means in `state`.
 */
uint64_t instruction_pointer(const struct cpu_state *state);

/*
 * Decodes the instruction at a linear address, in the mode that CS and EFER of `state` tell (64, 32 or 16 bits), as if
 * the guest were about to execute it with the registers and the memory at hand. False: not mapped, or no instruction.
 *
 * A stop may be set on it where a breakpoint can be put and taken out again and shows the same state as without: it has
 * a successor other than itself (JMP to itself excepted: nothing changes there), two bytes at least, of which the first
 * two lie in one page of RAM; it neither repeats nor opens an interrupt shadow nor loads a control register; and the
 * bytes before it are no STI, MOV SS or POP SS, in whose shadow it could be.
 */
bool instruction_decode(const struct ram *ram, const struct cpu_state *state, uint64_t linear,
			struct instruction *instruction);

/*
 * Return addresses on the guest's stack: among INSTRUCTION_STACK_WORDS words from RSP on, those that lead into mapped
 * executable code right behind a near CALL. The innermost comes first, none comes twice. Gives how many were stored,
 * at most `max`. Some may be left over from calls that have returned, but all are code: where memory can be written and
 * executed, only those count whose CALL leads into the function that RIP, or the address before, is in.
 */
size_t instruction_return_addresses(const struct ram *ram, const struct cpu_state *state, uint64_t *addresses,
				    size_t max);

/* Where a loop ends. */
struct loop_end {
	uint64_t linear;  /* right behind the branch that leads back */
	bool flags_known; /* what is right before that branch sets all arithmetic flags */
};

/*
 * Places right behind branches that lead back, among the INSTRUCTION_LOOP_SEARCH instructions from `linear` on, up to
 * the function's end: there the guest comes when it leaves the loops that it is in, so the seldomer the farther away.
 * Gives how many were stored, at most `max`.
 */
size_t instruction_loop_ends(const struct ram *ram, const struct cpu_state *state, uint64_t linear,
			     struct loop_end *ends, size_t max);

#endif
