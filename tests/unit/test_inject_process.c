/* Faults in shared memory and of the process, committed. */
#include "tests/unit/guest_memory.h"

#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/checked_word.h"
#include "base/fd.h"
#include "base/futex.h"
#include "lockstep/control.h"
#include "lockstep/inject.h"

enum { PAGES = 16 };

static result commit(const char *target, struct inject_context *replica)
{
	struct inject_fault fault;

	must_succeed(inject_parse_target(target, "now", &fault));
	return inject_commit(&fault, replica);
}

static struct area area;
static uint8_t *expected;
static struct inject_context context = { .area = &area };

static void make_area(void)
{
	uint64_t seed = 9;
	int fd;

	must_succeed(fd_sealed_memory(&fd, "area", area_size(PAGES)));
	must_succeed(area_map(&area, fd, PAGES, true));
	area_init(&area);
	for (uint64_t i = 0; i < area.tape.size; i++)
		area.tape.data[i] = (uint8_t)fixture_random(&seed);
	expected = malloc(area.size);
	ck_assert_ptr_nonnull(expected);
}

static void destroy_area(void)
{
	area_unmap(&area);
	free(expected);
}

/* This bit of the area, and no other. */
static void flips(const char *target, const void *byte, unsigned bit)
{
	size_t at = (size_t)((const uint8_t *)byte - (const uint8_t *)area.memory);

	memcpy(expected, area.memory, area.size);
	expected[at] ^= (uint8_t)(1u << bit);
	must_succeed(commit(target, &context));
	ck_assert_msg(memcmp(expected, area.memory, area.size) == 0, "%s", target);
}

static void hits_tape(void)
{
	make_area();
	must_fail(commit("tape:0:0", &context), STATUS_GUEST, "has written 0 bytes of tape");
	checked_word_store(&area.control->tape_written, 5);
	flips("tape:0:7", area.tape.data + 4, 7);
	flips("tape:4:0", area.tape.data, 0);
	must_fail(commit("tape:5:0", &context), STATUS_GUEST, "has written 5 bytes of tape");
	checked_word_store(&area.control->tape_written, 7ull * CONTROL_TAPE_SIZE + 10);
	flips("tape:0:1", area.tape.data + 9, 1);
	flips("tape:9:1", area.tape.data, 1);
	flips("tape:10:1", area.tape.data + CONTROL_TAPE_SIZE - 1, 1);
	flips("tape:1048575:1", area.tape.data + 10, 1);
	destroy_area();
}

static void hits_control(void)
{
	char target[64];
	const uint8_t *control;

	make_area();
	control = (const uint8_t *)area.control;
	flips("control:0:0", control, 0);
	flips("control:100:5", control + 100, 5);
	(void)snprintf(target, sizeof(target), "control:%zu:7", sizeof(*area.control) - 1);
	flips(target, control + sizeof(*area.control) - 1, 7);
	destroy_area();
}

/* --- the process --- */

enum { RETURNED = 77 };

/* Commits in a child, which ends with RETURNED if the fault lets it. */
static pid_t commit_in_child(const char *target)
{
	pid_t child = fork();

	ck_assert_int_ge(child, 0);
	if (child == 0)
		_exit(failed(commit(target, &context)) ? 1 : RETURNED);
	return child;
}

static int status_of(pid_t child, int options)
{
	int status;

	ck_assert_int_eq(waitpid(child, &status, options), child);
	return status;
}

static void kills(void)
{
	make_area();
	int status = status_of(commit_in_child("kill"), 0);

	ck_assert(WIFSIGNALED(status));
	ck_assert_int_eq(WTERMSIG(status), SIGKILL);
	destroy_area();
}

static void stops(void)
{
	make_area();
	uint64_t earliest = clock_monotonic_ns() + 2000 * NS_PER_S;
	pid_t child = commit_in_child("stop:2000");
	int status = status_of(child, WUNTRACED);
	uint64_t until = atomic_load(&area.control->stopped_until_ns);

	ck_assert(WIFSTOPPED(status));
	ck_assert_int_eq(WSTOPSIG(status), SIGSTOP);
	ck_assert_uint_ge(until, earliest);
	ck_assert_uint_le(until, clock_monotonic_ns() + 2000 * NS_PER_S);
	ck_assert_int_eq(kill(child, SIGCONT), 0);
	status = status_of(child, 0);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), RETURNED);
	ck_assert_uint_eq(atomic_load(&area.control->stopped_until_ns), 0);
	destroy_area();
}

static int nudges[2];

static void on_nudge(int signal_number)
{
	ssize_t written = write(nudges[1], "!", 1);

	(void)signal_number;
	(void)written;
}

/* Signals are taken, and change nothing: the child is there after each. */
static void hangs(void)
{
	const struct sigaction action = { .sa_handler = on_nudge };
	char byte;

	make_area();
	ck_assert_int_eq(pipe(nudges), 0);
	ck_assert_int_eq(sigaction(SIGUSR1, &action, NULL), 0);
	pid_t child = commit_in_child("hang");

	ck_assert_int_eq(close(nudges[1]), 0);
	for (unsigned i = 0; i < 100; i++) {
		ck_assert_int_eq(kill(child, SIGUSR1), 0);
		ck_assert_msg(read(nudges[0], &byte, 1) == 1, "the child went on after %u signals", i);
	}
	ck_assert_int_eq(kill(child, SIGKILL), 0);
	int status = status_of(child, 0);

	ck_assert(WIFSIGNALED(status));
	ck_assert_int_eq(WTERMSIG(status), SIGKILL);
	ck_assert_int_eq(close(nudges[0]), 0);
	destroy_area();
}

static void slows(void)
{
	struct inject_context slow = { .slow_factor = 0 };

	must_succeed(commit("slow:10", &slow));
	ck_assert_uint_eq(slow.slow_factor, 10);
	must_succeed(commit("slow:2", &slow));
	ck_assert_uint_eq(slow.slow_factor, 2);
}

static const struct {
	const char *target;
	void (*test)(void);
} tests[] = {
	{ "tape", hits_tape }, { "control", hits_control }, { "kill", kills },
	{ "stop", stops },     { "hang", hangs },           { "slow", slows },
};

START_TEST(committed)
{
	tests[_i].test();
}
END_TEST

/* Those that need no settled machine; test_inject_targets.c has the others. */
START_TEST(every_target_is_tested)
{
	json_t *space = inject_targets_json();
	size_t index, found = 0;
	json_t *target;

	json_array_foreach(json_object_get(space, "targets"), index, target) {
		if (json_is_true(json_object_get(target, "settled")))
			continue;
		ck_assert_uint_lt(found, ARRAY_SIZE(tests));
		ck_assert_str_eq(json_string_value(json_object_get(target, "name")), tests[found++].target);
	}
	ck_assert_uint_eq(found, ARRAY_SIZE(tests));
	json_decref(space);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("inject_process");
	TCase *targets = tcase_create("targets");

	tcase_add_loop_test(targets, committed, 0, (int)ARRAY_SIZE(tests));
	tcase_add_test(targets, every_target_is_tested);
	tcase_set_timeout(targets, 60);
	suite_add_tcase(suite, targets);
	return fixture_run(suite);
}
