/* Fetches on their way from a leader to the supervisor: all of them, once, in order; what is damaged is told. */
#include "tests/unit/guest_memory.h"

#include <string.h>

#include "lockstep/control.h"
#include "lockstep/fetches.h"

static struct control *control;
static uint64_t made, taken;

static void setup(void)
{
	control = calloc(1, sizeof(*control));
	ck_assert_ptr_nonnull(control);
	made = taken = 0;
}

static void teardown(void)
{
	free(control);
}

static struct device_fetch fetch_number(uint64_t number)
{
	return (struct device_fetch){
		.device = (uint32_t)(number % 3), .kind = FETCH_DISK, .id = number + 1, .offset = number * 512,
		.length = 512,
	};
}

static bool put(uint64_t number)
{
	const struct device_fetch fetch = fetch_number(number);

	return fetches_put(control, &made, taken, 5, &fetch);
}

static void take(uint64_t number)
{
	const struct device_fetch fetch = fetch_number(number);
	struct fetch_slot slot;
	bool there;

	must_succeed(fetches_take(control, &taken, &slot, &there));
	ck_assert(there);
	ck_assert_uint_eq(slot.epoch, 5);
	ck_assert_uint_eq(slot.fetch.id, number + 1);
	ck_assert_uint_eq(fetches_check(&slot.fetch), fetches_check(&fetch));
}

static void take_none(void)
{
	struct fetch_slot slot;
	bool there;

	must_succeed(fetches_take(control, &taken, &slot, &there));
	ck_assert(!there);
}

START_TEST(in_order)
{
	uint64_t given = 0, got = 0;

	take_none();
	for (unsigned round = 0; round < 50; round++) {
		while (given < got + FETCHES)
			ck_assert(put(given++));
		/* There is no room for more. */
		ck_assert(!put(given));
		for (unsigned i = 0; i < 1 + round * 17; i++)
			take(got++);
	}
	while (got < given)
		take(got++);
	take_none();
}
END_TEST

START_TEST(checks_differ)
{
	const struct device_fetch fetch = fetch_number(7);
	struct device_fetch other = fetch;
	uint64_t check = fetches_check(&fetch);

	other.device++;
	ck_assert_uint_ne(fetches_check(&other), check);
	other = fetch;
	other.kind = FETCH_ENTROPY;
	ck_assert_uint_ne(fetches_check(&other), check);
	other = fetch;
	other.id ^= UINT64_C(1) << 63;
	ck_assert_uint_ne(fetches_check(&other), check);
	other = fetch;
	other.offset += 512;
	ck_assert_uint_ne(fetches_check(&other), check);
	other = fetch;
	other.length += 512;
	ck_assert_uint_ne(fetches_check(&other), check);
}
END_TEST

/* A damaged one is told of, and those behind it are taken. */
START_TEST(damaged)
{
	struct fetch_slot slot;
	bool there;

	for (unsigned bit = 0; bit < 8 * offsetof(struct fetch_slot, crc) + 32; bit++) {
		/* Nothing lies between a length and what stands behind the fetch. */
		if (bit / 8 >= offsetof(struct device_fetch, length) + 4 && bit / 8 < sizeof(struct device_fetch))
			continue;
		teardown();
		setup();
		ck_assert(put(0) && put(1));
		((uint8_t *)control->fetches)[bit / 8] ^= (uint8_t)(1u << bit % 8);
		must_fail(fetches_take(control, &taken, &slot, &there), STATUS_FAILED, "is damaged");
		take(1);
		take_none();
	}
}
END_TEST

START_TEST(damaged_count)
{
	struct fetch_slot slot;
	bool there;

	ck_assert(put(0));
	/* Not known until it is written again. */
	control->fetches_written ^= 4;
	take_none();
	ck_assert(put(1));
	take(0);
	take(1);
	checked_word_store(&control->fetches_written, taken + FETCHES + 1);
	must_fail(fetches_take(control, &taken, &slot, &there), STATUS_FAILED, "was overrun");
	take_none();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("fetches");
	TCase *tests = tcase_create("fetches");

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, in_order);
	tcase_add_test(tests, checks_differ);
	tcase_add_test(tests, damaged);
	tcase_add_test(tests, damaged_count);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
