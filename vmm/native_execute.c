#include "vmm/native_execute.h"

#include <string.h>

#include "vmm/amd64.h"
#include "vmm/native_divide.h"

static const char why_memory[] = "memory operand";
static const char why_target[] = "branch to a non-canonical address";
static const char why_divide[] = "division error";
static const char why_flags[] = "interrupts, traps or alignment checks on";
static const char why_sse[] = "SSE is off or would raise exceptions";

/* RFLAGS (AMD64 APM vol. 2, 3.1.6). */
#define FLAGS_LAHF 0xD5ull /* SF ZF AF PF CF */
#define FLAG_TF (1ull << 8)
#define FLAG_IF (1ull << 9)
#define FLAG_DF (1ull << 10)
#define FLAG_OF (1ull << 11)
#define FLAGS_IOPL (3ull << 12)
#define FLAG_NT (1ull << 14)
#define FLAG_RF (1ull << 16)
#define FLAG_VM (1ull << 17)
#define FLAG_AC (1ull << 18)
#define FLAG_ID (1ull << 21)
#define FLAGS_ARITHMETIC (FLAGS_LAHF | FLAG_OF)
#define FLAG_ALWAYS (1ull << 1)
enum { IOPL_SHIFT = 12, OF_SHIFT = 11 };

#define CR0_EM (1ull << 2)
#define CR0_TS (1ull << 3)
#define CR0_AM (1ull << 18)
#define CR4_PVI (1ull << 1)
#define CR4_OSFXSR (1ull << 9)
#define CR4_SMAP (1ull << 21)
#define MXCSR_MASKS 0x1F80u
#define MXCSR_KNOWN 0xFFFFu
#define DR7_ENABLED 0xFFull
enum { SEGMENT_DPL_SHIFT = 5, CACHE_LINE = 64 };

/* --- flags --- */

static uint64_t flags_of(const struct native_guest *guest)
{
	return (guest->state->rflags & ~FLAGS_ARITHMETIC) | (guest->cpu.flags >> 8 & FLAGS_LAHF) |
	       (uint64_t)(guest->cpu.flags & 1) << OF_SHIFT;
}

static void set_flags(struct native_guest *guest, uint64_t flags)
{
	guest->state->rflags = flags;
	guest->cpu.flags = (uint16_t)((flags & FLAGS_LAHF) << 8 | FLAG_ALWAYS << 8 | (flags >> OF_SHIFT & 1));
}

static bool condition_holds(const struct native_guest *guest, uint8_t condition)
{
	return amd64_condition(condition, guest->cpu.flags >> 8, guest->cpu.flags & 1);
}

static bool zero_flag(const struct native_guest *guest)
{
	return guest->cpu.flags >> 8 & 0x40;
}

static unsigned ring(const struct native_guest *guest)
{
	return guest->state->segment[SEG_SS].attributes >> SEGMENT_DPL_SHIFT & 3;
}

static bool checks_alignment(const struct native_guest *guest, uint64_t flags)
{
	return (flags & FLAG_AC) && (guest->state->cr0 & CR0_AM) && guest->memory.user;
}

/* --- begin and end --- */

bool native_execute_begin(struct native_guest *guest, struct cpu_state *state, const char **why)
{
	guest->state = state;
	if (!native_memory_begin(&guest->memory, state)) {
		*why = "not 64-bit code, or an unknown kind of protection";
		return false;
	}
	if (state->interrupt_shadow || ((state->pending_interrupt | state->pending_exception) & CPU_EVENT_VALID) ||
	    state->nmi) {
		*why = "an event or an interrupt shadow";
		return false;
	}
	if ((state->rflags & (FLAG_TF | FLAG_VM)) || (state->dr7 & DR7_ENABLED) ||
	    checks_alignment(guest, state->rflags)) {
		*why = "traps, breakpoints or alignment checks on";
		return false;
	}
	guest->rip = state->rip;
	memcpy(guest->cpu.r, state->gpr, sizeof(state->gpr));
	guest->cpu.r[NATIVE_ZERO] = 0;
	guest->cpu.r[NATIVE_FS] = state->segment[SEG_FS].base;
	guest->cpu.r[NATIVE_GS] = state->segment[SEG_GS].base;
	set_flags(guest, state->rflags);
	memcpy(guest->cpu.xmm, state->xmm, sizeof(state->xmm));
	guest->sse = (state->cr4 & CR4_OSFXSR) && !(state->cr0 & (CR0_EM | CR0_TS)) &&
		     (state->mxcsr & MXCSR_MASKS) == MXCSR_MASKS && !(state->mxcsr & ~MXCSR_KNOWN);
	return true;
}

void native_execute_end(struct native_guest *guest, bool any)
{
	struct cpu_state *state = guest->state;

	state->rip = guest->rip;
	memcpy(state->gpr, guest->cpu.r, sizeof(state->gpr));
	memcpy(state->xmm, guest->cpu.xmm, sizeof(state->xmm));
	state->rflags = flags_of(guest);
	/* An instruction that is completed clears it (APM vol. 2, 3.1.6). */
	if (any)
		state->rflags &= ~FLAG_RF;
}

/* --- memory --- */

static uint64_t address_of(const struct native_guest *guest, const struct native_op *op)
{
	return native_op_address(&guest->cpu, op);
}

static bool read_word(struct native_guest *guest, uint64_t linear, uint64_t *value)
{
	const uint8_t *host = native_memory_reach(&guest->memory, linear, sizeof(*value), NATIVE_READ);

	if (!host)
		return false;
	memcpy(value, host, sizeof(*value));
	return true;
}

static bool write_word(struct native_guest *guest, uint64_t linear, uint64_t value)
{
	uint8_t *host = native_memory_reach(&guest->memory, linear, sizeof(value), NATIVE_WRITE);

	if (!host)
		return false;
	memcpy(host, &value, sizeof(value));
	return true;
}

static bool push(struct native_guest *guest, uint64_t value)
{
	if (!write_word(guest, guest->cpu.r[GPR_RSP] - sizeof(value), value))
		return false;
	guest->cpu.r[GPR_RSP] -= sizeof(value);
	return true;
}

/* --- checks --- */

static bool mxcsr_allowed(const uint8_t *memory)
{
	uint32_t mxcsr;

	memcpy(&mxcsr, memory, sizeof(mxcsr));
	return (mxcsr & MXCSR_MASKS) == MXCSR_MASKS && !(mxcsr & ~MXCSR_KNOWN);
}

/* How far the bit offset moves the memory operand, in bytes (APM vol. 3, BT). */
static uint64_t bit_distance(const struct native_guest *guest, const struct native_op *op)
{
	unsigned bits = 8u * op->other;
	int64_t offset = (int64_t)(guest->cpu.r[op->reg] << (64 - bits)) >> (64 - bits);

	return (uint64_t)((offset >> __builtin_ctz(bits)) * op->other);
}

static const char *execute_thunk_memory(struct native_guest *guest, const struct native_op *op)
{
	uint64_t linear = address_of(guest, op);
	uint64_t distance = 0;

	if (op->check == NATIVE_CHECK_BIT) {
		distance = bit_distance(guest, op);
		linear = ((native_op_offset(&guest->cpu, op) + distance) & op->address_mask) +
			 guest->cpu.r[op->segment];
	}
	const uint8_t *host =
		native_memory_reach(&guest->memory, linear, op->size, op->writes ? NATIVE_WRITE : NATIVE_READ);

	if (!host)
		return why_memory;
	switch (op->check) {
	case NATIVE_CHECK_ALIGNED:
		if (linear % op->size != 0)
			return "unaligned memory operand";
		break;
	case NATIVE_CHECK_LINE:
		if (linear % CACHE_LINE + op->size > CACHE_LINE)
			return "memory operand in two cache lines";
		break;
	case NATIVE_CHECK_DIVIDE:
	case NATIVE_CHECK_DIVIDE_SIGNED:
		if (!native_divide_allowed(&guest->cpu, op, host))
			return why_divide;
		break;
	case NATIVE_CHECK_MXCSR:
		if (!mxcsr_allowed(host))
			return why_sse;
		break;
	default:
		break;
	}
	/* What the instruction adds for the bit offset is taken away here. */
	op->thunk(&guest->cpu, (uintptr_t)host - distance);
	return NULL;
}

static const char *execute_thunk(struct native_guest *guest, const struct native_op *op)
{
	if ((op->check == NATIVE_CHECK_DIVIDE || op->check == NATIVE_CHECK_DIVIDE_SIGNED) &&
	    !native_divide_allowed(&guest->cpu, op, NULL))
		return why_divide;
	op->thunk(&guest->cpu, 0);
	return NULL;
}

/* --- moves --- */

static const char *execute_load(struct native_guest *guest, const struct native_op *op)
{
	uint64_t value = 0;
	const uint8_t *host = native_memory_reach(&guest->memory, address_of(guest, op), op->size, NATIVE_READ);

	if (!host)
		return why_memory;
	if (op->size == 8)
		memcpy(&value, host, 8);
	else
		memcpy(&value, host, 4);
	guest->cpu.r[op->reg] = value;
	return NULL;
}

static const char *execute_store(struct native_guest *guest, const struct native_op *op)
{
	uint8_t *host = native_memory_reach(&guest->memory, address_of(guest, op), op->size, NATIVE_WRITE);

	if (!host)
		return why_memory;
	if (op->size == 8)
		memcpy(host, &guest->cpu.r[op->reg], 8);
	else
		memcpy(host, &guest->cpu.r[op->reg], 4);
	return NULL;
}

/* A result of 32 bits clears the upper half, one of 16 leaves the rest (APM vol. 1, 3.1.2). */
static void set_register(struct native_guest *guest, const struct native_op *op, uint64_t value)
{
	uint64_t *r = &guest->cpu.r[op->reg];

	if (op->size == 8)
		*r = value;
	else if (op->size == 4)
		*r = (uint32_t)value;
	else
		*r = (*r & ~0xFFFFull) | (uint16_t)value;
}

/* --- transfers --- */

static const char *go(struct native_guest *guest, uint64_t target)
{
	if (!amd64_canonical(target))
		return why_target;
	guest->rip = target;
	return NULL;
}

static const char *call(struct native_guest *guest, uint64_t target, uint64_t next)
{
	if (!amd64_canonical(target))
		return why_target;
	if (!push(guest, next))
		return why_memory;
	guest->rip = target;
	return NULL;
}

static const char *execute_return(struct native_guest *guest, const struct native_op *op)
{
	uint64_t target;

	if (!read_word(guest, guest->cpu.r[GPR_RSP], &target))
		return why_memory;
	if (!amd64_canonical(target))
		return why_target;
	guest->cpu.r[GPR_RSP] += sizeof(target) + op->immediate;
	guest->rip = target;
	return NULL;
}

static const char *execute_loop(struct native_guest *guest, const struct native_op *op, uint64_t next)
{
	uint64_t left = guest->cpu.r[GPR_RCX] - 1;
	bool again = left != 0;

	if (op->kind == NATIVE_LOOP_EQUAL)
		again = again && zero_flag(guest);
	else if (op->kind == NATIVE_LOOP_NOT_EQUAL)
		again = again && !zero_flag(guest);
	if (again && !amd64_canonical(next + op->immediate))
		return why_target;
	guest->cpu.r[GPR_RCX] = left;
	if (again)
		guest->rip = next + op->immediate;
	return NULL;
}

/* --- the stack and flags --- */

static const char *execute_pop(struct native_guest *guest, const struct native_op *op)
{
	uint64_t value;

	if (!read_word(guest, guest->cpu.r[GPR_RSP], &value))
		return why_memory;
	guest->cpu.r[GPR_RSP] += sizeof(value);
	guest->cpu.r[op->reg] = value;
	return NULL;
}

static const char *execute_leave(struct native_guest *guest)
{
	uint64_t value;

	if (!read_word(guest, guest->cpu.r[GPR_RBP], &value))
		return why_memory;
	guest->cpu.r[GPR_RSP] = guest->cpu.r[GPR_RBP] + sizeof(value);
	guest->cpu.r[GPR_RBP] = value;
	return NULL;
}

/* APM vol. 3, POPF. Behind an instruction that lets interrupts in, one may be waiting. */
static const char *execute_pop_flags(struct native_guest *guest)
{
	uint64_t old = flags_of(guest), changes = FLAGS_ARITHMETIC | FLAG_DF | FLAG_NT | FLAG_AC | FLAG_ID | FLAG_TF;
	uint64_t value;

	if (!read_word(guest, guest->cpu.r[GPR_RSP], &value))
		return why_memory;
	if (ring(guest) == 0)
		changes |= FLAGS_IOPL;
	if (ring(guest) <= (old >> IOPL_SHIFT & 3))
		changes |= FLAG_IF;
	value = (old & ~changes & ~FLAG_RF) | (value & changes);
	if ((value & FLAG_TF) || (value & ~old & FLAG_IF) || checks_alignment(guest, value))
		return why_flags;
	guest->cpu.r[GPR_RSP] += sizeof(value);
	set_flags(guest, value);
	if ((value ^ old) & FLAG_AC)
		native_memory_set_access(&guest->memory, guest->state);
	return NULL;
}

static const char *execute_set_access(struct native_guest *guest, const struct native_op *op)
{
	if (ring(guest) != 0 || !(guest->state->cr4 & CR4_SMAP))
		return op->why;
	guest->state->rflags = (guest->state->rflags & ~FLAG_AC) | (op->immediate ? FLAG_AC : 0);
	native_memory_set_access(&guest->memory, guest->state);
	return NULL;
}

static const char *execute_clear_interrupts(struct native_guest *guest, const struct native_op *op)
{
	if (ring(guest) > (guest->state->rflags >> IOPL_SHIFT & 3) || (guest->state->cr4 & CR4_PVI))
		return op->why;
	guest->state->rflags &= ~FLAG_IF;
	return NULL;
}

/* --- strings --- */

static bool string_element(struct native_guest *guest, const struct native_op *op)
{
	uint64_t *r = guest->cpu.r;
	uint64_t step = guest->state->rflags & FLAG_DF ? 0 - (uint64_t)op->size : op->size;
	uint8_t *to = (uint8_t *)&r[GPR_RAX];
	const uint8_t *from = to;
	uint64_t value = 0;

	if (op->kind != NATIVE_STRING_STORE)
		from = native_memory_reach(&guest->memory, r[GPR_RSI], op->size, NATIVE_READ);
	if (from && op->kind != NATIVE_STRING_LOAD)
		to = native_memory_reach(&guest->memory, r[GPR_RDI], op->size, NATIVE_WRITE);
	if (!from || !to)
		return false;
	memcpy(&value, from, op->size);
	memcpy(to, &value, op->kind == NATIVE_STRING_LOAD && op->size == 4 ? sizeof(value) : op->size);
	if (op->kind != NATIVE_STRING_STORE)
		r[GPR_RSI] += step;
	if (op->kind != NATIVE_STRING_LOAD)
		r[GPR_RDI] += step;
	return true;
}

/* What is written may be code or tables, so it is noticed element by element. */
static const char *execute_string(struct native_guest *guest, const struct native_op *op)
{
	if (!op->repeats)
		return string_element(guest, op) ? NULL : why_memory;
	while (guest->cpu.r[GPR_RCX] != 0) {
		if (!string_element(guest, op))
			return why_memory;
		guest->cpu.r[GPR_RCX]--;
		if (guest->memory.written)
			native_memory_forget(&guest->memory);
	}
	return NULL;
}

/* --- all --- */

static const char *execute_in_place(struct native_guest *guest, const struct native_op *op, uint64_t next)
{
	uint64_t *r = guest->cpu.r;
	uint64_t value;

	switch (op->kind) {
	case NATIVE_JUMP_MEMORY:
		return read_word(guest, address_of(guest, op), &value) ? go(guest, value) : why_memory;
	case NATIVE_LOOP:
	case NATIVE_LOOP_EQUAL:
	case NATIVE_LOOP_NOT_EQUAL:
		return execute_loop(guest, op, next);
	case NATIVE_CALL_MEMORY:
		return read_word(guest, address_of(guest, op), &value) ? call(guest, value, next) : why_memory;
	case NATIVE_PUSH_MEMORY:
		return read_word(guest, address_of(guest, op), &value) && push(guest, value) ? NULL : why_memory;
	case NATIVE_LEAVE:
		return execute_leave(guest);
	case NATIVE_PUSH_FLAGS:
		return push(guest, flags_of(guest) & ~(FLAG_RF | FLAG_VM)) ? NULL : why_memory;
	case NATIVE_POP_FLAGS:
		return execute_pop_flags(guest);
	case NATIVE_SET_DIRECTION:
		guest->state->rflags = (guest->state->rflags & ~FLAG_DF) | (op->immediate ? FLAG_DF : 0);
		return NULL;
	case NATIVE_SET_ACCESS:
		return execute_set_access(guest, op);
	case NATIVE_CLEAR_INTERRUPTS:
		return execute_clear_interrupts(guest, op);
	case NATIVE_STRING_MOVE:
	case NATIVE_STRING_STORE:
	case NATIVE_STRING_LOAD:
		return execute_string(guest, op);
	case NATIVE_BRANCH_ZERO:
		return (r[GPR_RCX] & op->address_mask) == 0 ? go(guest, next + op->immediate) : NULL;
	default:
		return op->why;
	}
}

const char *native_execute(struct native_guest *guest, const struct native_op *op)
{
	uint64_t *r = guest->cpu.r;
	uint64_t next = guest->rip + op->length, rip = guest->rip;
	const char *why = NULL;

	r[NATIVE_NEXT] = next;
	guest->rip = next;
	switch (op->kind) {
	case NATIVE_THUNK:
		why = op->sse && !guest->sse ? why_sse : execute_thunk(guest, op);
		break;
	case NATIVE_THUNK_MEMORY:
		why = op->sse && !guest->sse ? why_sse : execute_thunk_memory(guest, op);
		break;
	case NATIVE_NOTHING:
		break;
	case NATIVE_MOVE:
		set_register(guest, op, r[op->other]);
		break;
	case NATIVE_MOVE_IMMEDIATE:
		set_register(guest, op, op->immediate);
		break;
	case NATIVE_ADDRESS:
		set_register(guest, op, native_op_offset(&guest->cpu, op));
		break;
	case NATIVE_LOAD:
		why = execute_load(guest, op);
		break;
	case NATIVE_STORE:
		why = execute_store(guest, op);
		break;
	case NATIVE_BRANCH:
		if (condition_holds(guest, op->condition))
			why = go(guest, next + op->immediate);
		break;
	case NATIVE_JUMP:
		why = go(guest, next + op->immediate);
		break;
	case NATIVE_JUMP_REGISTER:
		why = go(guest, r[op->reg]);
		break;
	case NATIVE_CALL:
		why = call(guest, next + op->immediate, next);
		break;
	case NATIVE_CALL_REGISTER:
		why = call(guest, r[op->reg], next);
		break;
	case NATIVE_RETURN:
		why = execute_return(guest, op);
		break;
	case NATIVE_PUSH:
		why = push(guest, r[op->reg]) ? NULL : why_memory;
		break;
	case NATIVE_PUSH_IMMEDIATE:
		why = push(guest, op->immediate) ? NULL : why_memory;
		break;
	case NATIVE_POP:
		why = execute_pop(guest, op);
		break;
	default:
		why = execute_in_place(guest, op, next);
		break;
	}
	if (why)
		guest->rip = rip;
	if (guest->memory.written)
		native_memory_forget(&guest->memory);
	return why;
}
