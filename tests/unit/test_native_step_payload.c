/* Real programs beside a vCPU, from exit to exit and to places inside loops. */
#include "tests/unit/native_pair.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "vmm/boot.h"
#include "vmm/breakpoint.h"
#include "vmm/instruction.h"

enum { EXITS = 400, FIRST_STOP = 100000, STOPS = 5, TRIES = 60, VISITS_MAX = 300, BENCH = 3000000 };

static struct native_pair pair;

static void setup(void)
{
	native_pair_make(&pair);
}

static void teardown(void)
{
	native_pair_destroy(&pair);
}

/* The payloads are built beside the unit tests. */
static bool payload_path(const char *name, char *path, size_t size)
{
	char self[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);

	ck_assert_int_gt(length, 0);
	self[length] = '\0';
	for (int i = 0; i < 3; i++)
		*strrchr(self, '/') = '\0';
	ck_assert_int_lt(snprintf(path, size, "%s/payloads/%s", self, name), (int)size);
	if (access(path, R_OK) == 0)
		return true;
	printf("skip %s: %s is not built\n", name, path);
	return false;
}

static bool boot(const char *name, const char *arguments, struct cpu_state *state)
{
	char path[PATH_MAX];

	if (!payload_path(name, path, sizeof(path)))
		return false;
	const struct boot_source source = { .kind = BOOT_PAYLOAD,
					    .kernel_fd = open(path, O_RDONLY | O_CLOEXEC),
					    .kernel_name = name,
					    .initrd_fd = -1,
					    .command_line = arguments };

	ck_assert_int_ge(source.kernel_fd, 0);
	must_succeed(boot_load(&pair.guest.ram, &source, state));
	must_succeed(boot_load(&pair.ram, &source, state));
	close(source.kernel_fd);
	must_succeed(machine_import(&pair.guest.machine, state, false));
	must_succeed(machine_export(&pair.guest.machine, state));
	return true;
}

/* Runs on over what changes nothing: the first instruction, FNINIT, which finds everything as it leaves it; and, if
 * asked, OUT of one byte. */
static void run_on(struct cpu_state *state, uint64_t limit, bool over_out, struct native_outcome *outcome)
{
	uint64_t executed = 0;

	for (;;) {
		native_step_run(pair.native, state, NULL, limit - executed, outcome);
		executed += outcome->executed;
		outcome->executed = executed;
		if (outcome->end == NATIVE_STOPPED && strcmp(outcome->why, "fninit") == 0)
			state->rip += 2;
		else if (outcome->end == NATIVE_STOPPED && over_out && strcmp(outcome->why, "out") == 0)
			state->rip += 1;
		else
			return;
	}
}

static void must_be_same(const struct cpu_state *vcpu, const struct cpu_state *native, uint64_t exit)
{
	struct cpu_state expected = *vcpu;

	/* See native_pair_run. */
	expected.rflags |= native->rflags & UINT64_C(0x3000);
	for (size_t i = 0; i < register_count; i++)
		ck_assert_msg(memcmp((const uint8_t *)&expected + register_table[i].offset,
				     (const uint8_t *)native + register_table[i].offset, register_table[i].width) == 0,
			      "%s differs at exit %" PRIu64 ", RIP %#" PRIx64, register_table[i].name, exit, vcpu->rip);
}

static void must_have_same_memory(uint64_t exit)
{
	ck_assert_msg(memcmp(pair.guest.ram.memory, pair.ram.memory, GUEST_MACHINE_MEMORY) == 0,
		      "memory differs at exit %" PRIu64, exit);
}

static void run_beside(const char *name, const char *arguments)
{
	struct cpu_state native, vcpu;
	uint64_t executed = 0;

	if (!boot(name, arguments, &native))
		return;
	for (uint64_t exit = 0; exit < EXITS; exit++) {
		struct native_outcome outcome;
		enum exit_outcome end = guest_machine_step(&pair.guest);

		run_on(&native, UINT64_MAX, false, &outcome);
		executed += outcome.executed;
		ck_assert_int_eq(outcome.end, NATIVE_STOPPED);
		if (end != OUTCOME_RUN || pair.guest.fixture.requests > 0)
			break;
		guest_machine_settle(&pair.guest);
		must_succeed(machine_export(&pair.guest.machine, &vcpu));
		if (strcmp(outcome.why, "in") == 0)
			native.gpr[GPR_RAX] = vcpu.gpr[GPR_RAX];
		else
			ck_assert_str_eq(outcome.why, "out");
		ck_assert_uint_le(vcpu.rip - native.rip, 2);
		native.rip = vcpu.rip;
		must_be_same(&vcpu, &native, exit);
		if (exit % 50 == 0)
			must_have_same_memory(exit);
	}
	must_have_same_memory(EXITS);
	printf("%s: %" PRIu64 " instructions beside a vCPU\n", name, executed);
	ck_assert_uint_gt(executed, FIRST_STOP);
}

START_TEST(from_exit_to_exit)
{
	run_beside("compute", "scale=1");
	teardown();
	setup();
	run_beside("memory", "scale=1");
	teardown();
	setup();
	run_beside("mixed", "scale=1");
}
END_TEST

/* How often the place of `stop` is passed on the way of `count` instructions there. */
static unsigned count_visits(const struct cpu_state *start, const struct cpu_state *stop, uint64_t count)
{
	struct cpu_state state = *start;
	struct native_outcome outcome;
	unsigned visits = state.rip == stop->rip ? 1 : 0;

	for (uint64_t i = 0; i < count; i++) {
		native_step_run(pair.native, &state, NULL, 1, &outcome);
		ck_assert_int_eq(outcome.end, NATIVE_LIMIT);
		if (state.rip == stop->rip)
			visits++;
	}
	return visits;
}

static uint8_t before[GUEST_MACHINE_MEMORY];

static void restore(void)
{
	must_succeed(ram_write(&pair.ram, 0, before, sizeof(before)));
}

/* The vCPU is taken to the same place by breakpoints; every register and all memory are the same there. False: it is no
 * place for breakpoints. */
static bool meet(const struct cpu_state *start, uint64_t count)
{
	struct breakpoints breakpoints;
	struct cpu_state native = *start, vcpu;
	struct native_outcome outcome;
	struct instruction instruction;
	enum machine_stop stop;
	bool planted;

	restore();
	native_step_run(pair.native, &native, NULL, count, &outcome);
	const struct breakpoint place = { native.rip, native.rip };
	struct cpu_state found = *start;

	ck_assert_int_eq(outcome.end, NATIVE_LIMIT);
	restore();
	if (!instruction_decode(&pair.ram, &native, native.rip, &instruction) || !instruction.may_stop)
		return false;
	unsigned visits = count_visits(start, &native, count);

	restore();
	if (visits > VISITS_MAX)
		return false;
	struct native_target target = { .rip = native.rip };

	memcpy(target.gpr, native.gpr, sizeof(target.gpr));
	native_step_run(pair.native, &found, &target, UINT64_MAX, &outcome);
	ck_assert_int_eq(outcome.end, NATIVE_FOUND);
	ck_assert_uint_eq(outcome.executed, count);
	ck_assert_mem_eq(&found, &native, sizeof(native));
	must_succeed(ram_write(&pair.guest.ram, 0, before, sizeof(before)));
	must_succeed(machine_import(&pair.guest.machine, start, false));
	must_succeed(machine_prepare(&pair.guest.machine));
	breakpoints_create(&breakpoints, &pair.guest.machine, BREAKPOINT_OUT);
	must_succeed(breakpoints_plant(&breakpoints, &place, 1, &planted));
	ck_assert(planted);
	for (unsigned i = 0; i < visits; i++) {
		must_succeed(machine_run(&pair.guest.machine, &stop));
		ck_assert_int_eq(stop, MACHINE_BREAKPOINT);
		must_succeed(machine_export(&pair.guest.machine, &vcpu));
		if (i + 1 < visits)
			must_succeed(breakpoints_step(&breakpoints, &vcpu, &stop));
	}
	breakpoints_destroy(&breakpoints);
	must_be_same(&vcpu, &found, count);
	must_have_same_memory(count);
	printf("met after %" PRIu64 " instructions, at visit %u of its place\n", count, visits);
	return true;
}

START_TEST(inside_loops)
{
	struct cpu_state start;
	struct native_outcome outcome;

	if (!boot("compute", "scale=1", &start))
		return;
	/* Past its first words on the console. */
	run_on(&start, 2 * FIRST_STOP, true, &outcome);
	ck_assert_int_eq(outcome.end, NATIVE_LIMIT);
	memcpy(before, pair.ram.memory, sizeof(before));
	unsigned met = 0;

	/* Ever further; often it would take the vCPU too long. */
	for (unsigned i = 0; i < TRIES && met < STOPS; i++)
		met += meet(&start, 200 + 97u * i * i) ? 1 : 0;
	ck_assert_uint_eq(met, STOPS);
}
END_TEST

static double seconds_since(const struct timespec *begin)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - begin->tv_sec) + 1e-9 * (double)(now.tv_nsec - begin->tv_nsec);
}

static void benchmark(const char *name)
{
	struct cpu_state state;
	struct native_outcome outcome;
	struct timespec begin;

	if (!boot(name, "scale=2", &state))
		return;
	clock_gettime(CLOCK_MONOTONIC, &begin);
	run_on(&state, BENCH, true, &outcome);
	printf("%s: %" PRIu64 " instructions, %.1f ns each\n", name, outcome.executed,
	       1e9 * seconds_since(&begin) / (double)outcome.executed);
	ck_assert_uint_gt(outcome.executed, FIRST_STOP);
}

START_TEST(speed)
{
	benchmark("compute");
	benchmark("memory");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("native steps of payloads");
	TCase *tests = tcase_create("beside a vCPU");

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, from_exit_to_exit);
	tcase_add_test(tests, inside_loops);
	tcase_add_test(tests, speed);
	tcase_set_timeout(tests, 100);
	if (guest_machine_available("native steps of payloads"))
		suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
