/* Guest memory under native_step: page tables and rights, pages that it writes, code and tables that change. */
#include "tests/unit/native_alone.h"

#include <string.h>

static void must_reach(uint64_t entry, bool load, bool store)
{
	map_alone(DATA, OTHER, entry);
	if (load)
		DO(LOAD);
	else
		STOP(LOAD, "memory");
	if (store)
		DO(STORE);
	else
		STOP(STORE, "memory");
	if (store)
		DO(ADD_TO);
	else
		STOP(ADD_TO, "memory");
	alone.rip = CODE;
}

START_TEST(pages_of_ring_3)
{
	must_reach(ALL_BITS, true, true);
	must_reach(ALL_BITS & ~P, false, false);
	must_reach(ALL_BITS & ~W, true, false);
	must_reach(ALL_BITS & ~U, false, false);
	must_reach(ALL_BITS & ~A, false, false);
	must_reach(ALL_BITS & ~D, true, false);
	must_reach(ALL_BITS | NX, true, true);
	alone.cr0 &= ~CR0_WP; /* is for ring 0 */
	must_reach(ALL_BITS & ~W, true, false);
	map_alone(DATA, 0xC0000000, ALL_BITS);
	STOP(LOAD, "memory");
	map_alone(DATA, DATA, ALL_BITS);
	/* Higher levels count as well. */
	put_entry_alone(TABLES_2, 0, TABLES_1 | (ALL_BITS & ~W));
	DO(LOAD);
	STOP(STORE, "memory");
	put_entry_alone(TABLES_2, 0, TABLES_1 | (ALL_BITS & ~D));
	DO(STORE);
	put_entry_alone(TABLES_3, 0, TABLES_2 | (ALL_BITS & ~A));
	STOP("\x90", "code");
	put_entry_alone(TABLES_3, 0, TABLES_2 | (ALL_BITS & ~U));
	STOP("\x90", "code");
	put_entry_alone(TABLES_3, 0, TABLES_2 | ALL_BITS);
	put_entry_alone(ROOT, 0, TABLES_3 | ALL_BITS | PS);
	STOP("\x90", "code");
	put_entry_alone(ROOT, 0, TABLES_3 | ALL_BITS);
	/* Bits that mean nothing in an entry of a large page. */
	alone.gpr[GPR_R14] = 0x400000;
	DO(LOAD);
	put_entry_alone(TABLES_2, 2, 0x402000 | ALL_BITS | PS);
	STOP(LOAD, "memory");
}
END_TEST

START_TEST(pages_of_ring_0)
{
	restart_alone(false);
	alone.cr0 |= CR0_WP;
	must_reach(ALL_BITS & ~U, true, true);
	must_reach(ALL_BITS & ~W, true, false);
	alone.cr0 &= ~CR0_WP;
	must_reach(ALL_BITS & ~W, true, true);
	must_reach(ALL_BITS & ~W & ~D, true, false);
	alone.cr0 |= CR0_WP;
	map_alone(CODE, CODE, ALL_BITS & ~U);
	alone.cr4 |= CR4_SMAP | CR4_SMEP;
	must_reach(ALL_BITS, false, false);
	alone.rflags |= FLAG_AC;
	must_reach(ALL_BITS, true, true);
	/* Switched by the guest, in one run. */
	put_alone(CODE, "\x0F\x01\xCA" LOAD, 6); /* clac */
	run_alone(NULL, 2);
	ck_assert_int_eq(alone_outcome.end, NATIVE_STOPPED);
	ck_assert_uint_eq(alone_outcome.executed, 1);
	ck_assert(!(alone.rflags & FLAG_AC));
	put_alone(alone.rip, "\x0F\x01\xCB" LOAD "\x0F\x01\xCA" LOAD, 12); /* stac, clac */
	run_alone(NULL, 4);
	ck_assert_uint_eq(alone_outcome.executed, 3);
	alone.rip = CODE;
	map_alone(CODE, CODE, ALL_BITS);
	STOP("\x90", "code"); /* SMEP */
	alone.cr4 &= ~CR4_SMEP;
	DO("\x90");
	map_alone(CODE, CODE, ALL_BITS | NX);
	STOP("\x90", "code");
	alone.efer &= ~UINT64_C(0x800);
	STOP("\x90", "code"); /* a reserved bit */
}
END_TEST

START_TEST(two_pages)
{
	alone.gpr[GPR_R14] = OTHER - 8;
	DO(LOAD);
	alone.gpr[GPR_R14]++;
	STOP(LOAD, "memory");
	STOP("\x49\x87\x06", "memory");
	alone.gpr[GPR_RSP] = STACK + 4;
	STOP("\x50", "memory");
	alone.gpr[GPR_RSP] = STACK - 4;
	STOP("\x58", "memory");
	STOP("\xC3", "memory");
	/* XCHG locks: not in two cache lines. */
	alone.gpr[GPR_R14] = DATA + 0x3C;
	STOP("\x49\x87\x06", "cache lines");
	DO("\x41\x87\x06");
	/* Non-canonical addresses. */
	alone.gpr[GPR_R14] = UINT64_C(0x800000000000);
	STOP(LOAD, "memory");
	STOP("\x41\xFF\xE6", "non-canonical"); /* jmp *%r14 */
	alone.gpr[GPR_RSP] = STACK + 0x800;
	STOP("\x41\xFF\xD6", "non-canonical"); /* call *%r14 */
	/* Code in two pages is executed, if it can be read there. */
	alone.rip = CODE + 0xFFE;
	put_alone(alone.rip, "\x48\xC7\xC0\x11\0\0\0", 7); /* mov $0x11, %rax */
	map_alone(CODE + 0x1000, OTHER, ALL_BITS);
	put_alone(OTHER, "\xC0\x22\0\0\0", 5);
	run_alone(NULL, 1);
	ck_assert_int_eq(alone_outcome.end, NATIVE_LIMIT);
	ck_assert_uint_eq(alone.gpr[GPR_RAX], 0x22);
	map_alone(CODE + 0x1000, CODE + 0x1000, ALL_BITS);
	alone.rip = CODE + 0xFFE;
	run_alone(NULL, 1);
	ck_assert_uint_eq(alone.gpr[GPR_RAX], 0x11);
	map_alone(CODE + 0x1000, CODE + 0x1000, ALL_BITS & ~P);
	alone.rip = CODE + 0xFFE;
	run_alone(NULL, 1);
	ck_assert_int_eq(alone_outcome.end, NATIVE_STOPPED);
}
END_TEST

static bool is_dirty(uint64_t address)
{
	static uint64_t bitmap[MEMORY / RAM_PAGE_SIZE / 64];

	memset(bitmap, 0, sizeof(bitmap));
	ram_collect_dirty(&alone_ram, bitmap);
	return bitmap[address / RAM_PAGE_SIZE / 64] >> (address / RAM_PAGE_SIZE % 64) & 1;
}

START_TEST(dirty_pages)
{
	put_alone(CODE, LOAD STORE STORE "\x50", 10);
	(void)is_dirty(0);
	run_alone(NULL, 1);
	ck_assert(!is_dirty(DATA));
	run_alone(NULL, 1);
	ck_assert(is_dirty(DATA));
	/* Again, although the page is known. */
	run_alone(NULL, 1);
	ck_assert(is_dirty(DATA));
	run_alone(NULL, 1);
	ck_assert(is_dirty(STACK));
	ck_assert(!is_dirty(CODE));
}
END_TEST

/* --- code that changes --- */

START_TEST(changing_code)
{
	/* In one run: an instruction that was executed already is changed, by its own address and by another. */
	static const char code[] = "\xB8\x01\0\0\0"         /* 0: mov $1, %eax */
				   "\x01\xC3"               /* 5: add %eax, %ebx */
				   "\x41\xFE\x46\x01"       /* 7: incb 1(%r14) */
				   "\x83\xFB\x0A"           /* 11: cmp $10, %ebx */
				   "\x72\xF0"               /* 14: jb 0 */
				   "\xF4";
	for (unsigned other = 0; other < 2; other++) {
		alone.rip = CODE;
		alone.gpr[GPR_RBX] = 0;
		alone.gpr[GPR_R14] = other ? DATA : CODE;
		map_alone(DATA, CODE, ALL_BITS);
		put_alone(CODE, code, sizeof(code));
		run_alone(NULL, UINT64_MAX);
		ck_assert_str_eq(alone_outcome.why, "hlt");
		ck_assert_uint_eq(alone.gpr[GPR_RBX], 1 + 2 + 3 + 4);
		ck_assert_uint_eq(alone_outcome.executed, 4 * 5);
	}
	/* A jump in two pages, changed in the second, where no other code is. */
	put_alone(CODE + 0x40, "\xFF\xC3\x41\x80\x06\x20\xE9\xB4\x0F\0\0", 11); /* inc %ebx; addb $32, (%r14); jmp */
	put_alone(CODE + 0x60, "\xF4", 1);
	put_alone(CODE + 0xFFF, "\xE9\x3C\xF0\xFF\xFF", 5); /* jmp CODE + 0x40 */
	alone.rip = CODE + 0xFFF;
	alone.gpr[GPR_RBX] = 0;
	alone.gpr[GPR_R14] = CODE + 0x1000;
	run_alone(NULL, 100);
	ck_assert_uint_eq(alone_outcome.executed, 5);
	ck_assert_uint_eq(alone.gpr[GPR_RBX], 1);
	ck_assert_uint_eq(alone.rip, CODE + 0x60);
	/* Between two runs. */
	alone.rip = CODE;
	DO("\xB0\x05");
	alone.rip = CODE;
	DO("\xB0\x06");
	ck_assert_uint_eq(alone.gpr[GPR_RAX] & 0xFF, 6);
	/* By a string: the instruction behind it. */
	alone.rip = CODE;
	put_alone(CODE, "\xF3\xAA\x90\xF4", 4);
	run_alone(NULL, 1);
	alone.rip = CODE;
	alone.gpr[GPR_RAX] = 0xF4;
	alone.gpr[GPR_RDI] = CODE + 2;
	alone.gpr[GPR_RCX] = 1;
	run_alone(NULL, UINT64_MAX);
	ck_assert_uint_eq(alone_outcome.executed, 1);
	ck_assert_uint_eq(alone.rip, CODE + 2);
}
END_TEST

/* A guest that changes its page tables and goes on without saying so. */
START_TEST(changing_tables)
{
	uint64_t entry = OTHER | ALL_BITS;

	put_alone(DATA + 0x800, "\x11", 1);
	put_alone(OTHER + 0x800, "\x22", 1);
	put_alone(CODE, LOAD "\x49\x89\x1F" LOAD "\xF4", 10); /* mov %rbx, (%r15) */
	alone.gpr[GPR_R15] = TABLES_1 + 8 * (DATA / RAM_PAGE_SIZE);
	alone.gpr[GPR_RBX] = entry;
	run_alone(NULL, 2);
	ck_assert_uint_eq(alone.gpr[GPR_RAX] & 0xFF, 0x11);
	alone.rip = CODE + 6;
	run_alone(NULL, 1);
	ck_assert_uint_eq(alone.gpr[GPR_RAX] & 0xFF, 0x22);
	map_alone(DATA, DATA, ALL_BITS);
	alone.rip = CODE;
	run_alone(NULL, UINT64_MAX);
	ck_assert_uint_eq(alone_outcome.executed, 3);
	ck_assert_uint_eq(alone.gpr[GPR_RAX] & 0xFF, 0x22);
}
END_TEST

/* More code than is kept. */
START_TEST(much_code)
{
	enum { FIRST = 0xA00000, BYTES = 0x500000 };
	static uint8_t code[BYTES];

	for (size_t i = 0; i + 32 < sizeof(code); i += 16)
		memcpy(code + i, "\x48\x01\xD8\x48\x83\xC3\x01\x66\x0F\x1F\x84\0\0\0\0\0", 16);
	code[sizeof(code) - 32] = 0xF4;
	put_alone(FIRST, code, sizeof(code));
	for (unsigned i = 0; i < 2; i++) {
		alone.rip = FIRST;
		alone.gpr[GPR_RBX] = alone.gpr[GPR_RAX] = 0;
		run_alone(NULL, UINT64_MAX);
		uint64_t rounds = (BYTES - 32) / 16;

		ck_assert_str_eq(alone_outcome.why, "hlt");
		ck_assert_uint_eq(alone_outcome.executed, 3 * rounds);
		ck_assert_uint_eq(alone.gpr[GPR_RAX], rounds * (rounds - 1) / 2);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("memory of native steps");
	TCase *tests = tcase_create("alone");

	tcase_add_checked_fixture(tests, native_alone_setup, native_alone_teardown);
	tcase_add_test(tests, pages_of_ring_3);
	tcase_add_test(tests, pages_of_ring_0);
	tcase_add_test(tests, two_pages);
	tcase_add_test(tests, dirty_pages);
	tcase_add_test(tests, changing_code);
	tcase_add_test(tests, changing_tables);
	tcase_add_test(tests, much_code);
	tcase_set_timeout(tests, 60);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
