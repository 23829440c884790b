/* How a machine stands, what follows when its guest ends, and seeds. */
#include "tests/unit/guest_memory.h"

#include <string.h>

#include "lockstep/life.h"

static struct life in_state(enum life_state state)
{
	return (struct life){ .state = state, .off = state == LIFE_SHUTDOWN, .hold = true };
}

START_TEST(names)
{
	ck_assert_str_eq(life_state_name(LIFE_RUNNING), "running");
	ck_assert_str_eq(life_state_name(LIFE_PRELAUNCH), "prelaunch");
	ck_assert_str_eq(life_state_name(LIFE_PAUSED), "paused");
	ck_assert_str_eq(life_state_name(LIFE_SHUTDOWN), "shutdown");
	ck_assert_str_eq(life_state_name((enum life_state)77), "internal-error");
	ck_assert_str_eq(life_cause_name(LIFE_GUEST_SHUTDOWN), "guest-shutdown");
	ck_assert_str_eq(life_cause_name(LIFE_GUEST_RESET), "guest-reset");
	ck_assert_str_eq(life_cause_name(LIFE_HOST_SIGNAL), "host-signal");
	ck_assert_str_eq(life_cause_name(LIFE_HOST_UI), "host-ui");
	ck_assert_str_eq(life_cause_name(LIFE_HOST_QUIT), "host-qmp-quit");
	ck_assert_str_eq(life_cause_name(LIFE_HOST_RESET), "host-qmp-system-reset");
	for (enum life_cause cause = LIFE_NO_CAUSE; cause <= LIFE_HOST_RESET; cause++)
		ck_assert_int_eq(life_cause_is_guest(cause), strncmp(life_cause_name(cause), "guest-", 6) == 0);
}
END_TEST

/* From each state: what pausing, resuming and resetting make of it. */
START_TEST(asked)
{
	static const struct {
		enum life_state from;
		enum life_state paused, resumed, reset;
		bool pause_changes, resume_changes, refused;
	} table[] = {
		{ LIFE_RUNNING, LIFE_PAUSED, LIFE_RUNNING, LIFE_RUNNING, true, false, false },
		{ LIFE_PRELAUNCH, LIFE_PRELAUNCH, LIFE_RUNNING, LIFE_PRELAUNCH, false, true, false },
		{ LIFE_PAUSED, LIFE_PAUSED, LIFE_RUNNING, LIFE_PRELAUNCH, false, true, false },
		{ LIFE_SHUTDOWN, LIFE_SHUTDOWN, LIFE_SHUTDOWN, LIFE_PRELAUNCH, false, false, true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct life life = in_state(table[i].from);
		bool changed = true;

		ck_assert_int_eq(failed(life_pause(&life, &changed)), table[i].refused);
		ck_assert_int_eq(changed, table[i].pause_changes);
		ck_assert_int_eq(life.state, table[i].paused);
		life = in_state(table[i].from);
		changed = true;
		ck_assert_int_eq(failed(life_resume(&life, &changed)), table[i].refused);
		ck_assert_int_eq(changed, table[i].resume_changes);
		ck_assert_int_eq(life.state, table[i].resumed);
		life = in_state(table[i].from);
		life_reset(&life);
		ck_assert_int_eq(life.state, table[i].reset);
	}
}
END_TEST

START_TEST(power_off)
{
	struct life life = { .state = LIFE_RUNNING };

	ck_assert_int_eq(life_end(&life, END_RUNNING, false), LIFE_GOES_ON);
	ck_assert_int_eq(life.state, LIFE_RUNNING);
	ck_assert_int_eq(life_end(&life, END_POWER_OFF, false), LIFE_IS_OVER);
	ck_assert_int_eq(life.state, LIFE_SHUTDOWN);
	/* One that was to be paused where its guest powers off. */
	life = (struct life){ .state = LIFE_PAUSED };
	ck_assert_int_eq(life_end(&life, END_POWER_OFF, false), LIFE_IS_OVER);
	ck_assert_int_eq(life.state, LIFE_SHUTDOWN);
}
END_TEST

/* Held, voted on again as it stands, revived, and off once more. */
START_TEST(held)
{
	struct life life = { .state = LIFE_PAUSED, .hold = true };
	bool changed;

	ck_assert_int_eq(life_end(&life, END_POWER_OFF, false), LIFE_HOLDS);
	ck_assert_int_eq(life.state, LIFE_SHUTDOWN);
	ck_assert_int_eq(life_end(&life, END_POWER_OFF, false), LIFE_GOES_ON);
	life_reset(&life);
	must_succeed(life_resume(&life, &changed));
	ck_assert(changed);
	/* The reset has not come about yet; a replica is repaired meanwhile. */
	ck_assert_int_eq(life_end(&life, END_POWER_OFF, false), LIFE_GOES_ON);
	ck_assert_int_eq(life.state, LIFE_RUNNING);
	ck_assert_int_eq(life_end(&life, END_RESET, true), LIFE_RESETS);
	ck_assert_int_eq(life.state, LIFE_RUNNING);
	ck_assert_int_eq(life_end(&life, END_POWER_OFF, false), LIFE_HOLDS);
	ck_assert_int_eq(life.state, LIFE_SHUTDOWN);
}
END_TEST

START_TEST(resets)
{
	struct life life = { .state = LIFE_RUNNING };

	ck_assert_int_eq(life_end(&life, END_RESET, false), LIFE_RESETS);
	ck_assert_int_eq(life_end(&life, END_RESET, true), LIFE_RESETS);
	ck_assert_int_eq(life.state, LIFE_RUNNING);
	/* One that stands still was reset by others only. */
	life.state = LIFE_PAUSED;
	ck_assert_int_eq(life_end(&life, END_RESET, false), LIFE_RESETS);
	ck_assert_int_eq(life.state, LIFE_PAUSED);
	ck_assert_int_eq(life_end(&life, END_RESET, true), LIFE_RESETS);
	ck_assert_int_eq(life.state, LIFE_PRELAUNCH);

	life = (struct life){ .no_reboot = true };
	ck_assert_int_eq(life_end(&life, END_RESET, true), LIFE_RESETS);
	ck_assert_int_eq(life_end(&life, END_RESET, false), LIFE_IS_OVER);
	life = (struct life){ .no_reboot = true, .hold = true };
	ck_assert_int_eq(life_end(&life, END_RESET, false), LIFE_HOLDS);
	ck_assert_int_eq(life.state, LIFE_SHUTDOWN);
}
END_TEST

/* Who can never go on is not held. */
START_TEST(other_ends)
{
	static const enum machine_end ends[] = { END_EXIT, END_CRASHED, END_DEAD_HALT };

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		struct life life = { .hold = true };

		ck_assert_int_eq(life_end(&life, ends[i], false), LIFE_IS_OVER);
		ck_assert_int_eq(life.state, LIFE_SHUTDOWN);
	}
}
END_TEST

/* SHA-512 of the seed and the boot's number as 8 bytes, little-endian: from Python's hashlib. */
START_TEST(seeds)
{
	static const uint8_t first_bytes[] = { 0x8e, 0x3f, 0x23, 0x49, 0xc8, 0x9f, 0x82, 0xfd };
	uint8_t seed[BOOT_SEED_SIZE], derived[3][BOOT_SEED_SIZE];

	for (size_t i = 0; i < sizeof(seed); i++)
		seed[i] = (uint8_t)i;
	for (unsigned boot = 0; boot < 3; boot++)
		must_succeed(life_seed(seed, boot, derived[boot]));
	ck_assert_mem_eq(derived[0], seed, sizeof(seed));
	ck_assert_mem_eq(derived[1], first_bytes, sizeof(first_bytes));
	ck_assert_mem_ne(derived[1], seed, sizeof(seed));
	ck_assert_mem_ne(derived[2], derived[1], sizeof(seed));
	/* Of another machine, others. */
	seed[0]++;
	must_succeed(life_seed(seed, 1, derived[0]));
	ck_assert_mem_ne(derived[0], derived[1], sizeof(seed));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("life");
	TCase *tests = tcase_create("life");

	tcase_add_test(tests, names);
	tcase_add_test(tests, asked);
	tcase_add_test(tests, power_off);
	tcase_add_test(tests, held);
	tcase_add_test(tests, resets);
	tcase_add_test(tests, other_ends);
	tcase_add_test(tests, seeds);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
