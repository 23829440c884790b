#include "vmm/native_loop.h"

#include <string.h>

#include "vmm/amd64.h"

enum {
	/* Bytes: an instruction and its way out, 64 at most; and what is around them. */
	ROOM = NATIVE_LOOP_STEPS * 64 + 2048,
	MEMORY = 32 * ROOM,
	ARRIVALS = 8,         /* before a loop is looked at */
	PATIENCE = 1 << 12,   /* at most, where it cannot be done */
	/* What native_cpu.way_out says besides the step at which it was left. */
	OUT_FOUND = NATIVE_LOOP_STEPS,
	OUT_ROUNDS,
	/* Opcodes and their extensions (APM vol. 3). */
	CMP_REGISTER = 0x3B,
	SUB_IMMEDIATE_8 = 0x83,
	SUB_EXTENSION = 5,
	MOV_IMMEDIATE = 0xC7,
	JMP_NEAR = 0xE9,
	JCC_NEAR = 0x80, /* behind 0F */
	CONDITION_EQUAL = 4,
	CONDITION_NOT = 1, /* the bit that turns a condition round */
};

result native_loops_create(struct native_loops *loops)
{
	memset(loops, 0, sizeof(*loops));
	return native_code_create(&loops->memory, MEMORY);
}

void native_loops_destroy(struct native_loops *loops)
{
	native_code_destroy(&loops->memory);
}

/* --- what a round needs --- */

/* Registers by bit. */
struct plan {
	uint32_t used, written; /* general ones of the instructions */
	uint32_t addresses;     /* and of their memory operands, which must not change */
	uint32_t xmm;
	bool memory;
	unsigned cpu;     /* the register with struct native_cpu */
	unsigned pointer; /* to a memory operand */
};

static bool plan_register(struct plan *plan, ZydisRegister name, bool write)
{
	int general = native_thunk_register(name);

	if (ZydisRegisterGetClass(name) == ZYDIS_REGCLASS_XMM) {
		ZyanI8 id = ZydisRegisterGetId(name);

		plan->xmm |= 1u << (id & 15);
		return id >= 0 && id < 16;
	}
	if (ZydisRegisterGetClass(name) == ZYDIS_REGCLASS_FLAGS || name == ZYDIS_REGISTER_MXCSR)
		return true;
	/* RSP is this process's own. */
	if (general < 0 || general >= GPR_COUNT || general == GPR_RSP)
		return false;
	plan->used |= 1u << general;
	plan->written |= (uint32_t)write << general;
	return true;
}

static bool plan_memory(struct plan *plan, const ZydisDecodedOperand *operand)
{
	const ZydisRegister parts[] = { operand->mem.base, operand->mem.index };

	for (unsigned i = 0; i < ARRAY_SIZE(parts); i++) {
		int general = native_thunk_register(parts[i]);

		if (operand->mem.type == ZYDIS_MEMOP_TYPE_AGEN) {
			/* LEA's stays as it is; RIP would be another. */
			if (parts[i] != ZYDIS_REGISTER_NONE && !plan_register(plan, parts[i], false))
				return false;
		} else if (general >= 0) {
			plan->addresses |= 1u << general;
		}
	}
	plan->memory |= operand->mem.type == ZYDIS_MEMOP_TYPE_MEM;
	return true;
}

static bool decode(struct native_instruction *instruction, const struct native_op *op)
{
	ZydisDecoder decoder;

	instruction->bytes = op->bytes;
	return ZYAN_SUCCESS(ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)) &&
	       ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, op->bytes, op->length, &instruction->decoded,
						   instruction->operands));
}

static bool plan_instruction(struct plan *plan, const struct native_op *op)
{
	struct native_instruction instruction;

	if (!decode(&instruction, op))
		return false;
	for (unsigned i = 0; i < instruction.decoded.operand_count; i++) {
		const ZydisDecodedOperand *operand = &instruction.operands[i];
		bool write = operand->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;

		if (operand->type == ZYDIS_OPERAND_TYPE_REGISTER && !plan_register(plan, operand->reg.value, write))
			return false;
		if (operand->type == ZYDIS_OPERAND_TYPE_MEMORY && !plan_memory(plan, operand))
			return false;
	}
	return true;
}

/* Whether the instruction itself stands in a round. */
static bool is_done(const struct native_op *op)
{
	switch (op->kind) {
	case NATIVE_THUNK:
	case NATIVE_THUNK_MEMORY:
	case NATIVE_MOVE:
	case NATIVE_MOVE_IMMEDIATE:
	case NATIVE_LOAD:
	case NATIVE_STORE:
	case NATIVE_ADDRESS:
		return op->check == NATIVE_CHECK_NONE;
	default:
		return false;
	}
}

static bool has_memory(const struct native_op *op)
{
	return op->kind == NATIVE_THUNK_MEMORY || op->kind == NATIVE_LOAD || op->kind == NATIVE_STORE;
}

/* The first of these registers that the round does not use, and nobody else does. */
static bool take(const struct plan *plan, uint32_t others, const uint8_t *candidates, size_t count, unsigned *taken)
{
	for (size_t i = 0; i < count; i++) {
		*taken = candidates[i];
		if (!((plan->used | others) >> candidates[i] & 1))
			return true;
	}
	return false;
}

static bool make_plan(struct plan *plan, const struct native_loop_trace *trace)
{
	/* RAX is where flags pass through; R12 would need another form. */
	static const uint8_t for_cpu[] = {
		GPR_R8,	 GPR_R9,  GPR_R10, GPR_R11, GPR_R13, GPR_R14, GPR_R15,
		GPR_RBP, GPR_RDI, GPR_RSI, GPR_RCX, GPR_RDX, GPR_RBX,
	};
	static const uint8_t for_memory[] = { GPR_RSI, GPR_RDI, GPR_RCX, GPR_RDX, GPR_RBX };

	*plan = (struct plan){ .used = 0 };
	for (unsigned i = 0; i < trace->count; i++)
		if (is_done(&trace->steps[i].op) && !plan_instruction(plan, &trace->steps[i].op))
			return false;
	return (plan->addresses & plan->written) == 0 && take(plan, 0, for_cpu, ARRAY_SIZE(for_cpu), &plan->cpu) &&
	       (!plan->memory ||
		take(plan, 1u << plan->cpu, for_memory, ARRAY_SIZE(for_memory), &plan->pointer));
}

/* --- the code --- */

/* Places that lead to one that is not written yet. */
struct jumps {
	size_t at[NATIVE_LOOP_STEPS + GPR_COUNT];
	unsigned count;
};

static void put_distance(const struct native_writer *writer, size_t at, size_t to)
{
	int32_t distance = (int32_t)((int64_t)to - (int64_t)(at + sizeof(distance)));

	memcpy(writer->bytes + at, &distance, sizeof(distance));
}

static void write_jump(struct native_writer *writer, struct jumps *jumps)
{
	native_writer_put(writer, JMP_NEAR);
	jumps->at[jumps->count++] = writer->length;
	native_writer_32(writer, 0);
}

static void write_branch(struct native_writer *writer, struct jumps *jumps, unsigned condition)
{
	native_writer_put(writer, 0x0F);
	native_writer_put(writer, JCC_NEAR | condition);
	jumps->at[jumps->count++] = writer->length;
	native_writer_32(writer, 0);
}

/* All of them lead here. */
static void land(const struct native_writer *writer, struct jumps *jumps)
{
	for (unsigned i = 0; i < jumps->count; i++)
		put_distance(writer, jumps->at[i], writer->length);
	jumps->count = 0;
}

/* RAX is kept where it is the guest's. */
static void write_keep(struct native_writer *writer, const struct plan *plan, bool back)
{
	if (plan->used & 1u << GPR_RAX)
		native_writer_move(writer, back, GPR_RAX, plan->cpu, offsetof(struct native_cpu, kept));
}

static void write_store_flags(struct native_writer *writer, const struct plan *plan)
{
	write_keep(writer, plan, false);
	native_writer_store_flags(writer, plan->cpu);
	write_keep(writer, plan, true);
}

static void write_way_out(struct native_writer *writer, const struct plan *plan, unsigned way, struct jumps *out)
{
	native_writer_with(writer, MOV_IMMEDIATE, 0, plan->cpu, offsetof(struct native_cpu, way_out));
	native_writer_32(writer, way);
	write_jump(writer, out);
}

/* Behind a round: has it found what it looks for, and does it go on? Both are asked with the flags put by. */
static void write_end_of_round(struct native_writer *writer, const struct plan *plan, size_t head, struct jumps *out)
{
	struct jumps differs = { .count = 0 }, again = { .count = 0 };

	write_store_flags(writer, plan);
	for (unsigned i = 0; i < GPR_COUNT; i++) {
		if (!(plan->written >> i & 1))
			continue;
		native_writer_with(writer, CMP_REGISTER, i, plan->cpu,
				  offsetof(struct native_cpu, wanted) + sizeof(uint64_t) * i);
		write_branch(writer, &differs, CONDITION_EQUAL ^ CONDITION_NOT);
	}
	write_way_out(writer, plan, OUT_FOUND, out);
	land(writer, &differs);
	native_writer_with(writer, SUB_IMMEDIATE_8, SUB_EXTENSION, plan->cpu, offsetof(struct native_cpu, rounds));
	native_writer_put(writer, 1);
	write_branch(writer, &again, CONDITION_EQUAL ^ CONDITION_NOT);
	write_way_out(writer, plan, OUT_ROUNDS, out);
	land(writer, &again);
	native_writer_load_flags(writer, plan->cpu);
	write_keep(writer, plan, true);
	write_jump(writer, &again);
	put_distance(writer, again.at[0], head);
}

static bool write_step(struct native_writer *writer, const struct plan *plan, const struct native_op *op,
		       unsigned index)
{
	struct native_instruction instruction;

	if (op->kind == NATIVE_ADDRESS) {
		native_writer_bytes(writer, op->bytes, op->length);
		return true;
	}
	if (has_memory(op))
		native_writer_move(writer, true, plan->pointer, plan->cpu,
				   offsetof(struct native_cpu, operands) + sizeof(uint8_t *) * index);
	return decode(&instruction, op) && native_thunk_write(writer, &instruction, plan->pointer);
}

static bool write_loop(struct native_writer *writer, const struct native_loop_trace *trace, const struct plan *plan)
{
	struct jumps aside[NATIVE_LOOP_STEPS], out = { .count = 0 };
	uint32_t registers = plan->used | 1u << plan->cpu | (plan->memory ? 1u << plan->pointer : 0);

	native_writer_save(writer, registers);
	native_writer_copy(writer, plan->cpu, GPR_RDI);
	native_writer_load_flags(writer, plan->cpu);
	native_writer_registers(writer, true, plan->used, plan->xmm, plan->cpu);
	size_t head = writer->length;

	for (unsigned i = 0; i < trace->count; i++) {
		const struct native_loop_step *step = &trace->steps[i];

		aside[i].count = 0;
		if (is_done(&step->op) && !write_step(writer, plan, &step->op, i))
			return false;
		if (step->op.kind == NATIVE_BRANCH)
			write_branch(writer, &aside[i], step->op.condition ^ (step->taken ? CONDITION_NOT : 0u));
	}
	write_end_of_round(writer, plan, head, &out);
	for (unsigned i = 0; i < trace->count; i++) {
		if (aside[i].count == 0)
			continue;
		land(writer, &aside[i]);
		write_store_flags(writer, plan);
		write_way_out(writer, plan, i, &out);
	}
	land(writer, &out);
	native_writer_registers(writer, false, plan->used, plan->xmm, plan->cpu);
	native_writer_restore(writer, registers);
	native_writer_put(writer, 0xC3);
	return true;
}

/* --- which loops there are --- */

static void forget_all(struct native_loops *loops)
{
	native_code_clear(&loops->memory);
	memset(loops->loops, 0, sizeof(loops->loops));
}

static void compile(struct native_loops *loops, struct native_loop *loop)
{
	uint8_t bytes[ROOM];
	struct native_writer writer = { .bytes = bytes, .size = sizeof(bytes) };
	struct plan plan;

	loop->code = NULL;
	if (!make_plan(&plan, &loop->trace) || !write_loop(&writer, &loop->trace, &plan))
		return;
	const uint8_t *run = native_code_add(&loops->memory, &writer);

	_Static_assert(sizeof(loop->code) == sizeof(run), "code is where a pointer to data can tell");
	memcpy(&loop->code, &run, sizeof(loop->code));
}

static bool same_round(const struct native_loop_trace *a, const struct native_loop_trace *b)
{
	for (unsigned i = 0; i < a->count && i < b->count; i++) {
		const struct native_loop_step *one = &a->steps[i], *other = &b->steps[i];

		if (one->rip != other->rip || one->taken != other->taken || one->op.length != other->op.length ||
		    memcmp(one->op.bytes, other->op.bytes, one->op.length) != 0)
			return false;
	}
	return a->count == b->count;
}

/* The recorded round is complete. */
static void learn(struct native_loops *loops, struct native_loop *loop, uint64_t epoch)
{
	if (!loop->code || !same_round(&loop->trace, &loops->trace)) {
		uint64_t rip = loop->rip;

		if (!native_code_has_room(&loops->memory, ROOM)) {
			forget_all(loops);
			loop->rip = rip;
		}
		loop->trace = loops->trace;
		compile(loops, loop);
	}
	loop->epoch = loop->code ? epoch : 0;
	loop->target = loop->rip;
	loop->hides_target = false;
	loop->patience = loop->code ? 1 : PATIENCE;
}

void native_loops_interrupt(struct native_loops *loops)
{
	loops->recording = NULL;
}

/* A round in which this is done cannot be one piece of code; the loop is not looked at for longer and longer. */
static void give_up(struct native_loops *loops)
{
	struct native_loop *loop = loops->recording;

	if (loop->patience < PATIENCE)
		loop->patience *= 2;
	loops->recording = NULL;
}

/* Whether a round passes the target unseen. */
static bool hides(struct native_loop *loop, uint64_t target)
{
	if (loop->target == target)
		return loop->hides_target;
	loop->target = target;
	loop->hides_target = false;
	for (unsigned i = 1; i < loop->trace.count; i++)
		loop->hides_target |= loop->trace.steps[i].rip == target;
	return loop->hides_target;
}

struct native_loop *native_loops_arrive(struct native_loops *loops, uint64_t rip, uint64_t epoch, uint64_t target)
{
	struct native_loop *loop = &loops->loops[(rip ^ rip >> 8) % NATIVE_LOOPS];

	if (loop->rip != rip || loop->patience == 0)
		*loop = (struct native_loop){ .rip = rip, .patience = ARRIVALS };
	if (loop->code && loop->epoch == epoch) {
		if (loops->recording)
			give_up(loops);
		return hides(loop, target) ? NULL : loop;
	}
	if (loops->recording || ++loop->arrivals < loop->patience)
		return NULL;
	loop->arrivals = 0;
	loops->recording = loop;
	loops->epoch = epoch;
	loops->trace.count = 0;
	return NULL;
}

void native_loops_note(struct native_loops *loops, const struct native_op *op, uint64_t rip, uint64_t next,
		       uint64_t epoch, uint64_t target)
{
	struct native_loop *loop = loops->recording;
	struct native_loop_step step = { .rip = rip, .op = *op };
	uint64_t behind = rip + op->length;

	if (op->kind == NATIVE_BRANCH) {
		step.taken = next != behind;
		step.aside = step.taken ? behind : behind + op->immediate;
	}
	bool fits = is_done(op) || op->kind == NATIVE_NOTHING || op->kind == NATIVE_JUMP ||
		    (op->kind == NATIVE_BRANCH && amd64_canonical(step.aside));

	/* What is looked for must be seen, and that is where a round begins; and no round changes its own code. */
	if (!fits || epoch != loops->epoch || loops->trace.count == NATIVE_LOOP_STEPS ||
	    (rip == target && rip != loop->rip) || (loops->trace.count == 0 && rip != loop->rip)) {
		give_up(loops);
		return;
	}
	loops->trace.steps[loops->trace.count++] = step;
	if (next != loop->rip)
		return;
	loops->recording = NULL;
	learn(loops, loop, epoch);
}

/* --- running --- */

/* Finds the memory operands, which stay where they are. */
static bool reach_memory(const struct native_loop *loop, struct native_guest *guest)
{
	for (unsigned i = 0; i < loop->trace.count; i++) {
		const struct native_loop_step *step = &loop->trace.steps[i];
		const struct native_op *op = &step->op;

		if (op->sse && !guest->sse)
			return false;
		if (!has_memory(op))
			continue;
		guest->cpu.r[NATIVE_NEXT] = step->rip + op->length;
		guest->cpu.operands[i] = native_memory_reach(&guest->memory, native_op_address(&guest->cpu, op),
							     op->size, op->writes ? NATIVE_WRITE : NATIVE_READ);
		if (!guest->cpu.operands[i])
			return false;
	}
	/* Code and page tables are written one by one. */
	return guest->memory.written == 0;
}

bool native_loop_run(struct native_loop *loop, struct native_guest *guest, const uint64_t wanted[GPR_COUNT],
		     uint64_t rounds, struct native_loop_outcome *outcome)
{
	const struct native_loop_trace *trace = &loop->trace;
	struct native_cpu *cpu = &guest->cpu;

	if (!reach_memory(loop, guest)) {
		loop->epoch = 0;
		loop->patience = ARRIVALS;
		return false;
	}
	memcpy(cpu->wanted, wanted, sizeof(cpu->wanted));
	cpu->rounds = rounds;
	loop->code(cpu);
	*outcome = (struct native_loop_outcome){
		.rounds = rounds - cpu->rounds + (cpu->way_out == OUT_FOUND),
		.rip = loop->rip,
		.aside = cpu->way_out < NATIVE_LOOP_STEPS,
	};
	outcome->executed = outcome->rounds * trace->count;
	if (outcome->aside) {
		invariant(cpu->way_out < trace->count);
		outcome->executed += cpu->way_out + 1;
		outcome->rip = trace->steps[cpu->way_out].aside;
	}
	return true;
}
