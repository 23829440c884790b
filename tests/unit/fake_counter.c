#include "tests/unit/fake_counter.h"

#include <errno.h>

static int fake_open(void *context, enum progress_unit unit)
{
	struct fake_counter *fake = context;

	ck_assert_int_eq(fake->unit, PROGRESS_TIME);
	if (fake->open_error[unit] != 0)
		return fake->open_error[unit];
	fake->unit = unit;
	fake->opened++;
	return 0;
}

static int fake_read(void *context, struct progress_reading *reading)
{
	struct fake_counter *fake = context;

	ck_assert_int_ne(fake->unit, PROGRESS_TIME);
	fake->count += fake->host;
	*reading = (struct progress_reading){ fake->count, fake->ns, fake->running_ns };
	return fake->read_error;
}

static int fake_arm(void *context, uint64_t after)
{
	struct fake_counter *fake = context;

	ck_assert_int_ne(fake->unit, PROGRESS_TIME);
	fake->armed = true;
	fake->due = fake->count + after;
	return fake->arm_error;
}

static int fake_disarm(void *context)
{
	struct fake_counter *fake = context;

	ck_assert_int_ne(fake->unit, PROGRESS_TIME);
	fake->armed = false;
	return fake->disarm_error;
}

static void fake_close(void *context)
{
	struct fake_counter *fake = context;

	ck_assert_int_ne(fake->unit, PROGRESS_TIME);
	fake->unit = PROGRESS_TIME;
	fake->armed = false;
	fake->closed++;
}

static uint64_t fake_thread_ns(void *context)
{
	const struct fake_counter *fake = context;

	return fake->ns;
}

const struct progress_calls fake_counter_calls = {
	fake_open, fake_read, fake_arm, fake_disarm, fake_close, fake_thread_ns,
};

static void one_round(struct fake_counter *fake)
{
	uint64_t counted = fake->unit == PROGRESS_INSTRUCTIONS ? 2 : 1;

	fake->done++;
	fake->ns++;
	fake->running_ns += !fake->shared || fake->ns % 2 == 0;
	if (fake->loses != 0 && fake->done % fake->loses == 0)
		return;
	if (fake->stops_at == 0 || fake->count < fake->stops_at)
		fake->count += counted;
}

bool fake_counter_run(struct fake_counter *fake, uint64_t rounds)
{
	for (uint64_t i = 0; i < rounds; i++) {
		one_round(fake);
		if (!fake->armed || fake->mute || fake->count < fake->due)
			continue;
		fake->armed = false;
		for (uint64_t late = 0; late < fake->skid; late++)
			one_round(fake);
		return true;
	}
	return false;
}

static result begin(void *context, uint64_t rounds)
{
	struct fake_counter *fake = context;

	fake->begun = fake->done;
	fake->rounds = rounds;
	return OK;
}

static result run(void *context, bool *ended)
{
	struct fake_counter *fake = context;

	if (fake->strangers > 0) {
		fake->strangers--;
		*ended = false;
		return OK;
	}
	*ended = !fake_counter_run(fake, fake->begun + fake->rounds - fake->done) && !fake->endless;
	return OK;
}

static result completed(void *context, uint64_t *rounds)
{
	const struct fake_counter *fake = context;

	*rounds = fake->done - fake->begun;
	return OK;
}

struct progress_track fake_counter_track(struct fake_counter *fake)
{
	return (struct progress_track){ fake, begin, run, completed };
}
