/* Loops that are one piece of code do what their instructions do one by one: the same registers and flags, the same
 * counts, and they stop at the same place. */
#include "tests/unit/native_alone.h"

#include <string.h>

enum { STEPS = 3000, CODE_ROOM = 512, WORDS = 8 };

/* Instructions that leave RSP, R14 and R15 alone, and memory but for WORDS words at R14. */
static const struct {
	uint8_t length;
	uint8_t bytes[12];
} pool[] = {
	{ 3, "\x48\x01\xD8" },             /* add %rbx, %rax */
	{ 2, "\x11\xD1" },                 /* adc %edx, %ecx */
	{ 3, "\x48\x19\xF7" },             /* sbb %rsi, %rdi */
	{ 3, "\x4D\x31\xC8" },             /* xor %r9, %r8 */
	{ 4, "\x48\xC1\xE0\x0D" },         /* shl $13, %rax */
	{ 4, "\x48\xC1\xEB\x07" },         /* shr $7, %rbx */
	{ 3, "\x48\xD1\xD8" },             /* rcr %rax */
	{ 3, "\x48\xD1\xD1" },             /* rcl %rcx */
	{ 3, "\x48\xFF\xC2" },             /* inc %rdx */
	{ 3, "\x49\xFF\xCA" },             /* dec %r10 */
	{ 2, "\xF7\xDE" },                 /* neg %esi */
	{ 3, "\x48\xF7\xD7" },             /* not %rdi */
	{ 4, "\x48\x0F\xAF\xC3" },         /* imul %rbx, %rax */
	{ 3, "\x48\xF7\xE1" },             /* mul %rcx */
	{ 2, "\x00\xE0" },                 /* add %ah, %al */
	{ 2, "\x28\xFB" },                 /* sub %bh, %bl */
	{ 3, "\x0F\x92\xC1" },             /* setb %cl */
	{ 4, "\x48\x0F\x42\xC2" },         /* cmovb %rdx, %rax */
	{ 3, "\x0F\xB6\xF4" },             /* movzx %ah, %esi */
	{ 5, "\x48\x8D\x7C\x33\x05" },     /* lea 5(%rbx, %rsi), %rdi */
	{ 5, "\xB9\x01\x02\x03\x84" },     /* mov $imm, %ecx */
	{ 3, "\x49\x89\xC0" },             /* mov %rax, %r8 */
	{ 1, "\xF5" },                     /* cmc */
	{ 1, "\x9F" },                     /* lahf */
	{ 1, "\x9E" },                     /* sahf */
	{ 4, "\x66\x41\x01\xDB" },         /* add %bx, %r11w */
	{ 3, "\x48\x0F\xC8" },             /* bswap %rax */
	{ 4, "\x48\x0F\xBC\xCA" },         /* bsf %rdx, %rcx */
	{ 2, "\xF3\x90" },                 /* pause */
	{ 2, "\x98\x99" },                 /* cwde; cdq */
	{ 4, "\x4D\x0F\xC1\xD9" },         /* xadd %r11, %r9 */
	{ 2, "\x74\x00" },                 /* je to what follows */
	{ 5, "\x70\x03\x48\xFF\xC1" },     /* jo over inc %rcx */
	{ 5, "\x7A\x03\x48\xFF\xC9" },     /* jp over dec %rcx */
	{ 2, "\xEB\x00" },                 /* jmp to what follows */
	{ 3, "\x49\x03\x06" },             /* add (%r14), %rax */
	{ 4, "\x41\x11\x56\x08" },         /* adc %edx, 8(%r14) */
	{ 4, "\x49\xFF\x46\x10" },         /* incq 16(%r14) */
	{ 4, "\x49\x8B\x5E\x10" },         /* mov 16(%r14), %rbx */
	{ 4, "\x49\x89\x7E\x18" },         /* mov %rdi, 24(%r14) */
	{ 4, "\x41\x88\x66\x05" },         /* mov %ah, 5(%r14) */
	{ 5, "\x41\x80\x7E\x03\x40" },     /* cmpb $64, 3(%r14) */
	{ 5, "\xF0\x49\x0F\xC1\x0E" },     /* lock xadd %rcx, (%r14) */
	{ 4, "\x4C\x8B\x04\x24" },         /* mov (%rsp), %r8 */
	{ 7, "\x48\x8B\x05\x00\x00\x00\x00" }, /* mov 0(%rip), %rax */
	{ 6, "\x66\x49\x0F\x6E\xC1\x90" }, /* movq %r9, %xmm0; nop */
	{ 5, "\xF2\x0F\x59\xC8\x90" },     /* mulsd %xmm0, %xmm1; nop */
	{ 4, "\x66\x0F\xEF\xD1" },         /* pxor %xmm1, %xmm2 */
	{ 6, "\x66\x41\x0F\xFE\x56\x20" }, /* paddd 32(%r14), %xmm2 */
	{ 6, "\xF3\x41\x0F\x7F\x56\x20" }, /* movdqu %xmm2, 32(%r14) */
};

static uint64_t random_state = 1;

static uint8_t code[CODE_ROOM];
static size_t code_length;

static void add(const void *bytes, size_t length)
{
	ck_assert(code_length + length <= CODE_ROOM);
	memcpy(code + code_length, bytes, length);
	code_length += length;
}

/* `count` instructions by chance, and DEC R15; JNE to the first of them. */
static void make_loop(unsigned count)
{
	int32_t distance;

	code_length = 0;
	for (unsigned i = 0; i < count; i++) {
		size_t which = fixture_random(&random_state) % ARRAY_SIZE(pool);

		add(pool[which].bytes, pool[which].length);
	}
	add("\x49\xFF\xCF\x0F\x85", 5);
	distance = -(int32_t)(code_length + sizeof(distance));
	add(&distance, sizeof(distance));
	add("\xF4", 1); /* hlt */
}

/* Every state on the way, one by one: registers, and memory. */
static struct cpu_state states[STEPS + 1];
static uint64_t words[STEPS + 1][WORDS];

static void begin(uint64_t rounds)
{
	restart_alone(true);
	put_alone(CODE, code, code_length);
	for (unsigned i = 0; i < GPR_COUNT; i++)
		if (i != GPR_RSP && i != GPR_R14)
			alone.gpr[i] = fixture_random(&random_state);
	alone.gpr[GPR_R15] = rounds;
	for (unsigned i = 0; i < WORDS; i++)
		words[0][i] = fixture_random(&random_state);
	states[0] = alone;
}

static void go_back(void)
{
	alone = states[0];
	put_alone(alone.gpr[GPR_R14], words[0], sizeof(words[0]));
}

static void must_be_at(unsigned step)
{
	ck_assert_uint_eq(alone_outcome.executed, step);
	ck_assert_mem_eq(&alone, &states[step], sizeof(alone));
	ck_assert_mem_eq(alone_ram.memory + alone.gpr[GPR_R14], words[step], sizeof(words[step]));
}

static unsigned step_all(void)
{
	unsigned steps = 0;

	go_back();
	while (steps < STEPS) {
		run_alone(NULL, 1);
		ck_assert_uint_eq(alone_outcome.looped, 0);
		if (alone_outcome.end == NATIVE_STOPPED)
			break;
		ck_assert_uint_eq(alone_outcome.executed, 1);
		states[++steps] = alone;
		memcpy(words[steps], alone_ram.memory + alone.gpr[GPR_R14], sizeof(words[steps]));
	}
	return steps;
}

/* From the beginning to where it was after `step` instructions: at the first place alike, after as many visits. */
static void must_find(unsigned step)
{
	struct native_target target = { .rip = states[step].rip };
	unsigned first = 1, passes = 1;

	memcpy(target.gpr, states[step].gpr, sizeof(target.gpr));
	while (states[first].rip != target.rip || memcmp(states[first].gpr, target.gpr, sizeof(target.gpr)) != 0)
		passes += states[first++].rip == target.rip;
	go_back();
	run_alone(&target, STEPS);
	ck_assert_int_eq(alone_outcome.end, NATIVE_FOUND);
	ck_assert_uint_eq(alone_outcome.passes, passes);
	must_be_at(first);
}

START_TEST(like_their_instructions)
{
	enum { LOOPS = 300, TRIALS = 12 };
	uint64_t looped = 0;

	for (unsigned i = 0; i < LOOPS; i++) {
		unsigned steps;

		random_state = 1000 * i;
		make_loop(1 + (unsigned)(fixture_random(&random_state) % 20));
		begin(40 + fixture_random(&random_state) % 100);
		steps = step_all();
		ck_assert_uint_gt(steps, 100);
		for (unsigned trial = 0; trial < TRIALS; trial++) {
			must_find(1 + (unsigned)(fixture_random(&random_state) % steps));
			looped += alone_outcome.looped;
			/* And so many instructions, whoever looks for nothing. */
			unsigned limit = (unsigned)(fixture_random(&random_state) % steps);

			go_back();
			run_alone(NULL, limit);
			ck_assert_int_eq(alone_outcome.end, NATIVE_LIMIT);
			must_be_at(limit);
			looped += alone_outcome.looped;
		}
	}
	/* Most of it was. */
	ck_assert_uint_gt(looped, LOOPS * 500);
}
END_TEST

/* A round that a guest's program changes is another one. */
START_TEST(changed_code)
{
	/* 0: inc %rax; 3: jmp 0; and dec %rax */
	put_alone(CODE, "\x48\xFF\xC0\xEB\xFB", 5);
	alone.gpr[GPR_RAX] = 0;
	run_alone(NULL, 2000);
	ck_assert_uint_eq(alone.gpr[GPR_RAX], 1000);
	ck_assert_uint_gt(alone_outcome.looped, 1900);
	put_alone(CODE, "\x48\xFF\xC8", 3);
	run_alone(NULL, 2000);
	ck_assert_uint_eq(alone.gpr[GPR_RAX], 0);
	ck_assert_uint_gt(alone_outcome.looped, 1900);
	/* Elsewhere in memory, at the same address. */
	put_alone(OTHER, "\x48\xFF\xC0\xEB\xFB", 5);
	map_alone(CODE, OTHER, ALL_BITS);
	run_alone(NULL, 2000);
	ck_assert_uint_eq(alone.gpr[GPR_RAX], 1000);
}
END_TEST

/* What cannot be one piece of code is executed as ever. */
START_TEST(other_loops)
{
	static const struct {
		const char *bytes;
		uint8_t length;
	} others[] = {
		{ "\x43\xFF\x04\x16\x49\xFF\xC2\xEB\xF7", 9 },     /* incl (%r14, %r10); inc %r10 */
		{ "\xFF\x05\x0A\x00\x00\x00\xEB\xF8", 8 },         /* incl 10(%rip), among code */
		{ "\x41\x50\x41\x58\xEB\xFA", 6 },                 /* push %r8; pop %r8 */
		{ "\x48\x83\xC4\x00\xEB\xFA", 6 },                 /* add $0, %rsp */
		{ "\x48\x8D\x05\x00\x00\x00\x00\xEB\xF7", 9 },     /* lea (%rip), %rax */
		{ "\x48\xF7\xF3\xEB\xFB", 5 },                     /* div %rbx */
	};

	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		restart_alone(true);
		put_alone(CODE, others[i].bytes, others[i].length);
		alone.gpr[GPR_RBX] = UINT64_MAX;
		alone.gpr[GPR_R10] = 0;
		alone.gpr[GPR_RDX] = 0;
		run_alone(NULL, 1000);
		ck_assert_int_eq(alone_outcome.end, NATIVE_LIMIT);
		ck_assert_uint_eq(alone_outcome.executed, 1000);
		ck_assert_uint_eq(alone_outcome.looped, 0);
	}
}
END_TEST

/* All registers but RSP and R14; and that, too, which leaves none to be had. */
START_TEST(many_registers)
{
	static const uint8_t all[] =
		"\x48\x01\xC1\x48\x01\xCA\x48\x01\xD3\x48\x01\xDD\x48\x01\xEE\x48\x01\xF7"
		"\x49\x01\xF8\x4D\x01\xC1\x4D\x01\xCA\x4D\x01\xD3\x4D\x01\xDC\x4D\x01\xE5"
		"\x4D\x85\xF6";

	for (unsigned left_out = 2; left_out-- > 0;) {
		code_length = 0;
		add(all, sizeof(all) - 1 - 3 * left_out);
		add("\x49\xFF\xCF\x75", 4);
		add(&(int8_t){ (int8_t)-(int)(code_length + 1) }, 1);
		add("\xF4", 1);
		begin(100);
		for (unsigned steps = step_all(), i = 1; i < 20; i++)
			must_find(steps - i);
		ck_assert((alone_outcome.looped > 0) == (left_out > 0));
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("loops of native steps");
	TCase *tests = tcase_create("loops");

	tcase_add_checked_fixture(tests, native_alone_setup, native_alone_teardown);
	tcase_add_test(tests, like_their_instructions);
	tcase_add_test(tests, changed_code);
	tcase_add_test(tests, other_loops);
	tcase_add_test(tests, many_registers);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
