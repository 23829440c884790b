#include "vmm/native_code.h"

#include <cpuid.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/fd.h"

enum {
	LEGACY_REGISTERS = 8,
	REX = 0x40,
	REX_W = 8,
	REX_R = 4,
	REX_B = 1,
	PREFIX_OPERAND_SIZE = 0x66,
	FLAGS_FIRST = 0x7F, /* added to AL: overflows if it was 1 */
	LEAF_EXTENDED = (int)0x80000001,
	FEATURE_LAHF = 1 << 0, /* Fn8000_0001 ECX */
};

/* --- the memory --- */

result native_code_create(struct native_code *code, size_t size)
{
	unsigned a, b, c = 0, d;
	void *memory;

	*code = (struct native_code){ .fd = -1, .size = size };
	if (!__get_cpuid((unsigned)LEAF_EXTENDED, &a, &b, &c, &d) || !(c & FEATURE_LAHF))
		return fail(STATUS_HOST, "this CPU has no LAHF in 64-bit mode: guest code cannot be executed in place");
	TRY(fd_sealed_memory(&code->fd, "native-code", code->size));
	result r = fd_map(code->fd, "native code", code->size, true, &memory);

	if (failed(r)) {
		fd_close(&code->fd);
		return r;
	}
	code->written = memory;
	memory = mmap(NULL, code->size, PROT_READ | PROT_EXEC, MAP_SHARED, code->fd, 0);
	if (memory == MAP_FAILED) {
		int error = errno;

		native_code_destroy(code);
		return fail_errno(STATUS_HOST, error, "native code: this host does not let us execute what we write");
	}
	code->run = memory;
	return OK;
}

void native_code_destroy(struct native_code *code)
{
	if (code->run)
		(void)munmap(code->run, code->size);
	if (code->written)
		fd_unmap(code->written, code->size);
	fd_close(&code->fd);
	*code = (struct native_code){ .fd = -1 };
}

bool native_code_has_room(const struct native_code *code, size_t bytes)
{
	return code->size - code->used >= bytes;
}

void native_code_clear(struct native_code *code)
{
	code->used = 0;
}

const uint8_t *native_code_add(struct native_code *code, const struct native_writer *writer)
{
	enum { ALIGNMENT = 16 };
	const uint8_t *run = code->run + code->used;

	invariant(native_code_has_room(code, writer->length));
	memcpy(code->written + code->used, writer->bytes, writer->length);
	code->used += (writer->length + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
	if (code->used > code->size)
		code->used = code->size;
	return run;
}

/* --- the writer --- */

void native_write(struct native_writer *writer, unsigned byte)
{
	invariant(writer->length < writer->size);
	writer->bytes[writer->length++] = (uint8_t)byte;
}

void native_write_bytes(struct native_writer *writer, const uint8_t *bytes, size_t length)
{
	for (size_t i = 0; i < length; i++)
		native_write(writer, bytes[i]);
}

void native_write_32(struct native_writer *writer, uint32_t value)
{
	for (unsigned i = 0; i < sizeof(value); i++)
		native_write(writer, value >> 8 * i & 0xFF);
}

/* ModRM and displacement of a field. */
static void write_field(struct native_writer *writer, unsigned reg, unsigned base, size_t offset)
{
	bool far = offset > 127;

	native_write(writer, (far ? 0x80u : 0x40u) | (reg & 7) << 3 | (base & 7));
	if (far)
		native_write_32(writer, (uint32_t)offset);
	else
		native_write(writer, (unsigned)offset);
}

static unsigned rex_of(unsigned reg, unsigned base)
{
	return REX | (reg >= LEGACY_REGISTERS ? REX_R : 0u) | (base >= LEGACY_REGISTERS ? REX_B : 0u);
}

void native_write_with(struct native_writer *writer, unsigned opcode, unsigned reg, unsigned base, size_t offset)
{
	native_write(writer, rex_of(reg, base) | REX_W);
	native_write(writer, opcode);
	write_field(writer, reg, base, offset);
}

void native_write_move(struct native_writer *writer, bool load, unsigned reg, unsigned base, size_t offset)
{
	native_write_with(writer, load ? 0x8B : 0x89, reg, base, offset);
}

/* MOVUPS. */
void native_write_move_xmm(struct native_writer *writer, bool load, unsigned reg, unsigned cpu)
{
	native_write(writer, rex_of(reg, cpu));
	native_write(writer, 0x0F);
	native_write(writer, load ? 0x10 : 0x11);
	write_field(writer, reg, cpu, offsetof(struct native_cpu, xmm) + 16 * (size_t)reg);
}

void native_write_copy(struct native_writer *writer, unsigned to, unsigned from)
{
	if (to == from)
		return;
	native_write(writer, rex_of(from, to) | REX_W);
	native_write(writer, 0x89);
	native_write(writer, 0xC0 | (from & 7) << 3 | (to & 7));
}

static void write_push_or_pop(struct native_writer *writer, unsigned opcode, unsigned reg)
{
	if (reg >= LEGACY_REGISTERS)
		native_write(writer, REX | REX_B);
	native_write(writer, opcode | (reg & 7));
}

void native_write_save(struct native_writer *writer, unsigned registers)
{
	for (unsigned i = 0; i < GPR_COUNT; i++)
		if ((registers & NATIVE_PRESERVED) >> i & 1)
			write_push_or_pop(writer, 0x50, i);
}

void native_write_restore(struct native_writer *writer, unsigned registers)
{
	for (unsigned i = GPR_COUNT; i-- > 0;)
		if ((registers & NATIVE_PRESERVED) >> i & 1)
			write_push_or_pop(writer, 0x58, i);
}

/* Through AX: MOVZX EAX, word; ADD AL, 7Fh; SAHF. MOV changes no flags. */
void native_write_load_flags(struct native_writer *writer, unsigned cpu)
{
	native_write(writer, rex_of(GPR_RAX, cpu));
	native_write(writer, 0x0F);
	native_write(writer, 0xB7);
	write_field(writer, GPR_RAX, cpu, offsetof(struct native_cpu, flags));
	native_write(writer, 0x04);
	native_write(writer, FLAGS_FIRST);
	native_write(writer, 0x9E);
}

/* LAHF; SETO AL; MOV word, AX. */
void native_write_store_flags(struct native_writer *writer, unsigned cpu)
{
	native_write(writer, 0x9F);
	native_write(writer, 0x0F);
	native_write(writer, 0x90);
	native_write(writer, 0xC0);
	native_write(writer, PREFIX_OPERAND_SIZE);
	native_write(writer, rex_of(GPR_RAX, cpu));
	native_write(writer, 0x89);
	write_field(writer, GPR_RAX, cpu, offsetof(struct native_cpu, flags));
}
