/* Checked words: every value comes back, every flipped bit is seen. */
#include "tests/unit/fixture.h"

#include "base/checked_word.h"

/* No value's check stands for another one that differs in a single bit, so whatever a reader falls back to is seen. */
static void must_see_every_flip(uint64_t value)
{
	const uint64_t fallback = ~value & CHECKED_WORD_MAX;
	_Atomic uint64_t word;

	checked_word_store(&word, value);
	if (checked_word_load(&word, fallback) != value)
		ck_abort_msg("0x%jx is not read back", (uintmax_t)value);
	for (unsigned bit = 0; bit < 64; bit++) {
		atomic_fetch_xor(&word, UINT64_C(1) << bit);
		if (checked_word_load(&word, fallback) != fallback)
			ck_abort_msg("bit %u of 0x%jx flips unseen", bit, (uintmax_t)value);
		atomic_fetch_xor(&word, UINT64_C(1) << bit);
	}
}

START_TEST(every_flip_is_seen)
{
	uint64_t seed = 5;

	for (unsigned bit = 0; bit < 48; bit++) {
		must_see_every_flip(UINT64_C(1) << bit);
		must_see_every_flip((UINT64_C(1) << bit) - 1);
	}
	must_see_every_flip(CHECKED_WORD_MAX);
	for (unsigned i = 0; i < 100000; i++)
		must_see_every_flip(fixture_random(&seed) >> (16 + i % 48));
}
END_TEST

/* Memory that is all zero, as it comes from the host, says 0. */
START_TEST(zero_is_zero)
{
	const _Atomic uint64_t word = 0;

	ck_assert_uint_eq(checked_word_load(&word, 77), 0);
	ck_assert_uint_eq(checked_word(0), 0);
}
END_TEST

/* Bits that flip next to each other, as one particle may flip them, up to as many as there are check bits. */
START_TEST(bursts_are_seen)
{
	uint64_t seed = 9;

	for (unsigned i = 0; i < 2000; i++) {
		uint64_t value = fixture_random(&seed) >> 16;
		_Atomic uint64_t word;

		for (unsigned length = 2; length <= 16; length++) {
			for (unsigned at = 0; at + length <= 48; at++) {
				checked_word_store(&word, value);
				atomic_fetch_xor(&word, ((UINT64_C(1) << length) - 1) << at);
				if (checked_word_load(&word, value ^ 1) != (value ^ 1))
					ck_abort_msg("%u bits from %u on of 0x%jx flip unseen", length, at,
						     (uintmax_t)value);
			}
		}
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("checked_word");
	TCase *tests = tcase_create("words");

	tcase_add_test(tests, every_flip_is_seen);
	tcase_add_test(tests, zero_is_zero);
	tcase_add_test(tests, bursts_are_seen);
	tcase_set_timeout(tests, 60);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
