#include "tests/unit/fixture.h"

#include <string.h>

#define STATE_MAX 1024

static void fixture_set_irq(void *context, unsigned line, bool level)
{
	struct fixture *fixture = context;

	ck_assert_uint_lt(line, FIXTURE_LINES);
	if (level && !fixture->lines[line])
		fixture->rises[line]++;
	fixture->lines[line] = level;
}

static void fixture_output(void *context, enum output_channel channel, const void *data, size_t length)
{
	struct fixture *fixture = context;

	ck_assert_int_eq(channel, OUTPUT_CONSOLE);
	ck_assert_uint_le(length, sizeof(fixture->output) - fixture->output_length);
	memcpy(fixture->output + fixture->output_length, data, length);
	fixture->output_length += length;
}

static void fixture_request(void *context, enum board_request request, uint32_t argument)
{
	struct fixture *fixture = context;

	fixture->requests++;
	fixture->request = request;
	fixture->argument = argument;
}

void fixture_init(struct fixture *fixture)
{
	*fixture = (struct fixture){
		.board = {
			.context = fixture,
			.set_irq = fixture_set_irq,
			.output = fixture_output,
			.request = fixture_request,
		},
	};
}

uint64_t fixture_read(const struct device_model *model, void *device, unsigned region, uint64_t offset,
		      unsigned size, uint64_t now)
{
	struct device_access access = { .region = region, .offset = offset, .size = size, .now = now };
	uint64_t value = model->read(device, &access);

	return size == 8 ? value : value & ((UINT64_C(1) << (8 * size)) - 1);
}

void fixture_write(const struct device_model *model, void *device, unsigned region, uint64_t offset, unsigned size,
		   uint64_t value, uint64_t now)
{
	struct device_access access = { .region = region, .offset = offset, .size = size, .now = now };

	model->write(device, &access, value);
}

static size_t save(const struct device_model *model, const void *device, uint8_t *bytes)
{
	struct bytes_writer writer = bytes_writer_over(bytes, STATE_MAX);

	model->save(device, &writer);
	ck_assert(!writer.overflow);
	return writer.used;
}

static bool load(const struct device_model *model, void *device, const uint8_t *bytes, size_t length, uint64_t now)
{
	struct bytes_reader reader = bytes_reader_over(bytes, length);

	return !failed(model->load(device, &reader, now)) && !reader.underflow && reader.at == length;
}

void fixture_copy_state(const struct device_model *model, const void *from, void *to, uint64_t now)
{
	uint8_t bytes[STATE_MAX], again[STATE_MAX];
	size_t length = save(model, from, bytes);

	ck_assert(load(model, to, bytes, length, now));
	ck_assert_uint_eq(save(model, to, again), length);
	ck_assert_mem_eq(bytes, again, length);
}

void fixture_hostile_states(const struct device_model *model, const void *device, void *scratch, uint64_t now)
{
	uint8_t bytes[STATE_MAX], again[STATE_MAX];
	size_t length = save(model, device, bytes);

	for (size_t cut = 0; cut < length; cut++)
		ck_assert(!load(model, scratch, bytes, cut, now));
	for (size_t bit = 0; bit < 8 * length; bit++) {
		bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
		if (load(model, scratch, bytes, length, now)) {
			ck_assert_uint_eq(save(model, scratch, again), length);
			ck_assert_mem_eq(bytes, again, length);
		}
		bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
	}
}

void fixture_expect_rejected(const struct device_model *model, const void *device, void *scratch, uint64_t now,
			     const struct fixture_damage *damages, size_t count)
{
	uint8_t bytes[STATE_MAX];
	size_t length = save(model, device, bytes);

	ck_assert(load(model, scratch, bytes, length, now));
	for (size_t i = 0; i < count; i++) {
		uint8_t good = bytes[damages[i].offset];

		ck_assert_uint_lt(damages[i].offset, length);
		bytes[damages[i].offset] = damages[i].value;
		ck_assert_msg(!load(model, scratch, bytes, length, now), "byte %zu of %s may be 0x%02x",
			      damages[i].offset, model->name, damages[i].value);
		bytes[damages[i].offset] = good;
	}
}

uint64_t fixture_random(uint64_t *seed)
{
	*seed ^= *seed >> 12;
	*seed ^= *seed << 25;
	*seed ^= *seed >> 27;
	return *seed * UINT64_C(0x2545F4914F6CDD1D);
}

int fixture_run(Suite *suite)
{
	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_NORMAL);
	int failures = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
