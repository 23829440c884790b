/*
 * Machine code that is made at run time: a memory for it, and a writer of the pieces that carry a guest's registers into
 * the CPU and back.
 *
 * The code is written through one mapping of its memory and executed through another; no mapping is both.
 */
#ifndef TERCET_VMM_NATIVE_CODE_H
#define TERCET_VMM_NATIVE_CODE_H

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

/* Whom a caller expects unchanged (System V ABI, AMD64 supplement, 3.2.1), RSP aside; registers by bit. */
#define NATIVE_PRESERVED \
	(1u << GPR_RBX | 1u << GPR_RBP | 1u << GPR_R12 | 1u << GPR_R13 | 1u << GPR_R14 | 1u << GPR_R15)

/* --- the memory --- */

struct native_code {
	int fd;
	uint8_t *written; /* where it is written */
	uint8_t *run;     /* the same memory, where it is executed */
	size_t size, used;
};

/* Makes room for `size` bytes. Errors: no memory; the host does not let us execute what we write; a CPU without LAHF in
 * 64-bit mode. */
must_check result native_code_create(struct native_code *code, size_t size);
void native_code_destroy(struct native_code *code);

bool native_code_has_room(const struct native_code *code, size_t bytes);

/* Throws all away. */
void native_code_clear(struct native_code *code);

/* --- the writer --- */

struct native_writer {
	uint8_t *bytes;
	size_t size, length; /* of the room; of what is written, which never gets that large */
};

/* Puts what was written into the memory, where there must be room for it, and gives where it is executed. */
const uint8_t *native_code_add(struct native_code *code, const struct native_writer *writer);

void native_write(struct native_writer *writer, unsigned byte);
void native_write_bytes(struct native_writer *writer, const uint8_t *bytes, size_t length);
void native_write_32(struct native_writer *writer, uint32_t value);

/* The 64-bit register `reg` and a field at `offset` of what register `base` (not RSP, not R12) points to, without a
 * change of flags: MOV, to the register if `load`; and another instruction with a ModRM byte, such as CMP (0x3B). */
void native_write_move(struct native_writer *writer, bool load, unsigned reg, unsigned base, size_t offset);
void native_write_with(struct native_writer *writer, unsigned opcode, unsigned reg, unsigned base, size_t offset);

/* XMM `reg` and its place in the native_cpu that `cpu` points to. */
void native_write_move_xmm(struct native_writer *writer, bool load, unsigned reg, unsigned cpu);

/* One register to another. */
void native_write_copy(struct native_writer *writer, unsigned to, unsigned from);

/* PUSH or POP of those of `registers` that callers expect unchanged. */
void native_write_save(struct native_writer *writer, unsigned registers);
void native_write_restore(struct native_writer *writer, unsigned registers);

/* The arithmetic flags from and to `flags` of the native_cpu, through RAX, which they destroy. */
void native_write_load_flags(struct native_writer *writer, unsigned cpu);
void native_write_store_flags(struct native_writer *writer, unsigned cpu);

#endif
