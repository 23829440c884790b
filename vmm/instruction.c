#include "vmm/instruction.h"

#include <Zydis/Zydis.h>
#include <string.h>

#include "vmm/amd64.h"
#include "vmm/page_walk.h"

#define EFER_LMA (1ull << 10)
enum {
	SEGMENT_L = 1 << 9,
	SEGMENT_DB = 1 << 10,
	FLAG_ZF = 1 << 6,
	FLAG_OF = 1 << 11,
	OPCODE_POP_SS = 0x17,
	OPCODE_MOV_TO_SEGMENT = 0x8E,
	OPCODE_STI = 0xFB,
	PLANTED_MAX = 2, /* bytes that a breakpoint takes */
};

/* What is needed to say where an instruction leads. */
struct decoding {
	const struct ram *ram;
	const struct cpu_state *state;
	unsigned width; /* bits of the code segment: 64, 32, 16 */
	uint64_t next;  /* offset in the code segment of what lies behind the instruction */
	ZydisDecodedInstruction decoded;
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
};

static unsigned code_width(const struct cpu_state *state)
{
	uint16_t attributes = state->segment[SEG_CS].attributes;

	if ((state->efer & EFER_LMA) && (attributes & SEGMENT_L))
		return 64;
	return attributes & SEGMENT_DB ? 32 : 16;
}

/* Outside of 64-bit mode linear addresses have 32 bits; in it, CS has no base. */
static uint64_t linear_of(const struct cpu_state *state, unsigned width, uint64_t offset)
{
	return width == 64 ? offset : amd64_low_bits(state->segment[SEG_CS].base + offset, 32);
}

uint64_t instruction_pointer(const struct cpu_state *state)
{
	return linear_of(state, code_width(state), state->rip);
}

/* As page_walk_read, for an address that the guest chose: where translation would take it for another one, it ends. */
static size_t read_linear(const struct ram *ram, const struct cpu_state *state, uint64_t linear, void *data,
			  size_t length)
{
	uint64_t last = linear + length - 1;

	if (length == 0 || !amd64_canonical(linear))
		return 0;
	if (!amd64_canonical(last) || last < linear)
		length = RAM_PAGE_SIZE - linear % RAM_PAGE_SIZE;
	return page_walk_read(ram, state, linear, data, length);
}

static bool read_word(const struct decoding *d, uint64_t linear, unsigned width, uint64_t *value)
{
	uint8_t bytes[8] = { 0 };

	if (width != 16 && width != 32 && width != 64)
		return false;
	if (read_linear(d->ram, d->state, linear, bytes, width / 8) != width / 8)
		return false;
	memcpy(value, bytes, sizeof(bytes));
	return true;
}

/* --- operands --- */

static bool register_content(const struct decoding *d, ZydisRegister name, uint64_t *value)
{
	ZyanI8 id = ZydisRegisterGetId(name);

	if (name == ZYDIS_REGISTER_NONE) {
		*value = 0;
		return true;
	}
	if (name == ZYDIS_REGISTER_RIP || name == ZYDIS_REGISTER_EIP) {
		*value = amd64_low_bits(d->next, name == ZYDIS_REGISTER_RIP ? 64 : 32);
		return true;
	}
	if (id < 0 || id >= GPR_COUNT)
		return false;
	switch (ZydisRegisterGetClass(name)) {
	case ZYDIS_REGCLASS_GPR64:
		*value = d->state->gpr[id];
		return true;
	case ZYDIS_REGCLASS_GPR32:
		*value = amd64_low_bits(d->state->gpr[id], 32);
		return true;
	case ZYDIS_REGCLASS_GPR16:
		*value = amd64_low_bits(d->state->gpr[id], 16);
		return true;
	default:
		return false;
	}
}

static bool segment_base(const struct decoding *d, ZydisRegister name, uint64_t *base)
{
	switch (name) {
	case ZYDIS_REGISTER_FS:
		*base = d->state->segment[SEG_FS].base;
		return true;
	case ZYDIS_REGISTER_GS:
		*base = d->state->segment[SEG_GS].base;
		return true;
	case ZYDIS_REGISTER_ES:
	case ZYDIS_REGISTER_CS:
	case ZYDIS_REGISTER_SS:
	case ZYDIS_REGISTER_DS:
		break;
	default:
		return false;
	}
	if (d->width == 64)
		*base = 0;
	else if (name == ZYDIS_REGISTER_ES)
		*base = d->state->segment[SEG_ES].base;
	else if (name == ZYDIS_REGISTER_CS)
		*base = d->state->segment[SEG_CS].base;
	else if (name == ZYDIS_REGISTER_SS)
		*base = d->state->segment[SEG_SS].base;
	else
		*base = d->state->segment[SEG_DS].base;
	return true;
}

static bool memory_content(const struct decoding *d, const ZydisDecodedOperand *operand, uint64_t *value)
{
	const ZydisDecodedOperandMem *memory = &operand->mem;
	uint64_t segment, base, index;

	if (memory->type != ZYDIS_MEMOP_TYPE_MEM || !segment_base(d, memory->segment, &segment) ||
	    !register_content(d, memory->base, &base) || !register_content(d, memory->index, &index))
		return false;
	uint64_t address = base + index * memory->scale;

	if (memory->disp.has_displacement)
		address += (uint64_t)memory->disp.value;
	address = amd64_low_bits(address, d->decoded.address_width) + segment;
	return read_word(d, amd64_low_bits(address, d->width == 64 ? 64 : 32), operand->size, value);
}

/* --- where it leads --- */

/* Whether a conditional branch is taken; false if it is none that we know. */
static bool branch_taken(const struct decoding *d, bool *taken)
{
	uint64_t count = amd64_low_bits(d->state->gpr[GPR_RCX], d->decoded.address_width);
	uint64_t left = amd64_low_bits(count - 1, d->decoded.address_width);
	bool zero = d->state->rflags & FLAG_ZF;

	switch (d->decoded.mnemonic) {
	case ZYDIS_MNEMONIC_JCXZ:
	case ZYDIS_MNEMONIC_JECXZ:
	case ZYDIS_MNEMONIC_JRCXZ:
		*taken = count == 0;
		return true;
	case ZYDIS_MNEMONIC_LOOP:
		*taken = left != 0;
		return true;
	case ZYDIS_MNEMONIC_LOOPE:
		*taken = left != 0 && zero;
		return true;
	case ZYDIS_MNEMONIC_LOOPNE:
		*taken = left != 0 && !zero;
		return true;
	default:
		break;
	}
	bool near_form = d->decoded.opcode_map == ZYDIS_OPCODE_MAP_0F && d->decoded.opcode >> 4 == 8;
	bool short_form = d->decoded.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && d->decoded.opcode >> 4 == 7;

	*taken = amd64_condition(d->decoded.opcode & 15u, (uint8_t)d->state->rflags, d->state->rflags & FLAG_OF);
	return near_form || short_form;
}

/* The offset that a near branch to its first operand leads to. */
static bool branch_target(const struct decoding *d, uint64_t *offset)
{
	const ZydisDecodedOperand *operand = &d->operands[0];

	/* In 64-bit mode CPUs differ in what an operand-size prefix means to a branch. */
	if (d->decoded.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR || d->decoded.operand_count == 0 ||
	    (d->width == 64 && (d->decoded.attributes & ZYDIS_ATTRIB_HAS_OPERANDSIZE)))
		return false;
	switch (operand->type) {
	case ZYDIS_OPERAND_TYPE_IMMEDIATE:
		if (!operand->imm.is_relative)
			return false;
		*offset = d->next + (uint64_t)operand->imm.value.s;
		break;
	case ZYDIS_OPERAND_TYPE_REGISTER:
		if (!register_content(d, operand->reg.value, offset))
			return false;
		break;
	case ZYDIS_OPERAND_TYPE_MEMORY:
		if (!memory_content(d, operand, offset))
			return false;
		break;
	default:
		return false;
	}
	if (d->width != 64)
		*offset = amd64_low_bits(*offset, d->decoded.operand_width);
	return true;
}

static uint64_t stack_address(const struct decoding *d)
{
	const struct cpu_segment *stack = &d->state->segment[SEG_SS];

	if (d->width == 64)
		return d->state->gpr[GPR_RSP];
	unsigned width = stack->attributes & SEGMENT_DB ? 32 : 16;

	return amd64_low_bits(stack->base + amd64_low_bits(d->state->gpr[GPR_RSP], width), 32);
}

static bool find_successor(const struct decoding *d, uint64_t *offset)
{
	bool taken;

	*offset = amd64_low_bits(d->next, d->width);
	switch (d->decoded.meta.category) {
	case ZYDIS_CATEGORY_COND_BR:
		return branch_taken(d, &taken) && (!taken || branch_target(d, offset));
	case ZYDIS_CATEGORY_UNCOND_BR:
		return d->decoded.mnemonic == ZYDIS_MNEMONIC_JMP && branch_target(d, offset);
	case ZYDIS_CATEGORY_CALL:
		return d->decoded.mnemonic == ZYDIS_MNEMONIC_CALL && branch_target(d, offset);
	case ZYDIS_CATEGORY_RET:
		return d->decoded.mnemonic == ZYDIS_MNEMONIC_RET &&
		       d->decoded.meta.branch_type != ZYDIS_BRANCH_TYPE_FAR &&
		       !(d->width == 64 && (d->decoded.attributes & ZYDIS_ATTRIB_HAS_OPERANDSIZE)) &&
		       read_word(d, stack_address(d), d->decoded.operand_width, offset);
	case ZYDIS_CATEGORY_INTERRUPT:
	case ZYDIS_CATEGORY_SYSCALL:
	case ZYDIS_CATEGORY_SYSRET:
	case ZYDIS_CATEGORY_UINTR:
		return false;
	default:
		break;
	}
	switch (d->decoded.mnemonic) {
	case ZYDIS_MNEMONIC_HLT:
	case ZYDIS_MNEMONIC_RSM:
	case ZYDIS_MNEMONIC_UD0:
	case ZYDIS_MNEMONIC_UD1:
	case ZYDIS_MNEMONIC_UD2:
		return false;
	default:
		return true;
	}
}

/* --- what kind it is --- */

static bool first_register_is(const struct decoding *d, ZydisRegister name)
{
	return d->decoded.operand_count > 0 && d->operands[0].type == ZYDIS_OPERAND_TYPE_REGISTER &&
	       d->operands[0].reg.value == name;
}

static bool opens_shadow(const struct decoding *d)
{
	switch (d->decoded.mnemonic) {
	case ZYDIS_MNEMONIC_STI:
		return true;
	case ZYDIS_MNEMONIC_MOV:
	case ZYDIS_MNEMONIC_POP:
		return first_register_is(d, ZYDIS_REGISTER_SS);
	default:
		return false;
	}
}

/* Behind it, addresses may mean something else. */
static bool loads_control_register(const struct decoding *d)
{
	return d->decoded.mnemonic == ZYDIS_MNEMONIC_LMSW ||
	       (d->decoded.mnemonic == ZYDIS_MNEMONIC_MOV &&
		d->operands[0].type == ZYDIS_OPERAND_TYPE_REGISTER &&
		ZydisRegisterGetClass(d->operands[0].reg.value) == ZYDIS_REGCLASS_CONTROL);
}

/* Whether what lies before `linear` can be an instruction that opens a shadow. A shadow does not outlive a breakpoint
 * that an exit makes, and an emulated CPU may have lost it already (see interrupt_shadow.h). */
static bool may_be_in_shadow(const struct decoding *d, uint64_t linear)
{
	uint8_t before[2];

	if (read_linear(d->ram, d->state, linear - 1, &before[1], 1) != 1)
		return false;
	if (before[1] == OPCODE_STI || (d->width != 64 && before[1] == OPCODE_POP_SS))
		return true;
	/* ModRM: a register (mod 3) to SS (reg 2). */
	return (before[1] & 0xF8) == 0xD0 && read_linear(d->ram, d->state, linear - 2, &before[0], 1) == 1 &&
	       before[0] == OPCODE_MOV_TO_SEGMENT;
}

static bool may_stop(const struct decoding *d, const struct instruction *instruction)
{
	uint64_t physical;

	if (!instruction->has_successor || instruction->repeated_string || instruction->opens_shadow ||
	    loads_control_register(d))
		return false;
	/* A breakpoint at the successor would be hit before the instruction is executed. */
	if (instruction->successor == instruction->linear && d->decoded.mnemonic != ZYDIS_MNEMONIC_JMP)
		return false;
	return instruction->length >= PLANTED_MAX &&
	       instruction->linear % RAM_PAGE_SIZE + PLANTED_MAX <= RAM_PAGE_SIZE &&
	       page_walk(d->ram, d->state, instruction->linear, &physical) &&
	       ram_contains(d->ram, physical, PLANTED_MAX) && !may_be_in_shadow(d, instruction->linear);
}

static bool transfers(const struct decoding *d)
{
	switch (d->decoded.meta.category) {
	case ZYDIS_CATEGORY_COND_BR:
	case ZYDIS_CATEGORY_UNCOND_BR:
	case ZYDIS_CATEGORY_CALL:
	case ZYDIS_CATEGORY_RET:
		return true;
	default:
		return false;
	}
}

/* APM vol. 3, appendix F: the others leave some of them as they were, or undefined. That the logical ones leave AF
 * undefined is of no account: it does not depend on what was before. */
static bool sets_flags(const struct decoding *d)
{
	switch (d->decoded.mnemonic) {
	case ZYDIS_MNEMONIC_ADD:
	case ZYDIS_MNEMONIC_ADC:
	case ZYDIS_MNEMONIC_SUB:
	case ZYDIS_MNEMONIC_SBB:
	case ZYDIS_MNEMONIC_CMP:
	case ZYDIS_MNEMONIC_NEG:
	case ZYDIS_MNEMONIC_INC:
	case ZYDIS_MNEMONIC_DEC:
	case ZYDIS_MNEMONIC_AND:
	case ZYDIS_MNEMONIC_OR:
	case ZYDIS_MNEMONIC_XOR:
	case ZYDIS_MNEMONIC_TEST:
		return true;
	default:
		return false;
	}
}

/* --- decoding --- */

static bool decoder_init(ZydisDecoder *decoder, unsigned width)
{
	ZyanStatus status;

	if (width == 64)
		status = ZydisDecoderInit(decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	else if (width == 32)
		status = ZydisDecoderInit(decoder, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
	else
		status = ZydisDecoderInit(decoder, ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16);
	return ZYAN_SUCCESS(status);
}

/* Reads and decodes, and says nothing yet of where it leads. */
static bool decode(struct decoding *d, uint64_t linear, struct instruction *instruction)
{
	ZydisDecoder decoder;

	memset(instruction, 0, sizeof(*instruction));
	size_t got = read_linear(d->ram, d->state, linear, instruction->bytes, sizeof(instruction->bytes));

	if (!decoder_init(&decoder, d->width) ||
	    !ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, instruction->bytes, got, &d->decoded, d->operands)))
		return false;
	instruction->linear = linear;
	instruction->length = d->decoded.length;
	d->next = linear - (d->width == 64 ? 0 : d->state->segment[SEG_CS].base) + instruction->length;
	instruction->call = d->decoded.mnemonic == ZYDIS_MNEMONIC_CALL &&
			    d->decoded.meta.branch_type != ZYDIS_BRANCH_TYPE_FAR;
	instruction->repeated_string = (d->decoded.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE |
								 ZYDIS_ATTRIB_HAS_REPNE)) != 0;
	instruction->opens_shadow = opens_shadow(d);
	instruction->transfers = transfers(d);
	instruction->sets_flags = sets_flags(d);
	return true;
}

bool instruction_decode(const struct ram *ram, const struct cpu_state *state, uint64_t linear,
			struct instruction *instruction)
{
	struct decoding d = { .ram = ram, .state = state, .width = code_width(state) };
	uint64_t successor;

	if (!decode(&d, linear, instruction))
		return false;
	instruction->has_successor = find_successor(&d, &successor);
	if (instruction->has_successor)
		instruction->successor = linear_of(state, d.width, successor);
	if (d.width == 64 && !amd64_canonical(instruction->successor))
		instruction->has_successor = false;
	instruction->leads_on = instruction->has_successor && d.operands[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE &&
				(d.decoded.mnemonic == ZYDIS_MNEMONIC_JMP || instruction->call);
	instruction->may_stop = may_stop(&d, instruction);
	return true;
}

/* --- loops --- */

/* A branch by a number in the instruction. */
static bool leads_by_number(const struct decoding *d)
{
	const ZydisDecodedOperand *operand = &d->operands[0];
	bool branch = d->decoded.meta.category == ZYDIS_CATEGORY_COND_BR ||
		      d->decoded.meta.category == ZYDIS_CATEGORY_UNCOND_BR;

	return branch && d->decoded.operand_count > 0 && operand->type == ZYDIS_OPERAND_TYPE_IMMEDIATE &&
	       operand->imm.is_relative;
}

/* Goes through the code from there on. What is behind a jump is code only if a branch was seen that leads there or
 * beyond: else it may be data, which must not be touched. */
size_t instruction_loop_ends(const struct ram *ram, const struct cpu_state *state, uint64_t linear,
			     struct loop_end *ends, size_t max)
{
	struct decoding d = { .ram = ram, .state = state, .width = code_width(state) };
	uint64_t reached = linear;
	struct instruction instruction;
	bool flags_known = false;
	size_t count = 0;

	for (unsigned i = 0; i < INSTRUCTION_LOOP_SEARCH && count < max && decode(&d, linear, &instruction); i++) {
		const bool branch = leads_by_number(&d);
		const uint64_t distance = branch ? (uint64_t)d.operands[0].imm.value.s : 0;
		const uint64_t target = linear_of(state, d.width, d.next + distance);

		linear += instruction.length;
		if (branch && target > reached)
			reached = target;
		if (d.decoded.meta.category == ZYDIS_CATEGORY_RET ||
		    (d.decoded.meta.category == ZYDIS_CATEGORY_UNCOND_BR && linear > reached))
			break;
		if (branch && d.operands[0].imm.value.s < 0)
			ends[count++] = (struct loop_end){ .linear = linear, .flags_known = flags_known };
		flags_known = instruction.sets_flags;
	}
	return count;
}

/* --- the stack --- */

/* Whether the call that was just decoded leads into the function in which `inside` is. */
static bool calls_function_of(const struct decoding *d, uint64_t inside)
{
	enum { FUNCTION_MAX = 1 << 16 }; /* bytes; few are longer */
	uint64_t offset;

	return d->operands[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE && branch_target(d, &offset) &&
	       linear_of(d->state, d->width, offset) <= inside &&
	       inside - linear_of(d->state, d->width, offset) < FUNCTION_MAX;
}

/*
 * Whether `linear` is where a call in the guest's code leads back to. Numbers on the stack are not only such, and what
 * looks like a call may be data, which must never be touched. So memory that the guest can write is code only where
 * the call leads to `inside`, which is.
 */
static bool behind_call(struct decoding *d, uint64_t linear, uint64_t inside)
{
	enum { CALL_MIN = 2, CALL_MAX = 8 }; /* of register; of memory with REX, SIB and four bytes */
	struct instruction instruction;
	uint64_t physical;

	if (!amd64_canonical(linear) || !page_walk_code(d->ram, d->state, linear, &physical) ||
	    !ram_contains(d->ram, physical, 1))
		return false;
	for (unsigned length = CALL_MIN; length <= CALL_MAX; length++)
		if (decode(d, linear - length, &instruction) && instruction.call && instruction.length == length)
			return page_walk_constant_code(d->ram, d->state, linear, &physical) ||
			       calls_function_of(d, inside);
	return false;
}

static bool known(const uint64_t *addresses, size_t count, uint64_t address)
{
	for (size_t i = 0; i < count; i++)
		if (addresses[i] == address)
			return true;
	return false;
}

size_t instruction_return_addresses(const struct ram *ram, const struct cpu_state *state, uint64_t *addresses,
				    size_t max)
{
	struct decoding d = { .ram = ram, .state = state, .width = code_width(state) };
	uint64_t stack = stack_address(&d), inside = instruction_pointer(state);
	size_t count = 0;

	for (unsigned i = 0; i < INSTRUCTION_STACK_WORDS && count < max; i++) {
		uint64_t word, linear = amd64_low_bits(stack + (uint64_t)i * (d.width / 8), d.width == 64 ? 64 : 32);

		if (!read_word(&d, linear, d.width, &word))
			break;
		word = linear_of(state, d.width, word);
		if (!known(addresses, count, word) && behind_call(&d, word, inside))
			inside = addresses[count++] = word;
	}
	return count;
}
