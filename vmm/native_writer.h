/*
 * Writes machine code: instructions that carry a guest's registers into the CPU and back, around some of the guest's
 * own.
 */
#ifndef TERCET_VMM_NATIVE_WRITER_H
#define TERCET_VMM_NATIVE_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/registers.h"

/* Instructions of a loop's round, at most. */
enum { NATIVE_LOOP_STEPS = 64 };

/* What addresses are made of besides the general registers. */
enum native_base { NATIVE_ZERO = GPR_COUNT, NATIVE_NEXT, NATIVE_FS, NATIVE_GS, NATIVE_BASES };

/* The guest's registers while its instructions are executed here. MXCSR is in the CPU all the time. */
struct native_cpu {
	uint64_t r[NATIVE_BASES]; /* enum cpu_gpr, then 0, the address behind the instruction, two segments' bases */
	uint16_t flags;           /* low byte: OF, 0 or 1. High byte: SF ZF AF PF CF as LAHF gives them */
	/* Of native_loop.h: what is looked for, how many rounds are left, how it was left, a place for RAX, and where
	 * the instructions' memory operands are in this process. */
	uint64_t wanted[GPR_COUNT], rounds, way_out, kept;
	const uint8_t *operands[NATIVE_LOOP_STEPS];
	_Alignas(16) uint8_t xmm[16][16];
};

struct native_writer {
	uint8_t *bytes;
	size_t size, length; /* of the room; of what is written, which never gets that large */
};

/* What it is told. */
void native_writer_put(struct native_writer *writer, unsigned byte);
void native_writer_bytes(struct native_writer *writer, const uint8_t *bytes, size_t length);
void native_writer_32(struct native_writer *writer, uint32_t value);

/* The 64-bit register `reg` and a field at `offset` of what register `base` (not RSP, not R12) points to, without a
 * change of flags: MOV, to the register if `load`; and another instruction with a ModRM byte, such as CMP (0x3B). */
void native_writer_move(struct native_writer *writer, bool load, unsigned reg, unsigned base, size_t offset);
void native_writer_with(struct native_writer *writer, unsigned opcode, unsigned reg, unsigned base, size_t offset);

/* General and XMM registers, by bit, and their places in the native_cpu that `cpu` points to. */
void native_writer_registers(struct native_writer *writer, bool load, unsigned general, unsigned xmm, unsigned cpu);

/* One register to another. */
void native_writer_copy(struct native_writer *writer, unsigned to, unsigned from);

/* PUSH or POP of those of `registers` that callers expect unchanged. */
void native_writer_save(struct native_writer *writer, unsigned registers);
void native_writer_restore(struct native_writer *writer, unsigned registers);

/* The arithmetic flags from and to `flags` of the native_cpu, through RAX, which they destroy. */
void native_writer_load_flags(struct native_writer *writer, unsigned cpu);
void native_writer_store_flags(struct native_writer *writer, unsigned cpu);

#endif
