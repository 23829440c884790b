/* What native_step does not do: it stops before it, with nothing changed. How a run ends; and flags that a vCPU of
 * this host may hide. */
#include "tests/unit/native_alone.h"

#include <string.h>

START_TEST(refused_instructions)
{
	STOP("\xF4", "hlt");
	STOP("\xE6\x80", "out");
	STOP("\xEC", "in");
	STOP("\x0F\x05", "syscall");
	STOP("\xCC", "int3");
	STOP("\xCD\x80", "int");
	STOP("\x48\xCF", "iret");
	STOP("\x0F\xA2", "cpuid");
	STOP("\x0F\x31", "rdtsc");
	STOP("\x0F\x01\xF9", "rdtscp");
	STOP("\x0F\xC7\xF0", "rdrand");
	STOP("\x0F\x0B", "ud2");
	STOP("\xFB", "sti");
	STOP("\x8E\xD8", "mov");                 /* to DS */
	STOP("\x8C\xD8", "mov");                 /* from DS */
	STOP("\x0F\x20\xC0", "mov");             /* from CR0 */
	STOP("\x0F\x01\xD0", "xgetbv");
	STOP("\xD9\xE8", "fld1");
	STOP("\x0F\x6E\xC0", "movd");            /* to an MMX register */
	STOP("\xC5\xF8\x58\xC0", "vaddps");      /* AVX */
	STOP("\xC5\xF9\xEF\xC0", "vpxor");
	STOP("\x66\x0F\xF7\xC1", "maskmovdqu");
	STOP("\xF3\xA6", "cmpsb");
	STOP("\x41\xFF\x2E", "jmp");             /* far */
	STOP("\xCB", "ret");                     /* far */
	STOP("\x66\xC3", "ret");                 /* 16 bits */
	STOP("\x66\x50", "push");
	STOP("\x0F\xAE\x06", "fxsave");
	STOP("\x0F\x01\xF8", "swapgs");
	STOP("\x0F\x01\x3E", "invlpg");
	STOP("\xF0\x90", "no instruction");
	STOP("\x06", "no instruction");
	STOP("\xD7", "xlat");
	STOP("\xC8\x08\x00\x00", "enter");
	STOP("\xF3\x48\x0F\xAE\xC0", "rdfsbase");
	restart_alone(false);
	STOP("\x0F\x01\xCB", "stac"); /* SMAP is off */
	STOP("\xFB", "sti");
}
END_TEST

START_TEST(refused_states)
{
	struct cpu_state good;

	DO("\x90");
	good = alone;
#define REFUSED(field, value, why)           \
	do {                                 \
		alone = good;                \
		alone.field = value;         \
		STOP("\x90", why);           \
	} while (0)
	REFUSED(rflags, good.rflags | FLAG_TF, "traps");
	REFUSED(dr7, 0x401, "traps");
	REFUSED(interrupt_shadow, 1, "shadow");
	REFUSED(pending_interrupt, 0x80000020, "event");
	REFUSED(pending_exception, 0x8000000D, "event");
	REFUSED(nmi, 1, "event");
	REFUSED(cr0, 1, "64-bit");
	REFUSED(cr4, good.cr4 | CR4_LA57, "64-bit");
	REFUSED(cr4, good.cr4 | 1 << 22, "64-bit");
	REFUSED(efer, 0, "64-bit");
	REFUSED(segment[SEG_CS].attributes, (uint16_t)(good.segment[SEG_CS].attributes & ~0x200), "64-bit");
	alone = good;
	alone.rip = UINT64_C(0x800000000000);
	run_alone(NULL, 1);
	ck_assert_int_eq(alone_outcome.end, NATIVE_STOPPED);
	ck_assert(strstr(alone_outcome.why, "code") != NULL);
	alone = good;
	alone.cr0 |= CR0_AM;
	DO("\x90");
	alone.rflags |= FLAG_AC;
	STOP("\x90", "alignment");
}
END_TEST

#define ADDPS "\x0F\x58\xC1"

START_TEST(sse_states)
{
	struct cpu_state good;

	DO(ADDPS);
	good = alone;
	alone = good;
	alone.mxcsr = 0x1F00;
	STOP(ADDPS, "SSE");
	DO("\x90");
	alone.mxcsr = 0x21F80;
	STOP(ADDPS, "SSE");
	alone = good;
	alone.cr0 |= CR0_TS;
	STOP(ADDPS, "SSE");
	alone = good;
	alone.cr4 &= ~UINT64_C(0x200);
	STOP(ADDPS, "SSE");
	alone = good;
	/* Unaligned operands. */
	alone.gpr[GPR_R14]++;
	STOP("\x41\x0F\x58\x06", "unaligned");
	STOP("\x41\x0F\x28\x06", "unaligned");
	STOP("\x49\x0F\xC7\x0E", "unaligned"); /* cmpxchg16b */
	DO("\x41\x0F\x10\x06");
	/* LDMXCSR of what would raise exceptions, or does. */
	alone = good;
	put_alone(DATA + 0x800, "\x00\x1F\0\0", 4);
	STOP("\x41\x0F\xAE\x16", "SSE");
	put_alone(DATA + 0x800, "\x80\x1F\x01\0", 4);
	STOP("\x41\x0F\xAE\x16", "SSE");
	put_alone(DATA + 0x800, "\x80\x5F\0\0", 4);
	DO("\x41\x0F\xAE\x16");
	ck_assert_uint_eq(alone.mxcsr, 0x5F80);
}
END_TEST

static void must_divide(bool fits, const char *code, size_t length, uint64_t rdx, uint64_t rax, uint64_t rcx)
{
	alone.rip = CODE;
	alone.gpr[GPR_RDX] = rdx;
	alone.gpr[GPR_RAX] = rax;
	alone.gpr[GPR_RCX] = rcx;
	put_alone(DATA + 0x800, &rcx, sizeof(rcx));
	if (fits)
		must_do(code, length);
	else
		must_stop(code, length, "division");
}

#define DIVIDE(fits, code, rdx, rax, rcx) must_divide(fits, code, sizeof(code) - 1, rdx, rax, rcx)
#define MIN64 (UINT64_C(1) << 63)
#define DIV "\x48\xF7\xF1"
#define IDIV "\x48\xF7\xF9"
#define IDIV_MEMORY "\x49\xF7\x3E"
#define DIV32 "\xF7\xF1"
#define IDIV32 "\xF7\xF9"
#define DIV16 "\x66\xF7\xF1"
#define IDIV16 "\x66\xF7\xF9"
#define DIV_CL "\xF6\xF1"
#define DIV_CH "\xF6\xF5"
#define IDIV_CL "\xF6\xF9"

START_TEST(divisions)
{
	DIVIDE(false, DIV, 0, 5, 0);
	DIVIDE(true, DIV, 4, 0, 5);
	DIVIDE(false, DIV, 5, 0, 5);
	DIVIDE(true, DIV, UINT64_MAX - 1, UINT64_MAX, UINT64_MAX);
	DIVIDE(false, IDIV, 0, 5, 0);
	DIVIDE(true, IDIV, UINT64_MAX, MIN64, 1);
	DIVIDE(false, IDIV, UINT64_MAX, MIN64, UINT64_MAX);
	DIVIDE(true, IDIV, UINT64_MAX, MIN64 + 1, UINT64_MAX);
	DIVIDE(false, IDIV, 0, MIN64, 1);
	DIVIDE(true, IDIV, 0, MIN64, UINT64_MAX);
	DIVIDE(false, IDIV, 0, MIN64 + 1, UINT64_MAX);
	DIVIDE(true, IDIV, 0x7FFFFFFF, 0, UINT64_C(0x100000000));
	DIVIDE(false, IDIV, UINT64_C(0x80000000), 0, UINT64_C(0x100000000));
	DIVIDE(true, IDIV, (uint64_t)-0x80000000ll, 0, UINT64_C(0x100000000));
	DIVIDE(false, IDIV, (uint64_t)-0x80000000ll - 1, UINT64_MAX, UINT64_C(0x100000000) - 1);
	DIVIDE(false, IDIV, MIN64, 0, MIN64);
	DIVIDE(false, IDIV_MEMORY, 0, 5, 0);
	DIVIDE(true, IDIV_MEMORY, UINT64_MAX, (uint64_t)-5, 2);
	DIVIDE(true, DIV32, 4, 0, 5);
	DIVIDE(false, DIV32, 5, 0, 5);
	DIVIDE(false, DIV32, 4, 0, UINT64_C(0x500000000));
	DIVIDE(false, IDIV32, UINT32_MAX, 0x80000000, UINT32_MAX);
	DIVIDE(true, IDIV32, UINT32_MAX, 0x80000000, 1);
	DIVIDE(false, IDIV32, 0, 0x80000000, 1);
	DIVIDE(true, DIV16, 4, 0xFFFF, 5);
	DIVIDE(false, DIV16, 5, 0, 5);
	DIVIDE(false, IDIV16, 0xFFFF, 0x8000, 0xFFFF);
	DIVIDE(true, DIV_CL, 99, 0x4FF, 5);
	DIVIDE(false, DIV_CL, 99, 0x500, 5);
	DIVIDE(true, DIV_CH, 0, 0x4FF, 0x500);
	DIVIDE(false, DIV_CH, 0, 0x4FF, 0x005);
	DIVIDE(true, IDIV_CL, 0, 0xFF80, 1);
	DIVIDE(false, IDIV_CL, 0, 0xFF80, 0xFF);
	DIVIDE(false, IDIV_CL, 0, 0x0080, 1);
}
END_TEST

/* --- ends --- */

START_TEST(targets)
{
	/* 0: inc %rax; 3: jmp 0 */
	struct native_target target = { .rip = CODE };

	put_alone(CODE, "\x48\xFF\xC0\xEB\xFB", 5);
	run_alone(&target, 0);
	ck_assert_int_eq(alone_outcome.end, NATIVE_LIMIT);
	memcpy(target.gpr, alone.gpr, sizeof(target.gpr));
	target.gpr[GPR_RAX] = 1000;
	run_alone(&target, 1999);
	ck_assert_int_eq(alone_outcome.end, NATIVE_LIMIT);
	ck_assert_uint_eq(alone_outcome.executed, 1999);
	ck_assert_uint_eq(alone_outcome.passes, 999);
	run_alone(&target, 1);
	ck_assert_int_eq(alone_outcome.end, NATIVE_FOUND);
	ck_assert_uint_eq(alone_outcome.executed, 1);
	ck_assert_uint_eq(alone_outcome.passes, 1);
	/* It stands there: that counts only if it may. */
	run_alone(&target, 100);
	ck_assert_int_eq(alone_outcome.end, NATIVE_LIMIT);
	alone.rip = CODE;
	alone.gpr[GPR_RAX] = 1000;
	target.at_once = true;
	run_alone(&target, 100);
	ck_assert_int_eq(alone_outcome.end, NATIVE_FOUND);
	ck_assert_uint_eq(alone_outcome.executed, 0);
	/* Any register counts. */
	for (unsigned i = 0; i < GPR_COUNT; i++) {
		target.gpr[i] ^= 1;
		run_alone(&target, 0);
		ck_assert_int_eq(alone_outcome.end, NATIVE_LIMIT);
		target.gpr[i] ^= 1;
	}
	run_alone(&target, 0);
	ck_assert_int_eq(alone_outcome.end, NATIVE_FOUND);
	/* RF goes with the first instruction. */
	alone.rflags |= FLAG_RF;
	run_alone(&target, 0);
	ck_assert(alone.rflags & FLAG_RF);
	run_alone(NULL, 1);
	ck_assert(!(alone.rflags & FLAG_RF));
}
END_TEST

START_TEST(broken_strings)
{
	/* rep movsb into a page that is not there: what could be done is done. */
	alone.gpr[GPR_RSI] = DATA;
	alone.gpr[GPR_RDI] = OTHER - 5;
	alone.gpr[GPR_RCX] = 9;
	put_alone(DATA, "abcdefghi", 9);
	put_alone(CODE, "\xF3\xA4", 2);
	map_alone(OTHER, OTHER, ALL_BITS & ~P);
	run_alone(NULL, 1);
	ck_assert_int_eq(alone_outcome.end, NATIVE_STOPPED);
	ck_assert_uint_eq(alone_outcome.executed, 0);
	ck_assert_uint_eq(alone.gpr[GPR_RCX], 4);
	ck_assert_uint_eq(alone.gpr[GPR_RSI], DATA + 5);
	ck_assert_uint_eq(alone.gpr[GPR_RDI], OTHER);
	ck_assert_uint_eq(alone.rip, CODE);
	map_alone(OTHER, OTHER, ALL_BITS);
	run_alone(NULL, 1);
	ck_assert_int_eq(alone_outcome.end, NATIVE_LIMIT);
	ck_assert_mem_eq(alone_ram.memory + OTHER - 5, "abcdefghi", 9);
}
END_TEST

static uint64_t pushed(void)
{
	uint64_t word;

	must_succeed(ram_read(&alone_ram, alone.gpr[GPR_RSP], &word, sizeof(word)));
	return word;
}

static void pop_flags(uint64_t flags, const char *why)
{
	put_alone(alone.gpr[GPR_RSP], &flags, sizeof(flags));
	if (why)
		must_stop("\x9D", 1, why);
	else
		must_do("\x9D", 1);
}

START_TEST(flags)
{
	alone.rflags |= 0x8D5 | FLAG_RF;
	DO("\x9C");
	ck_assert_uint_eq(pushed(), 0x38D7);
	pop_flags(0x4402, NULL); /* NT, DF; not IOPL, which is 3 */
	ck_assert_uint_eq(alone.rflags, 0x7402);
	DO("\xFC");
	ck_assert_uint_eq(alone.rflags, 0x7002);
	DO("\xFD");
	ck_assert_uint_eq(alone.rflags, 0x7402);
	alone.gpr[GPR_RSP] -= 8;
	pop_flags(FLAG_IF, "interrupts");
	pop_flags(FLAG_TF, "traps");
	alone.rflags |= FLAG_IF;
	pop_flags(FLAG_IF, NULL);
	ck_assert_uint_eq(alone.rflags, 0x3202);
	DO("\xFA");
	ck_assert_uint_eq(alone.rflags, 0x3002);
	/* Without the privilege. */
	alone.rflags = 0x202;
	STOP("\xFA", "cli");
	alone.gpr[GPR_RSP] -= 8;
	pop_flags(0, NULL);
	ck_assert_uint_eq(alone.rflags, 0x202);
	alone.gpr[GPR_RSP] -= 8;
	pop_flags(0x3000 | FLAG_AC | 0x200000, NULL);
	ck_assert_uint_eq(alone.rflags, 0x240202);
	restart_alone(false);
	pop_flags(0x3000, NULL);
	ck_assert_uint_eq(alone.rflags, 0x3002);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("native steps that are not done");
	TCase *tests = tcase_create("alone");

	tcase_add_checked_fixture(tests, native_alone_setup, native_alone_teardown);
	tcase_add_test(tests, refused_instructions);
	tcase_add_test(tests, refused_states);
	tcase_add_test(tests, sse_states);
	tcase_add_test(tests, divisions);
	tcase_add_test(tests, targets);
	tcase_add_test(tests, broken_strings);
	tcase_add_test(tests, flags);
	tcase_set_timeout(tests, 60);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
