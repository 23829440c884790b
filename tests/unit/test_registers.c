/* THE register table: complete, without overlaps; canonical states; flips and comparisons by name. */
#include "tests/unit/fixture.h"

#include <string.h>

#include "vmm/register_nearest.h"
#include "vmm/registers.h"

/* Bytes of struct cpu_state that belong to no register: behind each x87 register. */
static bool is_reserved(size_t byte)
{
	size_t first = offsetof(struct cpu_state, st);

	return byte >= first && byte < first + sizeof(((struct cpu_state *)0)->st) && (byte - first) % 16 >= 10;
}

START_TEST(covers_every_byte_once)
{
	uint8_t owners[sizeof(struct cpu_state)] = { 0 };
	size_t end = 0;

	for (size_t i = 0; i < register_count; i++) {
		const struct register_info *info = &register_table[i];

		ck_assert_uint_le((size_t)info->offset + info->width, sizeof(struct cpu_state));
		ck_assert_msg(info->offset >= end, "%s is not in the order of the structure", info->name);
		end = (size_t)info->offset + info->width;
		for (size_t byte = info->offset; byte < end; byte++)
			owners[byte]++;
		ck_assert(info->width == 2 || info->width == 4 || info->width == 8 || info->width == 10 ||
			  info->width == 16);
		/* A mask has a reason, and is no wider than the register. */
		if (info->mask != UINT64_MAX) {
			ck_assert_ptr_nonnull(info->why);
			if (info->width < 8)
				ck_assert_uint_eq(info->mask >> (8 * info->width), 0);
		}
		ck_assert_uint_ne(info->mask, 0);
	}
	for (size_t byte = 0; byte < sizeof(owners); byte++)
		ck_assert_msg(owners[byte] == !is_reserved(byte), "byte %zu has %u owners", byte, owners[byte]);
}
END_TEST

START_TEST(names_are_unique)
{
	for (size_t i = 0; i < register_count; i++)
		ck_assert_msg(register_find(register_table[i].name) == &register_table[i], "%s",
			      register_table[i].name);
	ck_assert_ptr_null(register_find(""));
	ck_assert_ptr_null(register_find("RAX"));
	ck_assert_ptr_null(register_find("st8"));
	ck_assert_ptr_null(register_find("rax "));
}
END_TEST

/* Names against members, for those where a mistake would be easy. */
START_TEST(names_are_right)
{
	struct cpu_state state = { 0 };

	state.gpr[GPR_RDX] = 1;
	state.segment[SEG_TR].selector = 2;
	state.segment[SEG_ES].attributes = 3;
	state.msr[CPU_MSR_SYSENTER_EIP] = 4;
	state.idt_limit = 5;
	state.dr7 = 6;
	state.exception_code = 7;
	state.ftw = 8;
	memset(state.st[7], 0x99, 10);
	memset(state.xmm[15], 0xAA, 16);
	const struct {
		const char *name;
		uint64_t value;
	} expected[] = {
		{ "rdx", 1 },           { "tr.selector", 2 }, { "es.attributes", 3 },
		{ "sysenter_eip", 4 },  { "idtr.limit", 5 },  { "dr7", 6 },
		{ "exception_code", 7 }, { "ftw", 8 },         { "st7", 0x9999999999999999 },
		{ "xmm15", 0xAAAAAAAAAAAAAAAA }, { "rax", 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
		const struct register_info *info = register_find(expected[i].name);

		ck_assert_ptr_nonnull(info);
		ck_assert_uint_eq(register_value(&state, info), expected[i].value);
	}
	/* AMD64 APM vol. 2, appendix A. */
	ck_assert_uint_eq(cpu_msr_numbers[CPU_MSR_STAR], 0xC0000081);
	ck_assert_uint_eq(cpu_msr_numbers[CPU_MSR_LSTAR], 0xC0000082);
	ck_assert_uint_eq(cpu_msr_numbers[CPU_MSR_CSTAR], 0xC0000083);
	ck_assert_uint_eq(cpu_msr_numbers[CPU_MSR_SFMASK], 0xC0000084);
	ck_assert_uint_eq(cpu_msr_numbers[CPU_MSR_KERNEL_GS_BASE], 0xC0000102);
	ck_assert_uint_eq(cpu_msr_numbers[CPU_MSR_SYSENTER_CS], 0x174);
	ck_assert_uint_eq(cpu_msr_numbers[CPU_MSR_SYSENTER_ESP], 0x175);
	ck_assert_uint_eq(cpu_msr_numbers[CPU_MSR_SYSENTER_EIP], 0x176);
	ck_assert_uint_eq(cpu_msr_numbers[CPU_MSR_PAT], 0x277);
}
END_TEST

START_TEST(set_and_get)
{
	for (size_t i = 0; i < register_count; i++) {
		const struct register_info *info = &register_table[i];
		struct cpu_state state = { 0 };
		uint64_t ones = info->width >= 8 ? UINT64_MAX : (UINT64_C(1) << (8 * info->width)) - 1;
		const uint8_t *bytes = (const uint8_t *)&state;

		register_set_value(&state, info, UINT64_MAX);
		ck_assert_uint_eq(register_value(&state, info), ones);
		size_t set = 0;

		for (size_t byte = 0; byte < sizeof(state); byte++)
			set += bytes[byte] != 0;
		ck_assert_uint_eq(set, info->width < 8 ? info->width : 8);
	}
}
END_TEST

struct differences {
	size_t count;
	const struct register_info *last;
	unsigned bits;
};

static void note(void *context, const struct register_info *info, const uint8_t *a, const uint8_t *b)
{
	struct differences *differences = context;

	differences->count++;
	differences->last = info;
	for (size_t i = 0; i < info->width; i++)
		differences->bits += (unsigned)__builtin_popcount((unsigned)(a[i] ^ b[i]));
}

/* Every bit of every register: a flip is one bit, is found under its name, and a second one undoes it. */
START_TEST(flip_and_compare)
{
	const struct register_info *info = &register_table[_i];
	struct cpu_state original = { 0 };
	uint64_t seed = (uint64_t)_i + 1;

	for (size_t i = 0; i < sizeof(original); i++)
		((uint8_t *)&original)[i] = (uint8_t)(fixture_random(&seed) >> 32);
	struct cpu_state state = original;
	unsigned flipped = 0;

	ck_assert_uint_eq(registers_compare(&original, &state, NULL, NULL), 0);
	for (unsigned bit = 0; bit < 8u * info->width; bit++) {
		struct differences found = { 0 };
		bool lawful = bit >= 64 || (info->mask >> bit & 1);

		ck_assert_int_eq(register_flip(&state, info, bit), lawful);
		ck_assert_uint_eq(registers_compare(&original, &state, note, &found), lawful);
		if (!lawful) {
			ck_assert_mem_eq(&state, &original, sizeof(state));
			continue;
		}
		ck_assert_ptr_eq(found.last, info);
		ck_assert_uint_eq(found.bits, 1);
		ck_assert(register_flip(&state, info, bit));
		ck_assert_mem_eq(&state, &original, sizeof(state));
		flipped++;
	}
	ck_assert_uint_gt(flipped, 0);
	const unsigned beyond[] = { 8u * info->width, 8u * info->width + 1, 1000000, UINT32_MAX };

	for (size_t i = 0; i < ARRAY_SIZE(beyond); i++)
		ck_assert(!register_flip(&state, info, beyond[i]));
	ck_assert_mem_eq(&state, &original, sizeof(state));
}
END_TEST

START_TEST(all_differences_are_told)
{
	struct cpu_state a, b;
	struct differences found = { 0 };

	memset(&a, 0, sizeof(a));
	memset(&b, 0xFF, sizeof(b));
	ck_assert_uint_eq(registers_compare(&a, &b, note, &found), register_count);
	ck_assert_uint_eq(found.count, register_count);
	/* Reserved bytes are no difference. */
	b = a;
	b.st[3][12] = 1;
	ck_assert_uint_eq(registers_compare(&a, &b, NULL, NULL), 0);
}
END_TEST

/* By what it takes to change them. */
START_TEST(equal_but_for_some)
{
	static const struct {
		const char *name;
		bool privileged, set_up;
	} cases[] = {
		{ "rax", true, true }, { "xmm3", true, true }, { "fs.base", true, true }, { "cr2", true, true },
		{ "cr3", false, true }, { "kernel_gs_base", false, true }, { "dr7", false, true },
		{ "sysenter_cs", false, true },
		{ "lstar", false, false }, { "efer", false, false }, { "pat", false, false },
	};
	struct cpu_state a = { .rip = 7 }, b;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		b = a;
		ck_assert(register_flip(&b, register_find(cases[i].name), 5));
		ck_assert(!registers_equal_if(&a, &b, CHANGE_ANY));
		ck_assert_int_eq(registers_equal_if(&a, &b, CHANGE_PRIVILEGED), cases[i].privileged);
		ck_assert_int_eq(registers_equal_if(&a, &b, CHANGE_SET_UP), cases[i].set_up);
	}
	ck_assert(registers_equal_if(&a, &a, CHANGE_ANY));
}
END_TEST

START_TEST(canonical_is_idempotent)
{
	uint64_t seed = 7;

	for (unsigned round = 0; round < 2000; round++) {
		struct cpu_state once, twice;

		for (size_t i = 0; i < sizeof(once); i++)
			((uint8_t *)&once)[i] = (uint8_t)(fixture_random(&seed) >> 32);
		registers_canonicalise(&once);
		twice = once;
		registers_canonicalise(&twice);
		if (memcmp(&once, &twice, sizeof(once)) != 0)
			ck_abort_msg("not idempotent in round %u", round);
		for (size_t i = 0; i < register_count; i++)
			if (register_value(&once, &register_table[i]) & ~register_table[i].mask)
				ck_abort_msg("%s keeps what means nothing", register_table[i].name);
	}
}
END_TEST

START_TEST(canonical_forms)
{
	struct cpu_state a = { 0 }, b;

	/* What a guest cannot see is the same afterwards ... */
	a.segment[SEG_DS] = (struct cpu_segment){ 0x1000, 0xFFFFFFFF, 0x18, 0xC92 };
	a.segment[SEG_TR] = (struct cpu_segment){ 0x2000, 0x67, 0x40, 0x089 };
	a.segment[SEG_LDTR] = (struct cpu_segment){ 0x3000, 0xFFFF, 0x28, 0x002 };
	a.segment[SEG_FS] = (struct cpu_segment){ 0x4000, 0xFFFF, 0, 0 };
	a.fip = 0x1234;
	a.fdp = 0x5678;
	a.fop = 0x111;
	a.pending_interrupt = 0x20;
	a.pending_exception = 14;
	a.exception_code = 2;
	a.st[0][15] = 9;
	a.rflags = 0xFFFFFFFF00000002;
	b = a;
	b.segment[SEG_DS].attributes = 0x493; /* accessed, without granularity */
	b.segment[SEG_TR].attributes = 0x08B;
	b.segment[SEG_LDTR] = (struct cpu_segment){ 0, 0, 0x28, 0 };
	b.segment[SEG_FS].limit = 0;
	b.fip = b.fdp = b.fop = 0;
	b.pending_interrupt = b.pending_exception = b.exception_code = 0;
	b.st[0][15] = 0;
	b.rflags = 2;
	registers_canonicalise(&a);
	registers_canonicalise(&b);
	ck_assert_mem_eq(&a, &b, sizeof(a));
	ck_assert_uint_eq(a.segment[SEG_DS].attributes, 0xC93);
	ck_assert_uint_eq(a.segment[SEG_TR].attributes, 0x08B);
	ck_assert_uint_eq(a.segment[SEG_FS].base, 0x4000);
	ck_assert_uint_eq(a.segment[SEG_LDTR].selector, 0x28);

	/* ... and what it can see stays. */
	a.fsw = 0x80;
	a.fip = 0x1234;
	a.fdp = 0x5678;
	a.fop = 0x111;
	a.pending_interrupt = 0x20 | CPU_EVENT_VALID;
	a.pending_exception = 14 | CPU_EVENT_HAS_CODE | CPU_EVENT_VALID;
	a.exception_code = 2;
	b = a;
	registers_canonicalise(&a);
	ck_assert_mem_eq(&a, &b, sizeof(a));
	/* An error code that is not valid means nothing. */
	a.pending_exception = 6 | CPU_EVENT_VALID;
	registers_canonicalise(&a);
	ck_assert_uint_eq(a.exception_code, 0);
	ck_assert_uint_eq(a.pending_exception, 6 | CPU_EVENT_VALID);
}
END_TEST

START_TEST(the_nearest_are_told)
{
	const uint64_t sought[GPR_COUNT] = { [GPR_RAX] = 1, [GPR_R15] = 0x8000000000000000 };
	struct register_nearest nearest = { .differing = 0 };
	uint64_t gpr[GPR_COUNT] = { 0 };
	char text[1024];

	register_nearest_tell(&nearest, sought, text, sizeof(text));
	ck_assert_str_eq(text, "");
	register_nearest_note(&nearest, gpr, sought);
	gpr[GPR_RAX] = 1;
	register_nearest_note(&nearest, gpr, sought);
	/* No nearer, and those that are sought themselves. */
	gpr[GPR_R15] = 7;
	register_nearest_note(&nearest, gpr, sought);
	register_nearest_note(&nearest, sought, sought);
	register_nearest_tell(&nearest, sought, text, sizeof(text));
	ck_assert_str_eq(text, "r15 0x0 not 0x8000000000000000");

	nearest.differing = 0;
	memset(gpr, 0xFF, sizeof(gpr));
	register_nearest_note(&nearest, gpr, sought);
	register_nearest_tell(&nearest, sought, text, sizeof(text));
	ck_assert_ptr_nonnull(strstr(text, "rax 0xffffffffffffffff not 0x1, rcx 0xffffffffffffffff not 0x0"));
	ck_assert_ptr_nonnull(strstr(text, "r15 "));
	/* As many as have room. */
	register_nearest_tell(&nearest, sought, text, 64);
	ck_assert_str_eq(text, "rax 0xffffffffffffffff not 0x1");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("registers");
	TCase *tests = tcase_create("table");

	tcase_add_test(tests, covers_every_byte_once);
	tcase_add_test(tests, names_are_unique);
	tcase_add_test(tests, names_are_right);
	tcase_add_test(tests, set_and_get);
	tcase_add_loop_test(tests, flip_and_compare, 0, (int)register_count);
	tcase_add_test(tests, all_differences_are_told);
	tcase_add_test(tests, equal_but_for_some);
	tcase_add_test(tests, canonical_is_idempotent);
	tcase_add_test(tests, canonical_forms);
	tcase_add_test(tests, the_nearest_are_told);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
