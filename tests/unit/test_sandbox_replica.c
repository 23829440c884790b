/* Replicas at work in their sandbox: a guest runs, votes are cast, and one takes over another's state. */
#include "tests/unit/replica_world.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lockstep/resync.h"
#include "lockstep/sandbox.h"

/* Memory, registers, output and the clock, for ever. */
GUEST_CODE(worker, "1: add $7, %rbx\n"
		   "mov %rbx, %rax\n"
		   "mov %rax, 0x400000\n"
		   "mov $0x3F8, %edx\n"
		   "out %al, %dx\n"
		   "mov $0x40, %edx\n"
		   "in %dx, %al\n"
		   "jmp 1b");

enum { STEPS = 40 };

static struct replica_world world;

static void vote(unsigned positions)
{
	for (unsigned i = 0; i < 2; i++) {
		if (positions > 0)
			replica_world_run(world.replicas[i], positions);
		(void)replica_world_vote(world.replicas[i]);
	}
}

static void must_be_equal(void)
{
	ck_assert_uint_eq(replica_world_difference(replica_world_record(world.replicas[0]),
						   replica_world_record(world.replicas[1])),
			  0);
}

/* The follower's memory and registers are damaged, and it takes over the leader's. */
static void heal(void)
{
	static struct vote_record record;
	struct replica *donor = world.replicas[0], *patient = world.replicas[1];
	const struct resync_origin origin = {
		.memory = patient->peer_rams[0].memory,
		.table = patient->peers[0].page_hashes,
		.record = &record,
	};
	struct cpu_state state;

	must_succeed(machine_export(&patient->machine, &state));
	state.gpr[GPR_RBX] ^= 8;
	must_succeed(machine_import(&patient->machine, &state, false));
	must_succeed(ram_write(&patient->ram, 0x700000, "damage", 6));
	must_succeed(vote_record_take(&patient->peers[0], donor->box.votes - 1, &record));
	must_succeed(resync_take(patient, &origin));
	must_be_equal();
}

/* Where check writes down how far a test has come: a file in /tmp that has no name any more. */
static int notes_of_check(void)
{
	char path[32], target[64];

	for (int fd = STDERR_FILENO + 1; fd < 64; fd++) {
		(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		ssize_t length = readlink(path, target, sizeof(target) - 1);

		target[length > 0 ? length : 0] = '\0';
		if (strncmp(target, "/tmp/", 5) == 0)
			return fd;
	}
	return STDERR_FILENO;
}

static int run(bool guests)
{
	struct sandbox sandbox = { .role = SANDBOX_REPLICA, .outlet_count = 2 };

	replica_world_make(&world, 2, guests ? worker_begin : NULL, guests ? worker_end : NULL);
	sandbox.outlets[0] = world.doorbell_fd;
	sandbox.outlets[1] = notes_of_check();
	must_succeed(sandbox_enter(&sandbox));
	vote(guests ? STEPS : 0);
	must_be_equal();
	if (guests) {
		heal();
		vote(STEPS);
		must_be_equal();
	}
	return 0;
}

/* Without a KVM there are no guests to run, but votes. */
START_TEST(works)
{
	const bool guests = _i != 0;
	int status;
	pid_t pid;

	if (sandbox_sanitized()) {
		printf("skip a replica in its sandbox: this test was built with a sanitizer\n");
		return;
	}
	if (guests && !guest_machine_available("a guest in a sandbox"))
		return;
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0)
		_exit(run(guests));
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(status == 0, "status 0x%x", (unsigned)status);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("sandboxed replica");
	TCase *tests = tcase_create("replica");

	tcase_add_loop_test(tests, works, 0, 2);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
