#include "vmm/native_op.h"

#include <cpuid.h>
#include <string.h>

/* --- which instructions a thunk may execute --- */

/* CPUID 1 ECX, 7 EBX, 8000_0001 ECX (AMD64 APM vol. 3, appendix E). */
enum {
	ECX1_SSE3 = 1 << 0,
	ECX1_PCLMULQDQ = 1 << 1,
	ECX1_SSSE3 = 1 << 9,
	ECX1_CMPXCHG16B = 1 << 13,
	ECX1_SSE4_1 = 1 << 19,
	ECX1_SSE4_2 = 1 << 20,
	ECX1_MOVBE = 1 << 22,
	ECX1_POPCNT = 1 << 23,
	ECX1_AES = 1 << 25,
	EBX7_BMI1 = 1 << 3,
	EBX7_BMI2 = 1 << 8,
	ECX_EXTENDED_LZCNT = 1 << 5,
};

struct native_features native_op_features(void)
{
	struct native_features features = { 0 };
	unsigned a, b, c, d;

	if (__get_cpuid(1, &a, &b, &c, &d))
		features.ecx1 = c;
	if (__get_cpuid_count(7, 0, &a, &b, &c, &d))
		features.ebx7 = b;
	if (__get_cpuid(0x80000001u, &a, &b, &c, &d))
		features.ecx_extended = c;
	return features;
}

/* Of the base instruction set, which has much that is not for here. */
static bool base_allowed(ZydisMnemonic mnemonic)
{
	switch (mnemonic) {
	case ZYDIS_MNEMONIC_ADC:
	case ZYDIS_MNEMONIC_ADD:
	case ZYDIS_MNEMONIC_AND:
	case ZYDIS_MNEMONIC_BSF:
	case ZYDIS_MNEMONIC_BSR:
	case ZYDIS_MNEMONIC_BSWAP:
	case ZYDIS_MNEMONIC_BT:
	case ZYDIS_MNEMONIC_BTC:
	case ZYDIS_MNEMONIC_BTR:
	case ZYDIS_MNEMONIC_BTS:
	case ZYDIS_MNEMONIC_CBW:
	case ZYDIS_MNEMONIC_CDQ:
	case ZYDIS_MNEMONIC_CDQE:
	case ZYDIS_MNEMONIC_CLC:
	case ZYDIS_MNEMONIC_CMC:
	case ZYDIS_MNEMONIC_CMP:
	case ZYDIS_MNEMONIC_CMPXCHG:
	case ZYDIS_MNEMONIC_CMPXCHG8B:
	case ZYDIS_MNEMONIC_CQO:
	case ZYDIS_MNEMONIC_CWD:
	case ZYDIS_MNEMONIC_CWDE:
	case ZYDIS_MNEMONIC_DEC:
	case ZYDIS_MNEMONIC_DIV:
	case ZYDIS_MNEMONIC_IDIV:
	case ZYDIS_MNEMONIC_IMUL:
	case ZYDIS_MNEMONIC_INC:
	case ZYDIS_MNEMONIC_MOV:
	case ZYDIS_MNEMONIC_MOVSX:
	case ZYDIS_MNEMONIC_MOVSXD:
	case ZYDIS_MNEMONIC_MOVZX:
	case ZYDIS_MNEMONIC_MUL:
	case ZYDIS_MNEMONIC_NEG:
	case ZYDIS_MNEMONIC_NOT:
	case ZYDIS_MNEMONIC_OR:
	case ZYDIS_MNEMONIC_RCL:
	case ZYDIS_MNEMONIC_RCR:
	case ZYDIS_MNEMONIC_ROL:
	case ZYDIS_MNEMONIC_ROR:
	case ZYDIS_MNEMONIC_SAR:
	case ZYDIS_MNEMONIC_SBB:
	case ZYDIS_MNEMONIC_SHL:
	case ZYDIS_MNEMONIC_SHLD:
	case ZYDIS_MNEMONIC_SHR:
	case ZYDIS_MNEMONIC_SHRD:
	case ZYDIS_MNEMONIC_STC:
	case ZYDIS_MNEMONIC_SUB:
	case ZYDIS_MNEMONIC_TEST:
	case ZYDIS_MNEMONIC_XADD:
	case ZYDIS_MNEMONIC_XCHG:
	case ZYDIS_MNEMONIC_XOR:
	case ZYDIS_MNEMONIC_SETB:
	case ZYDIS_MNEMONIC_SETBE:
	case ZYDIS_MNEMONIC_SETL:
	case ZYDIS_MNEMONIC_SETLE:
	case ZYDIS_MNEMONIC_SETNB:
	case ZYDIS_MNEMONIC_SETNBE:
	case ZYDIS_MNEMONIC_SETNL:
	case ZYDIS_MNEMONIC_SETNLE:
	case ZYDIS_MNEMONIC_SETNO:
	case ZYDIS_MNEMONIC_SETNP:
	case ZYDIS_MNEMONIC_SETNS:
	case ZYDIS_MNEMONIC_SETNZ:
	case ZYDIS_MNEMONIC_SETO:
	case ZYDIS_MNEMONIC_SETP:
	case ZYDIS_MNEMONIC_SETS:
	case ZYDIS_MNEMONIC_SETZ:
		return true;
	default:
		return false;
	}
}

/* Other sets may be used as a whole, but for what has operands that a thunk does not take. What this CPU does not have
 * would be an exception in this process. */
static bool thunk_allowed(const struct native_features *features, const ZydisDecodedInstruction *decoded)
{
	switch (decoded->meta.isa_set) {
	case ZYDIS_ISA_SET_I86:
	case ZYDIS_ISA_SET_I186:
	case ZYDIS_ISA_SET_I386:
	case ZYDIS_ISA_SET_I486REAL:
	case ZYDIS_ISA_SET_PENTIUMREAL:
	case ZYDIS_ISA_SET_LONGMODE:
		return base_allowed(decoded->mnemonic);
	case ZYDIS_ISA_SET_CMOV:
	case ZYDIS_ISA_SET_LAHF:
	case ZYDIS_ISA_SET_SSE:
	case ZYDIS_ISA_SET_SSE2:
	case ZYDIS_ISA_SET_SSEMXCSR:
		return true;
	case ZYDIS_ISA_SET_SSE3:
		return features->ecx1 & ECX1_SSE3;
	case ZYDIS_ISA_SET_SSSE3:
		return features->ecx1 & ECX1_SSSE3;
	case ZYDIS_ISA_SET_SSE4:
		return features->ecx1 & ECX1_SSE4_1;
	case ZYDIS_ISA_SET_SSE42:
		return features->ecx1 & ECX1_SSE4_2;
	case ZYDIS_ISA_SET_AES:
		return features->ecx1 & ECX1_AES;
	case ZYDIS_ISA_SET_PCLMULQDQ:
		return features->ecx1 & ECX1_PCLMULQDQ;
	case ZYDIS_ISA_SET_POPCNT:
		return features->ecx1 & ECX1_POPCNT;
	case ZYDIS_ISA_SET_MOVBE:
		return features->ecx1 & ECX1_MOVBE;
	case ZYDIS_ISA_SET_CMPXCHG16B:
		return features->ecx1 & ECX1_CMPXCHG16B;
	case ZYDIS_ISA_SET_BMI1:
		return features->ebx7 & EBX7_BMI1;
	case ZYDIS_ISA_SET_BMI2:
		return features->ebx7 & EBX7_BMI2;
	case ZYDIS_ISA_SET_LZCNT:
		return features->ecx_extended & ECX_EXTENDED_LZCNT;
	default:
		return false;
	}
}

/* --- operands --- */

static bool is_register(const ZydisDecodedOperand *operand)
{
	return operand->type == ZYDIS_OPERAND_TYPE_REGISTER;
}

static bool is_memory(const ZydisDecodedOperand *operand)
{
	return operand->type == ZYDIS_OPERAND_TYPE_MEMORY;
}

static bool is_immediate(const ZydisDecodedOperand *operand)
{
	return operand->type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
}

/* A general register of 64 or 32 bits, or of 16. */
static bool is_word_register(const ZydisDecodedOperand *operand, bool or_16)
{
	if (!is_register(operand))
		return false;
	ZydisRegisterClass class = ZydisRegisterGetClass(operand->reg.value);

	return class == ZYDIS_REGCLASS_GPR64 || class == ZYDIS_REGCLASS_GPR32 ||
	       (or_16 && class == ZYDIS_REGCLASS_GPR16);
}

static uint8_t general_register(ZydisRegister name)
{
	return (uint8_t)ZydisRegisterGetId(ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, name));
}

static bool is_high_byte(ZydisRegister name)
{
	return name == ZYDIS_REGISTER_AH || name == ZYDIS_REGISTER_BH || name == ZYDIS_REGISTER_CH ||
	       name == ZYDIS_REGISTER_DH;
}

static bool address_part(ZydisRegister name, uint8_t *part)
{
	switch (ZydisRegisterGetClass(name)) {
	case ZYDIS_REGCLASS_INVALID: /* ZYDIS_REGISTER_NONE */
		*part = NATIVE_ZERO;
		return name == ZYDIS_REGISTER_NONE;
	case ZYDIS_REGCLASS_IP:
		*part = NATIVE_NEXT;
		return true;
	case ZYDIS_REGCLASS_GPR32:
	case ZYDIS_REGCLASS_GPR64:
		*part = general_register(name);
		return true;
	default:
		return false;
	}
}

static bool set_memory(struct native_op *op, const struct native_instruction *instruction,
		       const ZydisDecodedOperand *operand)
{
	enum { BITS_A_BYTE = 8, SIZE_MAX_BITS = 128 };
	const ZydisDecodedOperandMem *memory = &operand->mem;

	if (!address_part(memory->base, &op->base) || !address_part(memory->index, &op->index) ||
	    operand->size % BITS_A_BYTE != 0 || operand->size > SIZE_MAX_BITS)
		return false;
	if (memory->segment == ZYDIS_REGISTER_FS)
		op->segment = NATIVE_FS;
	else if (memory->segment == ZYDIS_REGISTER_GS)
		op->segment = NATIVE_GS;
	else
		op->segment = NATIVE_ZERO; /* in 64-bit mode (APM vol. 2, 4.5.3) */
	op->shift = memory->scale > 1 ? (uint8_t)__builtin_ctz(memory->scale) : 0;
	op->displacement = memory->disp.has_displacement ? (uint64_t)memory->disp.value : 0;
	op->address_mask = instruction->decoded.address_width == 64 ? UINT64_MAX : UINT32_MAX;
	op->size = (uint8_t)(operand->size / BITS_A_BYTE);
	op->writes = operand->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
	return true;
}

/* --- thunks --- */

/* SSE operands of 16 bytes that may lie anywhere; others must be aligned. Some that are not named here need not,
 * either: they are then left to the guest. */
static bool may_be_unaligned(ZydisMnemonic mnemonic)
{
	switch (mnemonic) {
	case ZYDIS_MNEMONIC_LDDQU:
	case ZYDIS_MNEMONIC_MOVDQU:
	case ZYDIS_MNEMONIC_MOVUPD:
	case ZYDIS_MNEMONIC_MOVUPS:
		return true;
	default:
		return false;
	}
}

static enum native_check check_for(const struct native_instruction *instruction, const ZydisDecodedOperand *memory)
{
	enum { SSE_BITS = 128 };

	switch (instruction->decoded.mnemonic) {
	case ZYDIS_MNEMONIC_DIV:
		return NATIVE_CHECK_DIVIDE;
	case ZYDIS_MNEMONIC_IDIV:
		return NATIVE_CHECK_DIVIDE_SIGNED;
	case ZYDIS_MNEMONIC_LDMXCSR:
		return NATIVE_CHECK_MXCSR;
	case ZYDIS_MNEMONIC_XCHG:
		return memory ? NATIVE_CHECK_LINE : NATIVE_CHECK_NONE;
	case ZYDIS_MNEMONIC_BT:
	case ZYDIS_MNEMONIC_BTC:
	case ZYDIS_MNEMONIC_BTR:
	case ZYDIS_MNEMONIC_BTS:
		return memory && is_register(&instruction->operands[1]) ? NATIVE_CHECK_BIT : NATIVE_CHECK_NONE;
	default:
		return memory && memory->size == SSE_BITS && !may_be_unaligned(instruction->decoded.mnemonic) ?
			       NATIVE_CHECK_ALIGNED :
			       NATIVE_CHECK_NONE;
	}
}

static void note_checked_register(struct native_op *op, const struct native_instruction *instruction)
{
	const ZydisDecodedOperand *operand = &instruction->operands[op->check == NATIVE_CHECK_BIT ? 1 : 0];

	op->other = (uint8_t)(instruction->operands[0].size / 8);
	if (op->check == NATIVE_CHECK_NONE || !is_register(operand))
		return;
	op->reg = general_register(operand->reg.value);
	op->high = is_high_byte(operand->reg.value);
}

static bool uses_sse(const struct native_instruction *instruction)
{
	if (instruction->decoded.meta.isa_set == ZYDIS_ISA_SET_SSEMXCSR)
		return true;
	for (unsigned i = 0; i < instruction->decoded.operand_count; i++)
		if (is_register(&instruction->operands[i]) &&
		    ZydisRegisterGetClass(instruction->operands[i].reg.value) == ZYDIS_REGCLASS_XMM)
			return true;
	return false;
}

static bool make_thunk(struct native_op *op, const struct native_features *features, struct native_code *thunks,
		       const struct native_instruction *instruction)
{
	const ZydisDecodedOperand *memory = NULL;

	if (!thunk_allowed(features, &instruction->decoded))
		return false;
	for (unsigned i = 0; i < instruction->decoded.operand_count; i++)
		if (is_memory(&instruction->operands[i]))
			memory = &instruction->operands[i];
	if (memory && (!set_memory(op, instruction, memory) || op->size == 0))
		return false;
	op->check = (uint8_t)check_for(instruction, memory);
	note_checked_register(op, instruction);
	op->sse = uses_sse(instruction);
	op->thunk = native_thunk_make(thunks, instruction);
	op->kind = memory ? NATIVE_THUNK_MEMORY : NATIVE_THUNK;
	return op->thunk != NULL;
}

/* --- what is done without --- */

/* MOV and LEA of ordinary registers. */
static bool make_move(struct native_op *op, const struct native_instruction *instruction)
{
	const ZydisDecodedOperand *to = &instruction->operands[0], *from = &instruction->operands[1];

	op->size = (uint8_t)(instruction->decoded.operand_width / 8);
	if (instruction->decoded.mnemonic == ZYDIS_MNEMONIC_LEA) {
		if (!set_memory(op, instruction, from))
			return false;
		op->size = (uint8_t)(instruction->decoded.operand_width / 8);
		op->segment = NATIVE_ZERO;
		op->reg = general_register(to->reg.value);
		op->kind = NATIVE_ADDRESS;
		return true;
	}
	if (is_word_register(to, false) && is_word_register(from, false)) {
		op->reg = general_register(to->reg.value);
		op->other = general_register(from->reg.value);
		op->kind = NATIVE_MOVE;
		return true;
	}
	if (is_word_register(to, false) && is_immediate(from)) {
		op->reg = general_register(to->reg.value);
		op->immediate = from->imm.value.u;
		op->kind = NATIVE_MOVE_IMMEDIATE;
		return true;
	}
	if (is_word_register(to, false) && is_memory(from)) {
		op->reg = general_register(to->reg.value);
		op->kind = NATIVE_LOAD;
		return set_memory(op, instruction, from);
	}
	if (is_memory(to) && is_word_register(from, false)) {
		op->reg = general_register(from->reg.value);
		op->kind = NATIVE_STORE;
		return set_memory(op, instruction, to);
	}
	return false;
}

/* A near JMP or CALL: direct, by register or by memory, which are three kinds in a row. */
static bool make_transfer(struct native_op *op, const struct native_instruction *instruction, enum native_kind direct)
{
	const ZydisDecodedOperand *operand = &instruction->operands[0];

	if (instruction->decoded.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR)
		return false;
	op->size = 8;
	if (is_immediate(operand)) {
		op->kind = (uint8_t)direct;
		op->immediate = operand->imm.value.u;
		return operand->imm.is_relative;
	}
	if (is_register(operand)) {
		op->kind = (uint8_t)(direct + 1);
		op->reg = general_register(operand->reg.value);
		return ZydisRegisterGetClass(operand->reg.value) == ZYDIS_REGCLASS_GPR64;
	}
	op->kind = (uint8_t)(direct + 2);
	return is_memory(operand) && set_memory(op, instruction, operand) && op->size == 8;
}

static bool make_branch(struct native_op *op, const struct native_instruction *instruction)
{
	const ZydisDecodedInstruction *decoded = &instruction->decoded;

	op->immediate = instruction->operands[0].imm.value.u;
	op->condition = decoded->opcode & 15;
	op->address_mask = decoded->address_width == 64 ? UINT64_MAX : UINT32_MAX;
	switch (decoded->mnemonic) {
	case ZYDIS_MNEMONIC_JRCXZ:
	case ZYDIS_MNEMONIC_JECXZ:
		op->kind = NATIVE_BRANCH_ZERO;
		return true;
	case ZYDIS_MNEMONIC_LOOP:
		op->kind = NATIVE_LOOP;
		return decoded->address_width == 64;
	case ZYDIS_MNEMONIC_LOOPE:
		op->kind = NATIVE_LOOP_EQUAL;
		return decoded->address_width == 64;
	case ZYDIS_MNEMONIC_LOOPNE:
		op->kind = NATIVE_LOOP_NOT_EQUAL;
		return decoded->address_width == 64;
	default:
		op->kind = NATIVE_BRANCH;
		return (decoded->opcode_map == ZYDIS_OPCODE_MAP_0F && decoded->opcode >> 4 == 8) ||
		       (decoded->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && decoded->opcode >> 4 == 7);
	}
}

static bool make_push_or_pop(struct native_op *op, const struct native_instruction *instruction)
{
	const ZydisDecodedOperand *operand = &instruction->operands[0];
	bool push = instruction->decoded.mnemonic == ZYDIS_MNEMONIC_PUSH;

	op->size = 8;
	if (is_register(operand) && ZydisRegisterGetClass(operand->reg.value) == ZYDIS_REGCLASS_GPR64) {
		op->kind = push ? NATIVE_PUSH : NATIVE_POP;
		op->reg = general_register(operand->reg.value);
		return true;
	}
	if (push && is_immediate(operand)) {
		op->kind = NATIVE_PUSH_IMMEDIATE;
		op->immediate = operand->imm.value.u;
		return true;
	}
	op->kind = NATIVE_PUSH_MEMORY;
	return push && is_memory(operand) && set_memory(op, instruction, operand) && op->size == 8;
}

static bool make_string(struct native_op *op, const struct native_instruction *instruction, enum native_kind kind)
{
	const ZydisDecodedInstruction *decoded = &instruction->decoded;
	ZydisInstructionAttributes others = ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE | ZYDIS_ATTRIB_HAS_SEGMENT;

	op->kind = (uint8_t)kind;
	op->size = (uint8_t)(decoded->operand_width / 8);
	op->repeats = decoded->attributes & ZYDIS_ATTRIB_HAS_REP;
	return decoded->address_width == 64 && !(decoded->attributes & others);
}

static bool make_flag(struct native_op *op, enum native_kind kind, bool value)
{
	op->kind = (uint8_t)kind;
	op->immediate = value;
	return true;
}

/* Whether it is one of those that are done without a thunk; then `*done` says whether it can be. */
static bool make_plain(struct native_op *op, const struct native_instruction *instruction, bool *done)
{
	const ZydisDecodedInstruction *decoded = &instruction->decoded;

	switch (decoded->mnemonic) {
	case ZYDIS_MNEMONIC_NOP:
	case ZYDIS_MNEMONIC_PAUSE:
	case ZYDIS_MNEMONIC_LFENCE:
	case ZYDIS_MNEMONIC_MFENCE:
	case ZYDIS_MNEMONIC_SFENCE:
	case ZYDIS_MNEMONIC_PREFETCHNTA:
	case ZYDIS_MNEMONIC_PREFETCHT0:
	case ZYDIS_MNEMONIC_PREFETCHT1:
	case ZYDIS_MNEMONIC_PREFETCHT2:
	case ZYDIS_MNEMONIC_ENDBR64:
		*done = make_flag(op, NATIVE_NOTHING, false);
		return true;
	case ZYDIS_MNEMONIC_LEA:
		*done = make_move(op, instruction);
		return true;
	case ZYDIS_MNEMONIC_MOV:
		*done = make_move(op, instruction);
		return *done;
	case ZYDIS_MNEMONIC_JMP:
		*done = make_transfer(op, instruction, NATIVE_JUMP);
		return true;
	case ZYDIS_MNEMONIC_CALL:
		*done = make_transfer(op, instruction, NATIVE_CALL);
		return true;
	case ZYDIS_MNEMONIC_RET:
		op->kind = NATIVE_RETURN;
		op->immediate = is_immediate(&instruction->operands[0]) ? instruction->operands[0].imm.value.u : 0;
		*done = decoded->meta.branch_type != ZYDIS_BRANCH_TYPE_FAR;
		return true;
	case ZYDIS_MNEMONIC_PUSH:
	case ZYDIS_MNEMONIC_POP:
		*done = make_push_or_pop(op, instruction);
		return true;
	case ZYDIS_MNEMONIC_LEAVE:
		*done = make_flag(op, NATIVE_LEAVE, false);
		return true;
	case ZYDIS_MNEMONIC_PUSHFQ:
		*done = make_flag(op, NATIVE_PUSH_FLAGS, false);
		return true;
	case ZYDIS_MNEMONIC_POPFQ:
		*done = make_flag(op, NATIVE_POP_FLAGS, false);
		return true;
	case ZYDIS_MNEMONIC_CLD:
	case ZYDIS_MNEMONIC_STD:
		*done = make_flag(op, NATIVE_SET_DIRECTION, decoded->mnemonic == ZYDIS_MNEMONIC_STD);
		return true;
	case ZYDIS_MNEMONIC_CLAC:
	case ZYDIS_MNEMONIC_STAC:
		*done = make_flag(op, NATIVE_SET_ACCESS, decoded->mnemonic == ZYDIS_MNEMONIC_STAC);
		return true;
	case ZYDIS_MNEMONIC_CLI:
		*done = make_flag(op, NATIVE_CLEAR_INTERRUPTS, false);
		return true;
	case ZYDIS_MNEMONIC_MOVSB:
	case ZYDIS_MNEMONIC_MOVSW:
	case ZYDIS_MNEMONIC_MOVSQ:
		*done = make_string(op, instruction, NATIVE_STRING_MOVE);
		return true;
	case ZYDIS_MNEMONIC_MOVSD: /* SSE2 has one, too */
		*done = make_string(op, instruction, NATIVE_STRING_MOVE);
		return decoded->meta.category == ZYDIS_CATEGORY_STRINGOP;
	case ZYDIS_MNEMONIC_STOSB:
	case ZYDIS_MNEMONIC_STOSW:
	case ZYDIS_MNEMONIC_STOSD:
	case ZYDIS_MNEMONIC_STOSQ:
		*done = make_string(op, instruction, NATIVE_STRING_STORE);
		return true;
	case ZYDIS_MNEMONIC_LODSB:
	case ZYDIS_MNEMONIC_LODSW:
	case ZYDIS_MNEMONIC_LODSD:
	case ZYDIS_MNEMONIC_LODSQ:
		*done = make_string(op, instruction, NATIVE_STRING_LOAD);
		return true;
	default:
		break;
	}
	if (decoded->meta.category != ZYDIS_CATEGORY_COND_BR)
		return false;
	*done = make_branch(op, instruction);
	return true;
}

/* In 64-bit mode CPUs differ in what an operand-size prefix means to a branch, and 16-bit words on the stack are
 * nobody's. */
static bool has_odd_width(const ZydisDecodedInstruction *decoded)
{
	if (!(decoded->attributes & ZYDIS_ATTRIB_HAS_OPERANDSIZE))
		return false;
	switch (decoded->meta.category) {
	case ZYDIS_CATEGORY_COND_BR:
	case ZYDIS_CATEGORY_UNCOND_BR:
	case ZYDIS_CATEGORY_CALL:
	case ZYDIS_CATEGORY_RET:
	case ZYDIS_CATEGORY_PUSH:
	case ZYDIS_CATEGORY_POP:
		return true;
	default:
		return decoded->mnemonic == ZYDIS_MNEMONIC_LEAVE;
	}
}

void native_op_decode(struct native_op *op, const struct native_features *features, struct native_code *thunks,
		      const uint8_t *bytes, size_t available)
{
	struct native_instruction instruction = { .bytes = op->bytes };
	struct native_op fresh = { .offset = op->offset, .chain = op->chain };
	ZydisDecoder decoder;
	bool done = false;

	*op = fresh;
	memcpy(op->bytes, bytes, available);
	op->why = "no instruction";
	op->length = (uint8_t)available;
	if (!ZYAN_SUCCESS(ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)) ||
	    !ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, bytes, available, &instruction.decoded,
						 instruction.operands)))
		return;
	op->length = instruction.decoded.length;
	if (!has_odd_width(&instruction.decoded) && !make_plain(op, &instruction, &done))
		done = make_thunk(op, features, thunks, &instruction);
	if (!done)
		op->kind = NATIVE_STOP;
	op->why = ZydisMnemonicGetString(instruction.decoded.mnemonic);
}
