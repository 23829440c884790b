#include "devices/bus.h"

#include <signal.h>
#include <string.h>

#include "tests/unit/fixture.h"

/* A device that records its accesses and answers a byte sequence that starts with its region. */
struct recorder {
	unsigned count;
	struct device_access accesses[16];
	uint64_t values[16];
};

static uint64_t recorder_read(void *device, const struct device_access *access)
{
	struct recorder *self = device;

	ck_assert_uint_lt(self->count, 16);
	self->accesses[self->count++] = *access;
	return UINT64_C(0x0706050403020100) + access->region * UINT64_C(0x1010101010101010);
}

static void recorder_write(void *device, const struct device_access *access, uint64_t value)
{
	struct recorder *self = device;

	ck_assert_uint_lt(self->count, 16);
	self->values[self->count] = value;
	self->accesses[self->count++] = *access;
}

static const struct device_model recorder_model = { .name = "recorder", .read = recorder_read,
						    .write = recorder_write };

static struct bus bus;
static struct recorder recorder;

static void add(uint64_t base, uint64_t length, unsigned widest, unsigned region)
{
	struct bus_range range = {
		.base = base, .length = length, .widest = widest, .region = region,
		.model = &recorder_model, .device = &recorder,
	};

	bus_add(&bus, &range);
}

static void setup(void)
{
	memset(&bus, 0, sizeof(bus));
	memset(&recorder, 0, sizeof(recorder));
	add(0x100, 8, 1, 2);
	add(0x40, 4, 1, 1);
	add(0x108, 4, 4, 3);
	add(0x200, 16, 8, 4);
}

static void expect(unsigned index, unsigned region, uint64_t offset, unsigned size)
{
	ck_assert_uint_lt(index, recorder.count);
	ck_assert_uint_eq(recorder.accesses[index].region, region);
	ck_assert_uint_eq(recorder.accesses[index].offset, offset);
	ck_assert_uint_eq(recorder.accesses[index].size, size);
	ck_assert_uint_eq(recorder.accesses[index].now, 77);
}

START_TEST(finds_what_is_there)
{
	for (uint64_t address = 0; address < 0x300; address++) {
		const struct bus_range *range = bus_find(&bus, address);
		unsigned region = address >= 0x40 && address < 0x44	? 1
				  : address >= 0x100 && address < 0x108 ? 2
				  : address >= 0x108 && address < 0x10C ? 3
				  : address >= 0x200 && address < 0x210 ? 4
									: 0;

		ck_assert_uint_eq(range ? range->region : 0, region);
	}
	ck_assert_ptr_null(bus_find(&bus, UINT64_MAX));
	add(UINT64_MAX, 1, 1, 9);
	ck_assert_uint_eq(bus_find(&bus, UINT64_MAX)->region, 9);
}
END_TEST

START_TEST(empty_bus)
{
	uint32_t value = 0;

	memset(&bus, 0, sizeof(bus));
	bus_read(&bus, 0x40, 4, &value, 0);
	ck_assert_uint_eq(value, 0xFFFFFFFF);
	bus_write(&bus, 0x40, 4, &value, 0);
	ck_assert_uint_eq(bus.unassigned, 2);
}
END_TEST

START_TEST(byte_device_gets_bytes)
{
	uint8_t data[4] = { 1, 2, 3, 4 };

	bus_write(&bus, 0x40, 4, data, 77);
	ck_assert_uint_eq(recorder.count, 4);
	for (unsigned i = 0; i < 4; i++) {
		expect(i, 1, i, 1);
		ck_assert_uint_eq(recorder.values[i], i + 1);
	}
	recorder.count = 0;
	bus_read(&bus, 0x41, 2, data, 77);
	ck_assert_uint_eq(recorder.count, 2);
	expect(0, 1, 1, 1);
	expect(1, 1, 2, 1);
	ck_assert_uint_eq(data[0], 0x10);
	ck_assert_uint_eq(data[1], 0x10);
	ck_assert_uint_eq(data[2], 3);
}
END_TEST

START_TEST(wide_device_gets_the_widest_aligned)
{
	uint8_t data[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };

	bus_write(&bus, 0x108, 4, data, 77);
	ck_assert_uint_eq(recorder.count, 1);
	expect(0, 3, 0, 4);
	ck_assert_uint_eq(recorder.values[0], 0x04030201);
	recorder.count = 0;
	bus_write(&bus, 0x109, 2, data, 77);
	ck_assert_uint_eq(recorder.count, 2);
	expect(0, 3, 1, 1);
	expect(1, 3, 2, 1);
	recorder.count = 0;
	bus_write(&bus, 0x208, 8, data, 77);
	ck_assert_uint_eq(recorder.count, 1);
	expect(0, 4, 8, 8);
	ck_assert_uint_eq(recorder.values[0], 0x0807060504030201);
	/* Odd sizes come from no processor, but are harmless. */
	recorder.count = 0;
	bus_read(&bus, 0x201, 7, data, 77);
	ck_assert_uint_eq(recorder.count, 3);
	expect(0, 4, 1, 1);
	expect(1, 4, 2, 2);
	expect(2, 4, 4, 4);
}
END_TEST

START_TEST(access_over_a_border)
{
	uint8_t data[4] = { 1, 2, 3, 4 };

	/* From one device's range into another's. */
	bus_write(&bus, 0x106, 4, data, 77);
	ck_assert_uint_eq(recorder.count, 3);
	expect(0, 2, 6, 1);
	expect(1, 2, 7, 1);
	expect(2, 3, 0, 2);
	ck_assert_uint_eq(recorder.values[2], 0x0403);
	ck_assert_uint_eq(bus.unassigned, 0);
	/* Out of a range, and into one. */
	recorder.count = 0;
	bus_read(&bus, 0x10A, 4, data, 77);
	ck_assert_uint_eq(recorder.count, 1);
	expect(0, 3, 2, 2);
	ck_assert_uint_eq(data[2], 0xFF);
	ck_assert_uint_eq(data[3], 0xFF);
	ck_assert_uint_eq(bus.unassigned, 1);
	bus_read(&bus, 0x3F, 2, data, 77);
	ck_assert_uint_eq(data[0], 0xFF);
	ck_assert_uint_eq(data[1], 0x10);
	ck_assert_uint_eq(bus.unassigned, 2);
}
END_TEST

START_TEST(overlap_is_a_bug)
{
	static const struct {
		uint64_t base, length;
	} bad[] = { { 0x43, 1 }, { 0x3F, 2 }, { 0x40, 4 }, { 0x0, 0x1000 }, { 0x300, 0 }, { UINT64_MAX, 2 } };

	add(bad[_i].base, bad[_i].length, 1, 9);
}
END_TEST

START_TEST(neighbours_are_not)
{
	add(0x3F, 1, 1, 9);
	add(0x44, 0xBC, 1, 9);
	ck_assert_uint_eq(bus.count, 6);
}
END_TEST

START_TEST(too_many_is_a_bug)
{
	for (unsigned i = 0; i <= BUS_RANGES_MAX; i++)
		add(0x1000 + i, 1, 1, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("bus");
	TCase *tests = tcase_create("lookup and cutting");

	tcase_add_checked_fixture(tests, setup, NULL);
	tcase_add_test(tests, finds_what_is_there);
	tcase_add_test(tests, empty_bus);
	tcase_add_test(tests, byte_device_gets_bytes);
	tcase_add_test(tests, wide_device_gets_the_widest_aligned);
	tcase_add_test(tests, access_over_a_border);
	tcase_add_loop_test_raise_signal(tests, overlap_is_a_bug, SIGABRT, 0, 6);
	tcase_add_test(tests, neighbours_are_not);
	tcase_add_test_raise_signal(tests, too_many_is_a_bug, SIGABRT);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
