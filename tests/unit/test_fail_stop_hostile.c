/* Reports of stopped machines: that nothing in an area can do harm, and what is left when one cannot be written. */
#include "tests/unit/stopped_machine.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "base/bytes.h"
#include "base/checked_word.h"
#include "lockstep/fail_stop_copy.h"
#include "lockstep/fail_stop_tape.h"

/* --- tapes --- */

struct tape_count {
	unsigned entries, damaged;
	uint64_t first, last; /* positions of entries */
};

static struct tape_count count_tape(unsigned replica)
{
	struct fail_stop_copy *copy = malloc(sizeof(*copy));
	struct tape_count count = { .first = 0 };
	struct fail_stop_tape_item item;

	ck_assert_ptr_nonnull(copy);
	must_succeed(fail_stop_copy_take(copy, &stopped.facts));
	struct fail_stop_tape tape = fail_stop_tape_of(&copy->sides[replica]);

	while (fail_stop_tape_next(&tape, &item)) {
		if (item.damaged) {
			count.damaged++;
			continue;
		}
		if (count.entries++ == 0)
			count.first = item.position;
		count.last = item.position;
	}
	ck_assert_uint_eq(tape.at, copy->sides[replica].tape_end);
	fail_stop_copy_free(copy);
	free(copy);
	return count;
}

START_TEST(tape)
{
	const uint64_t cause = VOTE_CAUSE_OUTPUT;

	tape_write(&stopped.writers[0], TAPE_CONSOLE, 20, "ls \"\\\n\xff", 7);
	tape_write(&stopped.writers[0], TAPE_BUTTON, 21, NULL, 0);
	tape_write(&stopped.writers[0], TAPE_VOTE, 22, &cause, 8);
	stopped_machine_report();
	must_have("tape.txt", "replica 0: bytes 0 to 88\n");
	must_have("tape.txt", "             0            10  time 1500 ns\n");
	must_have("tape.txt", "            24            20  console \"ls \\x22\\x5c\\x0a\\xff\"\n");
	must_have("tape.txt", "            48            21  button (kind 3)\n");
	must_have("tape.txt", "            64            22  vote, cause 2 (output)\n");
	must_not_have("tape.txt", "DAMAGED");

	json_t *report = stopped_machine_json();
	const json_t *list = json_object_get(json_array_get(json_object_get(report, "replicas"), 0), "tape");

	ck_assert_uint_eq(json_array_size(list), 4);
	ck_assert_str_eq(json_string_value(json_object_get(json_array_get(list, 1), "bytes")),
			 "6c7320225c0aff");
	ck_assert_str_eq(json_string_value(json_object_get(json_array_get(list, 3), "kind")), "vote");
	json_decref(report);
}
END_TEST

/* Every bit of an entry in the middle: it is marked, and those before and after it are read. */
START_TEST(damaged_tape)
{
	const uint64_t time = 77;

	for (uint64_t position = 11; position <= 20; position++)
		tape_write(&stopped.writers[0], TAPE_TIME, position, &time, 8);
	ck_assert_uint_eq(count_tape(0).entries, 11);
	for (unsigned bit = 0; bit < 24 * 8; bit++) {
		uint8_t *byte = &stopped.areas[0].tape.data[5 * 24 + bit / 8];
		struct tape_count count;

		*byte ^= (uint8_t)(1U << bit % 8);
		count = count_tape(0);
		*byte ^= (uint8_t)(1U << bit % 8);
		ck_assert_uint_eq(count.damaged, 1);
		ck_assert_uint_eq(count.entries, 10);
		ck_assert_uint_eq(count.first, 10);
		ck_assert_uint_eq(count.last, 20);
	}
	stopped.areas[0].tape.data[5 * 24 + 17] ^= 1;
	stopped.areas[0].tape.data[6 * 24 + 17] ^= 1;
	stopped_machine_report();
	must_have("tape.txt", "!          120                DAMAGED: 48 bytes: ");
}
END_TEST

/* Longer than the tail, and than the ring: it begins with a whole entry, and nothing is called damaged. */
START_TEST(long_tape)
{
	const uint8_t keys[TAPE_CONSOLE_MAX] = { 0 };
	uint64_t position = 10;

	for (unsigned i = 0; i < 40000; i++)
		tape_write(&stopped.writers[0], TAPE_CONSOLE, ++position, keys,
			   (uint16_t)(1 + i % TAPE_CONSOLE_MAX));
	struct tape_count count = count_tape(0);

	ck_assert_uint_eq(count.damaged, 0);
	ck_assert_uint_eq(count.last, position);
	ck_assert_uint_eq(position - count.first + 1, count.entries);
	/* Entries have 24 to 80 bytes. */
	ck_assert_uint_gt(count.entries, FAIL_STOP_TAPE / 80 - 1);
	ck_assert_uint_le(count.entries, FAIL_STOP_TAPE / 24);
	/* A tail that begins with more rubble than one entry has. */
	uint64_t begin = stopped.writers[0].at - FAIL_STOP_TAPE;

	for (uint64_t at = begin; at < begin + 2 * TAPE_PAYLOAD_MAX; at++)
		stopped.areas[0].tape.data[at % stopped.areas[0].tape.size] = 0xA5;
	ck_assert_uint_eq(count_tape(0).damaged, 1);
}
END_TEST

/* A tail that ends within an entry, and within its header: what is behind is not looked at. */
START_TEST(cut_tape)
{
	const uint8_t keys[TAPE_CONSOLE_MAX] = { 0 };

	for (unsigned i = 0; i < 2000; i++)
		tape_write(&stopped.writers[0], TAPE_CONSOLE, 11 + i, keys, TAPE_CONSOLE_MAX);
	for (unsigned cut = 1; cut < 80; cut++) {
		checked_word_store(&stopped.areas[0].control->tape_written, stopped.writers[0].at - cut);
		struct tape_count count = count_tape(0);

		ck_assert_uint_eq(count.damaged, 1);
		ck_assert_uint_eq(count.last, 11 + 1998);
	}
}
END_TEST

/* Its checksum is right, and still no entry is so long. */
START_TEST(long_entry)
{
	uint8_t bytes[TAPE_HEADER_SIZE + 2 * TAPE_PAYLOAD_MAX] = { 0 };
	struct bytes_writer entry = bytes_writer_over(bytes, sizeof(bytes));
	const uint16_t lengths[] = { TAPE_PAYLOAD_MAX, TAPE_PAYLOAD_MAX + 1, 2 * TAPE_PAYLOAD_MAX };

	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		entry.used = 0;
		bytes_put_u32(&entry, 0);
		bytes_put_u16(&entry, TAPE_CONSOLE);
		bytes_put_u16(&entry, lengths[i]);
		bytes_put_u64(&entry, 11);
		bytes_store_u32(bytes, (uint32_t)crc32_z(0, bytes + 4, TAPE_HEADER_SIZE - 4 + (size_t)lengths[i]));
		memcpy(stopped.areas[0].tape.data + 24, bytes, sizeof(bytes));
		checked_word_store(&stopped.areas[0].control->tape_written,
				   24 + TAPE_HEADER_SIZE + (lengths[i] + UINT64_C(7)) / 8 * 8);
		ck_assert_uint_eq(count_tape(0).damaged, lengths[i] > TAPE_PAYLOAD_MAX);
	}
}
END_TEST

/* --- hostile areas --- */

START_TEST(nothing_left)
{
	stopped.sides[0].area = NULL;
	stopped.sides[1].record = NULL;
	stopped.sides[2] = (struct report_side){ .replica = 2 };
	stopped_machine_report();
	must_have("registers.txt", "Replica 1 has no ballot.\nReplica 2 has no ballot.\n");
	must_have("registers.txt", "\n  rax  ");
	must_have("summary.txt", "replica 2: no ballot\n");
	stopped.sides[0] = stopped.sides[2];
	stopped.sides[1] = stopped.sides[2];
	stopped_machine_report();
	must_have("registers.txt", "There is nothing to compare.");
	must_have("devices.txt", "There is nothing to compare.");
	stopped.facts.side_count = 0;
	stopped_machine_report();
	json_decref(stopped_machine_json());
}
END_TEST

/* Each word that is an index, a length or a name somewhere. */
START_TEST(hostile_words)
{
	static const uint64_t numbers[] = { 0,
					    1,
					    UINT64_MAX,
					    UINT64_MAX / 2,
					    UINT64_C(1) << 48,
					    (UINT64_C(1) << 48) - 1,
					    CONTROL_TAPE_SIZE + 3 };

	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		struct control *control = stopped.areas[1].control;
		uint64_t n = numbers[i];

		atomic_store(&control->reached, n);
		atomic_store(&control->tape_written, n);
		atomic_store(&control->votes, n);
		memset(control->failure, (int)(n & 0xFF), sizeof(control->failure));
		stopped.records[1].number = stopped.records[1].position = n;
		stopped.records[1].cause = stopped.records[1].end = stopped.records[1].devices_size =
			(uint32_t)n;
		stopped.sides[1].replica = (unsigned)n;
		stopped_machine_report();
		json_decref(stopped_machine_json());
		ck_assert_ptr_null(strpbrk(stopped_machine_text("summary.txt", NULL), "\x01\x1b\x7f\xff"));
	}
}
END_TEST

/* Each bit of the words that check themselves: it is told, and in the check itself it does no harm. */
START_TEST(damaged_words)
{
	_Atomic uint64_t *words[] = { &stopped.areas[1].control->tape_written,
				      &stopped.areas[1].control->reached };
	struct fail_stop_copy *copy = malloc(sizeof(*copy));

	ck_assert_ptr_nonnull(copy);
	stopped_machine_report();
	must_not_have("summary.txt", "damaged");
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		for (unsigned bit = 0; bit < 64; bit++) {
			atomic_fetch_xor(words[i], UINT64_C(1) << bit);
			must_succeed(fail_stop_copy_take(copy, &stopped.facts));
			ck_assert(copy->sides[1].damaged && !copy->sides[0].damaged);
			if (bit >= 48) {
				ck_assert_uint_eq(copy->sides[1].reached, STOPPED_REACHED);
				ck_assert_uint_eq(copy->sides[1].tape_end, 24);
			}
			fail_stop_copy_free(copy);
			atomic_fetch_xor(words[i], UINT64_C(1) << bit);
		}
	}
	free(copy);
	atomic_fetch_xor(words[0], UINT64_C(1) << 50);
	stopped_machine_report();
	must_have("summary.txt",
		  "replica 1: vote 12 at position 3000, reached position 3100, its control page is damaged");
	must_have("tape.txt", "\nreplica 1: bytes 0 to 24\n             0            10  time 1500 ns\n");
}
END_TEST

/* Noise everywhere, in the area and in the ballot. */
START_TEST(hostile_noise)
{
	uint64_t seed = 4711;

	for (unsigned round = 0; round < 20; round++) {
		struct control *control = stopped.areas[2].control;
		uint8_t *parts[] = { (uint8_t *)control, stopped.areas[2].tape.data,
				     (uint8_t *)stopped.areas[2].exit_log,
				     (uint8_t *)stopped.areas[2].page_hashes,
				     (uint8_t *)&stopped.records[2] };
		const size_t sizes[] = { sizeof(*control), CONTROL_TAPE_SIZE,
					 CONTROL_EXIT_LOG * sizeof(struct exit_record),
					 STOPPED_PAGES * sizeof(struct digest), sizeof(stopped.records[2]) };

		for (size_t part = 0; part < ARRAY_SIZE(parts); part++)
			for (size_t at = 0; at + 8 <= sizes[part]; at += 8) {
				uint64_t noise = fixture_random(&seed);

				memcpy(parts[part] + at, &noise, sizeof(noise));
			}
		/* Some that get past the first check. */
		if (round % 2) {
			stopped.records[2].devices_size =
				(uint32_t)(fixture_random(&seed) % CONTROL_DEVICES_MAX);
			memcpy(stopped.records[2].devices, stopped.records[0].devices, 64);
		}
		stopped.facts.time++;
		stopped_machine_report();
		json_decref(stopped_machine_json());
		must_have("exits.txt", "\n!");
		must_have("tape.txt", "DAMAGED");
		must_have("tape.txt", " ...\n");
		ck_assert_uint_eq(stopped_machine_pages(), FAIL_STOP_PAGES * STOPPED_REPLICAS);
	}
}
END_TEST

/* --- names, and when it cannot be written --- */

/* It may quote a replica, and goes to a terminal. */
START_TEST(why_has_controls)
{
	stopped.facts.why = "replica 1 cannot go on: \x1b[2J\x7f\nna\xc3\xafve";
	stopped_machine_report();
	must_have("summary.txt", "  replica 1 cannot go on: ?[2J??na\xc3\xafve\n");
	stopped.facts.why = "not \xff UTF-8";
	stopped_machine_report();
	json_t *report = stopped_machine_json();

	ck_assert_str_eq(json_string_value(json_object_get(report, "why")), "not ? UTF-8");
	json_decref(report);
}
END_TEST

START_TEST(same_second)
{
	char first[sizeof(stopped.path)];

	stopped_machine_report();
	(void)snprintf(first, sizeof(first), "%s", stopped.path);
	stopped.facts.why = "again";
	stopped_machine_report();
	ck_assert_str_eq(stopped.path + strlen(first), "-2");
	must_have("summary.txt", "  again\n");
	stopped_machine_report();
	ck_assert_str_eq(stopped.path + strlen(first), "-3");
	/* The first one is what it was. */
	(void)snprintf(stopped.path, sizeof(stopped.path), "%s", first);
	must_have("summary.txt", "  no majority at vote 12\n");
	ck_assert_uint_eq(stopped_machine_entries(stopped.folder, false), 3);
}
END_TEST

/* A link or a file where the report should be is not followed, and not overwritten. */
START_TEST(name_is_taken)
{
	char name[512];
	struct stat information;

	(void)snprintf(name, sizeof(name), "%s/tercet-db1-20261122-123348", stopped.folder);
	ck_assert_int_eq(symlink(stopped.folder, name), 0);
	stopped_machine_report();
	ck_assert_int_eq(lstat(name, &information), 0);
	ck_assert(S_ISLNK(information.st_mode));
	ck_assert_str_eq(stopped.path + strlen(name), "-2");
	/* So with the hidden name. */
	(void)snprintf(name, sizeof(name), "%s/.tercet-db1-20261122-123348", stopped.folder);
	ck_assert_int_eq(symlink(stopped.folder, name), 0);
	must_succeed(fail_stop_write(&stopped.facts, stopped.path, sizeof(stopped.path)));
	ck_assert_uint_eq(stopped_machine_entries(stopped.folder, true), 1);
	ck_assert_int_eq(unlink(name), 0);
}
END_TEST

START_TEST(odd_names)
{
	stopped.facts.name = "../../etc/x y\n";
	stopped_machine_report();
	ck_assert_ptr_nonnull(strstr(stopped.path, "/tercet-.._.._etc_x_y_-20261122-123348"));
	ck_assert_uint_eq(stopped_machine_entries(stopped.folder, false), 1);
	stopped.facts.name = "a-very-long-name-a-very-long-name-a-very-long-name-a-very-long-name-a-very-"
			     "long-name-a-very-long";
	stopped.facts.time = INT64_MAX;
	stopped_machine_report();
	stopped.facts.name = "";
	stopped.facts.time = -1;
	stopped_machine_report();
	ck_assert_ptr_nonnull(strstr(stopped.path, "/tercet--19691231-235959"));
}
END_TEST

START_TEST(folder_is_made)
{
	char name[300];

	(void)snprintf(name, sizeof(name), "%s/reports", stopped.folder);
	stopped.facts.folder = name;
	must_succeed(fail_stop_write(&stopped.facts, stopped.path, sizeof(stopped.path)));
	must_have("summary.txt", "no majority");
	(void)snprintf(name, sizeof(name), "%s/a/b", stopped.folder);
	must_fail(fail_stop_write(&stopped.facts, stopped.path, sizeof(stopped.path)), STATUS_FAILED, name);
	ck_assert_str_eq(stopped.path, "");
}
END_TEST

/* `why` may be the message of the failure that stopped the machine, which a failure of the report would overwrite:
 * then it is in the new one. */
START_TEST(why_is_never_lost)
{
	char name[300];
	result reason = fail(STATUS_NO_MAJORITY, "nobody can tell which replica is right");

	stopped.facts.why = reason.failure->message;
	(void)snprintf(name, sizeof(name), "%s/a/b", stopped.folder);
	stopped.facts.folder = name;
	must_fail(fail_stop_write(&stopped.facts, stopped.path, sizeof(stopped.path)), STATUS_FAILED,
		  "the machine stopped (nobody can tell which replica is right)");
	stopped.facts.why = reason.failure->message;
	stopped.facts.folder = stopped.folder;
	stopped_machine_report();
	must_have("summary.txt", "nobody can tell which replica is right");
}
END_TEST

/* A full disk, or as good as one: the error names the file, no report seems to be whole, and what could be written
 * is there. */
START_TEST(disk_is_full)
{
	const struct rlimit limit = { .rlim_cur = 20000, .rlim_max = RLIM_INFINITY };

	stopped_machine_damage();
	(void)signal(SIGXFSZ, SIG_IGN);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	result r = fail_stop_write(&stopped.facts, stopped.path, sizeof(stopped.path));

	ck_assert_str_eq(stopped.path, "");
	must_fail(r, STATUS_FAILED, "no majority at vote 12");
	must_fail(r, STATUS_FAILED, ".txt: File too large");
	ck_assert_uint_eq(stopped_machine_entries(stopped.folder, false), 0);
	ck_assert_uint_eq(stopped_machine_entries(stopped.folder, true), 1);
	(void)snprintf(stopped.path, sizeof(stopped.path), "%s/.tercet-db1-20261122-123348", stopped.folder);
	must_have("summary.txt", "no majority at vote 12");
}
END_TEST

/* No descriptor is left open, whether it went well or not. */
static unsigned open_descriptors(void)
{
	return stopped_machine_entries("/proc/self/fd", false);
}

START_TEST(descriptors)
{
	unsigned before = open_descriptors();

	stopped_machine_damage();
	stopped_machine_report();
	ck_assert_uint_eq(open_descriptors(), before);
	stopped.facts.folder = "/proc/self/no";
	must_fail(fail_stop_write(&stopped.facts, stopped.path, sizeof(stopped.path)), STATUS_FAILED,
		  "/proc/self/no");
	stopped.facts.folder = "/proc/self";
	must_fail(fail_stop_write(&stopped.facts, stopped.path, sizeof(stopped.path)), STATUS_FAILED,
		  "cannot make the folder /proc/self/.tercet-db1");
	ck_assert_uint_eq(open_descriptors(), before);
	stopped.facts.folder = stopped.folder;
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("fail_stop_hostile");
	TCase *tests = tcase_create("reports");

	tcase_add_checked_fixture(tests, stopped_machine_setup, stopped_machine_teardown);
	tcase_add_test(tests, tape);
	tcase_add_test(tests, damaged_tape);
	tcase_add_test(tests, long_tape);
	tcase_add_test(tests, cut_tape);
	tcase_add_test(tests, long_entry);
	tcase_add_test(tests, nothing_left);
	tcase_add_test(tests, hostile_words);
	tcase_add_test(tests, damaged_words);
	tcase_add_test(tests, hostile_noise);
	tcase_add_test(tests, why_has_controls);
	tcase_add_test(tests, same_second);
	tcase_add_test(tests, name_is_taken);
	tcase_add_test(tests, odd_names);
	tcase_add_test(tests, folder_is_made);
	tcase_add_test(tests, why_is_never_lost);
	tcase_add_test(tests, disk_is_full);
	tcase_add_test(tests, descriptors);
	tcase_set_timeout(tests, 120);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
