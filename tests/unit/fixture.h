/*
 * What unit tests of device models share: a board that records, accesses in one line, and random numbers that
 * are the same in every run.
 */
#ifndef TERCET_TESTS_UNIT_FIXTURE_H
#define TERCET_TESTS_UNIT_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "devices/device.h"

/* check has an old macro of base/result.h's name: ours stays. */
#pragma push_macro("fail")
#undef fail
#include <check.h>
#undef fail
#pragma pop_macro("fail")

#define FIXTURE_LINES 16
#define FIXTURE_OUTPUT 256

struct fixture {
	struct device_board board; /* for the device under test */
	bool lines[FIXTURE_LINES];
	unsigned rises[FIXTURE_LINES]; /* rising edges seen on each line */
	char output[FIXTURE_OUTPUT];
	size_t output_length;
	unsigned requests; /* how many; and the last one */
	enum board_request request;
	uint32_t argument;
};

void fixture_init(struct fixture *fixture);

uint64_t fixture_read(const struct device_model *model, void *device, unsigned region, uint64_t offset,
		      unsigned size, uint64_t now);
void fixture_write(const struct device_model *model, void *device, unsigned region, uint64_t offset, unsigned size,
		   uint64_t value, uint64_t now);

/* Saves `from` and loads it into `to`, which must succeed and save the same bytes again. */
void fixture_copy_state(const struct device_model *model, const void *from, void *to, uint64_t now);

/* Loads each state made from `device`'s by one bit's flip, and each cut short, into `scratch` (of the same type,
 * initialised). Each must fail or save as what was loaded. */
void fixture_hostile_states(const struct device_model *model, const void *device, void *scratch, uint64_t now);

/* A byte of a saved state, and a value that makes the state invalid. */
struct fixture_damage {
	size_t offset;
	uint8_t value;
};

/* Each of `count` damages to `device`'s state must make its load into `scratch` fail. */
void fixture_expect_rejected(const struct device_model *model, const void *device, void *scratch, uint64_t now,
			     const struct fixture_damage *damages, size_t count);

/* xorshift64* */
uint64_t fixture_random(uint64_t *seed);

/* main() of a test program. */
int fixture_run(Suite *suite);

#endif
