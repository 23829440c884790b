/* Recordings: what is written is read again, and nothing else is: every flipped bit, every missing byte, and files
 * that are whole but make no sense are refused. */
#include "tests/unit/guest_memory.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "base/checked_word.h"
#include "lockstep/recording.h"
#include "lockstep/recording_diff.h"

enum { FILE_MAX = 1 << 16, VOTES = 3 };

static uint8_t bytes[FILE_MAX];
static struct bytes_writer file;
static uint32_t records;
static uint8_t tape_memory[1 << 12];
static _Atomic uint64_t tape_word;
static struct tape_writer tape;
static struct recording recording;
static struct recording_summary summary;
static struct recording_item item;
static char path[64];

/* --- making one --- */

static void put_raw(enum tape_file_kind kind, const void *payload, size_t length)
{
	const struct tape_file_record record = { .kind = kind, .length = (uint32_t)length, .number = records };

	records++;
	tape_file_put_record(&file, &record, payload);
}

static struct tape_file_machine machine(void)
{
	struct tape_file_machine one = {
		.version = "0.1.0",
		.recorded = 1,
		.replicas = 3,
		.kind = BOOT_PAYLOAD,
		.memory = 16 << 20,
		.rtc_epoch = -5,
		.digest_key = { 1, 2, 3 },
		.seed = { 4, 5, 6 },
		.kernel = { .path = "/boot/vmlinuz", .size = 77, .hash = { 8, 9 } },
		.command_line = "quiet",
	};

	return one;
}

static void put_machine(const struct tape_file_machine *one)
{
	uint8_t payload[1 << 14];
	struct bytes_writer writer = bytes_writer_over(payload, sizeof(payload));

	tape_file_save_machine(one, &writer);
	put_raw(TAPE_FILE_MACHINE, payload, writer.used);
}

static void begin_file(void)
{
	file = bytes_writer_over(bytes, sizeof(bytes));
	records = 0;
	tape_file_put_header(&file);
}

static void enter_time(uint64_t position, uint64_t time)
{
	(void)tape_write(&tape, TAPE_TIME, position, &time, sizeof(time));
}

static void enter_vote(uint64_t position)
{
	const uint64_t cause = VOTE_CAUSE_OUTPUT;

	(void)tape_write(&tape, TAPE_VOTE, position, &cause, sizeof(cause));
}

static void put_tape(void)
{
	put_raw(TAPE_FILE_TAPE, tape_memory, (size_t)tape.at);
	tape.at = 0;
}

static struct tape_file_vote vote(uint64_t which, uint64_t position)
{
	struct tape_file_vote one = { .number = which, .position = position, .cause = VOTE_CAUSE_OUTPUT,
				      .guest_ns = 100 * which, .rip = 0x1000 + which, .rflags = 2 };

	one.ballot.digests[VOTE_RAM].bytes[3] = (uint8_t)(which + 1);
	one.gpr[GPR_RDX] = 7;
	return one;
}

static void put_vote(const struct tape_file_vote *one)
{
	uint8_t payload[1 << 10];
	struct bytes_writer writer = bytes_writer_over(payload, sizeof(payload));

	tape_file_save_vote(one, &writer);
	put_raw(TAPE_FILE_VOTE, payload, writer.used);
}

static void put_end(const struct tape_file_end *one)
{
	uint8_t payload[1 << 8];
	struct bytes_writer writer = bytes_writer_over(payload, sizeof(payload));

	tape_file_save_end(one, &writer);
	put_raw(TAPE_FILE_END, payload, writer.used);
}

/* Entries at positions 10 n + 1 and 10 n + 4, and vote n there. */
static void put_segment(uint64_t which)
{
	const struct tape_file_vote one = vote(which, 10 * which + 4);

	enter_time(10 * which + 1, 1000 * which);
	(void)tape_write(&tape, TAPE_CONSOLE, 10 * which + 1, "keys", 4);
	enter_vote(10 * which + 4);
	put_tape();
	put_vote(&one);
}

static const struct tape_file_end whole_end = { .end = END_EXIT, .end_value = 3, .position = 10 * (VOTES - 1) + 4,
						.votes = VOTES, .entries = 3 * VOTES };

static void make_whole(void)
{
	const struct tape_file_machine one = machine();

	begin_file();
	put_machine(&one);
	for (uint64_t i = 0; i < VOTES; i++)
		put_segment(i);
	put_end(&whole_end);
}

static void setup(void)
{
	tape = (struct tape_writer){ .ring = { tape_memory, sizeof(tape_memory) }, .written = &tape_word };
	make_whole();
}

/* --- reading --- */

/* Opens what `size` bytes make. */
static result open_bytes(size_t size)
{
	int fd = guest_memory_file(bytes, size, size);
	result r;

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	r = recording_open(&recording, path);
	(void)close(fd);
	return r;
}

/* Opens and scans it. */
static result scan(size_t size, uint64_t until)
{
	result r = open_bytes(size);

	summary = (struct recording_summary){ .votes = 0 };
	if (!failed(r))
		r = recording_scan(&recording, until, &summary);
	recording_close(&recording);
	return r;
}

static void must_refuse(const char *words)
{
	must_fail(scan(file.used, UINT64_MAX), STATUS_INPUT, words);
}

static const struct recording_item *next_of(enum recording_item_kind kind, uint64_t position)
{
	must_succeed(recording_next(&recording, &item));
	ck_assert_int_eq(item.kind, kind);
	ck_assert_uint_eq(item.position, position);
	return &item;
}

/* Twice, since the first time is as good as the second. */
START_TEST(items_come_back)
{
	const struct tape_file_machine one = machine();

	must_succeed(open_bytes(file.used));
	ck_assert_mem_eq(&recording.machine, &one, sizeof(one));
	must_succeed(recording_scan(&recording, UINT64_MAX, &summary));
	ck_assert(summary.ended);
	ck_assert_uint_eq(summary.votes, VOTES);
	ck_assert_uint_eq(summary.position, whole_end.position);
	for (uint64_t i = 0; i < VOTES; i++) {
		const struct tape_file_vote wanted = vote(i, 10 * i + 4);

		ck_assert_uint_eq(tape_entry_value(&next_of(RECORDING_ENTRY, 10 * i + 1)->entry), 1000 * i);
		ck_assert_int_eq(next_of(RECORDING_ENTRY, 10 * i + 1)->entry.kind, TAPE_CONSOLE);
		ck_assert_mem_eq(item.entry.payload, "keys", 4);
		ck_assert_int_eq(next_of(RECORDING_ENTRY, 10 * i + 4)->entry.kind, TAPE_VOTE);
		ck_assert_mem_eq(&next_of(RECORDING_VOTE, 10 * i + 4)->vote, &wanted, sizeof(wanted));
	}
	ck_assert_mem_eq(&next_of(RECORDING_END, whole_end.position)->end, &whole_end, sizeof(whole_end));
	ck_assert(recording.ended);
	recording_close(&recording);
}
END_TEST

/* Each bit of each byte. */
START_TEST(flips_are_caught)
{
	must_succeed(scan(file.used, UINT64_MAX));
	for (size_t i = 0; i < file.used; i++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			bytes[i] ^= (uint8_t)(1u << bit);
			result r = scan(file.used, UINT64_MAX);

			ck_assert_msg(failed(r), "bit %u of byte %zu is flipped, and nobody minds", bit, i);
			ck_assert_int_eq(r.failure->status, STATUS_INPUT);
			bytes[i] ^= (uint8_t)(1u << bit);
		}
	}
}
END_TEST

/* At every length; what is good before is found. */
START_TEST(cuts_are_caught)
{
	uint64_t votes = 0;

	for (size_t i = 0; i < file.used; i++) {
		result r = scan(i, UINT64_MAX);

		ck_assert_msg(failed(r), "%zu of %zu bytes are enough", i, file.used);
		ck_assert_int_eq(r.failure->status, STATUS_INPUT);
		ck_assert_uint_ge(summary.votes, votes);
		votes = summary.votes;
		if (votes > 0)
			must_succeed(scan(i, summary.position));
	}
	ck_assert_uint_eq(votes, VOTES);
}
END_TEST

START_TEST(places_are_told)
{
	const size_t second = TAPE_FILE_HEADER_SIZE +
			      tape_file_record_size(bytes_load_u32(bytes + TAPE_FILE_HEADER_SIZE + 8));
	char words[64];

	bytes[second + 20] ^= 1;
	(void)snprintf(words, sizeof(words), "record 1 at byte %zu: it is damaged: wrong checksum", second);
	must_refuse(words);
	bytes[second + 20] ^= 1;
	bytes[second + 4] = 9;
	must_refuse("it is damaged: kind 9");
	bytes[second + 4] = TAPE_FILE_TAPE;
	must_fail(scan(second + 3, UINT64_MAX), STATUS_INPUT, "ends early, at byte");
	must_fail(scan(second, UINT64_MAX), STATUS_INPUT, "after 1 whole records, and the recording does not");
}
END_TEST

START_TEST(foreign_files)
{
	uint8_t old[TAPE_FILE_HEADER_SIZE];

	memcpy(old, bytes, sizeof(old));
	must_fail(recording_open(&recording, "no-such-file"), STATUS_INPUT, "cannot read no-such-file");
	recording_close(&recording);
	must_fail(recording_open(&recording, "/dev/null"), STATUS_INPUT, "is not a regular file");
	recording_close(&recording);
	must_fail(scan(0, UINT64_MAX), STATUS_INPUT, "this is no recording of tercet's");
	memcpy(bytes, "\x7f" "ELF", 4);
	must_refuse("this is no recording of tercet's");
	/* One of another version; then with the right checksum. */
	memcpy(bytes, old, sizeof(old));
	bytes_store_u32(bytes + 8, TAPE_FILE_VERSION + 1);
	must_refuse("the header is damaged");
	bytes_store_u32(bytes + 12, (uint32_t)crc32_z(0, bytes, 12));
	must_refuse("a recording of format 6");
}
END_TEST

/* --- whole records that make no sense --- */

static void begin_with_machine(void)
{
	const struct tape_file_machine one = machine();

	begin_file();
	put_machine(&one);
}

START_TEST(order_of_records)
{
	const struct tape_file_machine one = machine();
	const struct tape_file_vote first = vote(0, 4);
	struct tape_file_end end = whole_end;

	begin_file();
	put_segment(0);
	must_refuse("it does not describe the machine");
	begin_with_machine();
	put_machine(&one);
	must_refuse("a second machine");
	begin_with_machine();
	put_vote(&first);
	must_refuse("is not what the tape asks for");
	begin_with_machine();
	enter_time(1, 1);
	put_tape();
	put_vote(&first);
	must_refuse("is not what the tape asks for");
	begin_with_machine();
	enter_vote(3);
	put_tape();
	put_vote(&first);
	must_refuse("is not what the tape asks for");
	begin_with_machine();
	enter_vote(4);
	put_tape();
	put_tape();
	must_refuse("without a vote in between");
	begin_with_machine();
	put_segment(1);
	must_refuse("vote 1 stands where vote 0 is expected");
	make_whole();
	put_segment(VOTES);
	must_refuse("bytes follow behind the recording's end");
	begin_with_machine();
	put_end(&end);
	must_refuse("the recording's end does not fit");
	begin_with_machine();
	records++;
	put_segment(0);
	must_refuse("some are missing or come twice");
}
END_TEST

START_TEST(tapes_that_make_no_sense)
{
	begin_with_machine();
	enter_time(5, 1);
	enter_vote(4);
	put_tape();
	must_refuse("its tape is damaged at byte 24");
	begin_with_machine();
	enter_vote(4);
	tape_memory[20] ^= 1;
	put_tape();
	must_refuse("its tape is damaged at byte 0");
	begin_with_machine();
	enter_vote(CHECKED_WORD_MAX + 1);
	put_tape();
	must_refuse("cannot be reached");
	/* Positions go on from one segment to the next. */
	begin_with_machine();
	put_segment(0);
	enter_vote(3);
	put_tape();
	must_refuse("its tape is damaged at byte 0");
	begin_with_machine();
	put_raw(TAPE_FILE_TAPE, "rubbish", 7);
	must_refuse("its tape is damaged at byte 0");
}
END_TEST

/* Each has one thing wrong. */
START_TEST(values_that_nobody_writes)
{
	struct tape_file_machine one = machine();
	struct tape_file_vote first = vote(0, 4);
	struct tape_file_end end = whole_end;
	const uint8_t short_payload[8] = { 0 };

	switch (_i) {
	case 0: one.memory = 5; break;
	case 1: one.kind = 2; break;
	case 2: one.replicas = 6; break;
	case 3: one.replicas = 0; break;
	case 4: one.kernel.path[0] = '\0'; break;
	case 5: first.cause = VOTE_CAUSES; break;
	case 6: first.cause = 0; break;
	case 7: first.end = END_DEAD_HALT + 1; break;
	case 8: end.end = END_DEAD_HALT + 1; break;
	case 9: end.votes++; break;
	case 10: end.entries++; break;
	case 11: end.position++; break;
	default: break;
	}
	begin_file();
	put_machine(&one);
	enter_vote(4);
	put_tape();
	if (_i == 12)
		put_raw(TAPE_FILE_VOTE, short_payload, sizeof(short_payload));
	else
		put_vote(&first);
	end.position -= whole_end.position - 4;
	end.votes -= VOTES - 1;
	end.entries -= 3 * VOTES - 1;
	put_end(&end);
	if (_i == 13)
		must_succeed(scan(file.used, UINT64_MAX));
	else
		must_refuse("");
}
END_TEST

/* --- comparing votes --- */

START_TEST(votes_compare)
{
	const struct tape_file_vote one = vote(1, 5);
	struct tape_file_vote other = one;
	char text[400];
	char small[16];

	ck_assert(!tape_file_compare_votes(&one, &other, true, text, sizeof(text)));
	ck_assert_str_eq(text, "");
	other.ballot.digests[VOTE_RAM].bytes[15] ^= 1;
	ck_assert(!tape_file_compare_votes(&one, &other, false, text, sizeof(text)));
	ck_assert(tape_file_compare_votes(&one, &other, true, text, sizeof(text)));
	ck_assert_ptr_nonnull(strstr(text, "the digest of ram"));
	other.gpr[GPR_RDX] = 8;
	other.guest_ns++;
	ck_assert(tape_file_compare_votes(&one, &other, false, text, sizeof(text)));
	ck_assert_str_eq(text, "the guest's time in ns is 100, not 101; rdx is 0x7, not 0x8");
	ck_assert(tape_file_compare_votes(&one, &other, true, small, sizeof(small)));
	ck_assert_uint_eq(strlen(small), sizeof(small) - 1);
}
END_TEST

/* Whether what stands in `bytes` differs from an earlier file. */
static bool differs_from(int old)
{
	char one[64], other[64];
	int fd = guest_memory_file(bytes, file.used, file.used);
	bool differ = false;

	(void)snprintf(one, sizeof(one), "/proc/self/fd/%d", old);
	(void)snprintf(other, sizeof(other), "/proc/self/fd/%d", fd);
	must_succeed(recording_diff(one, other, &differ));
	(void)close(fd);
	return differ;
}

START_TEST(recordings_compare)
{
	int old = guest_memory_file(bytes, file.used, file.used);
	struct tape_file_machine one = machine();
	struct tape_file_vote changed = vote(0, 4);

	ck_assert(!differs_from(old));
	one.memory *= 2;
	begin_file();
	put_machine(&one);
	for (uint64_t i = 0; i < VOTES; i++)
		put_segment(i);
	put_end(&whole_end);
	ck_assert(differs_from(old));
	/* Another entry; then another outcome. */
	begin_with_machine();
	enter_time(1, 1);
	enter_vote(4);
	put_tape();
	put_vote(&changed);
	ck_assert(differs_from(old));
	begin_with_machine();
	enter_time(1, 0);
	(void)tape_write(&tape, TAPE_CONSOLE, 1, "keys", 4);
	enter_vote(4);
	put_tape();
	changed.rip++;
	put_vote(&changed);
	ck_assert(differs_from(old));
	(void)close(old);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("recording");
	TCase *format = tcase_create("format");
	TCase *sense = tcase_create("sense");
	TCase *compare = tcase_create("compare");

	tcase_add_checked_fixture(format, setup, NULL);
	tcase_add_checked_fixture(sense, setup, NULL);
	tcase_add_checked_fixture(compare, setup, NULL);
	tcase_set_timeout(format, 120);
	tcase_add_test(format, items_come_back);
	tcase_add_test(format, flips_are_caught);
	tcase_add_test(format, cuts_are_caught);
	tcase_add_test(format, places_are_told);
	tcase_add_test(format, foreign_files);
	tcase_add_test(sense, order_of_records);
	tcase_add_test(sense, tapes_that_make_no_sense);
	tcase_add_loop_test(sense, values_that_nobody_writes, 0, 14);
	tcase_add_test(compare, votes_compare);
	tcase_add_test(compare, recordings_compare);
	suite_add_tcase(suite, format);
	suite_add_tcase(suite, sense);
	suite_add_tcase(suite, compare);
	return fixture_run(suite);
}
