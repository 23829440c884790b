/* Shared areas: where everything lies, what is refused, and vote records of which a single bit is wrong. */
#include "tests/unit/guest_memory.h"

#include <string.h>

#include "base/fd.h"
#include "lockstep/control.h"

enum { PAGES = 5000 };

static int fd;
static struct area area;

static void setup(void)
{
	must_succeed(fd_sealed_memory(&fd, "area", area_size(PAGES)));
	must_succeed(area_map(&area, fd, PAGES, true));
	area_init(&area);
}

static void teardown(void)
{
	area_unmap(&area);
	ck_assert_ptr_null(area.memory);
	fd_close(&fd);
}

struct part {
	const char *name;
	const void *begin;
	uint64_t size;
};

/* Everything inside, page by page, nothing twice. */
START_TEST(layout)
{
	const struct part parts[] = {
		{ "control", area.control, sizeof(*area.control) },
		{ "exit log", area.exit_log, CONTROL_EXIT_LOG * sizeof(*area.exit_log) },
		{ "tape", area.tape.data, CONTROL_TAPE_SIZE },
		{ "tape's mirror", area.tape_mirror.data, CONTROL_TAPE_SIZE },
		{ "outbox", area.outbox.data, CONTROL_OUTBOX_SIZE },
		{ "page hashes", area.page_hashes, PAGES * sizeof(*area.page_hashes) },
		{ "changes", area.changes, area.changes_size * sizeof(*area.changes) },
	};

	ck_assert_uint_eq(area.tape.size, CONTROL_TAPE_SIZE);
	ck_assert_uint_eq(area.tape_mirror.size, CONTROL_TAPE_SIZE);
	ck_assert_uint_eq(area.outbox.size, CONTROL_OUTBOX_SIZE);
	ck_assert_uint_ge(area.changes_size, PAGES);
	ck_assert_uint_eq(area.size, area_size(PAGES));
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		uintptr_t begin = (uintptr_t)parts[i].begin, end = begin + parts[i].size;

		ck_assert_msg(begin % 4096 == 0, "%s is not at a page's start", parts[i].name);
		ck_assert_msg(begin >= (uintptr_t)area.memory && end <= (uintptr_t)area.memory + area.size,
			      "%s is outside", parts[i].name);
		for (size_t j = 0; j < i; j++)
			ck_assert_msg(begin >= (uintptr_t)parts[j].begin + parts[j].size ||
					      end <= (uintptr_t)parts[j].begin,
				      "%s and %s overlap", parts[i].name, parts[j].name);
	}
	/* A small guest's changes have room all the same. */
	ck_assert_uint_lt(area_size(1), area_size(PAGES));
	ck_assert_uint_gt(area_size(1), 4096 * sizeof(struct pagehash_change));
}
END_TEST

START_TEST(mapping_checks)
{
	struct area other;
	int view;

	must_fail(area_map(&other, fd, PAGES + 4096, true), STATUS_FAILED, "a replica's shared area has");
	ck_assert_ptr_null(other.memory);
	must_fail(area_map(&other, guest_memory_file(NULL, 0, area_size(PAGES)), PAGES, true), STATUS_FAILED,
		  "not a sealed memory");
	must_succeed(fd_read_only_view(fd, "area", &view));
	must_fail(area_map(&other, view, PAGES, true), STATUS_FAILED, "cannot map");
	must_succeed(area_map(&other, view, PAGES, false));
	must_succeed(area_check(&other, 1));
	area.control->magic ^= 1;
	must_fail(area_check(&other, 1), STATUS_FAILED, "shared area of replica 1 is not of this version");
	area.control->magic ^= 1;
	area.control->version++;
	must_fail(area_check(&other, 2), STATUS_FAILED, "shared area of replica 2 is not of this version");
	area_unmap(&other);
}
END_TEST

START_TEST(supervisors_page)
{
	struct supervisor_page *page;
	int memory;

	must_succeed(fd_sealed_memory(&memory, "page", sizeof(*page)));
	must_succeed(supervisor_page_map(&page, memory, true));
	must_fail(supervisor_page_check(page), STATUS_FAILED, "not of this version");
	page->magic = CONTROL_MAGIC;
	must_fail(supervisor_page_check(page), STATUS_FAILED, "not of this version");
	page->version = CONTROL_VERSION;
	must_succeed(supervisor_page_check(page));
	fd_unmap(page, sizeof(*page));
	must_fail(supervisor_page_map(&page, fd, true), STATUS_FAILED, "the supervisor's page has");
}
END_TEST

START_TEST(supervisors_own_page)
{
	struct supervisor_page *page, *other;
	int memory, view;

	must_succeed(supervisor_page_create(&page, &memory, "page"));
	must_succeed(supervisor_page_check(page));
	must_fail(supervisor_page_map(&other, memory, true), STATUS_FAILED, "cannot map");
	must_succeed(fd_read_only_view(memory, "page", &view));
	must_succeed(supervisor_page_map(&other, view, false));
	must_succeed(supervisor_page_check(other));
	ck_assert(!supervisor_page_calls(other, 1, 0));
	atomic_fetch_add(&page->attention[1], 1);
	ck_assert(supervisor_page_calls(other, 1, 0));
	ck_assert(!supervisor_page_calls(other, 1, 1));
	ck_assert(!supervisor_page_calls(other, 2, 0));
	for (unsigned i = 0; i < VOTE_REPLICAS_MAX; i++) {
		atomic_store(&page->orders[i].serial, 3);
		atomic_store(&page->injections[i].serial, 4);
	}
	supervisor_page_forget(page, 1);
	for (unsigned i = 0; i < VOTE_REPLICAS_MAX; i++) {
		ck_assert_uint_eq(other->orders[i].serial, i == 1 ? 0 : 3);
		ck_assert_uint_eq(other->injections[i].serial, i == 1 ? 0 : 4);
	}
	fd_unmap(other, sizeof(*other));
	fd_unmap(page, sizeof(*page));
	fd_close(&view);
	fd_close(&memory);
}
END_TEST

/* Publishes a plausible record of this number, as its replica would. */
static struct vote_record *publish(uint64_t number)
{
	struct vote_record *record = &area.control->records[number % CONTROL_VOTE_SLOTS];
	uint64_t seed = number + 1;

	for (size_t i = 0; i < sizeof(*record); i++)
		((uint8_t *)record)[i] = (uint8_t)fixture_random(&seed);
	record->number = number;
	record->cause = VOTE_CAUSE_OUTPUT;
	record->end = END_RUNNING;
	record->devices_size = 100;
	record->crc = vote_record_crc(record);
	return record;
}

START_TEST(records)
{
	static struct vote_record taken;

	for (uint64_t number = 0; number < 3 * CONTROL_VOTE_SLOTS; number++) {
		const struct vote_record *record = publish(number);

		must_succeed(vote_record_take(&area, number, &taken));
		ck_assert_mem_eq(&taken, record, sizeof(taken));
	}
	/* The slot holds a later one, or an earlier one. */
	must_fail(vote_record_take(&area, CONTROL_VOTE_SLOTS, &taken), STATUS_FAILED,
		  "vote record 32 stands where 16 is expected");
	must_fail(vote_record_take(&area, 3 * CONTROL_VOTE_SLOTS, &taken), STATUS_FAILED,
		  "vote record 32 stands where 48 is expected");
}
END_TEST

START_TEST(every_byte_of_a_record)
{
	static struct vote_record taken;
	uint8_t *bytes = (uint8_t *)publish(3);
	const size_t covered = offsetof(struct vote_record, crc) + sizeof(taken.crc);
	/* What the devices' state leaves of its place is nothing. */
	const size_t end = offsetof(struct vote_record, devices) + 100;

	for (size_t i = 0; i < covered; i++) {
		if (i == end)
			i += CONTROL_DEVICES_MAX - 100;
		uint8_t flip = (uint8_t)(1u << i % 8);

		bytes[i] ^= flip;
		result r = vote_record_take(&area, 3, &taken);

		if (!failed(r) || !strstr(r.failure->message, "vote record 3 is damaged"))
			ck_abort_msg("byte %zu of a record is not covered", i);
		bytes[i] ^= flip;
	}
	must_succeed(vote_record_take(&area, 3, &taken));
}
END_TEST

/* Values that no replica writes, under a right checksum. */
START_TEST(implausible_records)
{
	static struct vote_record taken;
	struct vote_record *record = publish(4);
	const struct {
		uint32_t *field;
		uint32_t value;
		bool good;
	} values[] = {
		{ &record->cause, 0, false },
		{ &record->cause, VOTE_CAUSES - 1, true },
		{ &record->cause, VOTE_CAUSES, false },
		{ &record->cause, UINT32_MAX, false },
		{ &record->end, END_DEAD_HALT, true },
		{ &record->end, END_DEAD_HALT + 1, false },
		{ &record->end, UINT32_MAX, false },
		{ &record->devices_size, 0, true },
		{ &record->devices_size, CONTROL_DEVICES_MAX, true },
		{ &record->devices_size, CONTROL_DEVICES_MAX + 1, false },
		{ &record->devices_size, UINT32_MAX, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		uint32_t before = *values[i].field;

		*values[i].field = values[i].value;
		record->crc = vote_record_crc(record);
		if (values[i].good)
			must_succeed(vote_record_take(&area, 4, &taken));
		else
			must_fail(vote_record_take(&area, 4, &taken), STATUS_FAILED, "values that no replica writes");
		*values[i].field = before;
	}
}
END_TEST

START_TEST(names)
{
	ck_assert_str_eq(vote_cause_name(VOTE_CAUSE_INTERVAL), "interval");
	ck_assert_str_eq(vote_cause_name(VOTE_CAUSE_OUTPUT), "output");
	ck_assert_str_eq(vote_cause_name(VOTE_CAUSE_BACKLOG), "backlog");
	ck_assert_str_eq(vote_cause_name(VOTE_CAUSE_END), "shutdown");
	ck_assert_str_eq(vote_cause_name(VOTE_CAUSE_REQUEST), "request");
	ck_assert_str_eq(vote_cause_name((enum vote_cause)0), "unknown");
	ck_assert_str_eq(vote_cause_name(VOTE_CAUSES), "unknown");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("control");
	TCase *tests = tcase_create("areas");

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, layout);
	tcase_add_test(tests, mapping_checks);
	tcase_add_test(tests, supervisors_page);
	tcase_add_test(tests, supervisors_own_page);
	tcase_add_test(tests, records);
	tcase_add_test(tests, every_byte_of_a_record);
	tcase_add_test(tests, implausible_records);
	tcase_add_test(tests, names);
	tcase_set_timeout(tests, 60);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
