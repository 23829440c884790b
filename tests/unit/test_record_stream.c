/* A stream of records: whole again however it is cut, and what is no record is refused. */
#include "tests/unit/guest_memory.h"

#include <string.h>

#include "base/bytes.h"
#include "devices/device.h"
#include "lockstep/record_stream.h"

enum { MOST = 300 };

static struct record_stream stream;

static void setup(void)
{
	must_succeed(record_stream_create(&stream, MOST));
}

static void teardown(void)
{
	record_stream_destroy(&stream);
}

static size_t put(uint8_t *bytes, uint32_t device, uint32_t length)
{
	bytes_store_u32(bytes, device);
	bytes_store_u32(bytes + 4, length);
	for (uint32_t i = 0; i < length; i++)
		bytes[DEVICE_STREAM_HEADER + i] = (uint8_t)(i * 7 + length);
	return DEVICE_STREAM_HEADER + length;
}

START_TEST(cut_anywhere)
{
	static const uint32_t lengths[] = { 1, 7, 8, MOST - 1, MOST, 2 };
	static const size_t pieces[] = { 1, 3, 8, 9, 100, 4096 };
	static uint8_t bytes[2048];
	size_t used = 0, next = 0;

	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++)
		used += put(bytes + used, (uint32_t)i + 40, lengths[i]);
	for (size_t at = 0; at < used;) {
		size_t given = used - at < pieces[_i] ? used - at : pieces[_i];
		uint8_t wanted[DEVICE_STREAM_HEADER + MOST];
		struct record record;
		size_t taken;

		must_succeed(record_stream_take(&stream, bytes + at, given, &taken, &record));
		ck_assert_uint_ge(taken, 1);
		ck_assert_uint_le(taken, given);
		at += taken;
		if (record.length == 0)
			continue;
		ck_assert_uint_eq(record.device, next + 40);
		ck_assert_uint_eq(record.length, lengths[next]);
		(void)put(wanted, 0, lengths[next]);
		ck_assert_mem_eq(record.data, wanted + DEVICE_STREAM_HEADER, record.length);
		next++;
	}
	ck_assert_uint_eq(next, ARRAY_SIZE(lengths));
}
END_TEST

START_TEST(refused)
{
	static const uint32_t lengths[] = { 0, MOST + 1, UINT32_MAX };
	uint8_t header[DEVICE_STREAM_HEADER] = { 0 };
	struct record record;
	size_t taken;

	bytes_store_u32(header + 4, lengths[_i]);
	must_fail(record_stream_take(&stream, header, sizeof(header), &taken, &record), STATUS_FAILED, "a record of ");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("record_stream");
	TCase *tests = tcase_create("stream");

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_loop_test(tests, cut_anywhere, 0, 6);
	tcase_add_loop_test(tests, refused, 0, 3);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
