/*
 * An interpreter, as of scripts: a stack machine that runs a small program again and again, which sums up the lengths
 * of the sequences n -> n / 2 or 3 n + 1 that begin with the numbers below a limit.
 */
#include "guest-tools/payloads/payload.h"

enum {
	LIMIT = 3000,
	LOCALS = 4,
	STACK = 16,
	TURNS_COST = 3,  /* two instructions of the program */
	TURNS_PACED = 16384,
};

const char payload_name[] = "interpret";

enum opcode { PUSH, LOAD, STORE, ADD, MULTIPLY, SHIFT, AND, LESS, JUMP, JUMP_ZERO, STOP };

struct instruction {
	enum opcode code;
	uint64_t operand;
};

enum local { N, START, SUM, LAST };

/* START = 1; do { N = START; while (N != 1) { N = N & 1 ? 3 N + 1 : N >> 1; SUM++; } } while (++START < LAST) */
static const struct instruction program[] = {
	{ PUSH, 1 },
	{ STORE, START },
	{ LOAD, START }, /* 2 */
	{ STORE, N },
	{ PUSH, 1 }, /* 4 */
	{ LOAD, N },
	{ LESS, 0 },
	{ JUMP_ZERO, 27 },
	{ LOAD, SUM },
	{ PUSH, 1 },
	{ ADD, 0 },
	{ STORE, SUM },
	{ LOAD, N },
	{ PUSH, 1 },
	{ AND, 0 },
	{ JUMP_ZERO, 23 },
	{ LOAD, N },
	{ PUSH, 3 },
	{ MULTIPLY, 0 },
	{ PUSH, 1 },
	{ ADD, 0 },
	{ STORE, N },
	{ JUMP, 4 },
	{ LOAD, N }, /* 23 */
	{ SHIFT, 1 },
	{ STORE, N },
	{ JUMP, 4 },
	{ LOAD, START }, /* 27 */
	{ PUSH, 1 },
	{ ADD, 0 },
	{ STORE, START },
	{ LOAD, START },
	{ LOAD, LAST },
	{ LESS, 0 },
	{ JUMP_ZERO, 36 },
	{ JUMP, 2 },
	{ STOP, 0 }, /* 36 */
};

struct stack {
	uint64_t word[STACK];
	unsigned top;
};

static void push(struct stack *stack, uint64_t value)
{
	stack->word[stack->top++ % STACK] = value;
}

static uint64_t pop(struct stack *stack)
{
	return stack->word[--stack->top % STACK];
}

/* What takes two operands and gives one. */
static uint64_t combine(enum opcode code, uint64_t left, uint64_t right)
{
	switch (code) {
	case ADD:
		return left + right;
	case MULTIPLY:
		return left * right;
	case AND:
		return left & right;
	default:
		return left < right;
	}
}

/* Gives how many instructions it took. */
static uint64_t run(struct payload *payload, uint64_t *locals)
{
	struct stack stack = { .top = 0 };
	uint64_t turns = 0, right;
	size_t at = 0;

	for (;;) {
		const struct instruction *now = &program[at++];

		if (++turns % TURNS_PACED == 0)
			payload_pace(payload, (uint64_t)TURNS_PACED / 2 * TURNS_COST);
		switch (now->code) {
		case PUSH:
			push(&stack, now->operand);
			break;
		case LOAD:
			push(&stack, locals[now->operand]);
			break;
		case STORE:
			locals[now->operand] = pop(&stack);
			break;
		case SHIFT:
			push(&stack, pop(&stack) >> now->operand);
			break;
		case JUMP:
			at = now->operand;
			break;
		case JUMP_ZERO:
			if (pop(&stack) == 0)
				at = now->operand;
			break;
		case STOP:
			return turns;
		default:
			right = pop(&stack);
			push(&stack, combine(now->code, pop(&stack), right));
			break;
		}
	}
}

uint32_t payload_main(struct payload *payload)
{
	const uint64_t turns = payload->scale * 20000 * 1000 / TURNS_COST * 2;
	uint64_t done = 0;

	for (uint64_t round = 0; done < turns; round++) {
		uint64_t locals[LOCALS] = { [LAST] = LIMIT + payload_random(payload) % LIMIT };

		done += run(payload, locals);
		payload_check(payload, locals[SUM]);
	}
	return PAYLOAD_GOOD;
}
