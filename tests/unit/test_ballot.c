/* Ballots: what a replica says of itself is complete, equal in equal replicas, and wrong in the right place. */
#include "tests/unit/guest_machine.h"

#include <stdatomic.h>
#include <string.h>

#include "base/fd.h"
#include "lockstep/ballot.h"
#include "lockstep/inject.h"

enum { PAGES = GUEST_MACHINE_MEMORY / RAM_PAGE_SIZE };

/* Writes to memory and to a port for ever. */
GUEST_CODE(worker, "1: add $7, %rax\n"
		   "mov %rax, 0x400000\n"
		   "out %al, $0x80\n"
		   "jmp 1b");

static const uint8_t key[DIGEST_KEY_SIZE] = { 4, 2 };

struct replica {
	struct guest_machine guest;
	struct area area;
	struct outbox outbox;
	struct ballot_box box;
	struct vote_record record; /* the last one taken */
};

static struct replica replicas[2];

static void make_box(struct replica *replica, struct machine *machine, bool compared)
{
	int fd;

	must_succeed(fd_sealed_memory(&fd, "area", area_size(PAGES)));
	must_succeed(area_map(&replica->area, fd, PAGES, true));
	area_init(&replica->area);
	outbox_init(&replica->outbox, replica->area.outbox, &replica->area.control->output_written);
	must_succeed(ballot_box_create(&replica->box, &replica->area, machine, &replica->outbox, key, compared));
}

static void cast(struct replica *replica, uint64_t position)
{
	const struct vote_record facts = {
		.number = 12345, /* is filled in */
		.position = position,
		.cause = VOTE_CAUSE_OUTPUT,
		.guest_ns = 1000,
		.console_taken = 3,
		.buttons_taken = 1,
	};
	uint64_t number = replica->box.votes;

	must_succeed(ballot_box_cast(&replica->box, &facts));
	ck_assert_uint_eq(atomic_load(&replica->area.control->votes), number + 1);
	must_succeed(vote_record_take(&replica->area, number, &replica->record));
	ck_assert_uint_eq(replica->record.position, position);
	ck_assert_uint_eq(replica->record.cause, VOTE_CAUSE_OUTPUT);
	ck_assert_uint_eq(replica->record.guest_ns, 1000);
	ck_assert_uint_eq(replica->record.console_taken, 3);
	ck_assert_uint_eq(replica->record.buttons_taken, 1);
	ck_assert_uint_eq(replica->record.output_end, replica->outbox.voted);
}

/* --- without a vCPU: a replica that is compared with nobody --- */

static struct ram lone_ram;
static struct machine lone;

static void setup_lone(void)
{
	guest_memory_make(&lone_ram, GUEST_MACHINE_MEMORY);
	lone = (struct machine){ .ram = &lone_ram };
	make_box(&replicas[0], &lone, false);
}

static void teardown_lone(void)
{
	ballot_box_destroy(&replicas[0].box);
	ck_assert_ptr_null(replicas[0].box.dirty);
	area_unmap(&replicas[0].area);
	ram_unmap(&lone_ram);
}

START_TEST(alone)
{
	const struct digest none = { .bytes = { 0 } };
	const struct vote_record *record = &replicas[0].record;

	for (uint64_t number = 0; number < 3 * CONTROL_VOTE_SLOTS; number++) {
		outbox_put(&replicas[0].outbox, OUTPUT_CONSOLE, number, "hello", 5);
		cast(&replicas[0], 10 * number);
		ck_assert_uint_eq(record->output_end, (number + 1) * (OUTBOX_HEADER_SIZE + 5));
		ck_assert_uint_eq(replicas[0].box.voted_position, 10 * number);
		for (unsigned i = 0; i < VOTE_OUTPUT; i++)
			ck_assert_mem_eq(&record->ballot.digests[i], &none, sizeof(none));
		ck_assert_mem_ne(&record->ballot.digests[VOTE_OUTPUT], &none, sizeof(none));
	}
}
END_TEST

START_TEST(exit_log)
{
	for (uint64_t position = CONTROL_EXIT_LOG - 2; position < CONTROL_EXIT_LOG + 2; position++) {
		lone.exit.record = (struct exit_record){ .position = position, .rip = 7 * position };
		ballot_box_log_exit(&replicas[0].box);
		const struct exit_record *logged = &replicas[0].area.exit_log[position % CONTROL_EXIT_LOG];

		ck_assert_mem_eq(logged, &lone.exit.record, sizeof(*logged));
	}
	ck_assert_uint_eq(replicas[0].area.exit_log[1].position, CONTROL_EXIT_LOG + 1);
	ck_assert_uint_eq(replicas[0].area.exit_log[CONTROL_EXIT_LOG - 1].position, CONTROL_EXIT_LOG - 1);
}
END_TEST

/* --- with KVM: two replicas of the same guest --- */

static void setup_two(void)
{
	for (unsigned i = 0; i < 2; i++) {
		guest_machine_make(&replicas[i].guest, worker_begin, worker_end);
		make_box(&replicas[i], &replicas[i].guest.machine, true);
	}
}

static void teardown_two(void)
{
	for (unsigned i = 0; i < 2; i++) {
		ballot_box_destroy(&replicas[i].box);
		area_unmap(&replicas[i].area);
		guest_machine_destroy(&replicas[i].guest);
	}
}

static void run(struct replica *replica, unsigned positions)
{
	for (unsigned i = 0; i < positions; i++) {
		(void)guest_machine_step(&replica->guest);
		ballot_box_log_exit(&replica->box);
	}
	guest_machine_settle(&replica->guest);
}

static void vote(struct replica *replica)
{
	cast(replica, replica->guest.machine.position);
}

/* Exactly the digests in `different`, one bit each, must differ. */
static void must_differ_in(unsigned different)
{
	for (unsigned i = 0; i < VOTE_DIGESTS; i++) {
		bool differs = memcmp(&replicas[0].record.ballot.digests[i], &replicas[1].record.ballot.digests[i],
				      sizeof(struct digest)) != 0;

		ck_assert_msg(differs == (different >> i & 1), "%s: %s", vote_digest_name((enum vote_digest)i),
			      differs ? "differs" : "does not differ");
	}
}

static void commit(const struct inject_fault *fault, struct replica *replica)
{
	struct inject_context context = { .machine = &replica->guest.machine, .area = &replica->area };

	must_succeed(inject_commit(fault, &context));
}

START_TEST(equals_are_equal)
{
	for (unsigned round = 0; round < 4; round++) {
		for (unsigned i = 0; i < 2; i++) {
			run(&replicas[i], 10 + round);
			outbox_put(&replicas[i].outbox, OUTPUT_CONSOLE, round, "same", 4);
			vote(&replicas[i]);
		}
		must_differ_in(0);
		ck_assert_mem_eq(&replicas[0].record.cpu, &replicas[1].record.cpu, sizeof(struct cpu_state));
		ck_assert_uint_eq(replicas[0].record.devices_size, replicas[1].record.devices_size);
		ck_assert_mem_eq(replicas[0].record.devices, replicas[1].record.devices,
				 replicas[0].record.devices_size);
	}
}
END_TEST

/* What the record says is what is hashed, so that whoever has the key can check it. */
START_TEST(digests_are_of_what_is_told)
{
	struct replica *replica = &replicas[0];
	const struct vote_record *record = &replica->record;
	struct digest_context digests;
	unsigned __int128 sum = 0;

	must_succeed(digest_create(&digests, key));
	run(replica, 5);
	vote(replica);
	struct digest cpu = digest_of(&digests, DIGEST_CPU, 0, &record->cpu, sizeof(record->cpu));
	struct digest devices = digest_of(&digests, DIGEST_DEVICES, 0, record->devices, record->devices_size);

	ck_assert_mem_eq(&record->ballot.digests[VOTE_CPU], &cpu, sizeof(cpu));
	ck_assert_mem_eq(&record->ballot.digests[VOTE_DEVICES], &devices, sizeof(devices));
	for (uint64_t page = 0; page < PAGES; page++) {
		struct digest hash = pagehash_of(&digests, page, ram_page(&replica->guest.ram, page));
		unsigned __int128 number;

		if (memcmp(&hash, &replica->area.page_hashes[page], sizeof(hash)) != 0)
			ck_abort_msg("the area has a wrong hash of page %ju", (uintmax_t)page);
		memcpy(&number, &hash, sizeof(number));
		sum += number;
	}
	ck_assert_mem_eq(&record->ballot.digests[VOTE_RAM], &sum, sizeof(sum));

	/* The exits: where the machine stands, then every record since the last vote. */
	digest_begin(&digests, DIGEST_EXITS, 0);
	digest_add(&digests, record, offsetof(struct vote_record, ballot));
	digest_add(&digests, &replica->area.exit_log[1], 5 * sizeof(struct exit_record));
	struct digest exits = digest_end(&digests);

	ck_assert_mem_eq(&record->ballot.digests[VOTE_EXITS], &exits, sizeof(exits));
	ck_assert_uint_eq(replica->area.control->statistics.pages_hashed, replica->box.pages.hashed);
	digest_destroy(&digests);
}
END_TEST

/* Pages of the changes since the vote before, in ascending order. */
START_TEST(changes)
{
	struct replica *replica = &replicas[0];
	const struct vote_record *record = &replica->record;

	run(replica, 3);
	vote(replica);
	ck_assert_uint_eq(record->changes_begin, 0);
	ck_assert_uint_gt(record->changes_end, 2); /* page tables, code, data */
	uint64_t before = record->changes_end;

	must_succeed(ram_write(&replica->guest.ram, 0x900000, "x", 1));
	must_succeed(ram_write(&replica->guest.ram, 0xA00000, "", 1)); /* dirty, but not changed */
	run(replica, 1);
	vote(replica);
	ck_assert_uint_eq(record->changes_begin, before);
	ck_assert_uint_eq(record->changes_end, before + 2);
	ck_assert_uint_eq(replica->area.changes[before].page, 0x400);
	ck_assert_uint_eq(replica->area.changes[before + 1].page, 0x900);
	ck_assert_mem_eq(&replica->area.changes[before + 1].hash, &replica->area.page_hashes[0x900],
			 sizeof(struct digest));
}
END_TEST

static const struct {
	const char *spec;
	unsigned different;
} faults[] = {
	{ "0:reg:r11:17@0", 1u << VOTE_CPU },
	{ "0:reg:xmm9:100@0", 1u << VOTE_CPU },
	{ "0:reg:mxcsr:13@0", 1u << VOTE_CPU },
	{ "0:mem:0x800123:4@0", 1u << VOTE_RAM },
	{ "0:mem:0x0:0@0", 1u << VOTE_RAM },
	{ "0:device:i8254:0@0", 1u << VOTE_DEVICES },
	{ "0:device:debug_exit:3@0", 1u << VOTE_DEVICES },
};

/* A fault shows in the digest of what it hit, and in no other. */
START_TEST(faults_show)
{
	struct inject_fault fault;

	for (unsigned i = 0; i < 2; i++)
		run(&replicas[i], 4);
	must_succeed(inject_parse(faults[_i].spec, 1, &fault));
	commit(&fault, &replicas[0]);
	for (unsigned i = 0; i < 2; i++)
		vote(&replicas[i]);
	must_differ_in(faults[_i].different);
	ck_assert_uint_eq(registers_compare(&replicas[0].record.cpu, &replicas[1].record.cpu, NULL, NULL),
			  faults[_i].different == 1u << VOTE_CPU);
}
END_TEST

/* Memory that is hit again at the same place is as it was: the sum goes back, too. */
START_TEST(memory_repaired)
{
	struct inject_fault fault;

	must_succeed(inject_parse("0:mem:0x800123:4@0", 1, &fault));
	commit(&fault, &replicas[0]);
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < 2; i++) {
			run(&replicas[i], 1);
			vote(&replicas[i]);
		}
		must_differ_in(round ? 0 : 1u << VOTE_RAM);
		commit(&fault, &replicas[0]);
	}
}
END_TEST

START_TEST(outputs_show)
{
	for (unsigned i = 0; i < 2; i++) {
		run(&replicas[i], 1);
		outbox_put(&replicas[i].outbox, OUTPUT_CONSOLE, 1, i ? "a" : "b", 1);
		vote(&replicas[i]);
	}
	must_differ_in(1u << VOTE_OUTPUT);
}
END_TEST

/* Exits are covered one by one, round the end of their log as well. */
START_TEST(exits_show)
{
	const uint64_t start = CONTROL_EXIT_LOG - 3, count = 6;

	for (uint64_t hit = start + 1; hit <= start + count; hit++) {
		for (unsigned i = 0; i < 2; i++) {
			struct replica *replica = &replicas[i];

			replica->box.voted_position = start;
			for (uint64_t position = start + 1; position <= start + count; position++) {
				replica->guest.machine.exit.record =
					(struct exit_record){ .position = position, .rip = i == 1 && position == hit };
				ballot_box_log_exit(&replica->box);
			}
			cast(replica, start + count);
			ck_assert_uint_eq(replica->box.voted_position, start + count);
		}
		must_differ_in(1u << VOTE_EXITS);
	}
	/* Where the machine stands counts without any exit. */
	for (unsigned i = 0; i < 2; i++) {
		const struct vote_record facts = {
			.position = start + count, .cause = VOTE_CAUSE_INTERVAL, .console_taken = i,
		};

		must_succeed(ballot_box_cast(&replicas[i].box, &facts));
		must_succeed(vote_record_take(&replicas[i].area, replicas[i].box.votes - 1, &replicas[i].record));
	}
	must_differ_in(1u << VOTE_EXITS);
}
END_TEST

/* --- pages that nobody is known to have written --- */

/* A byte that rotted, behind KVM's back and ours. */
static void rot(struct replica *replica, uint64_t address)
{
	replica->guest.ram.memory[address] ^= 0x10;
}

/* A vote by which the scrub comes by all memory. */
static void scrub_all(struct replica *replica)
{
	ballot_box_scrub(&replica->box, 0, PAGES);
	run(replica, 1);
	vote(replica);
}

/* Seen at the vote whose scrub comes by, and at none before. */
START_TEST(scrubbed)
{
	const uint64_t page = 0x900;
	/* The guest writes one page itself. */
	const unsigned written = 1 + guest_machine_dirty_tables();

	for (unsigned i = 0; i < 2; i++) {
		must_succeed(ram_write(&replicas[i].guest.ram, page * RAM_PAGE_SIZE, "important", 9));
		run(&replicas[i], 1);
		vote(&replicas[i]);
	}
	must_differ_in(0);
	/* What was written so far is left out once. */
	for (unsigned i = 0; i < 2; i++)
		scrub_all(&replicas[i]);
	rot(&replicas[0], page * RAM_PAGE_SIZE + 3);
	for (unsigned round = 0; round < 4; round++) {
		uint64_t from = round == 1 ? page - 10 : round == 2 ? page + 1 : page - 4;

		for (unsigned i = 0; i < 2; i++) {
			uint64_t hashed = replicas[i].box.pages.hashed;

			if (round > 0)
				ballot_box_scrub(&replicas[i].box, from, 10);
			run(&replicas[i], 1);
			vote(&replicas[i]);
			ck_assert_uint_eq(replicas[i].area.control->statistics.pages_scrubbed,
					  PAGES + 10 * round);
			ck_assert_uint_eq(replicas[i].box.pages.hashed - hashed, written + (round > 0 ? 10 : 0));
		}
		must_differ_in(round == 3 ? 1u << VOTE_RAM : 0);
	}
	/* Which page it was is among the changes. */
	const struct vote_record *record = &replicas[0].record;
	bool named = false;

	for (uint64_t i = record->changes_begin; i < record->changes_end; i++)
		named |= replicas[0].area.changes[i].page == page;
	ck_assert(named);
}
END_TEST

/* A page that was written since the scrub last came by was hashed then, and what rots in it waits for the next time. */
START_TEST(scrubbed_unless_written)
{
	struct replica *replica = &replicas[0];
	const uint64_t page = 0x900;

	run(replica, 1);
	vote(replica);
	scrub_all(replica);
	for (unsigned i = 0; i < 3; i++) {
		must_succeed(ram_write(&replica->guest.ram, (page + i) * RAM_PAGE_SIZE, "important", 9));
		run(replica, 1);
		vote(replica);
	}
	rot(replica, 0);
	rot(replica, GUEST_MACHINE_MEMORY - 1);
	rot(replica, page * RAM_PAGE_SIZE + 3);
	for (unsigned round = 0; round < 2; round++) {
		const uint64_t hashed = replica->box.pages.hashed;

		scrub_all(replica);
		/* What the guest writes all the time is hashed as such. */
		ck_assert_uint_eq(replica->box.pages.hashed - hashed, PAGES - (round == 0 ? 3 : 0));
		ck_assert_uint_eq(replica->record.changes_end - replica->record.changes_begin, round == 0 ? 3 : 2);
		ck_assert_uint_eq(replica->area.control->statistics.pages_scrubbed, (round + 2) * (uint64_t)PAGES);
	}
}
END_TEST

/* The table follows memory, and nobody is told of changes: they are no vote's. */
/* Looked at between two votes, memory's changes belong to the next one. */
START_TEST(looked_at)
{
	struct replica *replica = &replicas[0];
	struct digest before, after;

	run(replica, 1);
	vote(replica);
	uint64_t end = replica->record.changes_end;

	must_succeed(ballot_box_memory(&replica->box, &before));
	ck_assert_mem_eq(&before, &replica->record.ballot.digests[VOTE_RAM], sizeof(before));
	must_succeed(ram_write(&replica->guest.ram, 0x900000, "x", 1));
	must_succeed(ballot_box_memory(&replica->box, &after));
	ck_assert_mem_ne(&after, &before, sizeof(before));
	run(replica, 1);
	vote(replica);
	ck_assert_uint_eq(replica->record.changes_begin, end);
	ck_assert_uint_eq(replica->record.changes_end, end + 2);
	ck_assert_uint_eq(replica->area.changes[end].page, 0x900);
}
END_TEST

START_TEST(refreshed)
{
	struct replica *replica = &replicas[0];

	run(replica, 1);
	vote(replica);
	uint64_t booked = replica->box.changes;

	must_succeed(ram_write(&replica->guest.ram, 0x900000, "x", 1));
	must_succeed(ballot_box_refresh(&replica->box));
	struct digest now = pagehash_of(&replica->box.digests, 0x900, ram_page(&replica->guest.ram, 0x900));

	ck_assert_mem_eq(&replica->area.page_hashes[0x900], &now, sizeof(now));
	ck_assert_uint_eq(replica->box.changes, booked);
	ck_assert_uint_eq(replica->box.votes, 1);
}
END_TEST

/* --- another one's vote --- */

/* Both machines are the same, but the second has cast other votes, and fewer of them. */
static void prepare_take_over(void)
{
	for (unsigned round = 0; round < 3; round++) {
		run(&replicas[0], 5);
		outbox_put(&replicas[0].outbox, OUTPUT_CONSOLE, round, "hello", 5);
		vote(&replicas[0]);
	}
	run(&replicas[1], 15);
	/* Devices took the time at none of these exits, and registers are equal: so is all that there is. */
	must_succeed(ballot_box_refresh(&replicas[1].box));
	replicas[1].guest.machine.position = replicas[0].guest.machine.position;
}

START_TEST(taken_over)
{
	struct replica *replica = &replicas[1];
	const struct control *control = replica->area.control;

	prepare_take_over();
	must_succeed(ballot_box_take_over(&replica->box, &replicas[0].record));
	/* Nobody sees it before it is published. */
	ck_assert_uint_eq(atomic_load(&control->votes), 0);
	ballot_box_publish(&replica->box, 4711, 3);
	ck_assert_uint_eq(atomic_load(&control->votes), 3);
	must_succeed(vote_record_take(&replica->area, 2, &replica->record));
	must_differ_in(0);
	ck_assert_uint_eq(replica->record.tape_at, 4711);
	ck_assert_uint_eq(replica->record.epoch, 3);
	ck_assert_uint_eq(replica->record.position, replicas[0].record.position);
	ck_assert_uint_eq(replica->record.output_end, replicas[0].record.output_end);
	ck_assert_uint_eq(replica->record.output_host_ns, 0);
	ck_assert_uint_gt(replica->record.cast_host_ns, replicas[0].record.cast_host_ns);
	ck_assert_uint_eq(replica->record.changes_begin, replica->record.changes_end);
	/* Both go on the same way. */
	outbox_restart(&replica->outbox, replica->record.output_end);
	for (unsigned i = 0; i < 2; i++) {
		run(&replicas[i], 5);
		outbox_put(&replicas[i].outbox, OUTPUT_CONSOLE, 3, "on", 2);
		vote(&replicas[i]);
		ck_assert_uint_eq(replicas[i].record.number, 3);
	}
	must_differ_in(0);
}
END_TEST

static void differ_in_cpu(struct replica *replica)
{
	struct cpu_state state;

	must_succeed(machine_export(&replica->guest.machine, &state));
	state.gpr[GPR_R11] ^= 1;
	must_succeed(machine_import(&replica->guest.machine, &state, false));
}

static void differ_in_devices(struct replica *replica)
{
	board_advance(replica->guest.board, board_now(replica->guest.board) + 1);
}

static void differ_in_ram(struct replica *replica)
{
	must_succeed(ram_write(&replica->guest.ram, 0x900000, "x", 1));
	must_succeed(ballot_box_refresh(&replica->box));
}

static void (*const differences[])(struct replica *replica) = { differ_in_cpu, differ_in_devices, differ_in_ram };

/* What is not the state that was voted is not taken for it. */
START_TEST(taken_over_in_part)
{
	struct replica *replica = &replicas[1];

	prepare_take_over();
	differences[_i](replica);
	must_fail(ballot_box_take_over(&replica->box, &replicas[0].record), STATUS_FAILED,
		  "the state of vote 2 that was taken over is not what was voted");
	ck_assert_uint_eq(atomic_load(&replica->area.control->votes), 0);
}
END_TEST

/* Digests that this machine's own state does not have are not believed, one bit each. */
START_TEST(taken_over_from_a_liar)
{
	struct vote_record *record = &replicas[0].record;

	prepare_take_over();
	for (unsigned digest = VOTE_CPU; digest <= VOTE_RAM; digest++) {
		record->ballot.digests[digest].bytes[digest] ^= 0x80;
		must_fail(ballot_box_take_over(&replicas[1].box, record), STATUS_FAILED, "is not what was voted");
		record->ballot.digests[digest].bytes[digest] ^= 0x80;
	}
	must_succeed(ballot_box_take_over(&replicas[1].box, record));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ballot");
	TCase *alone_tests = tcase_create("alone");
	TCase *pairs = tcase_create("pairs");

	tcase_add_checked_fixture(alone_tests, setup_lone, teardown_lone);
	tcase_add_test(alone_tests, alone);
	tcase_add_test(alone_tests, exit_log);
	suite_add_tcase(suite, alone_tests);
	tcase_add_checked_fixture(pairs, setup_two, teardown_two);
	tcase_add_test(pairs, equals_are_equal);
	tcase_add_test(pairs, digests_are_of_what_is_told);
	tcase_add_test(pairs, changes);
	tcase_add_loop_test(pairs, faults_show, 0, (int)ARRAY_SIZE(faults));
	tcase_add_test(pairs, memory_repaired);
	tcase_add_test(pairs, outputs_show);
	tcase_add_test(pairs, exits_show);
	tcase_add_test(pairs, scrubbed);
	tcase_add_test(pairs, scrubbed_unless_written);
	tcase_add_test(pairs, looked_at);
	tcase_add_test(pairs, refreshed);
	tcase_add_test(pairs, taken_over);
	tcase_add_loop_test(pairs, taken_over_in_part, 0, (int)ARRAY_SIZE(differences));
	tcase_add_test(pairs, taken_over_from_a_liar);
	tcase_set_timeout(pairs, 60);
	if (guest_machine_available("ballots of pairs"))
		suite_add_tcase(suite, pairs);
	return fixture_run(suite);
}
