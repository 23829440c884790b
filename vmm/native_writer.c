#include "vmm/native_writer.h"

#include "base/result.h"

enum {
	LEGACY_REGISTERS = 8,
	REX = 0x40,
	REX_W = 8,
	REX_R = 4,
	REX_B = 1,
	PREFIX_OPERAND_SIZE = 0x66,
	FLAGS_FIRST = 0x7F, /* added to AL: overflows if it was 1 */
};

/* Whom a caller expects unchanged (System V ABI, AMD64 supplement, 3.2.1), RSP aside; registers by bit. */
#define PRESERVED (1u << GPR_RBX | 1u << GPR_RBP | 1u << GPR_R12 | 1u << GPR_R13 | 1u << GPR_R14 | 1u << GPR_R15)

void native_writer_put(struct native_writer *writer, unsigned byte)
{
	invariant(writer->length < writer->size);
	writer->bytes[writer->length++] = (uint8_t)byte;
}

void native_writer_bytes(struct native_writer *writer, const uint8_t *bytes, size_t length)
{
	for (size_t i = 0; i < length; i++)
		native_writer_put(writer, bytes[i]);
}

void native_writer_32(struct native_writer *writer, uint32_t value)
{
	for (unsigned i = 0; i < sizeof(value); i++)
		native_writer_put(writer, value >> 8 * i & 0xFF);
}

/* ModRM and displacement of a field. */
static void write_field(struct native_writer *writer, unsigned reg, unsigned base, size_t offset)
{
	bool far = offset > 127;

	native_writer_put(writer, (far ? 0x80u : 0x40u) | (reg & 7) << 3 | (base & 7));
	if (far)
		native_writer_32(writer, (uint32_t)offset);
	else
		native_writer_put(writer, (unsigned)offset);
}

static unsigned rex_of(unsigned reg, unsigned base)
{
	return REX | (reg >= LEGACY_REGISTERS ? REX_R : 0u) | (base >= LEGACY_REGISTERS ? REX_B : 0u);
}

void native_writer_with(struct native_writer *writer, unsigned opcode, unsigned reg, unsigned base, size_t offset)
{
	native_writer_put(writer, rex_of(reg, base) | REX_W);
	native_writer_put(writer, opcode);
	write_field(writer, reg, base, offset);
}

void native_writer_move(struct native_writer *writer, bool load, unsigned reg, unsigned base, size_t offset)
{
	native_writer_with(writer, load ? 0x8B : 0x89, reg, base, offset);
}

/* MOVUPS. */
static void move_xmm(struct native_writer *writer, bool load, unsigned reg, unsigned cpu)
{
	native_writer_put(writer, rex_of(reg, cpu));
	native_writer_put(writer, 0x0F);
	native_writer_put(writer, load ? 0x10 : 0x11);
	write_field(writer, reg, cpu, offsetof(struct native_cpu, xmm) + 16 * (size_t)reg);
}

void native_writer_registers(struct native_writer *writer, bool load, unsigned general, unsigned xmm, unsigned cpu)
{
	for (unsigned i = 0; i < GPR_COUNT; i++)
		if (general >> i & 1)
			native_writer_move(writer, load, i, cpu,
					   offsetof(struct native_cpu, r) + sizeof(uint64_t) * i);
	for (unsigned i = 0; i < 16; i++)
		if (xmm >> i & 1)
			move_xmm(writer, load, i, cpu);
}

void native_writer_copy(struct native_writer *writer, unsigned to, unsigned from)
{
	if (to == from)
		return;
	native_writer_put(writer, rex_of(from, to) | REX_W);
	native_writer_put(writer, 0x89);
	native_writer_put(writer, 0xC0 | (from & 7) << 3 | (to & 7));
}

static void write_push_or_pop(struct native_writer *writer, unsigned opcode, unsigned reg)
{
	if (reg >= LEGACY_REGISTERS)
		native_writer_put(writer, REX | REX_B);
	native_writer_put(writer, opcode | (reg & 7));
}

void native_writer_save(struct native_writer *writer, unsigned registers)
{
	for (unsigned i = 0; i < GPR_COUNT; i++)
		if ((registers & PRESERVED) >> i & 1)
			write_push_or_pop(writer, 0x50, i);
}

void native_writer_restore(struct native_writer *writer, unsigned registers)
{
	for (unsigned i = GPR_COUNT; i-- > 0;)
		if ((registers & PRESERVED) >> i & 1)
			write_push_or_pop(writer, 0x58, i);
}

/* Through AX: MOVZX EAX, word; ADD AL, 7Fh; SAHF. MOV changes no flags. */
void native_writer_load_flags(struct native_writer *writer, unsigned cpu)
{
	native_writer_put(writer, rex_of(GPR_RAX, cpu));
	native_writer_put(writer, 0x0F);
	native_writer_put(writer, 0xB7);
	write_field(writer, GPR_RAX, cpu, offsetof(struct native_cpu, flags));
	native_writer_put(writer, 0x04);
	native_writer_put(writer, FLAGS_FIRST);
	native_writer_put(writer, 0x9E);
}

/* LAHF; SETO AL; MOV word, AX. */
void native_writer_store_flags(struct native_writer *writer, unsigned cpu)
{
	native_writer_put(writer, 0x9F);
	native_writer_put(writer, 0x0F);
	native_writer_put(writer, 0x90);
	native_writer_put(writer, 0xC0);
	native_writer_put(writer, PREFIX_OPERAND_SIZE);
	native_writer_put(writer, rex_of(GPR_RAX, cpu));
	native_writer_put(writer, 0x89);
	write_field(writer, GPR_RAX, cpu, offsetof(struct native_cpu, flags));
}
