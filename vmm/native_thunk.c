#include "vmm/native_thunk.h"

#include <cpuid.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/fd.h"

enum {
	ORDINARY_SIZE = 96, /* bytes of a thunk */
	LEGACY_REGISTERS = 8,
	REX = 0x40,
	REX_W = 8,
	REX_R = 4,
	REX_B = 1,
	PREFIX_OPERAND_SIZE = 0x66,
	PREFIX_REPNE = 0xF2,
	PREFIX_REP = 0xF3,
	FLAGS_FIRST = 0x7F, /* added to AL: overflows if it was 1 */
	LEAF_EXTENDED = (int)0x80000001,
	FEATURE_LAHF = 1 << 0, /* Fn8000_0001 ECX */
};
/* Whom a caller expects unchanged (System V ABI, AMD64 supplement, 3.2.1), RSP aside. */
#define PRESERVED (1u << GPR_RBX | 1u << GPR_RBP | 1u << GPR_R12 | 1u << GPR_R13 | 1u << GPR_R14 | 1u << GPR_R15)

/* --- room --- */

result native_thunk_create(struct native_thunks *thunks, size_t count)
{
	unsigned a, b, c = 0, d;
	void *memory;

	*thunks = (struct native_thunks){ .fd = -1, .size = count * ORDINARY_SIZE + NATIVE_THUNK_MAX };
	if (!__get_cpuid((unsigned)LEAF_EXTENDED, &a, &b, &c, &d) || !(c & FEATURE_LAHF))
		return fail(STATUS_HOST, "this CPU has no LAHF in 64-bit mode: guest code cannot be executed in place");
	TRY(fd_sealed_memory(&thunks->fd, "native-code", thunks->size));
	result r = fd_map(thunks->fd, "native code", thunks->size, true, &memory);

	if (failed(r)) {
		fd_close(&thunks->fd);
		return r;
	}
	thunks->written = memory;
	memory = mmap(NULL, thunks->size, PROT_READ | PROT_EXEC, MAP_SHARED, thunks->fd, 0);
	if (memory == MAP_FAILED) {
		int error = errno;

		native_thunk_destroy(thunks);
		return fail_errno(STATUS_HOST, error, "native code: this host does not let us execute what we write");
	}
	thunks->run = memory;
	return OK;
}

void native_thunk_destroy(struct native_thunks *thunks)
{
	if (thunks->run)
		(void)munmap(thunks->run, thunks->size);
	if (thunks->written)
		fd_unmap(thunks->written, thunks->size);
	fd_close(&thunks->fd);
	*thunks = (struct native_thunks){ .fd = -1 };
}

bool native_thunk_has_room(const struct native_thunks *thunks)
{
	return thunks->size - thunks->used >= NATIVE_THUNK_MAX;
}

void native_thunk_clear(struct native_thunks *thunks)
{
	thunks->used = 0;
}

/* --- what it needs --- */

/* Which host registers a thunk uses for what. */
struct plan {
	unsigned used;    /* general registers of the instruction itself, RSP's stand-in among them */
	unsigned xmm;     /* likewise */
	bool flags;
	bool memory;
	bool stack_pointer;
	unsigned cpu;     /* the register with struct native_cpu */
	unsigned pointer; /* to the memory operand */
	unsigned instead; /* of RSP */
};

/* The 64-bit register that a general register is part of; -1 if it is none. */
static int whole_register(ZydisRegister name)
{
	switch (ZydisRegisterGetClass(name)) {
	case ZYDIS_REGCLASS_GPR8:
	case ZYDIS_REGCLASS_GPR16:
	case ZYDIS_REGCLASS_GPR32:
	case ZYDIS_REGCLASS_GPR64:
		return ZydisRegisterGetId(ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, name));
	default:
		return -1;
	}
}

static bool plan_register(struct plan *plan, ZydisRegister name)
{
	int whole = whole_register(name);
	ZyanI8 id = ZydisRegisterGetId(name);

	if (whole == GPR_RSP) {
		plan->stack_pointer = true;
	} else if (whole >= 0 && whole < GPR_COUNT) {
		plan->used |= 1u << whole;
	} else if (ZydisRegisterGetClass(name) == ZYDIS_REGCLASS_XMM && id >= 0 && id < 16) {
		plan->xmm |= 1u << id;
	} else if (ZydisRegisterGetClass(name) == ZYDIS_REGCLASS_FLAGS) {
		plan->flags = true;
	} else if (name == ZYDIS_REGISTER_MXCSR) {
		return true; /* it is in the CPU */
	} else {
		return false;
	}
	return true;
}

static bool plan_operands(struct plan *plan, const struct native_instruction *instruction)
{
	for (unsigned i = 0; i < instruction->decoded.operand_count; i++) {
		const ZydisDecodedOperand *operand = &instruction->operands[i];

		switch (operand->type) {
		case ZYDIS_OPERAND_TYPE_REGISTER:
			if (!plan_register(plan, operand->reg.value))
				return false;
			break;
		case ZYDIS_OPERAND_TYPE_MEMORY:
			if (plan->memory || operand->encoding != ZYDIS_OPERAND_ENCODING_MODRM_RM ||
			    operand->mem.type != ZYDIS_MEMOP_TYPE_MEM)
				return false;
			plan->memory = true;
			break;
		case ZYDIS_OPERAND_TYPE_IMMEDIATE:
			break;
		default:
			return false;
		}
	}
	const ZydisAccessedFlags *flags = instruction->decoded.cpu_flags;

	if (flags && (flags->tested | flags->modified | flags->set_0 | flags->set_1 | flags->undefined))
		plan->flags = true;
	return true;
}

/* The first of these registers that is not used yet, which then is. */
static bool take(struct plan *plan, const uint8_t *candidates, size_t count, unsigned *taken)
{
	for (size_t i = 0; i < count; i++) {
		if (plan->used & 1u << candidates[i])
			continue;
		plan->used |= 1u << candidates[i];
		*taken = candidates[i];
		return true;
	}
	return false;
}

static bool make_plan(struct plan *plan, const struct native_instruction *instruction)
{
	/* The arguments arrive in RDI and RSI. Neither stand-in needs a REX prefix, which AH and its like forbid; RAX
	 * is where flags pass through. */
	static const uint8_t for_cpu[] = { GPR_RDI, GPR_R8, GPR_R9, GPR_R10, GPR_R11 };
	static const uint8_t for_memory[] = { GPR_RSI, GPR_RDI, GPR_RCX, GPR_RDX, GPR_RBX };
	static const uint8_t for_stack[] = { GPR_RDX, GPR_RCX, GPR_RBX, GPR_RSI, GPR_RDI };

	*plan = (struct plan){ 0 };
	if (!plan_operands(plan, instruction))
		return false;
	if (!take(plan, for_cpu, ARRAY_SIZE(for_cpu), &plan->cpu))
		return false;
	if (plan->memory && !take(plan, for_memory, ARRAY_SIZE(for_memory), &plan->pointer))
		return false;
	return !plan->stack_pointer || take(plan, for_stack, ARRAY_SIZE(for_stack), &plan->instead);
}

/* --- the instruction --- */

struct writer {
	uint8_t bytes[NATIVE_THUNK_MAX];
	size_t length;
};

static void put(struct writer *writer, unsigned byte)
{
	invariant(writer->length < sizeof(writer->bytes));
	writer->bytes[writer->length++] = (uint8_t)byte;
}

/* The bits of an instruction that name registers. */
struct fields {
	unsigned modrm_reg, modrm_rm, opcode_low, vvvv; /* without REX */
	bool has_modrm, opcode_register;
};

/* Puts RSP's stand-in where RSP is named. False: it is there without being named. */
static bool replace_stack_pointer(struct fields *fields, const struct native_instruction *instruction,
				  const struct plan *plan)
{
	for (unsigned i = 0; i < instruction->decoded.operand_count; i++) {
		const ZydisDecodedOperand *operand = &instruction->operands[i];

		if (operand->type != ZYDIS_OPERAND_TYPE_REGISTER || whole_register(operand->reg.value) != GPR_RSP)
			continue;
		switch (operand->encoding) {
		case ZYDIS_OPERAND_ENCODING_MODRM_REG:
			fields->modrm_reg = plan->instead;
			break;
		case ZYDIS_OPERAND_ENCODING_MODRM_RM:
			fields->modrm_rm = plan->instead;
			break;
		case ZYDIS_OPERAND_ENCODING_OPCODE:
			fields->opcode_low = plan->instead;
			break;
		case ZYDIS_OPERAND_ENCODING_NDSNDD:
			fields->vvvv = plan->instead;
			break;
		default:
			return false;
		}
	}
	return true;
}

/* Prefixes that count; a segment and the address size do not any more. */
static void put_prefixes(struct writer *writer, const struct native_instruction *instruction, bool memory)
{
	const ZydisDecodedInstruction *decoded = &instruction->decoded;

	for (unsigned i = 0; i < decoded->raw.prefix_count; i++) {
		uint8_t prefix = instruction->bytes[i];

		if (prefix == PREFIX_OPERAND_SIZE || prefix == PREFIX_REPNE || prefix == PREFIX_REP)
			put(writer, prefix);
	}
	if (decoded->encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY &&
	    (decoded->attributes & ZYDIS_ATTRIB_HAS_REX)) {
		unsigned rex = instruction->bytes[decoded->raw.rex.offset];

		/* B and X were the memory operand's. */
		put(writer, memory ? (rex & ~3u) : rex);
	}
}

/* What a VEX prefix has instead of REX is inverted in it: a bit that is 1 says that the register is below R8. */
static void put_vex(struct writer *writer, const struct native_instruction *instruction, const struct fields *fields,
		    bool memory)
{
	enum { TWO_BYTES = 2, NO_X_NO_B = 0x60, VVVV = 0x78, VVVV_SHIFT = 3 };
	const ZydisDecodedInstruction *decoded = &instruction->decoded;
	const uint8_t *vex = instruction->bytes + decoded->raw.vex.offset;
	bool short_form = decoded->raw.vex.size == TWO_BYTES;
	unsigned last = vex[decoded->raw.vex.size - 1];

	put(writer, vex[0]);
	if (!short_form)
		put(writer, memory ? vex[1] | NO_X_NO_B : vex[1]);
	put(writer, (last & ~(unsigned)VVVV) | fields->vvvv << VVVV_SHIFT);
}

/* Everything behind the prefixes; displacement and SIB are gone where there was memory. */
static void put_rest(struct writer *writer, const struct native_instruction *instruction, const struct fields *fields,
		     const struct plan *plan)
{
	const ZydisDecodedInstruction *decoded = &instruction->decoded;
	bool vex = decoded->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX;
	unsigned opcode = vex ? (unsigned)(decoded->raw.vex.offset + decoded->raw.vex.size) : decoded->raw.prefix_count;
	unsigned end = decoded->raw.imm[0].size ? decoded->raw.imm[0].offset : decoded->length;
	unsigned opcode_end = fields->has_modrm ? decoded->raw.modrm.offset : end;

	for (unsigned i = opcode; i < opcode_end; i++) {
		bool last = i + 1 == opcode_end;

		put(writer, last && fields->opcode_register ? (instruction->bytes[i] & ~7u) | fields->opcode_low :
							      instruction->bytes[i]);
	}
	if (fields->has_modrm) {
		unsigned mod = plan->memory ? 0 : decoded->raw.modrm.mod;
		unsigned rm = plan->memory ? plan->pointer : fields->modrm_rm;

		put(writer, mod << 6 | fields->modrm_reg << 3 | rm);
	}
	for (unsigned i = end; i < decoded->length; i++)
		put(writer, instruction->bytes[i]);
}

static bool same_register(ZydisRegister original, ZydisRegister changed, const struct plan *plan)
{
	if (!plan->stack_pointer || whole_register(original) != GPR_RSP)
		return original == changed;
	return ZydisRegisterGetClass(original) == ZydisRegisterGetClass(changed) &&
	       whole_register(changed) == (int)plan->instead;
}

static bool same_operand(const ZydisDecodedOperand *original, const ZydisDecodedOperand *changed,
			 const struct plan *plan)
{
	if (original->type != changed->type || original->size != changed->size ||
	    original->actions != changed->actions)
		return false;
	switch (original->type) {
	case ZYDIS_OPERAND_TYPE_REGISTER:
		return same_register(original->reg.value, changed->reg.value, plan);
	case ZYDIS_OPERAND_TYPE_MEMORY:
		return ZydisRegisterGetClass(changed->mem.base) == ZYDIS_REGCLASS_GPR64 &&
		       whole_register(changed->mem.base) == (int)plan->pointer &&
		       changed->mem.index == ZYDIS_REGISTER_NONE && !changed->mem.disp.has_displacement;
	default:
		return original->imm.value.u == changed->imm.value.u;
	}
}

/* What was put together is read again: it must be what it was made from. */
static bool is_faithful(const struct native_instruction *instruction, const struct plan *plan, const uint8_t *bytes,
			size_t length)
{
	ZydisDecoder decoder;
	ZydisDecodedInstruction decoded;
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];

	if (!ZYAN_SUCCESS(ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)) ||
	    !ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, bytes, length, &decoded, operands)) ||
	    decoded.length != length || decoded.mnemonic != instruction->decoded.mnemonic ||
	    decoded.operand_width != instruction->decoded.operand_width ||
	    decoded.operand_count != instruction->decoded.operand_count)
		return false;
	for (unsigned i = 0; i < decoded.operand_count; i++)
		if (!same_operand(&instruction->operands[i], &operands[i], plan))
			return false;
	return true;
}

static bool put_instruction(struct writer *writer, const struct native_instruction *instruction,
			    const struct plan *plan)
{
	const ZydisDecodedInstruction *decoded = &instruction->decoded;
	size_t begin = writer->length;
	struct fields fields = {
		.has_modrm = decoded->attributes & ZYDIS_ATTRIB_HAS_MODRM,
		.modrm_reg = decoded->raw.modrm.reg,
		.modrm_rm = decoded->raw.modrm.rm,
		.opcode_low = decoded->opcode & 7u,
	};

	for (unsigned i = 0; i < decoded->operand_count; i++)
		if (instruction->operands[i].encoding == ZYDIS_OPERAND_ENCODING_OPCODE)
			fields.opcode_register = true;
	switch (decoded->encoding) {
	case ZYDIS_INSTRUCTION_ENCODING_LEGACY:
		break;
	case ZYDIS_INSTRUCTION_ENCODING_VEX:
		fields.vvvv = instruction->bytes[decoded->raw.vex.offset + decoded->raw.vex.size - 1u] >> 3 & 15u;
		break;
	default:
		return false;
	}
	if (plan->stack_pointer) {
		unsigned inverted = fields.vvvv;

		fields.vvvv = GPR_COUNT;
		if (!replace_stack_pointer(&fields, instruction, plan))
			return false;
		fields.vvvv = fields.vvvv == GPR_COUNT ? inverted : 15u - fields.vvvv;
	}
	put_prefixes(writer, instruction, plan->memory);
	if (decoded->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX)
		put_vex(writer, instruction, &fields, plan->memory);
	put_rest(writer, instruction, &fields, plan);
	return is_faithful(instruction, plan, writer->bytes + begin, writer->length - begin);
}

/* --- what is around it --- */

/* ModRM and displacement of a field of struct native_cpu. */
static void put_field(struct writer *writer, unsigned reg, unsigned cpu, size_t offset)
{
	bool far = offset > 127;

	put(writer, (far ? 0x80u : 0x40u) | (reg & 7) << 3 | (cpu & 7));
	for (unsigned i = 0; i < (far ? 4u : 1u); i++)
		put(writer, (unsigned)(offset >> 8 * i) & 0xFF);
}

static unsigned rex_of(unsigned reg, unsigned cpu)
{
	return REX | (reg >= LEGACY_REGISTERS ? REX_R : 0u) | (cpu >= LEGACY_REGISTERS ? REX_B : 0u);
}

/* MOV between a 64-bit register and its place, or `place`'s. */
static void put_move(struct writer *writer, bool load, unsigned reg, unsigned place, const struct plan *plan)
{
	put(writer, rex_of(reg, plan->cpu) | REX_W);
	put(writer, load ? 0x8B : 0x89);
	put_field(writer, reg, plan->cpu, offsetof(struct native_cpu, r) + sizeof(uint64_t) * place);
}

/* MOVUPS, likewise. */
static void put_move_xmm(struct writer *writer, bool load, unsigned reg, const struct plan *plan)
{
	put(writer, rex_of(reg, plan->cpu));
	put(writer, 0x0F);
	put(writer, load ? 0x10 : 0x11);
	put_field(writer, reg, plan->cpu, offsetof(struct native_cpu, xmm) + 16 * (size_t)reg);
}

static void put_copy(struct writer *writer, unsigned to, unsigned from)
{
	if (to == from)
		return;
	put(writer, rex_of(from, to) | REX_W);
	put(writer, 0x89);
	put(writer, 0xC0 | (from & 7) << 3 | (to & 7));
}

static void put_push_or_pop(struct writer *writer, unsigned opcode, unsigned reg)
{
	if (reg >= LEGACY_REGISTERS)
		put(writer, REX | REX_B);
	put(writer, opcode | (reg & 7));
}

/* All registers of the instruction; whether they change or not, what is stored is right. */
static void put_registers(struct writer *writer, bool load, const struct plan *plan)
{
	unsigned own = 1u << plan->cpu | (plan->memory ? 1u << plan->pointer : 0) |
		       (plan->stack_pointer ? 1u << plan->instead : 0);

	for (unsigned i = 0; i < GPR_COUNT; i++)
		if ((plan->used & ~own) >> i & 1)
			put_move(writer, load, i, i, plan);
	if (plan->stack_pointer)
		put_move(writer, load, plan->instead, GPR_RSP, plan);
	for (unsigned i = 0; i < 16; i++)
		if (plan->xmm >> i & 1)
			put_move_xmm(writer, load, i, plan);
}

/* Through AX: MOVZX EAX, word; ADD AL, 7Fh; SAHF. MOV changes no flags. */
static void put_load_flags(struct writer *writer, const struct plan *plan)
{
	put(writer, rex_of(GPR_RAX, plan->cpu));
	put(writer, 0x0F);
	put(writer, 0xB7);
	put_field(writer, GPR_RAX, plan->cpu, offsetof(struct native_cpu, flags));
	put(writer, 0x04);
	put(writer, FLAGS_FIRST);
	put(writer, 0x9E);
}

/* LAHF; SETO AL; MOV word, AX. */
static void put_store_flags(struct writer *writer, const struct plan *plan)
{
	put(writer, 0x9F);
	put(writer, 0x0F);
	put(writer, 0x90);
	put(writer, 0xC0);
	put(writer, PREFIX_OPERAND_SIZE);
	put(writer, rex_of(GPR_RAX, plan->cpu));
	put(writer, 0x89);
	put_field(writer, GPR_RAX, plan->cpu, offsetof(struct native_cpu, flags));
}

static bool put_thunk(struct writer *writer, const struct native_instruction *instruction, const struct plan *plan)
{
	for (unsigned i = 0; i < GPR_COUNT; i++)
		if ((plan->used & PRESERVED) >> i & 1)
			put_push_or_pop(writer, 0x50, i);
	put_copy(writer, plan->cpu, GPR_RDI);
	if (plan->memory)
		put_copy(writer, plan->pointer, GPR_RSI);
	if (plan->flags)
		put_load_flags(writer, plan);
	put_registers(writer, true, plan);
	if (!put_instruction(writer, instruction, plan))
		return false;
	put_registers(writer, false, plan);
	if (plan->flags)
		put_store_flags(writer, plan);
	for (unsigned i = GPR_COUNT; i-- > 0;)
		if ((plan->used & PRESERVED) >> i & 1)
			put_push_or_pop(writer, 0x58, i);
	put(writer, 0xC3);
	return true;
}

native_thunk *native_thunk_make(struct native_thunks *thunks, const struct native_instruction *instruction)
{
	enum { ALIGNMENT = 16 };
	struct writer writer = { .length = 0 };
	struct plan plan;

	invariant(native_thunk_has_room(thunks));
	if (!make_plan(&plan, instruction) || !put_thunk(&writer, instruction, &plan))
		return NULL;
	const uint8_t *run = thunks->run + thunks->used;
	native_thunk *thunk;

	_Static_assert(sizeof(thunk) == sizeof(run), "code is where a pointer to data can tell");
	memcpy(&thunk, &run, sizeof(thunk));
	memcpy(thunks->written + thunks->used, writer.bytes, writer.length);
	thunks->used += (writer.length + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
	return thunk;
}
