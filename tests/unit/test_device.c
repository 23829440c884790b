#include "devices/device.h"

#include <string.h>
#include <zlib.h>

#include "tests/unit/fixture.h"

#define RECORD_MAX (DEVICE_INPUT_HEADER + DEVICE_INPUT_MAX)

static struct device_input read_input(uint32_t total, uint64_t offset, uint32_t length)
{
	struct device_input input = {
		.device = 3,
		.kind = INPUT_DISK_READ,
		.epoch = 7,
		.id = UINT64_C(0x1122334455667788),
		.offset = offset,
		.total = total,
		.length = length,
	};

	for (uint32_t i = 0; i < length; i++)
		input.data[i] = (uint8_t)(i * 7 + 1);
	return input;
}

static bool passes(const struct device_input *input)
{
	static uint8_t bytes[RECORD_MAX];
	static struct device_input got;
	struct bytes_writer writer = bytes_writer_over(bytes, sizeof(bytes));
	struct bytes_reader reader;

	device_input_put(&writer, input);
	ck_assert(!writer.overflow);
	ck_assert_uint_eq(writer.used, device_input_size(input));
	reader = bytes_reader_over(bytes, writer.used);
	return !failed(device_input_get(&reader, &got));
}

START_TEST(an_input_has_the_bytes_of_its_format)
{
	struct device_input input = read_input(4100, 4096, 4);
	struct device_input got;
	uint8_t bytes[DEVICE_INPUT_HEADER + 4];
	struct bytes_writer writer = bytes_writer_over(bytes, sizeof(bytes));
	struct bytes_reader reader = bytes_reader_over(bytes, sizeof(bytes));
	static const uint8_t expected[sizeof(bytes) - 4] = {
		3,    0,    0, 0, 1, 0, 0, 0, 7, 0, 0, 0, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0, 0x10,
		0,    0,    0, 0, 0, 0, 4, 0x10, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 1, 8, 15, 22,
	};

	device_input_put(&writer, &input);
	ck_assert(!writer.overflow);
	ck_assert_uint_eq(writer.used, sizeof(bytes));
	ck_assert_mem_eq(bytes + 4, expected, sizeof(expected));
	ck_assert_uint_eq(bytes_load_u32(bytes), (uint32_t)crc32(0, expected, sizeof(expected)));
	ck_assert(!failed(device_input_get(&reader, &got)));
	ck_assert_uint_eq(reader.at, sizeof(bytes));
	ck_assert_uint_eq(got.device, 3);
	ck_assert_uint_eq(got.kind, INPUT_DISK_READ);
	ck_assert_uint_eq(got.epoch, 7);
	ck_assert_uint_eq(got.status, 0);
	ck_assert_uint_eq(got.id, input.id);
	ck_assert_uint_eq(got.offset, 4096);
	ck_assert_uint_eq(got.total, 4100);
	ck_assert_uint_eq(got.length, 4);
	ck_assert_mem_eq(got.data, input.data, 4);
}
END_TEST

START_TEST(no_damaged_or_cut_input_passes)
{
	struct device_input input = read_input(5, 0, 5);
	struct device_input got;
	uint8_t bytes[DEVICE_INPUT_HEADER + 5];
	struct bytes_writer writer = bytes_writer_over(bytes, sizeof(bytes));

	device_input_put(&writer, &input);
	for (size_t bit = 0; bit < 8 * sizeof(bytes); bit++) {
		struct bytes_reader reader = bytes_reader_over(bytes, sizeof(bytes));

		bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
		ck_assert(failed(device_input_get(&reader, &got)));
		bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
	}
	for (size_t size = 0; size < sizeof(bytes); size++) {
		uint8_t *cut = malloc(size + !size); /* its end is watched by the sanitizer */
		struct bytes_reader reader;

		ck_assert_ptr_nonnull(cut);
		memcpy(cut, bytes, size);
		reader = bytes_reader_over(cut, size);
		ck_assert(failed(device_input_get(&reader, &got)));
		free(cut);
	}
}
END_TEST

START_TEST(an_input_has_the_form_of_its_kind)
{
	struct device_input good[] = {
		read_input(4096 + 512, 0, 4096),
		read_input(4096 + 512, 4096, 512),
		{ .kind = INPUT_DISK_READ, .id = 1, .total = 512, .status = 5 },
		{ .kind = INPUT_DISK_DONE, .id = 1 },
		{ .kind = INPUT_DISK_DONE, .id = 1, .status = 28 },
		{ .kind = INPUT_ENTROPY, .id = 1, .total = 16, .length = 16 },
		{ .kind = INPUT_NET, .total = DEVICE_FRAME_MAX, .length = DEVICE_FRAME_MAX },
		{ .kind = INPUT_VCONSOLE, .total = 4096, .length = 4096 },
	};
	struct device_input bad[] = {
		read_input(4096 + 512, 0, 512),
		read_input(4096 + 512, 512, 4096),
		read_input(4096, 4096, 0),
		read_input(512, UINT64_MAX - 4095, 512),
		{ .kind = INPUT_DISK_READ, .total = 512, .length = 512 },
		{ .kind = INPUT_DISK_READ, .id = 1, .total = 512, .length = 512, .status = 5 },
		{ .kind = INPUT_DISK_DONE },
		{ .kind = INPUT_DISK_DONE, .id = 1, .total = 1, .length = 1 },
		{ .kind = INPUT_ENTROPY, .id = 1 },
		{ .kind = INPUT_ENTROPY, .id = 1, .total = 17, .length = 16 },
		{ .kind = INPUT_NET, .total = DEVICE_FRAME_MAX + 1, .length = DEVICE_FRAME_MAX + 1 },
		{ .kind = INPUT_NET },
		{ .kind = INPUT_NET, .id = 1, .total = 60, .length = 60 },
		{ .kind = INPUT_NET, .status = 5 },
		{ .kind = INPUT_VCONSOLE, .status = 5 },
		{ .kind = INPUT_VCONSOLE, .total = 1 },
		{ .kind = 0, .total = 1, .length = 1 },
		{ .kind = INPUT_VCONSOLE + 1, .total = 1, .length = 1 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		ck_assert_msg(passes(&good[i]), "%zu", i);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		ck_assert_msg(!passes(&bad[i]), "%zu", i);
}
END_TEST

static bool disk_passes(struct device_disk_request request)
{
	uint8_t bytes[DEVICE_DISK_HEADER];
	struct device_disk_request got;
	struct bytes_writer writer = bytes_writer_over(bytes, sizeof(bytes));
	struct bytes_reader reader = bytes_reader_over(bytes, sizeof(bytes));

	device_disk_put(&writer, &request);
	ck_assert(!writer.overflow);
	ck_assert_uint_eq(writer.used, sizeof(bytes));
	if (failed(device_disk_get(&reader, &got)))
		return false;
	ck_assert_mem_eq(&got, &request, sizeof(got));
	return true;
}

START_TEST(a_disk_request_has_the_form_of_its_op)
{
	struct device_disk_request write = {
		.device = 1,
		.op = DEVICE_DISK_WRITE,
		.id = 9,
		.offset = 512,
		.length = 1024,
	};
	struct device_disk_request changed;
	uint8_t bytes[DEVICE_DISK_HEADER - 1] = { 0 };
	struct bytes_reader reader = bytes_reader_over(bytes, sizeof(bytes));

	ck_assert(disk_passes(write));
	ck_assert(disk_passes((struct device_disk_request){ .op = DEVICE_DISK_FLUSH, .id = 1 }));
	ck_assert(disk_passes(
		(struct device_disk_request){ .op = DEVICE_DISK_DISCARD, .id = 1, .length = UINT64_C(1) << 40 }));
	ck_assert(disk_passes(
		(struct device_disk_request){ .op = DEVICE_DISK_WRITE_ZEROES, .id = 1, .length = 512, .flags = 1 }));
	ck_assert(!disk_passes((struct device_disk_request){ .op = DEVICE_DISK_FLUSH, .id = 1, .length = 512 }));
	for (int i = 0; i < 8; i++) {
		changed = write;
		switch (i) {
		case 0: changed.op = 0; break;
		case 1: changed.op = 5; break;
		case 2: changed.id = 0; break;
		case 3: changed.offset = 511; break;
		case 4: changed.length = 0; break;
		case 5: changed.length = 1023; break;
		case 6: changed.flags = 1; break;
		default: changed.offset = UINT64_MAX - 511; break;
		}
		ck_assert_msg(!disk_passes(changed), "%d", i);
	}
	ck_assert(failed(device_disk_get(&reader, &changed)));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("device");
	TCase *tcase = tcase_create("formats");

	tcase_add_test(tcase, an_input_has_the_bytes_of_its_format);
	tcase_add_test(tcase, no_damaged_or_cut_input_passes);
	tcase_add_test(tcase, an_input_has_the_form_of_its_kind);
	tcase_add_test(tcase, a_disk_request_has_the_form_of_its_op);
	suite_add_tcase(suite, tcase);
	return fixture_run(suite);
}
