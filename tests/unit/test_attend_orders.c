/* Orders: a replica that is told to takes over a donor's state or its own checkpoint, says so, and goes on where that
 * belongs; a new one copies memory until it is told to join. */
#include "tests/unit/replica_world.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

#include "base/futex.h"
#include "lockstep/attend.h"

/* Memory, registers and output for ever; 64 pages in turn. */
GUEST_CODE(worker, "1: add $7, %rbx\n"
		   "mov %rbx, 0x400000\n"
		   "mov %ebp, %ecx\n"
		   "and $63, %ecx\n"
		   "shl $12, %ecx\n"
		   "mov %rbx, 0x500000(%rcx)\n"
		   "inc %ebp\n"
		   "mov %ebx, %eax\n"
		   "mov $0x3F8, %edx\n"
		   "out %al, %dx\n"
		   "jmp 1b");

enum { STEPS = 20 };

static struct replica_world world;

static void start(unsigned count)
{
	replica_world_make(&world, count, worker_begin, worker_end);
	replica_world_attend(&world);
}

static void setup(void)
{
	start(3);
}

static void setup_two(void)
{
	start(2);
}

static void teardown(void)
{
	replica_world_destroy(&world);
}

static void run_and_vote(struct replica *replica)
{
	replica_world_run(replica, STEPS);
	(void)replica_world_vote(replica);
}

static void all_vote(void)
{
	for (unsigned i = 0; i < world.count; i++)
		run_and_vote(world.replicas[i]);
}

static void all_agree(void)
{
	all_vote();
	for (unsigned i = 1; i < world.count; i++)
		ck_assert_uint_eq(replica_world_difference(replica_world_record(world.replicas[0]),
							   replica_world_record(world.replicas[i])),
				  0);
	atomic_fetch_add(&world.page->verdicts, 1);
	for (unsigned i = 0; i < world.count; i++)
		must_succeed(attend_verdict(world.replicas[i]));
}

static void damage(struct replica *replica)
{
	must_succeed(ram_write(&replica->ram, 0x900000, "damaged", 7));
}

static void must_equal(const struct replica *one, const struct replica *other)
{
	ck_assert_uint_eq(replica_world_difference(replica_world_record(one), replica_world_record(other)), 0);
	ck_assert_uint_eq(one->machine.position, other->machine.position);
	ck_assert(memcmp(one->ram.memory, other->ram.memory, GUEST_MACHINE_MEMORY) == 0);
}

static uint32_t done(const struct replica *replica)
{
	return atomic_load(&replica->own.control->order_done);
}

/* --- resync --- */

/* An outvoted follower: healed, counted, and where its donor is on the leader's tape. */
START_TEST(outvoted_follower)
{
	struct replica *donor = world.replicas[1], *patient = world.replicas[2];

	all_agree();
	damage(patient);
	all_vote();
	/* What stands in a record is where the voter was on the tape. */
	donor->own.control->records[1].tape_at = 480;
	donor->own.control->records[1].crc = vote_record_crc(&donor->own.control->records[1]);
	/* The patient has run on, and complained. */
	replica_world_run(patient, 5);
	atomic_store(&patient->own.control->complaint, 1);
	uint32_t serial = replica_world_order(&world, 2, ORDER_RESYNC, 1, 1);

	(void)replica_world_rung(&world);
	must_succeed(attend(patient));
	ck_assert(replica_world_rung(&world));
	ck_assert_uint_eq(done(patient), serial);
	ck_assert_uint_eq(atomic_load(&patient->own.control->votes), 2);
	ck_assert_uint_eq(atomic_load(&patient->own.control->complaint), 0);
	ck_assert_uint_eq(atomic_load(&patient->own.control->state), REPLICA_RUNNING);
	ck_assert(patient->rejoined);
	ck_assert_uint_eq(checked_word_load(&patient->own.control->reached, 0), 2 * STEPS);
	ck_assert_uint_eq(checked_word_load(&patient->own.control->closed, 99), 0);
	ck_assert(!patient->leads);
	ck_assert_ptr_eq(patient->sources.tape.leader, &patient->peers[0]);
	ck_assert_uint_eq(attend_tape_at(patient), 480);
	ck_assert_uint_eq(replica_world_record(patient)->tape_at, 480);
	must_equal(donor, patient);
	/* Once. */
	uint64_t copied = patient->own.control->statistics.pages_copied;

	patient->rejoined = false;
	replica_world_call(&world, 2);
	must_succeed(attend(patient));
	ck_assert(!patient->rejoined);
	ck_assert_uint_eq(patient->own.control->statistics.pages_copied, copied);
	atomic_store(&world.page->verdicts, 2);
	all_agree();
}
END_TEST

/* An outvoted leader becomes a follower of whoever leads from that vote on, wherever it had gone itself. */
START_TEST(outvoted_leader)
{
	struct replica *patient = world.replicas[0], *next = world.replicas[1], *donor = world.replicas[2];
	const bool donor_first = _i;

	all_agree();
	damage(patient);
	all_vote();
	run_and_vote(patient); /* it ran on, within its backlog */
	/* Where the donor was on the old tape says nothing about the new one. */
	donor->own.control->records[1].tape_at = 480;
	donor->own.control->records[1].crc = vote_record_crc(&donor->own.control->records[1]);
	leadership_publish(world.page, 1,
			   &(struct leadership){
				   .leader = 1, .begin = LEADERSHIP_AT_VOTE, .vote = 1, .tape_base = 64 });
	replica_world_call(&world, 1);
	replica_world_call(&world, 2);
	must_succeed(attend(next));
	ck_assert(next->leads);
	/* The donor may or may not have looked yet. */
	if (donor_first)
		must_succeed(attend(donor));
	(void)replica_world_order(&world, 0, ORDER_RESYNC, 2, 1);
	must_succeed(attend(patient));
	must_succeed(attend(donor));
	for (unsigned i = 0; i < 3; i += 2) {
		const struct replica *replica = world.replicas[i];

		ck_assert(!replica->leads);
		ck_assert_uint_eq(replica->epoch, 1);
		ck_assert_ptr_eq(replica->sources.tape.leader, &replica->peers[1]);
		ck_assert_uint_eq(attend_tape_at(replica), 64);
	}
	ck_assert_uint_eq(replica_world_record(patient)->epoch, 1);
	must_equal(donor, patient);
	ck_assert_uint_eq(atomic_load(&patient->own.control->votes), 2);
	patient->rejoined = false;
	atomic_store(&world.page->verdicts, 2);
	all_agree();
}
END_TEST

/* Orders that cannot be carried out. */
START_TEST(refused)
{
	struct replica *donor = world.replicas[1], *patient = world.replicas[2];
	struct vote_record *record;

	all_agree();
	all_vote();
	record = &donor->own.control->records[1];
	switch (_i) {
	case 0: /* a donor that does not exist, */
		(void)replica_world_order(&world, 2, ORDER_RESYNC, 3, 1);
		must_fail(attend(patient), STATUS_FAILED, "there is no replica 3");
		break;
	case 1: /* or is the patient itself */
		(void)replica_world_order(&world, 2, ORDER_RESYNC, 2, 1);
		must_fail(attend(patient), STATUS_FAILED, "there is no replica 2");
		break;
	case 2: /* a vote that it has not cast */
		(void)replica_world_order(&world, 2, ORDER_RESYNC, 1, 2);
		must_fail(attend(patient), STATUS_FAILED, "vote record 2");
		break;
	case 3: /* a record that is damaged, */
		record->cpu.rip ^= 1;
		(void)replica_world_order(&world, 2, ORDER_RESYNC, 1, 1);
		must_fail(attend(patient), STATUS_FAILED, "vote record 1 is damaged");
		break;
	case 4: /* or a lie */
		record->cpu.rip ^= 1;
		record->crc = vote_record_crc(record);
		(void)replica_world_order(&world, 2, ORDER_RESYNC, 1, 1);
		must_fail(attend(patient), STATUS_FAILED, "is not what was voted");
		break;
	case 5: /* memory that is another */
		damage(donor);
		must_succeed(ballot_box_refresh(&donor->box));
		(void)replica_world_order(&world, 2, ORDER_RESYNC, 1, 1);
		must_fail(attend(patient), STATUS_FAILED, "the memory that is to be taken over is not what was voted");
		break;
	default: /* a checkpoint that nobody kept */
		(void)replica_world_order(&world, 2, ORDER_ROLLBACK, 2, 1);
		must_fail(attend(patient), STATUS_FAILED, "there is no checkpoint of vote 1");
		break;
	}
	/* Whoever asks must not take it for done. */
	ck_assert_uint_eq(done(patient), 0);
}
END_TEST

/* --- rollback --- */

/* The follower goes back to where both agreed and leads from there; the old leader takes that over. */
static void roll_back(unsigned follower_index, uint64_t vote)
{
	struct replica *follower = world.replicas[follower_index], *leader = world.replicas[1 - follower_index];
	uint32_t epoch = atomic_load(&world.page->epoch) + 1;
	uint64_t base = checked_word_load(&follower->own.control->tape_written, 0);
	uint32_t serial = replica_world_order(&world, follower_index, ORDER_ROLLBACK, follower_index, vote);

	must_succeed(attend(follower));
	ck_assert_uint_eq(done(follower), serial);
	ck_assert_uint_eq(replica_world_record(follower)->number, vote);
	ck_assert(follower->rejoined);
	leadership_publish(world.page, epoch,
			   &(struct leadership){ .leader = follower_index,
						 .begin = LEADERSHIP_AT_VOTE,
						 .vote = vote,
						 .tape_base = base });
	replica_world_call(&world, follower_index);
	must_succeed(attend(follower));
	ck_assert(follower->leads);
	(void)replica_world_order(&world, 1 - follower_index, ORDER_RESYNC, follower_index, vote);
	must_succeed(attend(leader));
	ck_assert(!leader->leads);
	ck_assert_uint_eq(leader->epoch, epoch);
	must_equal(leader, follower);
	for (unsigned i = 0; i < 2; i++) {
		world.replicas[i]->rejoined = false;
		must_succeed(attend_verdict(world.replicas[i]));
	}
}

START_TEST(both_go_back)
{
	all_agree();
	all_agree();
	const uint64_t position = world.replicas[0]->machine.position;
	static struct vote_record agreed;

	agreed = *replica_world_record(world.replicas[0]);
	damage(world.replicas[_i]);
	all_vote();
	ck_assert_uint_ne(replica_world_difference(replica_world_record(world.replicas[0]),
						   replica_world_record(world.replicas[1])),
			  0);
	run_and_vote(world.replicas[0]); /* the leader may be ahead */
	roll_back(1, 1);
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_uint_eq(world.replicas[i]->machine.position, position);
		ck_assert_uint_eq(replica_world_difference(replica_world_record(world.replicas[i]), &agreed), 0);
		ck_assert_uint_eq(world.replicas[i]->outbox.voted, agreed.output_end);
	}
	all_agree();
	all_agree();
}
END_TEST

/* The checkpoint of the vote that is asked for, and of no other. */
START_TEST(wrong_vote)
{
	all_agree();
	all_agree();
	all_vote();
	(void)replica_world_order(&world, 1, ORDER_ROLLBACK, 1, _i ? 2 : 0);
	must_fail(attend(world.replicas[1]), STATUS_FAILED, "there is no checkpoint of vote");
}
END_TEST

/* Fault after fault, with any number of agreed votes between: whoever follows has a checkpoint that is good. */
START_TEST(again_and_again)
{
	unsigned follower = 1;

	for (unsigned round = 0; round < 6; round++) {
		for (unsigned i = 0; i < (unsigned)_i; i++)
			all_agree();
		damage(world.replicas[round % 2]);
		all_vote();
		roll_back(follower, atomic_load(&world.page->verdicts) - 1);
		follower = 1 - follower;
	}
	all_agree();
}
END_TEST

/* --- joining --- */

struct joining {
	struct replica *replica;
	bool failed;
};

static void *join(void *context)
{
	struct joining *joining = context;

	joining->failed = failed(attend_join(joining->replica));
	return NULL;
}

static bool becomes(const struct replica *replica, enum replica_state state)
{
	const struct timespec pause = { .tv_nsec = 1000 * 1000 };

	/* Longer than any host takes; the test's own limit is longer. */
	for (unsigned i = 0; i < 20000; i++) {
		if (atomic_load(&replica->own.control->state) == state)
			return true;
		nanosleep(&pause, NULL);
	}
	return false;
}

/* One of two comes with its checkpoint nearly done: nobody waits while a whole memory is copied. Others need none. */
static void must_have_prepared(const struct replica *replica)
{
	const struct checkpoint *checkpoint = &replica->checkpoint;

	ck_assert(!checkpoint->valid);
	ck_assert_int_eq(checkpoint->memory != NULL, world.count == 2);
	if (world.count != 2)
		return;
	for (uint64_t page = 0; page < REPLICA_WORLD_PAGES; page++)
		ck_assert_mem_eq(checkpoint->memory + page * RAM_PAGE_SIZE, ram_page(&replica->ram, page),
				 RAM_PAGE_SIZE);
	ck_assert_mem_eq(checkpoint->table, replica->own.page_hashes, REPLICA_WORLD_PAGES * sizeof(struct digest));
}

/* A new process copies while the others run, says when it is ready, and joins at a vote. */
START_TEST(joins)
{
	struct joining joining = { 0 };
	pthread_t thread;

	all_agree();
	atomic_store(&world.page->live, 3);
	replica_world_respawn(&world, 2);
	joining.replica = world.replicas[2];
	(void)replica_world_rung(&world);
	ck_assert_int_eq(pthread_create(&thread, NULL, join, &joining), 0);
	ck_assert(becomes(joining.replica, REPLICA_JOINABLE));
	ck_assert(replica_world_rung(&world));
	/* Ready is not yet there: they go on, and it goes on copying. */
	for (unsigned round = 0; round < 3; round++)
		for (unsigned i = 0; i < 2; i++)
			run_and_vote(world.replicas[i]);
	ck_assert_uint_eq(atomic_load(&joining.replica->own.control->votes), 0);
	atomic_store(&world.page->verdicts, 4);
	uint32_t serial = replica_world_order(&world, 2, ORDER_RESYNC, 1, 3);

	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert(!joining.failed);
	ck_assert(joining.replica->rejoined);
	ck_assert_uint_eq(done(joining.replica), serial);
	ck_assert_uint_eq(atomic_load(&joining.replica->own.control->state), REPLICA_RUNNING);
	ck_assert_uint_eq(atomic_load(&joining.replica->own.control->votes), 4);
	ck_assert_ptr_eq(joining.replica->sources.tape.leader, &joining.replica->peers[0]);
	must_equal(world.replicas[1], joining.replica);
	joining.replica->rejoined = false;
	all_agree();
}
END_TEST

/* From a leader that is alone, and waits for it. */
START_TEST(joins_a_lone_leader)
{
	struct joining joining = { 0 };
	pthread_t thread;

	all_agree();
	atomic_store(&world.page->live, 1);
	replica_world_respawn(&world, 1);
	joining.replica = world.replicas[1];
	ck_assert_int_eq(pthread_create(&thread, NULL, join, &joining), 0);
	ck_assert(becomes(joining.replica, REPLICA_JOINABLE));
	run_and_vote(world.replicas[0]);
	(void)replica_world_order(&world, 1, ORDER_RESYNC, 0, 1);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert(!joining.failed);
	ck_assert(!joining.replica->checkpoint.valid);
	must_equal(world.replicas[0], joining.replica);
}
END_TEST

/* One that joins can be told to leave. */
START_TEST(leaves_while_it_joins)
{
	const unsigned last = world.count - 1;
	struct joining joining = { 0 };
	pthread_t thread;

	/* So that there is something to copy. */
	all_agree();
	replica_world_respawn(&world, last);
	joining.replica = world.replicas[last];
	ck_assert_int_eq(pthread_create(&thread, NULL, join, &joining), 0);
	ck_assert(becomes(joining.replica, REPLICA_JOINABLE));
	atomic_store(&world.page->command, COMMAND_END);
	replica_world_call(&world, last);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert(!joining.failed);
	ck_assert(joining.replica->leave);
	ck_assert(!joining.replica->rejoined);
	must_have_prepared(joining.replica);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("attend_orders");
	TCase *three = tcase_create("three replicas");
	TCase *two = tcase_create("two replicas");

	tcase_add_checked_fixture(three, setup, teardown);
	tcase_add_test(three, outvoted_follower);
	tcase_add_loop_test(three, outvoted_leader, 0, 2);
	tcase_add_loop_test(three, refused, 0, 7);
	tcase_add_test(three, joins);
	tcase_add_test(three, leaves_while_it_joins);
	tcase_set_timeout(three, 60);
	tcase_add_checked_fixture(two, setup_two, teardown);
	tcase_add_loop_test(two, both_go_back, 0, 2);
	tcase_add_loop_test(two, wrong_vote, 0, 2);
	tcase_add_loop_test(two, again_and_again, 1, 4);
	tcase_add_test(two, joins_a_lone_leader);
	tcase_add_test(two, leaves_while_it_joins);
	tcase_set_timeout(two, 60);
	if (guest_machine_available("orders")) {
		suite_add_tcase(suite, three);
		suite_add_tcase(suite, two);
	}
	return fixture_run(suite);
}
