#include "vmm/native_thunk.h"

#include <string.h>

enum {
	PREFIX_OPERAND_SIZE = 0x66,
	PREFIX_REPNE = 0xF2,
	PREFIX_REP = 0xF3,
};

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

int native_thunk_register(ZydisRegister name)
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
	int whole = native_thunk_register(name);
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

		if (operand->type != ZYDIS_OPERAND_TYPE_REGISTER ||
		    native_thunk_register(operand->reg.value) != GPR_RSP)
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
static void put_prefixes(struct native_writer *writer, const struct native_instruction *instruction, bool memory)
{
	const ZydisDecodedInstruction *decoded = &instruction->decoded;

	for (unsigned i = 0; i < decoded->raw.prefix_count; i++) {
		uint8_t prefix = instruction->bytes[i];

		if (prefix == PREFIX_OPERAND_SIZE || prefix == PREFIX_REPNE || prefix == PREFIX_REP)
			native_writer_put(writer, prefix);
	}
	if (decoded->encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY &&
	    (decoded->attributes & ZYDIS_ATTRIB_HAS_REX)) {
		unsigned rex = instruction->bytes[decoded->raw.rex.offset];

		/* B and X were the memory operand's. */
		native_writer_put(writer, memory ? (rex & ~3u) : rex);
	}
}

/* What a VEX prefix has instead of REX is inverted in it: a bit that is 1 says that the register is below R8. */
static void put_vex(struct native_writer *writer, const struct native_instruction *instruction,
		    const struct fields *fields, bool memory)
{
	enum { TWO_BYTES = 2, NO_X_NO_B = 0x60, VVVV = 0x78, VVVV_SHIFT = 3 };
	const ZydisDecodedInstruction *decoded = &instruction->decoded;
	const uint8_t *vex = instruction->bytes + decoded->raw.vex.offset;
	bool short_form = decoded->raw.vex.size == TWO_BYTES;
	unsigned last = vex[decoded->raw.vex.size - 1];

	native_writer_put(writer, vex[0]);
	if (!short_form)
		native_writer_put(writer, memory ? vex[1] | NO_X_NO_B : vex[1]);
	native_writer_put(writer, (last & ~(unsigned)VVVV) | fields->vvvv << VVVV_SHIFT);
}

/* Everything behind the prefixes; displacement and SIB are gone where there was memory. */
static void put_rest(struct native_writer *writer, const struct native_instruction *instruction,
		     const struct fields *fields, const struct plan *plan)
{
	const ZydisDecodedInstruction *decoded = &instruction->decoded;
	bool vex = decoded->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX;
	unsigned opcode = vex ? (unsigned)(decoded->raw.vex.offset + decoded->raw.vex.size) : decoded->raw.prefix_count;
	unsigned end = decoded->raw.imm[0].size ? decoded->raw.imm[0].offset : decoded->length;
	unsigned opcode_end = fields->has_modrm ? decoded->raw.modrm.offset : end;

	for (unsigned i = opcode; i < opcode_end; i++) {
		bool holds_register = i + 1 == opcode_end && fields->opcode_register;
		unsigned byte = instruction->bytes[i];

		native_writer_put(writer, holds_register ? (byte & ~7u) | fields->opcode_low : byte);
	}
	if (fields->has_modrm) {
		unsigned mod = plan->memory ? 0 : decoded->raw.modrm.mod;
		unsigned rm = plan->memory ? plan->pointer : fields->modrm_rm;

		native_writer_put(writer, mod << 6 | fields->modrm_reg << 3 | rm);
	}
	for (unsigned i = end; i < decoded->length; i++)
		native_writer_put(writer, instruction->bytes[i]);
}

static bool same_register(ZydisRegister original, ZydisRegister changed, const struct plan *plan)
{
	if (!plan->stack_pointer || native_thunk_register(original) != GPR_RSP)
		return original == changed;
	return ZydisRegisterGetClass(original) == ZydisRegisterGetClass(changed) &&
	       native_thunk_register(changed) == (int)plan->instead;
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
		       native_thunk_register(changed->mem.base) == (int)plan->pointer &&
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

static bool put_instruction(struct native_writer *writer, const struct native_instruction *instruction,
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

bool native_thunk_write(struct native_writer *writer, const struct native_instruction *instruction, unsigned pointer)
{
	struct plan plan = { .pointer = pointer };

	return plan_operands(&plan, instruction) && !plan.stack_pointer && put_instruction(writer, instruction, &plan);
}

/* --- what is around it --- */

/* All registers of the instruction; whether they change or not, what is stored is right. */
static void put_registers(struct native_writer *writer, bool load, const struct plan *plan)
{
	unsigned own = 1u << plan->cpu | (plan->memory ? 1u << plan->pointer : 0) |
		       (plan->stack_pointer ? 1u << plan->instead : 0);

	native_writer_registers(writer, load, plan->used & ~own, plan->xmm, plan->cpu);
	if (plan->stack_pointer)
		native_writer_move(writer, load, plan->instead, plan->cpu, offsetof(struct native_cpu, r[GPR_RSP]));
}

static bool put_thunk(struct native_writer *writer, const struct native_instruction *instruction,
		      const struct plan *plan)
{
	native_writer_save(writer, plan->used);
	native_writer_copy(writer, plan->cpu, GPR_RDI);
	if (plan->memory)
		native_writer_copy(writer, plan->pointer, GPR_RSI);
	if (plan->flags)
		native_writer_load_flags(writer, plan->cpu);
	put_registers(writer, true, plan);
	if (!put_instruction(writer, instruction, plan))
		return false;
	put_registers(writer, false, plan);
	if (plan->flags)
		native_writer_store_flags(writer, plan->cpu);
	native_writer_restore(writer, plan->used);
	native_writer_put(writer, 0xC3);
	return true;
}

native_thunk *native_thunk_make(struct native_code *code, const struct native_instruction *instruction)
{
	uint8_t bytes[NATIVE_THUNK_MAX];
	struct native_writer writer = { .bytes = bytes, .size = sizeof(bytes) };
	struct plan plan;

	if (!make_plan(&plan, instruction) || !put_thunk(&writer, instruction, &plan))
		return NULL;
	const uint8_t *run = native_code_add(code, &writer);
	native_thunk *thunk;

	_Static_assert(sizeof(thunk) == sizeof(run), "code is where a pointer to data can tell");
	memcpy(&thunk, &run, sizeof(thunk));
	return thunk;
}
