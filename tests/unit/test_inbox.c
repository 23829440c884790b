/* The inbox: what the supervisor puts in is what replicas take out, wherever the ring wraps, and nothing else is. */
#include "tests/unit/guest_memory.h"

#include <string.h>

#include "lockstep/control.h"
#include "lockstep/inbox.h"

static struct supervisor_page *page;

static void setup(void)
{
	page = calloc(1, sizeof(*page));
	ck_assert_ptr_nonnull(page);
}

static void teardown(void)
{
	free(page);
}

/* A frame of so many bytes. */
static struct device_input frame(uint32_t length)
{
	struct device_input input = { .device = 2, .kind = INPUT_NET, .total = length, .length = length };

	for (uint32_t i = 0; i < length; i++)
		input.data[i] = (uint8_t)(i * 3 + length);
	return input;
}

static struct device_input chunk(uint64_t id, uint32_t epoch)
{
	struct device_input input = {
		.kind = INPUT_DISK_READ, .id = id, .epoch = epoch, .total = 4096, .length = 4096,
	};

	memset(input.data, (int)id, 4096);
	return input;
}

static void must_equal(const struct device_input *one, const struct device_input *other)
{
	ck_assert_uint_eq(one->device, other->device);
	ck_assert_uint_eq(one->kind, other->kind);
	ck_assert_uint_eq(one->epoch, other->epoch);
	ck_assert_uint_eq(one->status, other->status);
	ck_assert_uint_eq(one->id, other->id);
	ck_assert_uint_eq(one->offset, other->offset);
	ck_assert_uint_eq(one->total, other->total);
	ck_assert_uint_eq(one->length, other->length);
	ck_assert_mem_eq(one->data, other->data, one->length);
}

START_TEST(empty)
{
	struct inbox_entry entry;
	bool there = true;

	must_succeed(inbox_look(page, 0, &entry, &there));
	ck_assert(!there);
}
END_TEST

/* Entries of all lengths, many times around the ring. */
START_TEST(stream)
{
	uint64_t taken = 0;

	for (unsigned i = 0; taken < 4ull * CONTROL_INBOX_SIZE; i++) {
		const struct device_input in = i % 4 == 0 ? chunk(i + 1, i) : frame(1 + i * 7 % DEVICE_FRAME_MAX);
		struct inbox_entry entry;
		bool there;

		ck_assert(inbox_put(page, taken, &in, i * 5ull));
		must_succeed(inbox_look(page, taken, &entry, &there));
		ck_assert(there);
		must_equal(&entry.input, &in);
		ck_assert_uint_eq(entry.asked, i * 5ull);
		ck_assert_uint_eq(entry.begin, taken);
		ck_assert_uint_eq(entry.end % 8, 0);
		ck_assert_uint_eq(entry.end, page->inbox_written);
		taken = entry.end;
		must_succeed(inbox_look(page, taken, &entry, &there));
		ck_assert(!there);
	}
}
END_TEST

/* What must stay is not overwritten; what need not makes room. */
START_TEST(full)
{
	const struct device_input in = chunk(9, 1);
	uint64_t count = 0, size;
	struct inbox_entry entry;
	bool there;

	while (inbox_put(page, 0, &in, 0))
		count++;
	size = page->inbox_written / count;
	ck_assert_uint_eq(count, CONTROL_INBOX_SIZE / size);
	ck_assert(inbox_put(page, size, &in, 7));
	must_succeed(inbox_look(page, size * count, &entry, &there));
	ck_assert(there);
	ck_assert_uint_eq(entry.asked, 7);
	must_succeed(inbox_look(page, size, &entry, &there));
	must_equal(&entry.input, &in);
}
END_TEST

START_TEST(damaged)
{
	const struct device_input in = frame(21);
	struct inbox_entry entry;
	bool there;

	ck_assert(inbox_put(page, 0, &in, 0));
	for (uint64_t bit = 64; bit < 8 * page->inbox_written; bit++) {
		page->inbox[bit / 8] ^= (uint8_t)(1u << bit % 8);
		result r = inbox_look(page, 0, &entry, &there);

		ck_assert_msg(failed(r), "bit %llu", (unsigned long long)bit);
		page->inbox[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	must_fail(inbox_look(page, 8, &entry, &there), STATUS_FAILED, "the inbox");
	must_fail(inbox_look(page, page->inbox_written + 8, &entry, &there), STATUS_FAILED, "has nothing at byte");
	page->inbox_written = 3ull * CONTROL_INBOX_SIZE;
	must_fail(inbox_look(page, 0, &entry, &there), STATUS_FAILED, "has nothing at byte 0");
}
END_TEST

START_TEST(taped)
{
	uint8_t bytes[INBOX_TAPED_MAX];
	struct inbox_entry one, other;
	bool there;

	for (uint32_t length = 1; length <= DEVICE_FRAME_MAX; length += 97) {
		const uint64_t at = page->inbox_written;
		const struct device_input in = frame(length);

		ck_assert(inbox_put(page, at, &in, 12));
		must_succeed(inbox_look(page, at, &one, &there));
		uint16_t size = inbox_to_tape(&one, bytes);

		ck_assert_uint_eq(size, 8 + one.end - at);
		must_succeed(inbox_from_tape(bytes, size, at, &other));
		must_equal(&other.input, &in);
		ck_assert_uint_eq(other.end, one.end);
		ck_assert_uint_eq(other.asked, 12);
		/* Elsewhere, cut, or longer, it is none. */
		ck_assert(failed(inbox_from_tape(bytes, size, at + 8, &other)));
		for (uint16_t cut = 0; cut < size; cut++)
			ck_assert(failed(inbox_from_tape(bytes, cut, at, &other)));
		memset(bytes + size, 0, 8);
		ck_assert(failed(inbox_from_tape(bytes, (uint16_t)(size + 8), at, &other)));
		bytes[size - 1] ^= 1;
		ck_assert(failed(inbox_from_tape(bytes, size, at, &other)));
	}
}
END_TEST

/* For each entry there is a void one of its size. */
START_TEST(voids)
{
	struct inbox_entry entry, other;
	uint8_t bytes[INBOX_TAPED_MAX];

	for (uint64_t size = 56; size <= INBOX_ENTRY_MAX; size += 8) {
		must_succeed(inbox_void(1000, 1000 + size, &entry));
		must_succeed(inbox_from_tape(bytes, inbox_to_tape(&entry, bytes), 1000, &other));
		ck_assert_uint_eq(other.end, 1000 + size);
		ck_assert_uint_eq(other.input.device, UINT32_MAX);
	}
	must_fail(inbox_void(1000, 1000 + 57, &entry), STATUS_INPUT, "nothing that was skipped");
	must_fail(inbox_void(1000, 1000 + 48, &entry), STATUS_INPUT, "nothing that was skipped");
	must_fail(inbox_void(1000, 992, &entry), STATUS_INPUT, "nothing that was skipped");
	must_fail(inbox_void(1000, 1000 + INBOX_ENTRY_MAX + 8, &entry), STATUS_INPUT, "nothing that was skipped");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("inbox");
	TCase *tests = tcase_create("inbox");

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, empty);
	tcase_add_test(tests, stream);
	tcase_add_test(tests, full);
	tcase_add_test(tests, damaged);
	tcase_add_test(tests, taped);
	tcase_add_test(tests, voids);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
