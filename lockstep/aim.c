/* which registers are steady, and what they say */
#include "lockstep/aim.h"

#include <string.h>

/* Half of the pairs of samples must show the highest speed or one that is so many times lower: what is kept in inner
 * loops must not look steady. The other half may be as slow as it is: where a host has other things to do it stops the
 * guest, but nothing ever makes it faster. */
#define SPEEDS 4
/* To take all samples takes one part in so many of the way, and so may one that is waited for. */
enum { WAY_PART = 8 };
#define PATIENCE_LEAST_NS (5 * NS_PER_MS)
enum { PAIRS = AIM_SAMPLES - 1, PAIRS_ALIKE = PAIRS / 2, SKIPPED_PART = 8 };

void aim_add(struct aim *aim, uint64_t ran, const uint64_t gpr[GPR_COUNT])
{
	struct aim_sample *sample;

	if (aim->count == AIM_SAMPLES)
		memmove(aim->samples, aim->samples + 1, (AIM_SAMPLES - 1) * sizeof(aim->samples[0]));
	else
		aim->count++;
	sample = &aim->samples[aim->count - 1];
	sample->ran = ran;
	memcpy(sample->gpr, gpr, sizeof(sample->gpr));
}

/* From one value to another, the short way round. */
static double way(uint64_t from, uint64_t to)
{
	return (double)(int64_t)(to - from);
}

/* A register's highest speed between two samples, 0: it is not steady. */
static double speed_of(const struct aim *aim, unsigned gpr)
{
	double speeds[PAIRS], most = 0;
	unsigned alike = 0;

	if (aim->count < AIM_SAMPLES)
		return 0;
	for (unsigned i = 0; i < PAIRS; i++) {
		const struct aim_sample *before = &aim->samples[i], *here = &aim->samples[i + 1];

		if (here->ran <= before->ran)
			return 0;
		speeds[i] = way(before->gpr[gpr], here->gpr[gpr]) / (double)(here->ran - before->ran);
		/* All above zero, or all below it. */
		if (speeds[i] == 0 || (speeds[i] > 0) != (speeds[0] > 0))
			return 0;
		if (i == 0 || (speeds[i] > 0 ? speeds[i] > most : speeds[i] < most))
			most = speeds[i];
	}
	for (unsigned i = 0; i < PAIRS; i++)
		alike += speeds[i] / most * SPEEDS >= 1;
	return alike >= PAIRS_ALIKE ? most : 0;
}

uint32_t aim_steady(const struct aim *aim)
{
	uint32_t steady = 0;

	for (unsigned gpr = 0; gpr < GPR_COUNT; gpr++)
		steady |= (uint32_t)(speed_of(aim, gpr) != 0) << gpr;
	return steady;
}

bool aim_remaining(const struct aim *aim, uint32_t among, const uint64_t wanted[GPR_COUNT], uint64_t *remaining)
{
	bool any = false;

	for (unsigned gpr = 0; gpr < GPR_COUNT; gpr++) {
		double speed = among >> gpr & 1 ? speed_of(aim, gpr) : 0, time;

		if (speed == 0)
			continue;
		time = way(aim->samples[AIM_SAMPLES - 1].gpr[gpr], wanted[gpr]) / speed;
		/* One that moves away turns round before the wanted state, so it says nothing. */
		if (time < 0 || time > (double)INT64_MAX)
			continue;
		if (!any || (uint64_t)time < *remaining)
			*remaining = (uint64_t)time;
		any = true;
	}
	return any;
}

uint64_t aim_apart(uint64_t way)
{
	const uint64_t ns = way / WAY_PART / AIM_SAMPLES;

	return ns > AIM_APART_LEAST_NS ? ns : AIM_APART_LEAST_NS;
}

uint64_t aim_patience(uint64_t way)
{
	return way / WAY_PART > PATIENCE_LEAST_NS ? way / WAY_PART : PATIENCE_LEAST_NS;
}

void aim_way_begin(struct aim_way *way)
{
	way->count = way->offered = 0;
	way->every = 1;
}

void aim_way_add(struct aim_way *way, uint64_t ran, const uint64_t gpr[GPR_COUNT])
{
	struct aim_sample *sample;

	if (way->offered++ % way->every != 0)
		return;
	if (way->count == AIM_WAY_SAMPLES) {
		/* It is longer than thought: half of them will do. */
		for (unsigned i = 0; i < AIM_WAY_SAMPLES / 2; i++)
			way->samples[i] = way->samples[2 * i];
		way->count = AIM_WAY_SAMPLES / 2;
		way->every *= 2;
	}
	sample = &way->samples[way->count++];
	sample->ran = ran;
	memcpy(sample->gpr, gpr, sizeof(sample->gpr));
}

uint32_t aim_way_steady(const struct aim_way *way)
{
	/* What led to a loop is no part of it. */
	const unsigned skipped = way->count / SKIPPED_PART;
	struct aim aim = { .count = 0 };

	if (way->count < AIM_SAMPLES)
		return 0;
	for (unsigned i = 0; i < AIM_SAMPLES; i++) {
		const unsigned step = (way->count - 1 - skipped) * i / (AIM_SAMPLES - 1);
		const struct aim_sample *sample = &way->samples[skipped + step];

		aim_add(&aim, sample->ran, sample->gpr);
	}
	return aim_steady(&aim);
}
