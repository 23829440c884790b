/* Breakpoints on real KVM in ring 3: each is hit where and as often as it should, leaves no trace, and is stepped over
 * whatever the instruction. */
#include "tests/unit/stepped_guest.h"

#include <string.h>

enum { ROUNDS = 50, OUR_PORT = 0xE6 };

GUEST_CODE(loop, STEPPED_LOOP("50"));

/* Exits in between, and OUTs to the breakpoints' own port. Here and below, offsets from the code's begin are counted in
 * the comments. */
GUEST_CODE(outs, "mov $3, %ebp\n"              /* 0 */
		 "1: out %al, $0xE6\n"         /* 5 */
		 "inc %eax\n"                  /* 7 */
		 "out %al, $0x80\n"            /* 9 */
		 "mov %eax, %ebx\n"            /* 11 */
		 "dec %ebp\n"                  /* 13 */
		 "jnz 1b\n"                    /* 15 */
		 "out %al, $0xE6\n"            /* 17 */
		 "2: jmp 2b");
enum { OUTS_OWN = 5, OUTS_INC = 7, OUTS_EXIT = 9, OUTS_MOV = 11, OUTS_LAST = 17 };

/* Every kind of way to the next instruction, in the order of `path`. */
GUEST_CODE(ways, "xor %eax, %eax\n"            /* 0x00 */
		 "jz 1f\n"                     /* 0x02 */
		 "ud2\n"                       /* 0x04 */
		 "1: jnz 9f\n"                 /* 0x06 */
		 "push %rbp\n"                 /* 0x08: one byte */
		 "call 3f\n"                   /* 0x09 */
		 "pop %rbp\n"                  /* 0x0E */
		 "lea 4f(%rip), %rdx\n"        /* 0x0F */
		 "jmp *%rdx\n"                 /* 0x16 */
		 "3: nop\n"                    /* 0x18 */
		 "ret\n"                       /* 0x19 */
		 "4: mov $2, %ecx\n"           /* 0x1A */
		 "7: loop 8f\n"                /* 0x1F */
		 "jrcxz 6f\n"                  /* 0x21 */
		 "8: jmp 7b\n"                 /* 0x23 */
		 "6: movabs $0x200040, %rsi\n" /* 0x25 */
		 "jmp *(%rsi)\n"               /* 0x2F */
		 "9: ud2\n"
		 ".org ways_begin + 0x40\n"
		 ".quad 0x200FFB\n"
		 ".org ways_begin + 0xFFB\n"
		 "mov %eax, %ebx\n"            /* 0xFFB */
		 "mov %ebx, %edi\n"            /* 0xFFD */
		 "mov $1, %al\n"               /* 0xFFF: in two pages */
		 "out %al, $0x80\n"            /* 0x1001 */
		 "hlt");                       /* 0x1003 */
static const uint16_t path[] = { 0x02, 0x06, 0x08, 0x09,  0x18,  0x19,  0x0E,  0x0F,  0x16, 0x1A, 0x1F,
				 0x23, 0x1F, 0x21, 0x25,  0x2F,  0xFFB, 0xFFD, 0xFFF, 0x1001 };

START_TEST(loop_is_counted)
{
	start(loop_begin, loop_end);
	must_count_loop(loop_begin, ROUNDS);
}
END_TEST

START_TEST(two_breakpoints)
{
	const struct breakpoint places[] = { at(LOOP_DEC), at(LOOP_ADD) };

	start(loop_begin, loop_end);
	plant(places, 2);
	for (uint64_t left = ROUNDS; left > 0; left--) {
		must_hit(LOOP_ADD);
		must_step_to(LOOP_LEA);
		must_hit(LOOP_DEC);
		ck_assert_uint_eq(state.gpr[GPR_RCX], left);
		must_step_to(LOOP_DEC + 2);
	}
	ck_assert_int_eq(run(), MACHINE_EXITED);
	/* Others in their place, and none. */
	(void)answer();
	plant_at(LOOP_SPIN);
	must_hit(LOOP_SPIN);
	plant(NULL, 0);
	ck_assert_mem_eq(guest.ram.memory + GUEST_MACHINE_CODE, loop_begin, LOOP_LENGTH);
}
END_TEST

/* A jump to itself changes nothing, so a step ends where it began. */
START_TEST(spinning)
{
	start(loop_begin, loop_end);
	plant_at(LOOP_SPIN);
	must_exit(0x80);
	must_hit(LOOP_SPIN);
	struct cpu_state before = state;

	must_step_to(LOOP_SPIN);
	ck_assert_mem_eq(&before, &state, sizeof(state));
}
END_TEST

START_TEST(exits_pass_through)
{
	start(outs_begin, outs_end);
	plant_at(OUTS_MOV);
	for (unsigned i = 1; i <= 3; i++) {
		must_exit(OUR_PORT); /* the guest's own */
		must_exit(0x80);
		must_hit(OUTS_MOV);
		ck_assert_uint_eq(state.gpr[GPR_RAX], i);
		must_step_to(OUTS_MOV + 2);
		ck_assert_uint_eq(state.gpr[GPR_RBX], i);
	}
	must_exit(OUR_PORT);
	ck_assert_uint_eq(guest.machine.position, 7);
}
END_TEST

/* The guest's own OUT to that port right before and right behind a breakpoint, with the registers of a run without. */
START_TEST(exits_beside_breakpoints)
{
	struct exit_record first, last;
	const struct breakpoint places[] = { at(OUTS_INC), at(OUTS_LAST - 2) };

	start(outs_begin, outs_end);
	must_exit(OUR_PORT);
	first = guest.machine.exit.record;
	for (unsigned i = 0; i < 6; i++)
		must_exit(i % 2 == 0 ? 0x80 : OUR_PORT);
	last = guest.machine.exit.record;
	stepped_guest_teardown();
	start(outs_begin, outs_end);
	plant(places, 2);
	for (unsigned i = 0; i < 3; i++) {
		must_exit(OUR_PORT);
		if (i == 0)
			ck_assert_mem_eq(&guest.machine.exit.record, &first, sizeof(first));
		must_hit(OUTS_INC);
		must_step_to(OUTS_EXIT);
		must_exit(0x80);
		must_hit(OUTS_LAST - 2);
		must_step_to(i < 2 ? OUTS_OWN : OUTS_LAST);
	}
	must_exit(OUR_PORT);
	ck_assert_mem_eq(&guest.machine.exit.record, &last, sizeof(last));
}
END_TEST

/* Instructions that exit, one of them the very bytes of a breakpoint. */
START_TEST(exits_under_breakpoints)
{
	const struct breakpoint places[] = { at(OUTS_OWN), at(OUTS_EXIT) };

	start(outs_begin, outs_end);
	plant(places, 2);
	must_hit(OUTS_OWN);
	ck_assert_int_eq(step(), MACHINE_EXITED);
	ck_assert_uint_eq(guest.machine.position, 1);
	ck_assert_uint_eq(guest.machine.exit.record.address, OUR_PORT);
	(void)answer();
	must_hit(OUTS_EXIT);
	ck_assert_int_eq(step(), MACHINE_EXITED);
	ck_assert_uint_eq(guest.machine.exit.record.address, 0x80);
	ck_assert_uint_eq(guest.machine.exit.record.gpr[GPR_RAX], 1);
	(void)answer();
	must_hit(OUTS_OWN);
	ck_assert_uint_eq(guest.machine.position, 2);
	breakpoints_lift(&breakpoints);
	must_exit(OUR_PORT);
}
END_TEST

/* All of the canonical state: at a hit, and by other ways to the same instruction. */
START_TEST(states_are_equal)
{
	struct cpu_state other;

	start(outs_begin, outs_end);
	must_exit(OUR_PORT);
	must_exit(0x80);
	guest_machine_settle(&guest);
	must_stand_at(OUTS_MOV);
	other = state;
	stepped_guest_teardown();
	start(outs_begin, outs_end);
	plant_at(OUTS_MOV);
	must_exit(OUR_PORT);
	must_exit(0x80);
	must_hit(OUTS_MOV);
	ck_assert_mem_eq(&state, &other, sizeof(state));
	stepped_guest_teardown();
	/* Far from where it comes from: by steps, with nothing planted. */
	start(outs_begin, outs_end);
	must_exit(OUR_PORT);
	/* Some KVMs leave RIP at an OUT until its exit is completed. */
	guest_machine_settle(&guest);
	must_stand_at(OUTS_INC);
	must_step_to(OUTS_EXIT);
	ck_assert_int_eq(step(), MACHINE_EXITED);
	(void)answer();
	guest_machine_settle(&guest);
	must_stand_at(OUTS_MOV);
	ck_assert_mem_eq(&state, &other, sizeof(state));
}
END_TEST

START_TEST(every_way_is_stepped)
{
	start(ways_begin, ways_end);
	for (size_t i = 0; i < ARRAY_SIZE(path); i++)
		must_step_to(path[i]);
	ck_assert_int_eq(step(), MACHINE_EXITED);
	ck_assert_uint_eq(guest.machine.exit.record.address, 0x80);
	ck_assert_uint_eq(guest.machine.position, 1);
	ck_assert_mem_eq(guest.ram.memory + GUEST_MACHINE_CODE, ways_begin, 0x1004);
	/* Where nobody can say what comes next. */
	enum machine_stop stop;

	(void)answer();
	plant_at(0x1003);
	must_hit(0x1003);
	must_fail(breakpoints_step(&breakpoints, &state, &stop), STATUS_GUEST, "not known where");
	ck_assert_uint_eq(breakpoints.count, 0);
	ck_assert_mem_eq(guest.ram.memory + GUEST_MACHINE_CODE, ways_begin, 0x1004);
}
END_TEST

/* A signal takes no breakpoint away. */
START_TEST(interrupted_steps)
{
	start(loop_begin, loop_end);
	plant_at(LOOP_ADD);
	must_hit(LOOP_ADD);
	guest.machine.vcpu.run->immediate_exit = 1;
	ck_assert_int_eq(step(), MACHINE_INTERRUPTED);
	guest.machine.vcpu.run->immediate_exit = 0;
	must_stand_at(LOOP_ADD);
	must_hit(LOOP_ADD);
	ck_assert_uint_eq(state.gpr[GPR_RCX], ROUNDS);
	must_step_to(LOOP_LEA);
	must_hit(LOOP_ADD);
	ck_assert_uint_eq(state.gpr[GPR_RCX], ROUNDS - 1);
}
END_TEST

static void must_refuse(const struct breakpoint *places, unsigned count, enum status status, const char *words)
{
	bool planted = true;

	must_fail(breakpoints_plant(&breakpoints, places, count, &planted), status, words);
	ck_assert(!planted);
	ck_assert_uint_eq(breakpoints.count, 0);
	ck_assert_mem_eq(guest.ram.memory + GUEST_MACHINE_CODE, loop_begin, LOOP_LENGTH);
}

START_TEST(refused)
{
	struct breakpoint places[BREAKPOINTS_MAX + 1] = { at(LOOP_ADD), at(0xFFF) };

	start(loop_begin, loop_end);
	must_refuse(places, 2, STATUS_FAILED, "two pages");
	places[1].physical = RAM_HOLE_START;
	must_refuse(places, 2, STATUS_GUEST, "not in guest RAM");
	places[1].physical = UINT64_MAX - 1;
	must_refuse(places, 2, STATUS_GUEST, "not in guest RAM");
	places[1].physical = GUEST_MACHINE_MEMORY - 1;
	must_refuse(places, 2, STATUS_FAILED, "two pages");
	must_refuse(places, BREAKPOINTS_MAX + 1, STATUS_FAILED, "too many");
	/* And what was planted before is gone. */
	plant_at(LOOP_ADD);
	must_refuse(places, 2, STATUS_FAILED, "two pages");
	must_exit(0x80);
	/* As many as there may be. */
	for (unsigned i = 0; i < BREAKPOINTS_MAX; i++)
		places[i] = at(i < 1 ? LOOP_SPIN : 0x100u + 2 * i);
	plant(places, BREAKPOINTS_MAX);
	must_hit(LOOP_SPIN);
	must_step_to(LOOP_SPIN);
	breakpoints_lift(&breakpoints);
	ck_assert_mem_eq(guest.ram.memory + GUEST_MACHINE_CODE, loop_begin, LOOP_LENGTH);
}
END_TEST

static bool is_dirty(const uint64_t *bitmap, uint64_t address)
{
	return bitmap[address / RAM_PAGE_SIZE / 64] >> (address / RAM_PAGE_SIZE % 64) & 1;
}

/* Memory, and what user space says of it, are those of a run without; what is written over a breakpoint stays. */
START_TEST(no_trace)
{
	static uint8_t before[GUEST_MACHINE_MEMORY];
	uint64_t bitmap[GUEST_MACHINE_MEMORY / RAM_PAGE_SIZE / 64] = { 0 };
	const struct breakpoint overlapping[] = { at(LOOP_ADD), at(LOOP_ADD + 1), at(LOOP_LEA) };
	uint8_t bytes[2];

	start(loop_begin, loop_end);
	ram_collect_dirty(&guest.ram, bitmap);
	ck_assert(is_dirty(bitmap, GUEST_MACHINE_CODE));
	memset(bitmap, 0, sizeof(bitmap));
	memcpy(before, guest.ram.memory, sizeof(before));
	plant_at(LOOP_ADD);
	ck_assert(memcmp(before, guest.ram.memory, sizeof(before)) != 0);
	for (unsigned i = 0; i < 5; i++) {
		must_hit(LOOP_ADD);
		must_step_to(LOOP_LEA);
	}
	breakpoints_lift(&breakpoints);
	ck_assert(memcmp(before, guest.ram.memory, sizeof(before)) == 0);
	plant(overlapping, 3);
	must_hit(LOOP_LEA);
	breakpoints_lift(&breakpoints);
	ck_assert(memcmp(before, guest.ram.memory, sizeof(before)) == 0);
	ram_collect_dirty(&guest.ram, bitmap);
	ck_assert(!is_dirty(bitmap, GUEST_MACHINE_CODE));

	plant_at(LOOP_ADD);
	must_succeed(ram_write(&guest.ram, GUEST_MACHINE_CODE + LOOP_ADD, "\x90", 1));
	breakpoints_lift(&breakpoints);
	must_succeed(ram_read(&guest.ram, GUEST_MACHINE_CODE + LOOP_ADD, bytes, 2));
	ck_assert_mem_eq(bytes, "\x90\x01", 2);
}
END_TEST

/* --- which backend works --- */

START_TEST(self_tests)
{
	must_succeed(breakpoints_self_test(BREAKPOINT_OUT, false));
	must_fail(breakpoints_self_test(BREAKPOINT_OUT, true), STATUS_HOST, "every port");
	/* Ring 3 without a shim takes #GP at an HLT, and nobody catches it. */
	must_fail(breakpoints_self_test(BREAKPOINT_HALT, false), STATUS_HOST, "breakpoints by \"halt\" in ring 3");
	/* Either debug registers work here, or the test says that they do not. */
	result r = breakpoints_self_test(BREAKPOINT_DEBUG, false);

	if (failed(r))
		must_fail(r, STATUS_HOST, "breakpoints by \"debug\" in ring 3: a breakpoint was not hit");
	ck_assert_str_eq(breakpoint_backend_name(BREAKPOINT_OUT), "out");
	ck_assert_str_eq(breakpoint_backend_name(BREAKPOINT_HALT), "halt");
	ck_assert_str_eq(breakpoint_backend_name(BREAKPOINT_DEBUG), "debug");
}
END_TEST

/* Sums up in several registers, with long instructions, a call, and a store: nothing of it may be lost or done twice.
 * Offsets from the code's begin are counted in the comments. */
#define SUMS_ROUNDS UINT64_C(4000000)
#define SUMS_TERM UINT64_C(0x9FB21C651E98DF25)
GUEST_CODE(sums, "mov $4000000, %ecx\n"                 /* 0 */
		 "1: movabs $0x9FB21C651E98DF25, %rax\n" /* 5 */
		 "add %rcx, %rbx\n"                     /* 15 */
		 "add %rax, %rdx\n"                     /* 18 */
		 "call 3f\n"                            /* 21 */
		 "mov %rbx, %r9\n"                      /* 26 */
		 "dec %ecx\n"                           /* 29 */
		 "jnz 1b\n"                             /* 31 */
		 "out %al, $0x80\n"                     /* 33 */
		 "2: jmp 2b\n"                          /* 35 */
		 "3: add $3, %r8\n"                     /* 37 */
		 "xor %rcx, %r10\n"                     /* 41 */
		 "ret");                                /* 44 */
static const uint8_t sums_places[] = { 5, 15, 18, 21, 26, 29, 31, 37, 41 };

/* However often the guest is stopped, at breakpoints that come and go and by signals. */
START_TEST(nothing_is_lost)
{
	enum machine_stop stop = MACHINE_INTERRUPTED;
	uint64_t seed = 1 + (unsigned)_i, random, xors = 0;
	unsigned hits = 0;

	start(sums_begin, sums_end);
	while (stop != MACHINE_EXITED) {
		struct breakpoint places[4];
		unsigned count;

		random = fixture_random(&seed);
		count = (unsigned)(random % (ARRAY_SIZE(places) + 1));
		for (unsigned i = 0; i < count; i++)
			places[i] = at(sums_places[(random >> (8 * i + 8)) % ARRAY_SIZE(sums_places)]);
		plant(places, count);
		stop = run_with_signals((unsigned)(1 + (random >> 40) % 500), 500);
		for (unsigned i = 0; i < (random >> 50) % 4 && stop == MACHINE_BREAKPOINT; i++, hits++) {
			stop = step();
			if (stop == MACHINE_BREAKPOINT)
				stop = run();
		}
	}
	must_succeed(machine_export(&guest.machine, &state));
	for (uint64_t i = 1; i <= SUMS_ROUNDS; i++)
		xors ^= i;
	ck_assert_uint_gt(hits, 0);
	ck_assert_uint_eq(state.gpr[GPR_RBX], SUMS_ROUNDS * (SUMS_ROUNDS + 1) / 2);
	ck_assert_uint_eq(state.gpr[GPR_RDX], SUMS_ROUNDS * SUMS_TERM);
	ck_assert_uint_eq(state.gpr[GPR_R8], 3 * SUMS_ROUNDS);
	ck_assert_uint_eq(state.gpr[GPR_R10], xors);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("breakpoints");
	TCase *tests = tcase_create("KVM");
	TCase *backends = tcase_create("backends");

	tcase_add_checked_fixture(tests, NULL, stepped_guest_teardown);
	tcase_add_test(tests, loop_is_counted);
	tcase_add_test(tests, two_breakpoints);
	tcase_add_test(tests, spinning);
	tcase_add_test(tests, exits_pass_through);
	tcase_add_test(tests, exits_beside_breakpoints);
	tcase_add_test(tests, exits_under_breakpoints);
	tcase_add_test(tests, states_are_equal);
	tcase_add_test(tests, every_way_is_stepped);
	tcase_add_test(tests, interrupted_steps);
	tcase_add_test(tests, refused);
	tcase_add_test(tests, no_trace);
	tcase_add_loop_test(tests, nothing_is_lost, 0, 4);
	tcase_set_timeout(tests, 60);
	tcase_add_test(backends, self_tests);
	tcase_set_timeout(backends, 60);
	if (guest_machine_available("breakpoints")) {
		suite_add_tcase(suite, tests);
		suite_add_tcase(suite, backends);
	}
	return fixture_run(suite);
}
