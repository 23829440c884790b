/* A machine begins again: nothing of the boot before is left, replicas stay the same, and one that takes over the
 * state of the reset begins again with them. */
#include "tests/unit/replica_world.h"

#include <string.h>

#include "base/fd.h"
#include "lockstep/reboot.h"
#include "lockstep/resync.h"
#include "tests/unit/kernel_images.h"

/* Memory and registers for ever. */
GUEST_CODE(worker, "1: add $7, %rbx\n"
		   "mov %rbx, %rax\n"
		   "mov %ebp, %ecx\n"
		   "and $63, %ecx\n"
		   "shl $12, %ecx\n"
		   "mov %rax, 0x500000(%rcx)\n"
		   "inc %ebp\n"
		   "mov $0x3F8, %edx\n"
		   "out %al, %dx\n"
		   "jmp 1b");

enum { STEPS = 200, WRITTEN = 0x500000 };

static struct replica_world world;

static void setup(void)
{
	const struct elf_image image = elf_good();

	replica_world_make(&world, 2, worker_begin, worker_end);
	for (unsigned i = 0; i < 2; i++) {
		struct replica *replica = world.replicas[i];

		replica->config.kind = BOOT_PAYLOAD;
		replica->config.kernel_fd = elf_file(&image, UINT64_MAX);
		replica->config.initrd_fd = -1;
		memcpy(replica->config.kernel_name, "payload", 8);
		replica_world_run(replica, STEPS);
		replica->end = END_RESET;
		replica->end_voted = true;
		(void)replica_world_vote(replica);
	}
}

static void teardown(void)
{
	for (unsigned i = 0; i < 2; i++)
		fd_close(&world.replicas[i]->config.kernel_fd);
	replica_world_destroy(&world);
}

static unsigned difference(void)
{
	return replica_world_difference(replica_world_vote(world.replicas[0]), replica_world_vote(world.replicas[1]));
}

/* The table that votes speak from is that of memory as it is. */
static void table_is_true(struct replica *replica)
{
	for (uint64_t page = 0; page < ram_pages(&replica->ram); page++) {
		const struct digest hash =
			pagehash_of(&replica->box.digests, page, ram_page(&replica->ram, page));

		ck_assert_mem_eq(&hash, &replica->own.page_hashes[page], sizeof(hash));
	}
}

START_TEST(begins_again)
{
	static const uint8_t zeros[64 * RAM_PAGE_SIZE];

	for (unsigned i = 0; i < 2; i++) {
		struct replica *replica = world.replicas[i];
		uint64_t position = replica->machine.position;

		ck_assert_mem_ne(replica->ram.memory + WRITTEN, zeros, sizeof(zeros));
		replica->preempt.patches = replica->preempt.programs = true;
		must_succeed(reboot_machine(replica));
		ck_assert(!replica->preempt.programs);
		ck_assert_uint_eq(replica->boots, 1);
		ck_assert_uint_eq(replica->machine.position, position);
		ck_assert_int_eq(replica->end, END_RUNNING);
		ck_assert(!replica->end_voted);
		ck_assert_uint_eq(atomic_load(&replica->own.control->state), REPLICA_RUNNING);
		ck_assert_mem_eq(replica->ram.memory + WRITTEN, zeros, sizeof(zeros));
	}
	ck_assert_uint_eq(difference(), 0);
	ck_assert_uint_eq(replica_world_record(world.replicas[0])->cpu.rip, elf_good().header.e_entry);
	for (unsigned i = 0; i < 2; i++)
		table_is_true(world.replicas[i]);
}
END_TEST

/* One that was elsewhere is at the reset then, and knows how often the machine has begun. */
START_TEST(taken_over)
{
	struct replica *patient = world.replicas[1];
	struct vote_record record = *replica_world_record(world.replicas[0]);
	const struct resync_origin origin = {
		.memory = patient->peer_rams[0].memory,
		.table = patient->peers[0].page_hashes,
		.record = &record,
	};

	record.end = END_RESET;
	record.end_value = RESET_BY_HOST;
	record.boots = 4;
	record.resets_taken = 3;
	replica_world_run(patient, 5);
	patient->end = END_RUNNING;
	patient->end_voted = false;
	must_succeed(resync_take(patient, &origin));
	ck_assert_int_eq(patient->end, END_RESET);
	ck_assert_uint_eq(patient->end_value, RESET_BY_HOST);
	ck_assert(patient->end_voted);
	ck_assert_uint_eq(patient->boots, 4);
	ck_assert_uint_eq(patient->resets_taken, 3);
	for (unsigned i = 0; i < 2; i++)
		must_succeed(reboot_machine(world.replicas[i]));
	ck_assert_uint_eq(patient->boots, 5);
	ck_assert_uint_eq(difference(), 0);
	table_is_true(patient);
}
END_TEST

/* A file that has become another one since. */
START_TEST(bad_file)
{
	struct replica *replica = world.replicas[0];
	struct elf_image image = elf_good();

	fd_close(&replica->config.kernel_fd);
	image.header.e_machine = EM_386;
	replica->config.kernel_fd = elf_file(&image, UINT64_MAX);
	result r = reboot_machine(replica);

	ck_assert(failed(r));
	ck_assert_int_eq(r.failure->status, STATUS_INPUT);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("reboot");
	TCase *tests = tcase_create("reboot");

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, begins_again);
	tcase_add_test(tests, taken_over);
	tcase_add_test(tests, bad_file);
	if (guest_machine_available("reboot"))
		suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
