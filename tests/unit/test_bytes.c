#include "base/bytes.h"

#include <string.h>

#include "tests/unit/fixture.h"

START_TEST(little_endian)
{
	static const uint8_t expected[] = { 0x01, 0x03, 0x02, 0x07, 0x06, 0x05, 0x04, 0x0F, 0x0E, 0x0D,
					    0x0C, 0x0B, 0x0A, 0x09, 0x08, 0x01, 0x00, 'x',  'y' };
	uint8_t data[sizeof(expected)];
	struct bytes_writer writer = bytes_writer_over(data, sizeof(data));

	bytes_put_u8(&writer, 0x01);
	bytes_put_u16(&writer, 0x0203);
	bytes_put_u32(&writer, 0x04050607);
	bytes_put_u64(&writer, 0x08090A0B0C0D0E0F);
	bytes_put_bool(&writer, true);
	bytes_put_bool(&writer, false);
	bytes_put(&writer, "xy", 2);
	ck_assert(!writer.overflow);
	ck_assert_uint_eq(writer.used, sizeof(expected));
	ck_assert_mem_eq(data, expected, sizeof(expected));

	struct bytes_reader reader = bytes_reader_over(data, sizeof(data));
	char text[2];

	ck_assert_uint_eq(bytes_get_u8(&reader), 0x01);
	ck_assert_uint_eq(bytes_get_u16(&reader), 0x0203);
	ck_assert_uint_eq(bytes_get_u32(&reader), 0x04050607);
	ck_assert_uint_eq(bytes_get_u64(&reader), 0x08090A0B0C0D0E0F);
	ck_assert(bytes_get_bool(&reader));
	ck_assert(!bytes_get_bool(&reader));
	bytes_get(&reader, text, 2);
	ck_assert_mem_eq(text, "xy", 2);
	ck_assert(!reader.underflow);
	ck_assert_uint_eq(reader.at, reader.size);
}
END_TEST

START_TEST(overflow_sticks)
{
	uint8_t data[8] = { 0 };
	struct bytes_writer writer = bytes_writer_over(data, 5);

	bytes_put_u32(&writer, 0x11111111);
	bytes_put_u16(&writer, 0x2222);
	ck_assert(writer.overflow);
	ck_assert_uint_eq(writer.used, 4);
	/* One byte would fit, but it would be in the wrong place. */
	bytes_put_u8(&writer, 0x33);
	ck_assert(writer.overflow);
	ck_assert_uint_eq(writer.used, 4);
	ck_assert_uint_eq(data[4], 0);
	ck_assert_uint_eq(data[5], 0);
}
END_TEST

START_TEST(underflow_sticks)
{
	static const uint8_t data[5] = { 1, 2, 3, 4, 5 };
	struct bytes_reader reader = bytes_reader_over(data, sizeof(data));
	uint8_t copy[4] = { 9, 9, 9, 9 };

	ck_assert_uint_eq(bytes_get_u32(&reader), 0x04030201);
	bytes_get(&reader, copy, 4);
	ck_assert(reader.underflow);
	ck_assert_uint_eq(bytes_load_u32(copy), 0);
	ck_assert_uint_eq(bytes_get_u8(&reader), 0);
	ck_assert_uint_eq(reader.at, 4);
}
END_TEST

START_TEST(huge_lengths_do_not_wrap)
{
	uint8_t data[4] = { 0 };
	struct bytes_writer writer = bytes_writer_over(data, sizeof(data));

	bytes_put_u8(&writer, 1);
	bytes_put(&writer, data, SIZE_MAX);
	ck_assert(writer.overflow);
}
END_TEST

START_TEST(booleans_are_0_or_1)
{
	unsigned value = (unsigned)_i;
	uint8_t data = (uint8_t)value;
	struct bytes_reader reader = bytes_reader_over(&data, 1);

	ck_assert_int_eq(bytes_get_bool(&reader), value == 1);
	ck_assert_int_eq(reader.underflow, value > 1);
}
END_TEST

START_TEST(nothing)
{
	struct bytes_writer writer = bytes_writer_over(NULL, 0);
	struct bytes_reader reader = bytes_reader_over(NULL, 0);

	bytes_put(&writer, NULL, 0);
	bytes_get(&reader, NULL, 0);
	ck_assert(!writer.overflow);
	ck_assert(!reader.underflow);
	bytes_put_u8(&writer, 0);
	ck_assert_uint_eq(bytes_get_u64(&reader), 0);
	ck_assert(writer.overflow);
	ck_assert(reader.underflow);
}
END_TEST

START_TEST(unaligned)
{
	uint8_t data[24] = { 0 };

	bytes_store_u16(data + 1, 0x0201);
	bytes_store_u32(data + 3, 0x06050403);
	bytes_store_u64(data + 7, 0x0E0D0C0B0A090807);
	for (unsigned i = 0; i < 15; i++)
		ck_assert_uint_eq(data[i], i);
	ck_assert_uint_eq(bytes_load_u16(data + 1), 0x0201);
	ck_assert_uint_eq(bytes_load_u32(data + 3), 0x06050403);
	ck_assert_uint_eq(bytes_load_u64(data + 7), 0x0E0D0C0B0A090807);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("bytes");
	TCase *tests = tcase_create("readers and writers");

	tcase_add_test(tests, little_endian);
	tcase_add_test(tests, overflow_sticks);
	tcase_add_test(tests, underflow_sticks);
	tcase_add_test(tests, huge_lengths_do_not_wrap);
	tcase_add_loop_test(tests, booleans_are_0_or_1, 0, 256);
	tcase_add_test(tests, nothing);
	tcase_add_test(tests, unaligned);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
