/* Decoded instructions of every class that matters to stops: where they lead, whether one may stop on them, and what is
 * on the stack. */
#include "tests/unit/guest_memory.h"

#include <string.h>

#include "vmm/boot_paging.h"
#include "vmm/instruction.h"

#define MIB (UINT64_C(1) << 20)
#define CODE UINT64_C(0x200000)
#define DATA UINT64_C(0x300000)
#define STACK UINT64_C(0x400100)
#define TARGET UINT64_C(0x123450)

enum {
	CF = 1,
	PF = 4,
	ZF = 0x40,
	SF = 0x80,
	OF = 0x800,
	CALL = 1,   /* what is expected of it */
	REP = 2,
	SHADOW = 4,
	STOP = 8,
	FLAGS = 16,
	ON = 32,
	PAGE_DIRECTORY = 2, /* pages behind the first table; see boot_paging.c */
	PT = 0x700000,
};

static struct ram ram;
static struct cpu_state state;

static void setup(void)
{
	guest_memory_make(&ram, 16 * MIB);
	must_succeed(boot_paging_enter(&ram, true, &state));
	state.gpr[GPR_RSP] = STACK;
}

static void teardown(void)
{
	ram_unmap(&ram);
}

static void put(uint64_t address, const void *bytes, size_t length)
{
	must_succeed(ram_write(&ram, address, bytes, length));
}

static void put_number(uint64_t address, uint64_t number)
{
	put(address, &number, sizeof(number));
}

/* --- classes --- */

static const struct kind {
	const char *name;
	const char *bytes;
	unsigned length;
	unsigned flags;
	uint64_t rcx;
	unsigned expected;
	bool leads;
	uint64_t to; /* from CODE on; 0: behind it */
	uint64_t to_address;
} kinds[] = {
	{ "add %rbx, %rax", "\x48\x01\xD8", 3, 0, 0, STOP | FLAGS, true, 0, 0 },
	{ "test %r15d, %r15d", "\x45\x85\xFF", 3, 0, 0, STOP | FLAGS, true, 0, 0 },
	{ "cmpl $8, (%rbx)", "\x83\x3B\x08", 3, 0, 0, STOP | FLAGS, true, 0, 0 },
	{ "bt $19, (%rbx)", "\x0F\xBA\x23\x13", 4, 0, 0, STOP, true, 0, 0 },
	{ "shl %cl, %rax", "\x48\xD3\xE0", 3, 0, 0, STOP, true, 0, 0 },
	{ "inc %rax", "\x48\xFF\xC0", 3, 0, 0, STOP | FLAGS, true, 0, 0 },
	{ "nop", "\x90", 1, 0, 0, 0, true, 0, 0 }, /* one byte */
	{ "pause", "\xF3\x90", 2, 0, 0, STOP, true, 0, 0 },
	{ "out %al, $0x80", "\xE6\x80", 2, 0, 0, STOP, true, 0, 0 },
	{ "rdtsc", "\x0F\x31", 2, 0, 0, STOP, true, 0, 0 },
	{ "endbr64", "\xF3\x0F\x1E\xFA", 4, 0, 0, STOP, true, 0, 0 },
	{ "lock cmpxchg16b", "\xF0\x48\x0F\xC7\x0F", 5, 0, 0, STOP, true, 0, 0 },
	/* string instructions */
	{ "movsb", "\xA4", 1, 0, 0, 0, true, 0, 0 },
	{ "movsq", "\x48\xA5", 2, 0, 0, STOP, true, 0, 0 },
	{ "rep movsb", "\xF3\xA4", 2, 0, 0, REP, true, 0, 0 },
	{ "rep stosq", "\xF3\x48\xAB", 3, 0, 0, REP, true, 0, 0 },
	{ "repne scasb", "\xF2\xAE", 2, 0, 0, REP, true, 0, 0 },
	{ "repe cmpsb", "\xF3\xA6", 2, 0, 0, REP, true, 0, 0 },
	{ "rep insb", "\xF3\x6C", 2, 0, 0, REP, true, 0, 0 },
	{ "rep outsb", "\xF3\x6E", 2, 0, 0, REP, true, 0, 0 },
	/* shadows */
	{ "sti", "\xFB", 1, 0, 0, SHADOW, true, 0, 0 },
	{ "mov %eax, %ss", "\x8E\xD0", 2, 0, 0, SHADOW, true, 0, 0 },
	{ "mov (%rax), %ss", "\x8E\x10", 2, 0, 0, SHADOW, true, 0, 0 },
	{ "mov %eax, %ds", "\x8E\xD8", 2, 0, 0, STOP, true, 0, 0 },
	{ "mov %ss, %eax", "\x8C\xD0", 2, 0, 0, STOP, true, 0, 0 },
	/* control registers */
	{ "mov %rax, %cr3", "\x0F\x22\xD8", 3, 0, 0, 0, true, 0, 0 },
	{ "mov %cr3, %rax", "\x0F\x20\xD8", 3, 0, 0, STOP, true, 0, 0 },
	{ "lmsw %ax", "\x0F\x01\xF0", 3, 0, 0, 0, true, 0, 0 },
	/* jumps and calls */
	{ "jmp +0x10", "\xEB\x10", 2, 0, 0, STOP | ON, true, 0x12, 0 },
	{ "jmp -0x100", "\xE9\x00\xFF\xFF\xFF", 5, 0, 0, STOP | ON, true, (uint64_t)-0xFB, 0 },
	{ "jmp .", "\xEB\xFE", 2, 0, 0, STOP | ON, true, 0, CODE },
	{ "jmp *%rax", "\xFF\xE0", 2, 0, 0, STOP, true, 0, TARGET },
	{ "jmp *%r12", "\x41\xFF\xE4", 3, 0, 0, STOP, true, 0, TARGET + 12 },
	{ "jmp *(%rbx,%rcx,8)", "\xFF\x24\xCB", 3, 0, 2, STOP, true, 0, TARGET + 16 },
	{ "jmp *8(%rbx)", "\xFF\x63\x08", 3, 0, 0, STOP, true, 0, TARGET + 8 },
	{ "jmp *-8(%rbx)", "\xFF\x63\xF8", 3, 0, 0, STOP, true, 0, TARGET - 8 },
	{ "jmp *0x300018", "\xFF\x24\x25\x18\x00\x30\x00", 7, 0, 0, STOP, true, 0, TARGET + 24 },
	{ "jmp *0xFFFFA(%rip)", "\xFF\x25\xFA\xFF\x0F\x00", 6, 0, 0, STOP, true, 0, TARGET },
	{ "jmp *%gs:0x10", "\x65\xFF\x24\x25\x10\x00\x00\x00", 8, 0, 0, STOP, true, 0, TARGET + 16 },
	{ "jmp *(%ebx)", "\x67\xFF\x23", 3, 0, 0, STOP, true, 0, TARGET },
	{ "jmp *(%rdi): not mapped", "\xFF\x27", 2, 0, 0, 0, false, 0, 0 },
	{ "jmp *%rsi: not canonical", "\xFF\xE6", 2, 0, 0, 0, false, 0, 0 },
	{ "data16 jmp", "\x66\xE9\x10\x00\x00\x00", 6, 0, 0, 0, false, 0, 0 },
	{ "ljmp *(%rbx)", "\xFF\x2B", 2, 0, 0, 0, false, 0, 0 },
	{ "call +0x10", "\xE8\x10\x00\x00\x00", 5, 0, 0, STOP | CALL | ON, true, 0x15, 0 },
	{ "call *%rax", "\xFF\xD0", 2, 0, 0, STOP | CALL, true, 0, TARGET },
	{ "call *8(%rbx)", "\xFF\x53\x08", 3, 0, 0, STOP | CALL, true, 0, TARGET + 8 },
	{ "lcall *(%rbx)", "\xFF\x1B", 2, 0, 0, 0, false, 0, 0 },
	{ "ret", "\xC3", 1, 0, 0, 0, true, 0, TARGET + 1 },
	{ "repz ret", "\xF3\xC3", 2, 0, 0, STOP, true, 0, TARGET + 1 },
	{ "ret $8", "\xC2\x08\x00", 3, 0, 0, STOP, true, 0, TARGET + 1 },
	{ "lret", "\xCB", 1, 0, 0, 0, false, 0, 0 },
	{ "lretq", "\x48\xCB", 2, 0, 0, 0, false, 0, 0 },
	/* conditions */
	{ "jz, zero", "\x74\x10", 2, ZF, 0, STOP, true, 0x12, 0 },
	{ "jz, not zero", "\x74\x10", 2, ~(unsigned)ZF, 0, STOP, true, 0, 0 },
	{ "jnz near, not zero", "\x0F\x85\x00\x01\x00\x00", 6, 0, 0, STOP, true, 0x106, 0 },
	{ "jnz near, zero", "\x0F\x85\x00\x01\x00\x00", 6, ZF, 0, STOP, true, 0, 0 },
	{ "jnz .", "\x75\xFE", 2, 0, 0, 0, true, 0, CODE },
	{ "jrcxz, zero", "\xE3\x10", 2, 0, 0, STOP, true, 0x12, 0 },
	{ "jrcxz, not zero", "\xE3\x10", 2, 0, UINT64_C(1) << 32, STOP, true, 0, 0 },
	{ "jecxz, zero", "\x67\xE3\x10", 3, 0, UINT64_C(1) << 32, STOP, true, 0x13, 0 },
	{ "loop, 2", "\xE2\x10", 2, 0, 2, STOP, true, 0x12, 0 },
	{ "loop, 1", "\xE2\x10", 2, 0, 1, STOP, true, 0, 0 },
	{ "loop, 0", "\xE2\x10", 2, 0, 0, STOP, true, 0x12, 0 },
	{ "loop .", "\xE2\xFE", 2, 0, 2, 0, true, 0, CODE },
	{ "loope, zero", "\xE1\x10", 2, ZF, 2, STOP, true, 0x12, 0 },
	{ "loope, not zero", "\xE1\x10", 2, 0, 2, STOP, true, 0, 0 },
	{ "loopne, not zero", "\xE0\x10", 2, 0, 2, STOP, true, 0x12, 0 },
	{ "loopne, zero", "\xE0\x10", 2, ZF, 2, STOP, true, 0, 0 },
	/* those that lead nobody knows where */
	{ "syscall", "\x0F\x05", 2, 0, 0, 0, false, 0, 0 },
	{ "sysretq", "\x48\x0F\x07", 3, 0, 0, 0, false, 0, 0 },
	{ "sysenter", "\x0F\x34", 2, 0, 0, 0, false, 0, 0 },
	{ "iretq", "\x48\xCF", 2, 0, 0, 0, false, 0, 0 },
	{ "int $0x80", "\xCD\x80", 2, 0, 0, 0, false, 0, 0 },
	{ "int3", "\xCC", 1, 0, 0, 0, false, 0, 0 },
	{ "hlt", "\xF4", 1, 0, 0, 0, false, 0, 0 },
	{ "ud2", "\x0F\x0B", 2, 0, 0, 0, false, 0, 0 },
	{ "xbegin", "\xC7\xF8\x10\x00\x00\x00", 6, 0, 0, 0, false, 0, 0 },
};

START_TEST(classes)
{
	const struct kind *kind = &kinds[_i];
	struct instruction instruction;

	put(CODE, kind->bytes, kind->length);
	for (uint64_t i = 0; i < 8; i++)
		put_number(DATA + 8 * i, TARGET + 8 * i);
	put_number(DATA - 8, TARGET - 8);
	put_number(STACK, TARGET + 1);
	state.rflags = kind->flags;
	state.gpr[GPR_RAX] = TARGET;
	state.gpr[GPR_RBX] = DATA;
	state.gpr[GPR_RCX] = kind->rcx;
	state.gpr[GPR_RDI] = UINT64_C(0x8000000000);
	state.gpr[GPR_RSI] = UINT64_C(0x800000000000);
	state.gpr[GPR_R12] = TARGET + 12;
	state.segment[SEG_GS].base = DATA;
	ck_assert_msg(instruction_decode(&ram, &state, CODE, &instruction), "%s is none", kind->name);
	unsigned is = (instruction.call ? CALL : 0u) | (instruction.repeated_string ? REP : 0u) |
		      (instruction.opens_shadow ? SHADOW : 0u) | (instruction.may_stop ? STOP : 0u) |
		      (instruction.sets_flags ? FLAGS : 0u) | (instruction.leads_on ? ON : 0u);

	ck_assert_msg(instruction.length == kind->length, "%s has %u bytes", kind->name, instruction.length);
	ck_assert_msg(is == kind->expected, "%s is %#x, not %#x", kind->name, is, kind->expected);
	ck_assert_msg(instruction.has_successor == kind->leads, "%s: %s", kind->name,
		      kind->leads ? "leads nowhere" : "leads somewhere");
	uint64_t to = kind->to_address ? kind->to_address : CODE + (kind->to ? kind->to : kind->length);

	if (kind->leads)
		ck_assert_msg(instruction.successor == to, "%s leads to %#jx", kind->name,
			      (uintmax_t)instruction.successor);
	ck_assert_mem_eq(instruction.bytes, kind->bytes, kind->length);
	ck_assert_uint_eq(instruction.linear, CODE);
}
END_TEST

/* What the processor itself does with these flags decides. */
static bool host_takes(unsigned condition, uint64_t flags)
{
	uint8_t taken[16]; /* cppcheck-suppress constVariable; the assembler code writes it */

	__asm__ volatile("lea -128(%%rsp), %%rsp\n pushfq\n pushq %1\n popfq\n"
			 "seto 0(%0)\n setno 1(%0)\n setb 2(%0)\n setnb 3(%0)\n"
			 "setz 4(%0)\n setnz 5(%0)\n setbe 6(%0)\n setnbe 7(%0)\n"
			 "sets 8(%0)\n setns 9(%0)\n setp 10(%0)\n setnp 11(%0)\n"
			 "setl 12(%0)\n setnl 13(%0)\n setle 14(%0)\n setnle 15(%0)\n"
			 "popfq\n lea 128(%%rsp), %%rsp" /* the red zone below RSP is the compiler's */
			 :
			 : "r"(taken), "r"(flags)
			 : "memory", "cc");
	return taken[condition];
}

START_TEST(conditions)
{
	static const unsigned flags[] = { CF, PF, ZF, SF, OF };
	struct instruction instruction;

	for (unsigned set = 0; set < 1u << ARRAY_SIZE(flags); set++) {
		state.rflags = 0x202;
		for (unsigned i = 0; i < ARRAY_SIZE(flags); i++)
			state.rflags |= set >> i & 1 ? flags[i] : 0;
		for (unsigned condition = 0; condition < 16; condition++) {
			const uint8_t jump[] = { (uint8_t)(0x70 + condition), 0x20 };
			uint64_t to = CODE + (host_takes(condition, state.rflags) ? 0x22 : 2);

			put(CODE, jump, sizeof(jump));
			ck_assert(instruction_decode(&ram, &state, CODE, &instruction));
			ck_assert_msg(instruction.has_successor && instruction.successor == to,
				      "condition %u with flags %#jx", condition, (uintmax_t)state.rflags);
		}
	}
}
END_TEST

/* --- modes --- */

static void set_code(uint16_t attributes, uint64_t base)
{
	state.segment[SEG_CS].attributes = attributes;
	state.segment[SEG_CS].base = base;
}

static void leads_to(const char *bytes, size_t length, uint64_t linear)
{
	struct instruction instruction;

	put(CODE, bytes, length);
	ck_assert(instruction_decode(&ram, &state, CODE, &instruction));
	ck_assert_uint_eq(instruction.length, length);
	ck_assert(instruction.has_successor);
	ck_assert_msg(instruction.successor == linear, "it leads to %#jx", (uintmax_t)instruction.successor);
}

START_TEST(compatibility_mode)
{
	state.gpr[GPR_RAX] = UINT64_C(0xFFFFFFFF00000000) | 0x3000;
	set_code(0xC9B, 0x10000); /* 32 bits */
	leads_to("\xB8\x01\x00\x00\x00", 5, CODE + 5);
	leads_to("\x48", 1, CODE + 1); /* dec %eax: no REX here */
	leads_to("\xFF\xE0", 2, 0x13000);
	leads_to("\xE9\x00\x00\x00\x80", 5, (CODE + 5 + 0x80000000) & 0xFFFFFFFF);
	leads_to("\x66\xE9\x10\x00", 4, 0x10000 + ((CODE - 0x10000 + 4 + 0x10) & 0xFFFF));
	put_number(STACK, UINT64_C(0x99999999) << 32 | 0x5000);
	leads_to("\xC3", 1, 0x15000);
	state.segment[SEG_SS].base = 0x100;
	put_number(STACK + 0x100, 0x6000);
	leads_to("\xC3", 1, 0x16000);
	state.rip = 0x7000;
	ck_assert_uint_eq(instruction_pointer(&state), 0x17000);
}
END_TEST

START_TEST(sixteen_bits)
{
	set_code(0x9B, CODE - 0xFFF0);
	state.segment[SEG_SS].attributes = 0x93;
	state.gpr[GPR_RSP] = 0x12340000 | STACK % 0x10000;
	put_number(STACK % 0x10000, 0x99991234);
	leads_to("\xB8\x01\x00", 3, CODE + 3);
	leads_to("\xC3", 1, CODE - 0xFFF0 + 0x1234);
	leads_to("\xEB\x20", 2, CODE - 0xFFF0 + 0x12); /* around the end of the segment */
	state.efer = 0; /* the L bit means nothing outside of long mode */
	state.cr0 = 0x11;
	set_code(0x29B, CODE - 0xFFF0);
	leads_to("\xEB\x20", 2, CODE - 0xFFF0 + 0x12);
	leads_to("\x66\xB8\x01\x00\x00\x00", 6, CODE + 6);
}
END_TEST

/* --- what cannot be read --- */

START_TEST(not_readable)
{
	struct instruction instruction;
	const uint64_t table = state.cr3 + (uint64_t)PAGE_DIRECTORY * RAM_PAGE_SIZE;

	/* 2 MiB to 4 MiB by small pages, of which the second is not there. */
	for (uint64_t i = 0; i < 512; i++)
		put_number(PT + 8 * i, i == 1 ? 0 : (CODE + i * RAM_PAGE_SIZE) | 7);
	put_number(table + 8, PT | 7);
	ck_assert(!instruction_decode(&ram, &state, CODE + RAM_PAGE_SIZE, &instruction));
	put(CODE + RAM_PAGE_SIZE - 3, "\x48\x01\xD8", 3);
	ck_assert(instruction_decode(&ram, &state, CODE + RAM_PAGE_SIZE - 3, &instruction));
	ck_assert(instruction.may_stop);
	put(CODE + RAM_PAGE_SIZE - 2, "\x48\x01", 2); /* its third byte is missing */
	ck_assert(!instruction_decode(&ram, &state, CODE + RAM_PAGE_SIZE - 2, &instruction));
	/* Its first two bytes lie in two pages. */
	put(CODE + 3 * RAM_PAGE_SIZE - 1, "\x48\x01\xD8", 3);
	ck_assert(instruction_decode(&ram, &state, CODE + 3 * RAM_PAGE_SIZE - 1, &instruction));
	ck_assert(!instruction.may_stop);
	ck_assert_uint_eq(instruction.successor, CODE + 3 * RAM_PAGE_SIZE + 2);
	/* Beyond memory, at the edges of what is canonical, and bytes that are no instruction. */
	ck_assert(!instruction_decode(&ram, &state, 0xF0000000, &instruction));
	ck_assert(!instruction_decode(&ram, &state, UINT64_C(0x7FFFFFFFFFFF), &instruction));
	ck_assert(!instruction_decode(&ram, &state, UINT64_C(0x800000200000), &instruction));
	ck_assert(!instruction_decode(&ram, &state, UINT64_MAX, &instruction));
	put(CODE, "\x06", 1);
	ck_assert(!instruction_decode(&ram, &state, CODE, &instruction));
	put(CODE, "\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x90", 16);
	ck_assert(!instruction_decode(&ram, &state, CODE, &instruction));
	/* RET with a stack that is not there. */
	put(CODE, "\xC2\x00\x00", 3);
	state.gpr[GPR_RSP] = CODE + 2 * RAM_PAGE_SIZE - 8;
	ck_assert(instruction_decode(&ram, &state, CODE, &instruction));
	ck_assert(!instruction.has_successor && !instruction.may_stop);
}
END_TEST

/* A place that can be in another instruction's shadow is none to stop at. */
START_TEST(behind_shadows)
{
	static const struct {
		const char *before;
		bool may_stop;
	} cases[] = {
		{ "\x90\xFB", false }, { "\x8E\xD0", false }, { "\x8E\xD7", false }, { "\x8E\xD8", true },
		{ "\x8C\xD0", true },  { "\x90\x17", true },  { "\x90\x90", true },
	};
	struct instruction instruction;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		put(CODE, cases[i].before, 2);
		put(CODE + 2, "\x48\x01\xD8", 3);
		ck_assert(instruction_decode(&ram, &state, CODE + 2, &instruction));
		ck_assert_msg(instruction.may_stop == cases[i].may_stop, "case %zu", i);
	}
}
END_TEST

/* Whatever bytes there are, nothing goes astray. */
START_TEST(random_bytes)
{
	static const uint16_t attributes[] = { 0xAFB, 0xC9B, 0x9B };
	uint64_t seed = 7, found[4];
	struct instruction instruction;
	unsigned decoded = 0;

	for (unsigned i = 0; i < 30000; i++) {
		uint64_t bytes[2] = { fixture_random(&seed), fixture_random(&seed) };

		put(CODE, bytes, sizeof(bytes));
		set_code(attributes[i % ARRAY_SIZE(attributes)], i % ARRAY_SIZE(attributes) ? i : 0);
		for (unsigned g = 0; g < GPR_COUNT; g++)
			state.gpr[g] = i & 1 ? fixture_random(&seed) : DATA + g;
		if (instruction_decode(&ram, &state, CODE, &instruction)) {
			decoded++;
			ck_assert_uint_ge(instruction.length, 1);
			ck_assert_uint_le(instruction.length, INSTRUCTION_MAX);
			ck_assert(!instruction.may_stop || instruction.has_successor);
		}
		ck_assert_uint_le(instruction_return_addresses(&ram, &state, found, 4), 4);
	}
	ck_assert_uint_gt(decoded, 10000);
}
END_TEST

/* --- the stack --- */

#define SITES 4
/* Calls of all lengths, and what must be found behind them. */
static const struct {
	const char *bytes;
	unsigned length;
} sites[SITES] = {
	{ "\xE8\x00\x10\x00\x00", 5 },
	{ "\xFF\xD0", 2 },
	{ "\xFF\x94\xC3\x00\x10\x00\x00", 7 },
	{ "\x41\xFF\x94\xC3\x00\x10\x00\x00", 8 },
};

static uint64_t site(unsigned i)
{
	uint64_t at = CODE + 0x100 * (i + 1);

	put(at, sites[i].bytes, sites[i].length);
	return at + sites[i].length;
}

/* The page of all code is as a kernel maps it. */
static void make_code_constant(void)
{
	put_number(state.cr3 + (uint64_t)PAGE_DIRECTORY * RAM_PAGE_SIZE + 8, CODE | 0xE5);
}

/* Calls nested three deep, among arguments, pointers to data, copies, and pointers into code that were never called. */
START_TEST(return_addresses)
{
	uint64_t found[8], seed = 3;
	uint64_t inner = site(0), middle = site(1), outer = site(2), outermost = site(3);

	make_code_constant();
	for (unsigned i = 0; i < INSTRUCTION_STACK_WORDS; i++)
		put_number(STACK + 8 * i, fixture_random(&seed));
	put_number(STACK, 0);
	put_number(STACK + 8, CODE + 0x100);  /* the call itself */
	put_number(STACK + 16, inner - 1);
	put_number(STACK + 24, inner);
	put_number(STACK + 32, DATA);
	put_number(STACK + 40, middle);
	put_number(STACK + 48, inner);        /* recursion */
	put_number(STACK + 56, UINT64_C(1) << 63 | outer);
	put_number(STACK + 400, outer);
	put_number(STACK + 8 * (INSTRUCTION_STACK_WORDS - 1), outermost);
	ck_assert_uint_eq(instruction_return_addresses(&ram, &state, found, ARRAY_SIZE(found)), 4);
	ck_assert_uint_eq(found[0], inner);
	ck_assert_uint_eq(found[1], middle);
	ck_assert_uint_eq(found[2], outer);
	ck_assert_uint_eq(found[3], outermost);
	ck_assert_uint_eq(instruction_return_addresses(&ram, &state, found, 2), 2);
	ck_assert_uint_eq(found[1], middle);
	/* One word too far. */
	state.gpr[GPR_RSP] -= 8;
	put_number(STACK - 8, 0);
	ck_assert_uint_eq(instruction_return_addresses(&ram, &state, found, ARRAY_SIZE(found)), 3);
}
END_TEST

/* Where what can be executed can be written, too, it may be data: a call must lead to where the guest is, and the next
 * one to that call's function. */
START_TEST(return_addresses_in_writable_code)
{
	static const struct {
		int64_t inner, outer; /* where calls lead, from RIP and from the inner one */
		size_t found;
	} cases[] = {
		{ 0, 0, 2 }, { -100, -0xFFFF, 2 }, { 1, 0, 0 }, { -0x10000, 0, 0 }, { 0, 1, 1 }, { 0, -0x10000, 1 },
	};
	uint64_t found[8], inner = CODE + 0x20000, outer = CODE + 0x40000, indirect = site(1);

	state.rip = CODE;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const int32_t leads[] = { (int32_t)(cases[i].inner - 0x20000), (int32_t)(cases[i].outer - 0x20000) };

		put(inner - 5, "\xE8", 1);
		put(inner - 4, &leads[0], 4);
		put(outer - 5, "\xE8", 1);
		put(outer - 4, &leads[1], 4);
		put_number(STACK, indirect);
		put_number(STACK + 8, inner);
		put_number(STACK + 16, outer);
		ck_assert_uint_eq(instruction_return_addresses(&ram, &state, found, 8), cases[i].found);
		if (cases[i].found > 0)
			ck_assert_uint_eq(found[0], inner);
	}
}
END_TEST

START_TEST(return_addresses_that_are_none)
{
	uint64_t found[8], inner = site(0);
	const uint64_t entry = state.cr3 + (uint64_t)PAGE_DIRECTORY * RAM_PAGE_SIZE + 8;

	make_code_constant();
	put_number(STACK, inner);
	ck_assert_uint_eq(instruction_return_addresses(&ram, &state, found, 8), 1);
	ck_assert_uint_eq(instruction_return_addresses(&ram, &state, found, 0), 0);
	/* Code that must not be executed, where such bits count. */
	put_number(entry, CODE | 0xE5 | UINT64_C(1) << 63);
	ck_assert_uint_eq(instruction_return_addresses(&ram, &state, found, 8), 0);
	state.efer &= ~(UINT64_C(1) << 11);
	ck_assert_uint_eq(instruction_return_addresses(&ram, &state, found, 8), 1);
	/* A stack that is not there, or ends. */
	state.gpr[GPR_RSP] = UINT64_C(0x8000000000);
	ck_assert_uint_eq(instruction_return_addresses(&ram, &state, found, 8), 0);
	state.gpr[GPR_RSP] = 16 * MIB - 8;
	put_number(16 * MIB - 8, inner);
	ck_assert_uint_eq(instruction_return_addresses(&ram, &state, found, 8), 1);
	state.gpr[GPR_RSP] = UINT64_MAX - 7;
	ck_assert_uint_eq(instruction_return_addresses(&ram, &state, found, 8), 0);
}
END_TEST

/* Behind a jump there is code only where a branch leads. */
START_TEST(loop_ends)
{
	static const struct {
		const char *code;
		unsigned length;
		size_t count;
		unsigned ends[3]; /* offsets */
	} cases[] = {
		{ "\x90\x75\xFD\x90\x75\xFD\xC3\x75\xFD", 9, 2, { 3, 6 } },     /* jnz -3, jnz -3, ret, jnz -3 */
		{ "\x74\x02\xEB\xFC\x75\xFE\xC3", 7, 2, { 4, 6 } },               /* jz 1f, jmp -4, 1: jnz -2 */
		{ "\x74\x01\xEB\xFC\x75\xFE\xC3", 7, 0, { 0 } },                 /* jz into the jump, jmp -4 */
		{ "\xEB\x00\x75\xFD\xC3", 5, 1, { 4 } },                           /* jmp 1f, 1: jnz -3 */
		{ "\xFF\xE0\x75\xFD\xC3", 5, 0, { 0 } },                           /* jmp *%rax */
	};

	for (unsigned base = 0; base < 2; base++) {
		state.rip = CODE;
		if (base) {
			set_code(0xC9B, 0x1000); /* 32 bits */
			state.rip = CODE - 0x1000;
		}
		for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
			struct loop_end found[8];
			size_t count;

			put(CODE, cases[i].code, cases[i].length);
			count = instruction_loop_ends(&ram, &state, CODE, found, ARRAY_SIZE(found));
			ck_assert_msg(count == cases[i].count, "case %zu: %zu", i, count);
			for (size_t k = 0; k < count; k++)
				ck_assert_uint_eq(found[k].linear, CODE + cases[i].ends[k]);
		}
	}
}
END_TEST

/* 1: nop, dec %eax, jnz 1b; bt %eax,%eax, jnz 1b; cmp %eax,%eax, nop, jnz 1b, ret. */
START_TEST(loop_ends_with_known_flags)
{
	static const bool known[] = { true, false, false };
	struct loop_end found[8];

	state.rip = CODE;
	put(CODE, "\x90\xFF\xC8\x75\xFB\x0F\xA3\xC0\x75\xF6\x39\xC0\x90\x75\xF1\xC3", 16);
	ck_assert_uint_eq(instruction_loop_ends(&ram, &state, CODE, found, ARRAY_SIZE(found)), ARRAY_SIZE(known));
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		ck_assert_int_eq(found[i].flags_known, known[i]);
	/* From the branch on nobody knows. */
	ck_assert_uint_eq(instruction_loop_ends(&ram, &state, CODE + 3, found, ARRAY_SIZE(found)), ARRAY_SIZE(known));
	ck_assert(!found[0].flags_known);
}
END_TEST

START_TEST(return_addresses_of_32_bits)
{
	uint64_t found[8], inner = site(0);

	make_code_constant();
	set_code(0xC9B, 0x1000);
	put_number(STACK, UINT64_C(0x77777777) << 32);
	put_number(STACK + 8, inner - 0x1000);
	ck_assert_uint_eq(instruction_return_addresses(&ram, &state, found, 8), 1);
	ck_assert_uint_eq(found[0], inner);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("instruction");
	TCase *tests = tcase_create("decoding");

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_loop_test(tests, classes, 0, (int)ARRAY_SIZE(kinds));
	tcase_add_test(tests, conditions);
	tcase_add_test(tests, compatibility_mode);
	tcase_add_test(tests, sixteen_bits);
	tcase_add_test(tests, not_readable);
	tcase_add_test(tests, behind_shadows);
	tcase_add_test(tests, random_bytes);
	tcase_add_test(tests, return_addresses);
	tcase_add_test(tests, return_addresses_in_writable_code);
	tcase_add_test(tests, return_addresses_that_are_none);
	tcase_add_test(tests, return_addresses_of_32_bits);
	tcase_add_test(tests, loop_ends);
	tcase_add_test(tests, loop_ends_with_known_flags);
	tcase_set_timeout(tests, 60);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
