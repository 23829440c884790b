/* Checkpoints: whatever was voted comes back, whether all of it was taken or what had changed. */
#include "tests/unit/replica_world.h"

#include <string.h>

#include "lockstep/resync.h"

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

enum { STEPS = 10 };

static struct replica_world world;
static struct replica *replica;
static struct checkpoint *checkpoint;

static void setup(void)
{
	replica_world_make(&world, 2, worker_begin, worker_end);
	replica = world.replicas[1];
	checkpoint = &replica->checkpoint;
	must_succeed(checkpoint_create(checkpoint, &replica->ram));
}

static void teardown(void)
{
	replica_world_destroy(&world);
}

static void run_and_vote(void)
{
	replica_world_run(replica, STEPS);
	(void)replica_world_vote(replica);
}

static void take(void)
{
	checkpoint_take(checkpoint, &replica->own, &replica->ram, replica_world_record(replica));
}

/* What is kept is what is there now: every page, every hash, the whole record. */
static void must_be_as_now(void)
{
	ck_assert(checkpoint->valid);
	for (uint64_t page = 0; page < REPLICA_WORLD_PAGES; page++)
		if (memcmp(checkpoint->memory + page * RAM_PAGE_SIZE, ram_page(&replica->ram, page),
			   RAM_PAGE_SIZE) != 0)
			ck_abort_msg("page 0x%jx is not kept as it is", (uintmax_t)page);
	ck_assert_mem_eq(checkpoint->table, replica->own.page_hashes,
			 REPLICA_WORLD_PAGES * sizeof(struct digest));
	ck_assert_mem_eq(checkpoint->record, replica_world_record(replica), sizeof(*checkpoint->record));
}

START_TEST(empty_at_first)
{
	ck_assert(!checkpoint->valid);
	ck_assert_uint_eq(checkpoint->pages, REPLICA_WORLD_PAGES);
}
END_TEST

/* Vote by vote; the first one takes everything. */
START_TEST(every_vote)
{
	for (unsigned i = 0; i < 3 * CONTROL_VOTE_SLOTS; i++) {
		if (i % 5 == 3) /* written by a device, and back to zeros */
			must_succeed(ram_write(&replica->ram, 0x900000, i % 2 ? "x" : "", 1));
		run_and_vote();
		take();
		must_be_as_now();
	}
}
END_TEST

/* Only what a vote told of is looked at, when the one before was taken. */
START_TEST(costs_what_changed)
{
	run_and_vote();
	take();
	run_and_vote();
	/* Nobody wrote it, so nobody looks. */
	replica->ram.memory[0x900000] ^= 1;
	take();
	ck_assert_uint_eq(checkpoint->memory[0x900000], 0);
	replica->ram.memory[0x900000] ^= 1;
	must_be_as_now();
}
END_TEST

/* What is prepared is nothing to go back to, and need not be copied again. */
START_TEST(prepared)
{
	must_succeed(ram_write(&replica->ram, 0x900000, "x", 1));
	run_and_vote();
	checkpoint_prepare(checkpoint, &replica->own, &replica->ram, 0x900, 1);
	ck_assert(!checkpoint->valid);
	ck_assert_uint_eq(checkpoint->memory[0x900000], 'x');
	ck_assert_uint_eq(checkpoint->memory[GUEST_MACHINE_CODE], 0);
	/* Nobody says that it changed. */
	replica->ram.memory[0x900000] = 'y';
	checkpoint_prepare(checkpoint, &replica->own, &replica->ram, 0, REPLICA_WORLD_PAGES);
	take();
	ck_assert_uint_eq(checkpoint->memory[0x900000], 'x');
	replica->ram.memory[0x900000] = 'x';
	must_be_as_now();
	/* What was there to go back to is not any more. */
	checkpoint_prepare(checkpoint, &replica->own, &replica->ram, 0, 1);
	ck_assert(!checkpoint->valid);
}
END_TEST

/* Votes that were not taken leave no gap. */
START_TEST(after_a_gap)
{
	run_and_vote();
	take();
	for (unsigned gap = 1; gap < 5; gap++) {
		for (unsigned i = 0; i < gap; i++)
			run_and_vote();
		run_and_vote();
		take();
		must_be_as_now();
	}
}
END_TEST

/* A hundred positions on, and back: the machine is the one that voted, and goes the same way again. */
START_TEST(restored)
{
	static struct vote_record first, again;
	const struct resync_origin origin = {
		.memory = checkpoint->memory,
		.table = checkpoint->table,
		.record = checkpoint->record,
	};

	for (unsigned i = 0; i < 5; i++) {
		run_and_vote();
		take();
	}
	const uint64_t position = replica->machine.position, votes = replica->box.votes;
	const struct vote_record agreed = *replica_world_record(replica);
	uint8_t *memory = malloc(GUEST_MACHINE_MEMORY);

	ck_assert_ptr_nonnull(memory);
	memcpy(memory, replica->ram.memory, GUEST_MACHINE_MEMORY);
	for (unsigned round = 0; round < 3; round++) {
		/* Further each time, over all the slots in which votes are kept, so that its own record is gone. */
		for (unsigned i = 0; i < 1 + 10 * round; i++) {
			run_and_vote();
			if (i == 0 && round == 0)
				first = *replica_world_record(replica);
		}
		must_succeed(resync_take(replica, &origin));
		ck_assert_uint_eq(replica->machine.position, position);
		ck_assert_uint_eq(replica->box.votes, votes);
		ck_assert_uint_eq(replica_world_difference(replica_world_record(replica), &agreed), 0);
		ck_assert(memcmp(memory, replica->ram.memory, GUEST_MACHINE_MEMORY) == 0);
		ck_assert(replica->rejoined);
		run_and_vote();
		again = *replica_world_record(replica);
		ck_assert_uint_eq(again.number, first.number);
		ck_assert_uint_eq(again.position, first.position);
		ck_assert_uint_eq(again.output_end, first.output_end);
		ck_assert_uint_eq(replica_world_difference(&first, &again), 0);
	}
	/* The checkpoint itself is none the worse. */
	ck_assert(memcmp(memory, checkpoint->memory, GUEST_MACHINE_MEMORY) == 0);
	free(memory);
}
END_TEST

/* A checkpoint that rotted is not taken for what was agreed. */
START_TEST(rotten)
{
	const struct resync_origin origin = {
		.memory = checkpoint->memory,
		.table = checkpoint->table,
		.record = checkpoint->record,
	};

	run_and_vote();
	take();
	run_and_vote();
	if (_i == 0)
		checkpoint->memory[0x400001] ^= 1; /* a page that the guest has written since */
	else if (_i == 1)
		checkpoint->record->cpu.gpr[GPR_RBX] ^= 1;
	else
		checkpoint->record->ballot.digests[VOTE_RAM].bytes[4] ^= 1;
	must_fail(resync_take(replica, &origin), STATUS_FAILED, "is not what was voted");
}
END_TEST

START_TEST(destroyed)
{
	checkpoint_destroy(checkpoint);
	ck_assert_ptr_null(checkpoint->memory);
	ck_assert(!checkpoint->valid);
	/* Twice is once, and none was ever there. */
	checkpoint_destroy(checkpoint);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("checkpoint");
	TCase *tests = tcase_create("KVM");

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, empty_at_first);
	tcase_add_test(tests, every_vote);
	tcase_add_test(tests, costs_what_changed);
	tcase_add_test(tests, prepared);
	tcase_add_test(tests, after_a_gap);
	tcase_add_test(tests, restored);
	tcase_add_loop_test(tests, rotten, 0, 3);
	tcase_add_test(tests, destroyed);
	tcase_set_timeout(tests, 60);
	if (guest_machine_available("checkpoints"))
		suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
