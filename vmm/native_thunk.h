/*
 * Small functions that execute one instruction of the guest, the very same bytes but for three things: the memory
 * operand, if any, becomes a register that points to it in this process; RSP is replaced by another register, because
 * a thunk keeps its caller's stack; LOCK is left out, because nobody else writes a guest's memory meanwhile. So
 * whatever the manuals leave undefined is what this CPU does.
 */
#ifndef TERCET_VMM_NATIVE_THUNK_H
#define TERCET_VMM_NATIVE_THUNK_H

#include <Zydis/Zydis.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/native_code.h"

/* `memory` is the address of the operand in this process. */
typedef void native_thunk(struct native_cpu *cpu, uintptr_t memory);

/* An instruction as Zydis sees it; all operands, hidden ones too. */
struct native_instruction {
	const uint8_t *bytes;
	ZydisDecodedInstruction decoded;
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
};

/* Bytes of a thunk: more than any needs, and what one has as a rule. */
enum { NATIVE_THUNK_MAX = 512, NATIVE_THUNK_ORDINARY = 96 };

/* The 64-bit register (enum cpu_gpr) that a general register is part of; -1 if it is none. */
int native_thunk_register(ZydisRegister name);

/*
 * Makes the thunk of an instruction that neither transfers control nor uses other registers than general ones, XMM
 * and the arithmetic flags, and has one memory operand at most; there must be room for NATIVE_THUNK_MAX bytes. NULL:
 * this one cannot be done.
 */
native_thunk *native_thunk_make(struct native_code *code, const struct native_instruction *instruction);

/* Writes such an instruction alone; its memory operand, if any, is where register `pointer` (RAX to RDI, not RSP or
 * RBP) points to. False: this one cannot be done, or it uses RSP. */
bool native_thunk_write(struct native_writer *writer, const struct native_instruction *instruction, unsigned pointer);

#endif
