/*
 * Small functions that execute one instruction of the guest, the very same bytes but for three things: the memory
 * operand, if any, becomes a register that points to it in this process; RSP is replaced by another register, because
 * a thunk keeps its caller's stack; LOCK is left out, because nobody else writes a guest's memory meanwhile. So
 * whatever the manuals leave undefined is what this CPU does.
 *
 * The code is written through one mapping of its memory and executed through another; no mapping is both.
 */
#ifndef TERCET_VMM_NATIVE_THUNK_H
#define TERCET_VMM_NATIVE_THUNK_H

#include <Zydis/Zydis.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/result.h"
#include "vmm/registers.h"

/* What addresses are made of besides the general registers. */
enum native_base { NATIVE_ZERO = GPR_COUNT, NATIVE_NEXT, NATIVE_FS, NATIVE_GS, NATIVE_BASES };

/* The guest's registers while its instructions are executed here. MXCSR is in the CPU all the time. */
struct native_cpu {
	uint64_t r[NATIVE_BASES]; /* enum cpu_gpr, then 0, the address behind the instruction, two segments' bases */
	uint16_t flags;           /* low byte: OF, 0 or 1. High byte: SF ZF AF PF CF as LAHF gives them */
	_Alignas(16) uint8_t xmm[16][16];
};

/* `memory` is the address of the operand in this process. */
typedef void native_thunk(struct native_cpu *cpu, uintptr_t memory);

/* An instruction as Zydis sees it; all operands, hidden ones too. */
struct native_instruction {
	const uint8_t *bytes;
	ZydisDecodedInstruction decoded;
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
};

enum { NATIVE_THUNK_MAX = 512 }; /* bytes, more than any needs */

struct native_thunks {
	int fd;
	uint8_t *written; /* where they are written */
	uint8_t *run;     /* the same memory, where they are executed */
	size_t size, used;
};

/* Makes room for `count` thunks of ordinary size. Errors: no memory; the host does not let us execute what we write;
 * a CPU without LAHF in 64-bit mode. */
must_check result native_thunk_create(struct native_thunks *thunks, size_t count);
void native_thunk_destroy(struct native_thunks *thunks);

/* Whether there is room for one more. */
bool native_thunk_has_room(const struct native_thunks *thunks);

/* Throws all away. */
void native_thunk_clear(struct native_thunks *thunks);

/*
 * Makes the thunk of an instruction that neither transfers control nor uses other registers than general ones, XMM
 * and the arithmetic flags, and has one memory operand at most. NULL: this one cannot be done.
 */
native_thunk *native_thunk_make(struct native_thunks *thunks, const struct native_instruction *instruction);

#endif
