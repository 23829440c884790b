/* A ring against a stream without end: what was put at an offset is found there, wherever the ring wraps. */
#include "tests/unit/fixture.h"

#include "base/ring.h"

enum { SIZE = 64, GUARD = 16 };

START_TEST(every_place_and_length)
{
	uint8_t memory[GUARD + SIZE + GUARD];
	uint8_t in[SIZE], out[SIZE + 1];
	const struct ring ring = { memory + GUARD, SIZE };

	for (uint64_t place = 0; place < 2 * SIZE; place++) {
		/* Far from the start, too: offsets only grow. */
		uint64_t offset = place + (place & 1 ? UINT64_MAX - 4 * SIZE + 1 : 0);

		for (uint64_t length = 0; length <= SIZE; length++) {
			memset(memory, 0xEE, sizeof(memory));
			memset(out, 0xDD, sizeof(out));
			for (unsigned i = 0; i < length; i++)
				in[i] = (uint8_t)(i + length);
			ring_put(&ring, offset, in, length);
			ring_get(&ring, offset, out, length);
			ck_assert_mem_eq(in, out, length);
			ck_assert_uint_eq(out[length], 0xDD);
			for (unsigned i = 0; i < SIZE; i++) {
				uint64_t distance = (i - offset) % SIZE;
				uint8_t expected = distance < length ? in[distance] : 0xEE;

				ck_assert_uint_eq(ring.data[i], expected);
			}
			for (unsigned i = 0; i < GUARD; i++) {
				ck_assert_uint_eq(memory[i], 0xEE);
				ck_assert_uint_eq(memory[GUARD + SIZE + i], 0xEE);
			}
			memset(out, 0xDD, sizeof(out));
			ring_read(ring.data, SIZE, offset, out, length);
			ck_assert_mem_eq(in, out, length);
			ck_assert_uint_eq(out[length], 0xDD);
		}
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ring");
	TCase *tests = tcase_create("ring");

	tcase_add_test(tests, every_place_and_length);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
