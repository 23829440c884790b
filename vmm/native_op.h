/*
 * Instructions of the guest as they are executed in this process: decoded once, then kept by where they are in RAM.
 * What is not known to be harmless is not done: lists say what is.
 */
#ifndef TERCET_VMM_NATIVE_OP_H
#define TERCET_VMM_NATIVE_OP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/instruction.h"
#include "vmm/native_thunk.h"

enum native_kind {
	NATIVE_STOP, /* not done here; `why` says what it is */
	NATIVE_NOTHING,
	NATIVE_THUNK,
	NATIVE_THUNK_MEMORY,
	/* 32 or 64 bits, `size` in bytes: reg = other; reg = immediate; reg = memory; memory = reg */
	NATIVE_MOVE,
	NATIVE_MOVE_IMMEDIATE,
	NATIVE_LOAD,
	NATIVE_STORE,
	NATIVE_ADDRESS, /* LEA, 16 bits too */
	/* Near transfers; `immediate` is the distance from the next instruction. */
	NATIVE_JUMP,
	NATIVE_JUMP_REGISTER,
	NATIVE_JUMP_MEMORY,
	NATIVE_BRANCH, /* Jcc by `condition` */
	NATIVE_BRANCH_ZERO, /* JRCXZ, JECXZ */
	NATIVE_LOOP,
	NATIVE_LOOP_EQUAL,
	NATIVE_LOOP_NOT_EQUAL,
	NATIVE_CALL,
	NATIVE_CALL_REGISTER,
	NATIVE_CALL_MEMORY,
	NATIVE_RETURN, /* and `immediate` bytes more */
	/* 64 bits each */
	NATIVE_PUSH,
	NATIVE_PUSH_IMMEDIATE,
	NATIVE_PUSH_MEMORY,
	NATIVE_POP,
	NATIVE_LEAVE,
	NATIVE_PUSH_FLAGS,
	NATIVE_POP_FLAGS,
	/* `immediate` is what the flag becomes */
	NATIVE_SET_DIRECTION,
	NATIVE_SET_ACCESS,
	NATIVE_CLEAR_INTERRUPTS,
	/* MOVS, STOS, LODS: with REP if `repeats` */
	NATIVE_STRING_MOVE,
	NATIVE_STRING_STORE,
	NATIVE_STRING_LOAD,
};

/* What must be looked at before a thunk may run, because the CPU would raise an exception, or worse. */
enum native_check {
	NATIVE_CHECK_NONE,
	NATIVE_CHECK_ALIGNED,       /* by its size */
	NATIVE_CHECK_LINE,          /* not in two cache lines: XCHG locks */
	NATIVE_CHECK_BIT,           /* the bit offset in `reg` moves the memory operand */
	NATIVE_CHECK_DIVIDE,        /* by memory or `reg` */
	NATIVE_CHECK_DIVIDE_SIGNED,
	NATIVE_CHECK_MXCSR,         /* a new one, in memory */
};

struct native_op {
	uint64_t offset; /* of its first byte in RAM */
	struct native_op *chain;
	native_thunk *thunk;
	const char *why;
	uint64_t displacement; /* of the memory operand */
	uint64_t address_mask; /* of its offset in the segment */
	uint64_t immediate;
	uint8_t bytes[INSTRUCTION_MAX];
	uint8_t length;
	uint8_t kind, check; /* enum native_kind, enum native_check */
	uint8_t size;        /* of the memory operand, or of what is done, in bytes */
	uint8_t base, index, shift, segment; /* of the memory operand: enum native_base */
	uint8_t reg, other;
	uint8_t condition;
	bool high;    /* the second byte of `reg` is meant */
	bool writes;  /* its memory operand */
	bool repeats;
	bool sse;     /* XMM registers or MXCSR */
};

/* Where the memory operand is in its segment; */
static inline uint64_t native_op_offset(const struct native_cpu *cpu, const struct native_op *op)
{
	return (cpu->r[op->base] + (cpu->r[op->index] << op->shift) + op->displacement) & op->address_mask;
}

/* and its linear address. */
static inline uint64_t native_op_address(const struct native_cpu *cpu, const struct native_op *op)
{
	return native_op_offset(cpu, op) + cpu->r[op->segment];
}

/* What this CPU can do beyond what every one can. */
struct native_features {
	uint32_t ecx1, ebx7, ecx_extended; /* CPUID 1 ECX, 7 EBX, 8000_0001 ECX */
};
struct native_features native_op_features(void);

/*
 * Decodes what is at `bytes`, of which `available` (1 to INSTRUCTION_MAX) can be read. `offset` and `chain` are
 * the caller's. Makes a thunk if need be, for which there must be room.
 */
void native_op_decode(struct native_op *op, const struct native_features *features, struct native_code *thunks,
		      const uint8_t *bytes, size_t available);

#endif
