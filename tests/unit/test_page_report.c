/* Which pages differ, and in which bits: where both stand still, where one has run on, and where a list is damaged. */
#include "tests/unit/guest_memory.h"

#include <string.h>

#include "base/fd.h"
#include "lockstep/page_report.h"

#define MIB (UINT64_C(1) << 20)
enum { PAGES = 4096, WORDS = PAGES / 64 };

/* One replica: what it votes, and what it is voted by. */
struct replica {
	struct area area;
	struct ram ram;
	struct pagehash hash;
	struct vote_record record;
	uint64_t changes;
};

static struct replica suspect, reference;
static struct digest_context digests;

static void make(struct replica *replica)
{
	int fd;

	memset(replica, 0, sizeof(*replica));
	must_succeed(fd_sealed_memory(&fd, "area", area_size(PAGES)));
	must_succeed(area_map(&replica->area, fd, PAGES, true));
	guest_memory_make(&replica->ram, 16 * MIB);
	pagehash_init(&replica->hash, &digests, &replica->ram, replica->area.page_hashes);
}

static void setup(void)
{
	const uint8_t key[DIGEST_KEY_SIZE] = { 4, 5, 6 };

	must_succeed(digest_create(&digests, key));
	make(&suspect);
	make(&reference);
}

static void teardown(void)
{
	area_unmap(&suspect.area);
	area_unmap(&reference.area);
	ram_unmap(&suspect.ram);
	ram_unmap(&reference.ram);
	digest_destroy(&digests);
}

static void book(void *context, const struct pagehash_change *change)
{
	struct replica *replica = context;

	replica->area.changes[replica->changes++ % replica->area.changes_size] = *change;
}

/* As ballot.c does it. */
static void vote(struct replica *replica)
{
	uint64_t bitmap[WORDS] = { 0 };

	ram_collect_dirty(&replica->ram, bitmap);
	replica->record.changes_begin = replica->changes;
	pagehash_update(&replica->hash, bitmap, book, replica);
	replica->record.changes_end = replica->changes;
	replica->record.ballot.digests[VOTE_RAM] = pagehash_digest(&replica->hash);
}

static void put(struct replica *replica, uint64_t address, uint8_t byte)
{
	must_succeed(ram_write(&replica->ram, address, &byte, 1));
}

static void put_both(uint64_t address, uint8_t byte)
{
	put(&suspect, address, byte);
	put(&reference, address, byte);
}

static json_t *report(uint64_t *count)
{
	const struct report_side a = {
		.replica = 1, .area = &suspect.area, .ram = &suspect.ram, .record = &suspect.record
	};
	const struct report_side b = {
		.replica = 2, .area = &reference.area, .ram = &reference.ram, .record = &reference.record
	};

	return page_report(&a, &b, &digests, count);
}

/* The only page that differs is the one at `address`, in this bit of its byte. */
static void must_name(uint64_t address, unsigned bit)
{
	uint64_t count;
	json_t *pages = report(&count);
	const json_t *page = json_array_get(pages, 0);
	const json_t *bits = json_object_get(page, "bits");
	const char *text = json_string_value(json_object_get(page, "address"));

	ck_assert_uint_eq(count, 1);
	ck_assert_uint_eq(json_array_size(pages), 1);
	ck_assert_ptr_nonnull(text);
	ck_assert_uint_eq(strtoull(text, NULL, 16), address & ~UINT64_C(4095));
	ck_assert_uint_eq(json_array_size(bits), 1);
	ck_assert_int_eq(json_integer_value(json_array_get(bits, 0)), (json_int_t)((address & 4095) * 8 + bit));
	ck_assert_int_eq(json_integer_value(json_object_get(page, "bit_count")), 1);
	json_decref(pages);
}

/* Pages that both write, and that are the same, before and in the vote at hand. */
static void live_alike(void)
{
	for (uint64_t page = 0; page < 200; page += 10)
		put_both(page * 4096 + page, 0x5A);
	vote(&suspect);
	vote(&reference);
	for (uint64_t page = 5; page < 300; page += 5)
		put_both(page * 4096 + 7, 0xA5);
}

START_TEST(nothing_differs)
{
	uint64_t count;

	live_alike();
	vote(&suspect);
	vote(&reference);
	json_t *pages = report(&count);

	ck_assert_uint_eq(count, 0);
	ck_assert_uint_eq(json_array_size(pages), 0);
	json_decref(pages);
}
END_TEST

START_TEST(both_stand_still)
{
	live_alike();
	put(&suspect, 0x7003, 0x10); /* a page that nobody else wrote */
	vote(&suspect);
	vote(&reference);
	must_name(0x7003, 4);
}
END_TEST

START_TEST(suspect_has_run_on)
{
	live_alike();
	put(&suspect, 0xA123, 0x40);
	vote(&suspect);
	vote(&reference);
	put(&suspect, 0xA555, 0xFF);
	must_name(0xA123, 6);
}
END_TEST

/* It has even voted again: its table of hashes has moved on too. */
START_TEST(reference_has_run_on)
{
	const struct vote_record *record = &reference.record;
	struct vote_record kept;

	live_alike();
	put(&suspect, 0xA123, 0x01);
	vote(&suspect);
	vote(&reference);
	kept = *record;
	put(&reference, 0xA555, 0xFF);
	vote(&reference);
	reference.record = kept;
	must_name(0xA123, 0);
}
END_TEST

/* The same with a page that the reference had no change of at the vote: what its hash was, the votes' sum tells. */
START_TEST(reference_has_run_on_elsewhere)
{
	struct vote_record kept;

	live_alike();
	put(&suspect, 0x7003, 0x02);
	vote(&suspect);
	vote(&reference);
	kept = reference.record;
	put(&reference, 0x7444, 0xFF);
	vote(&reference);
	reference.record = kept;
	must_name(0x7003, 1);
}
END_TEST

/* More than a bit, and gone: the page is named, and no bits are made up. */
START_TEST(not_one_bit)
{
	uint64_t count;

	live_alike();
	put(&suspect, 0xA123, 0x03);
	vote(&suspect);
	vote(&reference);
	put(&suspect, 0xA555, 0xFF);
	json_t *pages = report(&count);

	ck_assert_uint_eq(count, 1);
	ck_assert_str_eq(json_string_value(json_object_get(json_array_get(pages, 0), "address")), "0xa000");
	ck_assert_ptr_null(json_object_get(json_array_get(pages, 0), "bits"));
	json_decref(pages);
}
END_TEST

START_TEST(more_than_a_list_holds)
{
	uint64_t count;

	for (uint64_t page = 0; page < 2 * REPORT_LIST_MAX; page++)
		put(&suspect, page * 4096, 1);
	vote(&suspect);
	vote(&reference);
	json_t *pages = report(&count);

	ck_assert_uint_eq(count, 2 * REPORT_LIST_MAX);
	ck_assert_uint_eq(json_array_size(pages), REPORT_LIST_MAX);
	json_decref(pages);
}
END_TEST

/* A replica that writes nonsense into its own area is a suspect for good reason; the supervisor must live. */
START_TEST(damaged_lists)
{
	static const uint64_t numbers[] = { PAGES, UINT64_MAX, UINT64_MAX - 1, UINT64_C(1) << 52 };
	uint64_t count;

	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		live_alike();
		put(&suspect, 0x7003, (uint8_t)(i + 1));
		vote(&suspect);
		vote(&reference);
		/* The last entry: then the other list is at its end where this one's number stands. */
		suspect.area.changes[(suspect.changes - 1) % suspect.area.changes_size].page = numbers[i];
		json_decref(report(&count));
		suspect.area.changes[suspect.record.changes_begin % suspect.area.changes_size].page = numbers[i];
		json_decref(report(&count));
		suspect.record.changes_end = suspect.record.changes_begin - 1;
		json_decref(report(&count));
		suspect.record.changes_end = suspect.record.changes_begin + suspect.area.changes_size + 1;
		json_decref(report(&count));
		suspect.record.changes_begin = 0;
		suspect.record.changes_end = UINT64_MAX;
		json_decref(report(&count));
		teardown();
		setup();
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("page_report");
	TCase *tests = tcase_create("pages");

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, nothing_differs);
	tcase_add_test(tests, both_stand_still);
	tcase_add_test(tests, suspect_has_run_on);
	tcase_add_test(tests, reference_has_run_on);
	tcase_add_test(tests, reference_has_run_on_elsewhere);
	tcase_add_test(tests, not_one_bit);
	tcase_add_test(tests, more_than_a_list_holds);
	tcase_add_test(tests, damaged_lists);
	tcase_set_timeout(tests, 120);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
