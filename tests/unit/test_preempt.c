/* Preemption on real KVM: a leader whose guest never exits is stopped, and a follower finds the very place; and what
 * becomes of stops that are not there. */
#include "tests/unit/replica_world.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/futex.h"
#include "lockstep/hunt.h"
#include "lockstep/preempt.h"
#include "vmm/instruction.h"

/* Loops of some milliseconds, one after the other; what is behind each of them is visited as seldom. */
GUEST_CODE(worker, "1: mov $4000000, %ecx\n"
		   "2: add %rcx, %rbx\n"
		   "dec %ecx\n"
		   "jnz 2b\n"
		   "bt $3, %ebx\n"
		   "mov %rbx, 0x400000\n"
		   "inc %ebp\n"
		   "mov %ebp, 0x500000\n"
		   "jmp 1b");
/* The same, some times, and then an exit. */
GUEST_CODE(ending, "mov $40, %ebp\n"
		   "1: mov $4000000, %ecx\n"
		   "2: add %rcx, %rbx\n"
		   "dec %ecx\n"
		   "jnz 2b\n"
		   "mov %rbx, 0x400000\n"
		   "dec %ebp\n"
		   "jnz 1b\n"
		   "out %al, $0x80\n"
		   "3: jmp 3b");
/* A loop that is not left: no place in it is good, and each moment of it is found in place. */
GUEST_CODE(spinner, "1: add $1, %rbx\n"
		    "bt $3, %ebx\n"
		    "lea 1(%rbp), %rbp\n"
		    "mov %rbp, %rdx\n"
		    "jmp 1b");

/* The same in a kernel that could take an interrupt. */
GUEST_CODE(waiter, "sti\n"
		   "nop\n" /* right behind STI nothing is stopped */
		   "1: add $1, %rbx\n"
		   "jmp 1b");
/* And one whose rounds are long, and are hardly ever met twice in the same place. */
GUEST_CODE(wanderer, "sti\n"
		     "1: inc %ebp\n"
		     ".fill 0x4000, 2, 0x9066\n"
		     "jmp 1b");

/* Functions in functions, with more loops behind each call than can be looked at. */
#define LOOP_END(label) "test %esi, %esi\n" "jnz " label "\n"
#define LOOP_ENDS(label) LOOP_END(label) LOOP_END(label) LOOP_END(label)
#define CALLER(label, callee) label ": call " callee "f\n" "add $1, %rbx\n" LOOP_ENDS(label "b") "ret\n"
GUEST_CODE(nest, "mov $0x500000, %esp\n"
		 "1: call 2f\n"
		 "add $1, %rbp\n"
		 "jmp 1b\n"
		 CALLER("2", "3") CALLER("3", "4") CALLER("4", "5") CALLER("5", "6") CALLER("6", "7")
		 "7: mov $5000, %esi\n"
		 "8: add %rsi, %rdx\n"
		 "dec %esi\n"
		 "jnz 8b\n"
		 LOOP_ENDS("7b") LOOP_ENDS("7b") LOOP_END("7b")
		 "ret");

static struct replica_world world;
static struct kvm_vcpu *volatile kicked;
static bool dense_loop;

static void on_kick(int number)
{
	(void)number;
	if (kicked)
		kvm_vcpu_kick(kicked);
}

static void start(const uint8_t *code, const uint8_t *code_end)
{
	const struct sigaction kick = { .sa_handler = on_kick };

	ck_assert_int_eq(sigaction(SIGUSR1, &kick, NULL), 0);
	replica_world_make(&world, 2, code, code_end);
	replica_world_attend(&world);
	for (unsigned i = 0; i < world.count; i++) {
		struct replica *replica = world.replicas[i];

		replica->config.preempt_grace = 100 * NS_PER_US;
		replica->config.segment_max = NS_PER_MS;
		replica->config.preempt_budget = 1000;
		replica->config.watchdog = 3 * NS_PER_S;
		must_succeed(preempt_create(replica));
		ck_assert(replica->preempt.works);
		ck_assert_uint_eq(atomic_load(&replica->own.control->preempts), 1);
	}
}

static void setup(void)
{
	start(worker_begin, worker_end);
}

static void setup_ending(void)
{
	start(ending_begin, ending_end);
}

static void setup_spinner(void)
{
	dense_loop = true;
	start(spinner_begin, spinner_end);
}

static void setup_nest(void)
{
	start(nest_begin, nest_end);
}

/* As if they were kernels behind the trap shim that have not run a program yet. */
static void start_kernels(const uint8_t *code, const uint8_t *code_end)
{
	world.kernels = true;
	start(code, code_end);
	for (unsigned i = 0; i < world.count; i++) {
		world.replicas[i]->preempt.patches = true;
		preempt_boot(&world.replicas[i]->preempt);
		ck_assert(!world.replicas[i]->preempt.programs);
	}
}

static void setup_waiting_kernel(void)
{
	start_kernels(waiter_begin, waiter_end);
}

/* No tick can come to it. */
static void setup_deaf_kernel(void)
{
	start_kernels(spinner_begin, spinner_end);
}

static void setup_wandering_kernel(void)
{
	start_kernels(wanderer_begin, wanderer_end);
}

static void teardown(void)
{
	kicked = NULL;
	world.kernels = false;
	for (unsigned i = 0; i < world.count; i++)
		preempt_destroy(world.replicas[i]);
	replica_world_destroy(&world);
}

static struct source_view view_of(const struct replica *replica)
{
	return (struct source_view){ .position = replica->machine.position, .deadline = DEVICE_NO_DEADLINE };
}

/* The leader goes on to the end of its segment, or until `patience_ns` are over; whether it came to the end. */
static bool lead(struct replica *leader, uint64_t patience_ns)
{
	uint64_t begin = clock_monotonic_ns();
	bool ended = false;

	kicked = &leader->machine.vcpu;
	must_succeed(machine_prepare(&leader->machine));
	preempt_enter(leader, begin);
	while (!ended && clock_monotonic_ns() - begin < patience_ns) {
		const struct source_view view = view_of(leader);
		enum machine_stop stop;

		must_succeed(machine_run(&leader->machine, &stop));
		ended = stop == MACHINE_EXITED;
		if (!ended)
			must_succeed(preempt_kicked(leader, &view, &ended));
	}
	checked_word_store(&leader->own.control->reached, leader->machine.position);
	return ended;
}

static bool preempted(const struct replica *replica)
{
	return replica->machine.exit.record.reason == EXIT_PREEMPTED;
}

/* The stop that the leader wrote down, as a follower reads it. */
static struct stop_point read_stop(struct replica *follower)
{
	const struct source_view view = view_of(follower);
	struct input input;

	must_succeed(follower->source->operations->next(follower->source, &view, &input));
	ck_assert_int_eq(input.kind, INPUT_STOP);
	return *input.stop;
}

static enum hunt_end hunt(struct replica *follower, const struct stop_point *stop)
{
	enum hunt_end end;

	kicked = &follower->machine.vcpu;
	must_succeed(machine_prepare(&follower->machine));
	must_succeed(hunt_run(follower, stop, &end));
	ck_assert_uint_eq(follower->preempt.breakpoints.count, 0);
	return end;
}

static void answer(struct replica *replica)
{
	enum exit_outcome outcome;

	checked_word_store(&replica->own.control->reached, replica->machine.position);
	ballot_box_log_exit(&replica->box);
	must_succeed(machine_answer(&replica->machine, &outcome));
	ck_assert_int_eq(outcome, OUTCOME_RUN);
}

static void must_be_equal(void)
{
	struct replica *leader = world.replicas[0], *follower = world.replicas[1];
	struct cpu_state one, other;

	ck_assert_uint_eq(leader->machine.position, follower->machine.position);
	must_succeed(machine_export(&leader->machine, &one));
	must_succeed(machine_export(&follower->machine, &other));
	ck_assert_mem_eq(&one, &other, sizeof(one));
	ck_assert_mem_eq(&leader->machine.exit.record, &follower->machine.exit.record,
			 sizeof(leader->machine.exit.record));
	ck_assert_mem_eq(leader->ram.memory, follower->ram.memory, GUEST_MACHINE_MEMORY);
}

/* The code is as it was loaded. */
static void must_have_code(const struct replica *replica, const uint8_t *code, const uint8_t *code_end)
{
	ck_assert_mem_eq(replica->ram.memory + GUEST_MACHINE_CODE, code, (size_t)(code_end - code));
}

/* The stop is right behind an instruction that sets all flags, or behind the branch that follows it: others may leave
 * some that differ in emulated processors. */
static void must_have_known_flags(const struct replica *replica, const struct stop_point *stop)
{
	struct instruction before = { .length = 0 };
	bool known = false;

	for (uint64_t at = GUEST_MACHINE_CODE; at < stop->cpu.rip; at += before.length) {
		ck_assert(instruction_decode(&replica->ram, &stop->cpu, at, &before));
		known = before.sets_flags || (before.transfers && known);
	}
	ck_assert_uint_eq(before.linear + before.length, stop->cpu.rip);
	ck_assert_msg(known, "the stop is behind the instruction at %#llx",
		      (unsigned long long)before.linear);
}

/* Again and again, with a vote at every other stop: all of it is equal, whatever the follower's budget has for it. */
START_TEST(found)
{
	struct replica *leader = world.replicas[0], *follower = world.replicas[1];

	if (_i == 1) {
		follower->config.preempt_budget = 1;
		leader->config.segment_max = 20 * NS_PER_MS;
	}
	for (unsigned i = 0; i < 6; i++) {
		ck_assert(lead(leader, 60 * NS_PER_S));
		ck_assert(preempted(leader));
		/* No alarm is left that the next segment would wait for. */
		ck_assert_uint_eq(leader->preempt.alarm.at, 0);
		const struct stop_point stop = read_stop(follower);

		/* On a busy host no place may look good. */
		if (dense_loop)
			ck_assert_uint_eq(stop.recurs_ns, 0);
		must_have_known_flags(leader, &stop);
		ck_assert_int_eq(hunt(follower, &stop), HUNT_FOUND);
		answer(leader);
		answer(follower);
		must_be_equal();
		ck_assert_uint_eq(follower->own.control->statistics.hunts[HUNT_FOUND], i + 1);
		ck_assert_uint_eq(leader->own.control->statistics.stops, i + 1);
		if (i % 2)
			ck_assert_uint_eq(replica_world_difference(replica_world_vote(leader),
								   replica_world_vote(follower)),
					  0);
	}
}
END_TEST

/* A kernel that spins before its first program is stopped in place, again and again; nobody takes that for programs. */
START_TEST(found_before_programs)
{
	for (unsigned i = 0; i < 3; i++) {
		ck_assert(lead(world.replicas[0], 60 * NS_PER_S));
		const struct stop_point stop = read_stop(world.replicas[1]);

		ck_assert_uint_eq(stop.recurs_ns, 0);
		ck_assert_int_eq(hunt(world.replicas[1], &stop), HUNT_FOUND);
		answer(world.replicas[0]);
		answer(world.replicas[1]);
		must_be_equal();
		ck_assert(!world.replicas[0]->preempt.programs);
		ck_assert(!world.replicas[1]->preempt.programs);
	}
}
END_TEST

/* One that does not spin is left alone. */
START_TEST(not_before_programs)
{
	struct replica *leader = world.replicas[0];

	leader->config.preempt_grace = 10 * NS_PER_MS;
	ck_assert(!lead(leader, 300 * NS_PER_MS));
	ck_assert_uint_eq(leader->own.control->statistics.stops, 0);
	ck_assert_uint_eq(leader->preempt.breakpoints.count, 0);
	leader->preempt.programs = true;
	ck_assert(lead(leader, 60 * NS_PER_S));
	ck_assert(preempted(leader));
}
END_TEST

/* In place the end of the guest may be too far away: then the stop is given up before. */
static void must_not_find(struct replica *follower, const struct stop_point *stop)
{
	enum hunt_end end = hunt(follower, stop);

	if (stop->recurs_ns != 0)
		ck_assert_int_eq(end, HUNT_EXITED);
	ck_assert(end == HUNT_EXITED || end == HUNT_LOST);
	ck_assert_uint_eq(follower->own.control->statistics.hunts[end], 1);
	if (end == HUNT_EXITED)
		ck_assert_int_eq(follower->machine.exit.record.reason, EXIT_PORT_OUT);
	ck_assert_uint_eq(follower->machine.position, end == HUNT_EXITED);
}

/* The registers are right, the memory is not: that is another moment, and the hunt goes on until the guest is past. */
START_TEST(other_memory)
{
	struct replica *leader = world.replicas[0], *follower = world.replicas[1];

	ck_assert(lead(leader, 60 * NS_PER_S));
	ck_assert(preempted(leader));
	struct stop_point stop = read_stop(follower);

	stop.ram.bytes[3] ^= 1;
	must_not_find(follower, &stop);
	ck_assert_uint_eq(follower->own.control->statistics.hunt_doubles, 1);
}
END_TEST

/* Registers that the guest never has, code that is nowhere: the guest comes to its exit. */
START_TEST(not_there)
{
	struct replica *leader = world.replicas[0], *follower = world.replicas[1];

	ck_assert(lead(leader, 60 * NS_PER_S));
	ck_assert(preempted(leader));
	struct stop_point stop = read_stop(follower);

	if (_i == 0) {
		stop.cpu.gpr[GPR_RBX] ^= 1ull << 40;
	} else {
		/* Breakpoints are planted on this code; what is executed in place has it in the digest of memory. */
		stop.code[0] ^= 1;
		stop.recurs_ns = NS_PER_MS;
	}
	must_not_find(follower, &stop);
	must_have_code(follower, ending_begin, ending_end);
}
END_TEST

/* In a guest that never exits nobody looks for ever. */
START_TEST(lost)
{
	struct replica *leader = world.replicas[0], *follower = world.replicas[1];

	ck_assert(lead(leader, 60 * NS_PER_S));
	struct stop_point stop = read_stop(follower);

	stop.cpu.gpr[GPR_R9] = 77;
	stop.recurs_ns = 1000 * NS_PER_S; /* met four times a day */
	ck_assert_int_eq(hunt(follower, &stop), HUNT_LOST);
	ck_assert_uint_eq(follower->own.control->statistics.hunts[HUNT_LOST], 1);
}
END_TEST

/* Nor at all where no code on the way can make up for what is wrong. */
START_TEST(never_to_be_found)
{
	struct replica *leader = world.replicas[0], *follower = world.replicas[1];

	ck_assert(lead(leader, 60 * NS_PER_S));
	struct stop_point stop = read_stop(follower);

	stop.cpu.msr[CPU_MSR_LSTAR] ^= 1ull << 30;
	ck_assert_int_eq(hunt(follower, &stop), HUNT_LOST);
	ck_assert_uint_eq(follower->own.control->statistics.hunt_visits, 1);
}
END_TEST

/* A guest that exits by itself all the time is not taken out; but the alarm is not put off at each of its exits. */
START_TEST(put_off)
{
	struct replica *leader = world.replicas[0];
	const struct alarm *alarm = &leader->preempt.alarm;
	const uint64_t grace = NS_PER_S, begin = clock_monotonic_ns();

	leader->config.preempt_grace = grace;
	preempt_enter(leader, begin);
	ck_assert_uint_eq(alarm->at, begin + grace);
	preempt_enter(leader, begin + grace / 4);
	ck_assert_uint_eq(alarm->at, begin + grace);
	preempt_enter(leader, begin + grace * 3 / 4);
	ck_assert_uint_eq(alarm->at, begin + grace * 3 / 4 + grace);
	/* What looks for what the world sends may be set for later. */
	preempt_go_until(&leader->preempt, begin + 10 * grace);
	preempt_enter(leader, begin + grace);
	ck_assert_uint_eq(alarm->at, begin + 10 * grace);
}
END_TEST

/* A replica that is told to leave does. */
START_TEST(left)
{
	struct replica *leader = world.replicas[0], *follower = world.replicas[1];

	ck_assert(lead(leader, 60 * NS_PER_S));
	struct stop_point stop = read_stop(follower);

	stop.cpu.gpr[GPR_R9] = 77;
	atomic_store(&world.page->command, COMMAND_END);
	replica_world_call(&world, 1);
	stop.run_ns = 3600 * NS_PER_S;
	/* The alarm of a hunt that long is far away; the supervisor's call is not. */
	kicked = &follower->machine.vcpu;
	kvm_vcpu_kick(kicked);
	ck_assert_int_eq(hunt(follower, &stop), HUNT_LEFT);
	ck_assert(follower->leave);
}
END_TEST

/* Not beyond the budget; not where followers have seen an exit ahead; not where nothing waits. */
START_TEST(not_worth_while)
{
	struct replica *leader = world.replicas[0];
	uint64_t patience = 100 * NS_PER_MS;

	switch (_i) {
	case 0:
		leader->config.preempt_budget = 0;
		break;
	case 1:
		checked_word_store(&world.replicas[1]->own.control->reached, 1);
		break;
	default:
		leader->config.segment_max = 3600 * NS_PER_S;
		/* Before its way is so long that it will soon be too late, which takes longer, at the least price. */
		in_place_learn(&leader->preempt.prices, GUEST_MACHINE_CODE, 0, NS_PER_MS);
		patience = 20 * NS_PER_MS;
		break;
	}
	ck_assert(!lead(leader, patience));
	ck_assert_uint_eq(leader->own.control->statistics.stops, 0);
	ck_assert_uint_eq(checked_word_load(&leader->own.control->tape_written, 1), 0);
	ck_assert_uint_eq(leader->preempt.breakpoints.count, 0);
}
END_TEST

/* The guest that exits by itself while a place is looked for: nothing is booked. */
START_TEST(exits_by_itself)
{
	struct replica *leader = world.replicas[0];

	leader->config.segment_max = 3600 * NS_PER_S;
	ck_assert(lead(leader, 60 * NS_PER_S));
	ck_assert(!preempted(leader));
	ck_assert_uint_eq(leader->machine.position, 1);
	ck_assert_int_eq(leader->machine.exit.record.reason, EXIT_PORT_OUT);
}
END_TEST

/* Without a grace period there is no preemption, and no alarm. */
START_TEST(turned_off)
{
	struct replica *replica = world.replicas[0];
	bool ended = true;
	const struct source_view view = view_of(replica);

	preempt_destroy(replica);
	atomic_store(&replica->own.control->preempts, 0);
	replica->preempt = (struct preempt){ .works = false };
	replica->config.preempt_grace = 0;
	must_succeed(preempt_create(replica));
	ck_assert(!replica->preempt.works);
	ck_assert_uint_eq(atomic_load(&replica->own.control->preempts), 0);
	preempt_enter(replica, clock_monotonic_ns());
	must_succeed(preempt_kicked(replica, &view, &ended));
	ck_assert(!ended);
}
END_TEST

/* A kick that comes before the guest is entered ends the run all the same, once; completing an exit is not a run. */
START_TEST(kick_before_the_run)
{
	struct replica *replica = world.replicas[0];
	enum machine_stop stop;
	enum kvm_vcpu_stop complete;

	must_succeed(machine_prepare(&replica->machine));
	kvm_vcpu_kick(&replica->machine.vcpu);
	must_succeed(machine_run(&replica->machine, &stop));
	ck_assert_int_eq(stop, MACHINE_INTERRUPTED);
	kvm_vcpu_kick(&replica->machine.vcpu);
	must_succeed(kvm_vcpu_complete(&replica->machine.vcpu, &complete));
	must_succeed(machine_run(&replica->machine, &stop));
	ck_assert_int_eq(stop, MACHINE_INTERRUPTED);
	must_succeed(machine_run(&replica->machine, &stop));
	ck_assert_int_eq(stop, MACHINE_EXITED);
}
END_TEST

/* To be led by registers takes alarms that come in time. Where processors are emulated they do not, and nobody goes by
 * them there: budgets are larger. */
static int budgets_to_try(void)
{
	uint64_t cost = 0;
	uint32_t choice;

	if (!failed(preempt_choose(false, &choice, &cost)) && cost < PREEMPT_DEAR_NS)
		return 2;
	printf("skip led by registers: alarms come late here\n");
	return 1;
}

int main(void)
{
	Suite *suite = suite_create("preempt");
	int budgets;

	if (!guest_machine_available("preemption"))
		return fixture_run(suite);

	TCase *endless = tcase_create("endless");
	TCase *finite = tcase_create("finite");
	TCase *dense = tcase_create("dense");
	TCase *nested = tcase_create("nested calls");
	TCase *waiting = tcase_create("waiting kernel");
	TCase *deaf = tcase_create("deaf kernel");
	TCase *wandering = tcase_create("wandering kernel");

	budgets = budgets_to_try();
	tcase_add_checked_fixture(endless, setup, teardown);
	tcase_add_loop_test(endless, found, 0, budgets);
	tcase_add_test(endless, lost);
	tcase_add_test(endless, never_to_be_found);
	tcase_add_test(endless, put_off);
	tcase_add_test(endless, left);
	tcase_add_loop_test(endless, not_worth_while, 0, 3);
	tcase_add_checked_fixture(finite, setup_ending, teardown);
	tcase_add_test(finite, other_memory);
	tcase_add_loop_test(finite, not_there, 0, 2);
	tcase_add_test(finite, exits_by_itself);
	tcase_add_test(finite, turned_off);
	tcase_add_test(finite, kick_before_the_run);
	tcase_add_checked_fixture(dense, setup_spinner, teardown);
	tcase_add_loop_test(dense, found, 0, budgets);
	tcase_add_checked_fixture(nested, setup_nest, teardown);
	tcase_add_loop_test(nested, found, 0, budgets);
	tcase_add_test(dense, left);
	tcase_add_checked_fixture(waiting, setup_waiting_kernel, teardown);
	tcase_add_test(waiting, found_before_programs);
	tcase_add_checked_fixture(deaf, setup_deaf_kernel, teardown);
	tcase_add_test(deaf, not_before_programs);
	tcase_add_checked_fixture(wandering, setup_wandering_kernel, teardown);
	tcase_add_test(wandering, not_before_programs);
	tcase_set_timeout(endless, 200);
	tcase_set_timeout(finite, 200);
	tcase_set_timeout(dense, 200);
	tcase_set_timeout(nested, 200);
	tcase_set_timeout(waiting, 200);
	tcase_set_timeout(deaf, 200);
	tcase_set_timeout(wandering, 200);
	suite_add_tcase(suite, endless);
	suite_add_tcase(suite, finite);
	suite_add_tcase(suite, dense);
	suite_add_tcase(suite, nested);
	suite_add_tcase(suite, waiting);
	suite_add_tcase(suite, deaf);
	suite_add_tcase(suite, wandering);
	return fixture_run(suite);
}
