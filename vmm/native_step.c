#include "vmm/native_step.h"

#include <stdlib.h>
#include <string.h>
#include <xmmintrin.h>

#include "vmm/native_execute.h"
#include "vmm/native_loop.h"

enum {
	OPS = 1 << 17,   /* decoded instructions: more than a kernel executes in a while */
	HEADS = 1 << 16, /* of chains of them, by where they are in RAM */
	PLACES = 1 << 12, /* of those that were executed last, by linear address */
};

/* What RIP led to a while ago. */
struct place {
	uint64_t rip;
	uint64_t epoch; /* code_epoch of the memory; 0: none */
	const struct native_op *op;
};

struct native_step {
	struct native_guest guest;
	struct native_features features;
	struct native_code thunks;
	struct native_loops loops;
	struct native_op *ops;
	size_t used;
	struct native_op **heads;
	struct place places[PLACES];
};

/* --- making --- */

result native_step_create(struct native_step **native, struct ram *ram)
{
	struct native_step *made = aligned_alloc(_Alignof(struct native_step), sizeof(*made));

	*native = NULL;
	if (!made)
		return fail(STATUS_FAILED, "no memory to execute guest code in place");
	memset(made, 0, sizeof(*made));
	made->thunks.fd = made->loops.memory.fd = -1;
	made->features = native_op_features();
	made->ops = calloc(OPS, sizeof(*made->ops));
	made->heads = calloc(HEADS, sizeof(struct native_op *));
	result r = made->ops && made->heads ? native_memory_create(&made->guest.memory, ram) :
					      fail(STATUS_FAILED, "no memory for decoded guest code");

	if (!failed(r))
		r = native_code_create(&made->thunks, (size_t)OPS * NATIVE_THUNK_ORDINARY + NATIVE_THUNK_MAX);
	if (!failed(r))
		r = native_loops_create(&made->loops);
	if (failed(r)) {
		native_step_destroy(made);
		return r;
	}
	*native = made;
	return OK;
}

void native_step_destroy(struct native_step *native)
{
	if (!native)
		return;
	native_loops_destroy(&native->loops);
	native_code_destroy(&native->thunks);
	native_memory_destroy(&native->guest.memory);
	free(native->heads);
	free(native->ops);
	free(native);
}

/* --- finding instructions --- */

static struct native_op **head_of(struct native_step *native, uint64_t offset)
{
	return &native->heads[(offset ^ offset >> 16) % HEADS];
}

static void forget_code(struct native_step *native)
{
	native->used = 0;
	memset(native->heads, 0, HEADS * sizeof(struct native_op *));
	native_code_clear(&native->thunks);
	native_memory_release_code(&native->guest.memory);
}

/* The decoded instruction at this offset into RAM; a new one, not decoded yet, if there is none. */
static struct native_op *op_at(struct native_step *native, uint64_t offset)
{
	struct native_op **head = head_of(native, offset);

	for (struct native_op *op = *head; op; op = op->chain)
		if (op->offset == offset)
			return op;
	if (native->used == OPS) {
		forget_code(native);
		head = head_of(native, offset);
	}
	struct native_op *op = &native->ops[native->used++];

	*op = (struct native_op){ .offset = offset, .chain = *head };
	*head = op;
	return op;
}

/* The instruction that RIP leads to; its bytes are compared with those that were decoded. */
static const struct native_op *find(struct native_step *native, uint64_t rip)
{
	struct native_memory *memory = &native->guest.memory;
	uint8_t bytes[INSTRUCTION_MAX];
	size_t available = RAM_PAGE_SIZE - rip % RAM_PAGE_SIZE;
	const uint8_t *host = native_memory_reach(memory, rip, 1, NATIVE_FETCH);
	const uint8_t *behind = NULL;

	if (!host)
		return NULL;
	if (available >= INSTRUCTION_MAX) {
		available = INSTRUCTION_MAX;
		memcpy(bytes, host, INSTRUCTION_MAX);
	} else {
		behind = native_memory_reach(memory, rip + available, 1, NATIVE_FETCH);
		memcpy(bytes, host, available);
		if (behind)
			memcpy(bytes + available, behind, INSTRUCTION_MAX - available);
	}
	size_t readable = behind ? INSTRUCTION_MAX : available;
	uint64_t offset = native_memory_offset(memory, host);
	struct native_op *op = op_at(native, offset);

	if (op->length == 0 || op->length > readable || memcmp(op->bytes, bytes, op->length) != 0 ||
	    op->kind == NATIVE_STOP) {
		if (!native_code_has_room(&native->thunks, NATIVE_THUNK_MAX)) {
			forget_code(native);
			op = op_at(native, offset);
		}
		native_op_decode(op, &native->features, &native->thunks, bytes, readable);
	}
	native_memory_hold_code(memory, offset);
	if (behind && op->length > available)
		native_memory_hold_code(memory, native_memory_offset(memory, behind));
	return op;
}

static const struct native_op *fetch(struct native_step *native, uint64_t rip)
{
	struct place *place = &native->places[(rip ^ rip >> 12) % PLACES];

	if (place->rip == rip && place->epoch == native->guest.memory.code_epoch)
		return place->op;
	const struct native_op *op = find(native, rip);

	/* The epoch ends with any translation, so it does not matter whether one or two led there. */
	if (op)
		*place = (struct place){ .rip = rip, .epoch = native->guest.memory.code_epoch, .op = op };
	return op;
}

/* --- running --- */

static bool at_target(const struct native_step *native, const struct native_target *target,
		      struct native_outcome *outcome)
{
	if (native->guest.rip != target->rip || (outcome->executed == 0 && !target->at_once))
		return false;
	outcome->passes++;
	if (memcmp(native->guest.cpu.r, target->gpr, sizeof(target->gpr)) == 0)
		return true;
	register_nearest_note(&outcome->nearest, native->guest.cpu.r, target->gpr);
	return false;
}

/* No address of an instruction: it is not canonical. */
#define NOWHERE (UINT64_C(1) << 63)

/* Whether that was the last of a loop's instructions, as far as one can tell. */
static bool leads_back(const struct native_op *op, uint64_t from, uint64_t to)
{
	return to <= from && (op->kind == NATIVE_BRANCH || op->kind == NATIVE_JUMP);
}

/* Goes round the loop that begins here, if one does. Whether the guest is elsewhere now. */
static bool go_round(struct native_step *native, const struct native_target *target, uint64_t limit,
		     struct native_outcome *outcome)
{
	static const uint64_t nothing[GPR_COUNT];
	struct native_guest *guest = &native->guest;
	const uint64_t sought = target ? target->rip : NOWHERE;
	struct native_loop *loop =
		native_loops_arrive(&native->loops, guest->rip, guest->memory.code_epoch, sought);
	struct native_loop_outcome went;
	uint64_t rounds;

	if (!loop)
		return false;
	rounds = (limit - outcome->executed) / loop->trace.count;
	if (rounds == 0 || !native_loop_run(loop, guest, target ? target->gpr : nothing, rounds, &went))
		return false;
	outcome->executed += went.executed;
	guest->rip = went.rip;
	outcome->looped += went.executed;
	/* Where it stands at its beginning that is yet to be counted. */
	if (loop->rip == sought)
		outcome->passes += went.rounds - !went.aside;
	return true;
}

static void run(struct native_step *native, const struct native_target *target, uint64_t limit,
		struct native_outcome *outcome)
{
	struct native_guest *guest = &native->guest;
	bool back = true; /* for all one knows */

	native_loops_interrupt(&native->loops);
	for (;;) {
		if (target && at_target(native, target, outcome)) {
			outcome->end = NATIVE_FOUND;
			return;
		}
		if (outcome->executed == limit) {
			outcome->end = NATIVE_LIMIT;
			return;
		}
		if ((back || (target && guest->rip == target->rip)) && go_round(native, target, limit, outcome))
			continue;
		const uint64_t rip = guest->rip;
		const struct native_op *op = fetch(native, rip);

		outcome->why = op ? native_execute(guest, op) : "code that cannot be read";
		if (outcome->why) {
			outcome->end = NATIVE_STOPPED;
			return;
		}
		outcome->executed++;
		if (native_loops_watch(&native->loops))
			native_loops_note(&native->loops, op, rip, guest->rip, guest->memory.code_epoch,
					  target ? target->rip : NOWHERE);
		back = leads_back(op, rip, guest->rip);
	}
}

void native_step_run(struct native_step *native, struct cpu_state *state, const struct native_target *target,
		     uint64_t limit, struct native_outcome *outcome)
{
	struct native_guest *guest = &native->guest;
	unsigned host_mxcsr = _mm_getcsr();

	*outcome = (struct native_outcome){ .end = NATIVE_STOPPED };
	if (!native_execute_begin(guest, state, &outcome->why))
		return;
	/* Nothing else in here calculates with floating point. */
	if (guest->sse)
		_mm_setcsr(state->mxcsr);
	run(native, target, limit, outcome);
	if (guest->sse) {
		state->mxcsr = _mm_getcsr();
		_mm_setcsr(host_mxcsr);
	}
	native_execute_end(guest, outcome->executed > 0);
}
