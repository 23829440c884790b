/* Resync: a replica takes over a donor's state, by copying what differs and nothing else, and believes nothing. */
#include "tests/unit/replica_world.h"

#include <string.h>

#include "lockstep/resync.h"

/* Memory, registers and output for ever; 64 pages in turn, and the clock now and then. */
GUEST_CODE(worker, "1: add $7, %rbx\n"
		   "mov %rbx, %rax\n"
		   "mov %rax, 0x400000\n"
		   "mov %ebp, %ecx\n"
		   "and $63, %ecx\n"
		   "shl $12, %ecx\n"
		   "mov %rax, 0x500000(%rcx)\n"
		   "inc %ebp\n"
		   "mov $0x3F8, %edx\n"
		   "out %al, %dx\n"
		   "mov $0x40, %edx\n"
		   "in %dx, %al\n"
		   "jmp 1b");

enum { DATA = 0x900, STEPS = 40 };

static struct replica_world world;
static struct replica *donor, *patient;

/* Two replicas that have voted twice and are the same. */
static void setup(void)
{
	replica_world_make(&world, 2, worker_begin, worker_end);
	donor = world.replicas[0];
	patient = world.replicas[1];
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < 2; i++) {
			replica_world_run(world.replicas[i], STEPS);
			(void)replica_world_vote(world.replicas[i]);
		}
		ck_assert_uint_eq(replica_world_difference(replica_world_record(donor), replica_world_record(patient)),
				  0);
	}
}

static void teardown(void)
{
	replica_world_destroy(&world);
}

/* The donor as its peer sees it. */
static struct resync_origin origin_of(const struct vote_record *record)
{
	return (struct resync_origin){
		.memory = patient->peer_rams[0].memory,
		.table = patient->peers[0].page_hashes,
		.record = record,
	};
}

static result take(void)
{
	static struct vote_record record;
	const struct resync_origin origin = origin_of(&record);

	must_succeed(vote_record_take(&patient->peers[0], donor->box.votes - 1, &record));
	return resync_take(patient, &origin);
}

/* A write that the replica knows of: its next vote tells. */
static void write_page(struct replica *replica, uint64_t page, const char *text)
{
	must_succeed(ram_write(&replica->ram, page * RAM_PAGE_SIZE, text, strlen(text)));
}

static uint64_t pages_that_differ(void)
{
	uint64_t count = 0;

	for (uint64_t page = 0; page < REPLICA_WORLD_PAGES; page++)
		count += memcmp(ram_page(&donor->ram, page), ram_page(&patient->ram, page), RAM_PAGE_SIZE) != 0;
	return count;
}

static uint64_t copied(const struct replica *replica)
{
	return replica->own.control->statistics.pages_copied;
}

/* Both go on alike from here, and vote alike. */
static void must_be_equal(void)
{
	uint8_t states[2][CONTROL_DEVICES_MAX];
	struct bytes_writer one = bytes_writer_over(states[0], CONTROL_DEVICES_MAX);
	struct bytes_writer other = bytes_writer_over(states[1], CONTROL_DEVICES_MAX);

	ck_assert_uint_eq(pages_that_differ(), 0);
	board_save(donor->board, &one);
	board_save(patient->board, &other);
	ck_assert_uint_eq(one.used, other.used);
	ck_assert_mem_eq(states[0], states[1], one.used);
	ck_assert_uint_eq(patient->machine.position, donor->machine.position);
	ck_assert_uint_eq(patient->box.votes, donor->box.votes);
	ck_assert_uint_eq(replica_world_difference(replica_world_record(donor), replica_world_record(patient)), 0);
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 2; i++) {
			replica_world_run(world.replicas[i], STEPS);
			(void)replica_world_vote(world.replicas[i]);
		}
		ck_assert_uint_eq(replica_world_record(donor)->number, replica_world_record(patient)->number);
		ck_assert_uint_eq(replica_world_difference(replica_world_record(donor), replica_world_record(patient)),
				  0);
	}
	ck_assert_uint_eq(pages_that_differ(), 0);
}

/* --- copying --- */

static uint64_t copy_all(const struct resync_origin *origin)
{
	return resync_copy(patient, origin, 0, REPLICA_WORLD_PAGES);
}

/* Pages that differ are copied, and no others. */
START_TEST(copies_what_differs)
{
	static const uint64_t pages[] = { 0, 63, 64, DATA, DATA + 1, REPLICA_WORLD_PAGES - 1 };
	const struct resync_origin origin = origin_of(NULL);

	ck_assert_uint_eq(copy_all(&origin), 0);
	for (size_t i = 0; i < ARRAY_SIZE(pages); i++)
		write_page(i % 2 ? donor : patient, pages[i], "another text");
	/* Zeros on one side are a difference, too. */
	must_succeed(ballot_box_refresh(&donor->box));
	must_succeed(ballot_box_refresh(&patient->box));
	ck_assert_uint_eq(pages_that_differ(), ARRAY_SIZE(pages));
	uint64_t hashed = patient->box.pages.hashed;

	ck_assert_uint_eq(copy_all(&origin), ARRAY_SIZE(pages));
	ck_assert_uint_eq(patient->box.pages.hashed, hashed + ARRAY_SIZE(pages));
	ck_assert_uint_eq(copied(patient), ARRAY_SIZE(pages));
	ck_assert_uint_eq(pages_that_differ(), 0);
	ck_assert_mem_eq(patient->own.page_hashes, donor->own.page_hashes,
			 REPLICA_WORLD_PAGES * sizeof(struct digest));
	ck_assert_uint_eq(copy_all(&origin), 0);
	ck_assert_uint_eq(copied(patient), ARRAY_SIZE(pages));
}
END_TEST

/* Only those that are asked for. */
START_TEST(copies_in_parts)
{
	const struct resync_origin origin = origin_of(NULL);

	for (uint64_t page = DATA; page < DATA + 6; page++)
		write_page(donor, page, "a text");
	must_succeed(ballot_box_refresh(&donor->box));
	ck_assert_uint_eq(resync_copy(patient, &origin, 0, DATA), 0);
	ck_assert_uint_eq(resync_copy(patient, &origin, DATA + 6, REPLICA_WORLD_PAGES - DATA - 6), 0);
	ck_assert_uint_eq(resync_copy(patient, &origin, DATA + 1, 3), 3);
	ck_assert_uint_eq(pages_that_differ(), 3);
	ck_assert_uint_eq(resync_copy(patient, &origin, DATA + 5, 1), 1);
	ck_assert_uint_eq(resync_copy(patient, &origin, REPLICA_WORLD_PAGES, 0), 0);
	ck_assert_uint_eq(copy_all(&origin), 2);
	ck_assert_uint_eq(pages_that_differ(), 0);
}
END_TEST

/* A page that its donor writes meanwhile: what arrived is hashed, not what was promised, so it is copied again. */
START_TEST(torn_pages_are_copied_again)
{
	const struct resync_origin origin = origin_of(NULL);

	write_page(donor, DATA, "first");
	must_succeed(ballot_box_refresh(&donor->box));
	write_page(donor, DATA, "second"); /* not in the table yet */
	ck_assert_uint_eq(copy_all(&origin), 1);
	ck_assert_mem_ne(&patient->own.page_hashes[DATA], &donor->own.page_hashes[DATA], sizeof(struct digest));
	ck_assert_uint_eq(copy_all(&origin), 1);
	must_succeed(ballot_box_refresh(&donor->box));
	ck_assert_uint_eq(copy_all(&origin), 0);
	ck_assert_uint_eq(pages_that_differ(), 0);
}
END_TEST

/* From nothing: a new process. */
START_TEST(copies_everything_that_is_not_zero)
{
	uint64_t used = 0;

	replica_world_respawn(&world, 1);
	patient = world.replicas[1];
	for (uint64_t page = 0; page < REPLICA_WORLD_PAGES; page++) {
		const uint8_t *content = ram_page(&donor->ram, page);

		used += content[0] != 0 || memcmp(content, content + 1, RAM_PAGE_SIZE - 1) != 0;
	}
	must_succeed(take());
	ck_assert_uint_eq(copied(patient), used);
	ck_assert(patient->rejoined);
	atomic_store(&patient->own.control->votes, patient->box.votes);
	must_be_equal();
}
END_TEST

/* --- taking over --- */

static void nothing_is_wrong(void)
{
}

static void memory_is_wrong(void)
{
	write_page(patient, DATA, "wrong");
}

static void registers_are_wrong(void)
{
	struct cpu_state state;

	must_succeed(machine_export(&patient->machine, &state));
	state.gpr[GPR_RBX] ^= 4;
	state.xmm[3][7] ^= 1;
	state.fcw ^= 0x100;
	must_succeed(machine_import(&patient->machine, &state, false));
}

static void devices_are_wrong(void)
{
	const uint8_t divisor = 0x83;

	board_port_write(patient->board, 0x3FB, 1, &divisor);
	board_advance(patient->board, board_now(patient->board) + 12345);
}

/* It ran on, and voted for what it found there. */
static void it_ran_away(void)
{
	registers_are_wrong();
	for (unsigned i = 0; i < 3; i++) {
		replica_world_run(patient, STEPS);
		(void)replica_world_vote(patient);
	}
	replica_world_run(patient, 7);
	outbox_put(&patient->outbox, OUTPUT_CONSOLE, 1, "never said", 10);
}

/* It never came so far. */
static void it_fell_behind(void)
{
	for (unsigned i = 0; i < 3; i++) {
		replica_world_run(donor, STEPS);
		(void)replica_world_vote(donor);
	}
}

/* It stands in the middle of something: its exit is not complete. */
static void it_is_in_the_middle(void)
{
	enum machine_stop stop = MACHINE_INTERRUPTED;

	must_succeed(machine_prepare(&patient->machine));
	while (stop == MACHINE_INTERRUPTED)
		must_succeed(machine_run(&patient->machine, &stop));
}

/* Its guest's page tables map other memory, and it has run with them: KVM knows them. */
static void its_page_tables_are_wrong(void)
{
	struct cpu_state state;
	uint64_t directory, entry;

	must_succeed(machine_export(&patient->machine, &state));
	directory = state.cr3 + 2ull * RAM_PAGE_SIZE + 2 * sizeof(entry); /* of 4 MiB on */
	must_succeed(ram_read(&patient->ram, directory, &entry, sizeof(entry)));
	entry ^= UINT64_C(0xC00000);
	must_succeed(ram_write(&patient->ram, directory, &entry, sizeof(entry)));
	must_succeed(machine_forget_memory(&patient->machine));
	replica_world_run(patient, STEPS);
	ck_assert_mem_ne(ram_page(&donor->ram, 0x800), ram_page(&patient->ram, 0x800), RAM_PAGE_SIZE);
}

/* Its table says something else than its memory. */
static void its_table_is_wrong(void)
{
	patient->own.page_hashes[DATA].bytes[3] ^= 1;
	patient->own.page_hashes[DATA + 1].bytes[0] ^= 1;
	patient->box.pages.sum++;
}

static void the_donors_table_is_wrong(void)
{
	donor->own.page_hashes[DATA].bytes[3] ^= 1;
}

/* Both tables agree where the memories do not: then every page is looked at. */
static void both_tables_are_wrong(void)
{
	patient->ram.memory[DATA * RAM_PAGE_SIZE] ^= 1;
	patient->own.page_hashes[DATA].bytes[0] ^= 1;
	donor->own.page_hashes[DATA].bytes[0] ^= 1;
}

enum { ANY = -1 };

static const struct illness {
	void (*make)(void);
	int pages; /* that are copied */
} illnesses[] = {
	{ nothing_is_wrong, 0 },      { memory_is_wrong, 1 },      { registers_are_wrong, 0 },
	{ devices_are_wrong, 0 },     { it_ran_away, ANY },        { it_fell_behind, ANY },
	{ it_is_in_the_middle, ANY }, { its_table_is_wrong, 2 },   { the_donors_table_is_wrong, 1 },
	{ both_tables_are_wrong, ANY },	{ its_page_tables_are_wrong, ANY },
};

/* Whatever it is that is wrong, afterwards it is right. */
START_TEST(heals)
{
	const struct illness *illness = &illnesses[_i];

	illness->make();
	must_succeed(take());
	if (illness->pages != ANY)
		ck_assert_uint_eq(copied(patient), (uint64_t)illness->pages);
	ck_assert(patient->rejoined);
	ck_assert(!patient->moved);
	ck_assert_int_eq(patient->end, END_RUNNING);
	ck_assert_uint_eq(outbox_pending(&patient->outbox), 0);
	ck_assert_uint_eq(patient->outbox.voted, replica_world_record(donor)->output_end);
	must_be_equal();
}
END_TEST

/* What a replica counts itself comes from the vote. */
START_TEST(counts_are_the_votes)
{
	donor->console_taken = 77;
	donor->buttons_taken = 3;
	replica_world_run(donor, 1);
	(void)replica_world_vote(donor);
	patient->end = END_EXIT;
	patient->end_value = 9;
	patient->end_voted = true;
	patient->moved = true;
	must_succeed(take());
	ck_assert_uint_eq(patient->console_taken, 77);
	ck_assert_uint_eq(patient->buttons_taken, 3);
	ck_assert_int_eq(patient->end, END_RUNNING);
	ck_assert_uint_eq(patient->end_value, 0);
	ck_assert(!patient->end_voted);
	ck_assert(!patient->moved);
	must_be_equal();
}
END_TEST

/* --- donors that are not believed --- */

static void memory_rots(void)
{
	write_page(patient, DATA, "wrong");
	donor->ram.memory[DATA * RAM_PAGE_SIZE + 9] ^= 1;
}

static void it_runs_on(void)
{
	write_page(patient, 0x400, "wrong");
	replica_world_run(donor, 3);
}

/* A donor whose memory is not what was voted. */
START_TEST(memory_that_was_not_voted)
{
	(_i ? it_runs_on : memory_rots)();
	must_fail(take(), STATUS_FAILED, "the memory that is to be taken over is not what was voted");
}
END_TEST

/* A page that rotted at the donor and is right here is not copied, and does no harm. */
START_TEST(what_is_right_stays)
{
	donor->ram.memory[DATA * RAM_PAGE_SIZE + 9] ^= 1;
	must_succeed(take());
	ck_assert_uint_eq(copied(patient), 0);
	donor->ram.memory[DATA * RAM_PAGE_SIZE + 9] ^= 1;
	must_be_equal();
}
END_TEST

/* Those that can be reset are another matter: test_reboot.c. */
START_TEST(ended_machines)
{
	static struct vote_record record;
	const struct resync_origin origin = origin_of(&record);

	record = *replica_world_record(donor);
	for (uint32_t end = END_EXIT; end <= END_DEAD_HALT + 1; end++) {
		record.end = end;
		must_fail(resync_take(patient, &origin), STATUS_FAILED, "a machine that can never go on");
	}
	ck_assert(!patient->rejoined);
}
END_TEST

/* A record that is wrong anywhere in its state, under a right checksum: it is refused, or the bit meant nothing and the
 * state is that which was voted. */
START_TEST(states_that_were_not_voted)
{
	static struct vote_record record;
	const struct resync_origin origin = origin_of(&record);
	const struct vote_record *good = replica_world_record(donor);
	const size_t ranges[][2] = {
		{ offsetof(struct vote_record, cpu), sizeof(record.cpu) },
		{ offsetof(struct vote_record, devices), good->devices_size },
		{ offsetof(struct vote_record, ballot.digests[VOTE_CPU]), 3 * sizeof(struct digest) },
	};
	unsigned refused = 0, tries = 0;
	uint64_t seed = 31;

	for (unsigned i = 0; i < 300; i++) {
		uint64_t bit = fixture_random(&seed) % (8 * ranges[i % 3][1]);
		uint8_t *byte;

		record = *good;
		byte = (uint8_t *)&record + ranges[i % 3][0] + bit / 8;
		*byte ^= (uint8_t)(1u << bit % 8);
		tries++;
		if (failed(resync_take(patient, &origin))) {
			refused++;
			continue;
		}
		/* Digests cover themselves. */
		ck_assert_uint_ne(i % 3, 2);
		if (replica_world_difference(replica_world_record(patient), good) != 0)
			ck_abort_msg("bit %ju of range %u is believed", (uintmax_t)bit, i % 3);
	}
	ck_assert_uint_ge(refused, tries / 2);
	/* And a good one still heals. */
	must_succeed(take());
	must_be_equal();
}
END_TEST

/* Sizes that do not fit what is there. */
START_TEST(devices_that_are_cut)
{
	static struct vote_record record;
	const struct resync_origin origin = origin_of(&record);
	const uint32_t size = replica_world_record(donor)->devices_size;

	for (uint32_t cut = 0; cut <= size + 1; cut += cut < 8 || cut + 8 > size ? 1 : 37) {
		record = *replica_world_record(donor);
		record.devices_size = cut;
		if (cut != size)
			ck_assert_msg(failed(resync_take(patient, &origin)), "cut %u of %u", cut, size);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("resync");
	TCase *tests = tcase_create("KVM");

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, copies_what_differs);
	tcase_add_test(tests, copies_in_parts);
	tcase_add_test(tests, torn_pages_are_copied_again);
	tcase_add_test(tests, copies_everything_that_is_not_zero);
	tcase_add_loop_test(tests, heals, 0, (int)ARRAY_SIZE(illnesses));
	tcase_add_test(tests, counts_are_the_votes);
	tcase_add_loop_test(tests, memory_that_was_not_voted, 0, 2);
	tcase_add_test(tests, what_is_right_stays);
	tcase_add_test(tests, ended_machines);
	tcase_add_test(tests, states_that_were_not_voted);
	tcase_add_test(tests, devices_that_are_cut);
	tcase_set_timeout(tests, 60);
	if (guest_machine_available("resync"))
		suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
