/* which registers are steady, and what they say */
#include "lockstep/aim.h"

#include <string.h>

/* From one pair of samples to the next a register's speed is this many times as high at most: what is kept in inner
 * loops must not look steady. Time is measured badly where the host is a guest itself, so that less would not do. */
#define SPEEDS 4

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
	double least = 0, most = 0;

	if (aim->count < AIM_SAMPLES)
		return 0;
	for (unsigned i = 1; i < AIM_SAMPLES; i++) {
		const struct aim_sample *before = &aim->samples[i - 1], *here = &aim->samples[i];
		double speed;

		if (here->ran <= before->ran)
			return 0;
		speed = way(before->gpr[gpr], here->gpr[gpr]) / (double)(here->ran - before->ran);
		least = i == 1 || speed < least ? speed : least;
		most = i == 1 || speed > most ? speed : most;
	}
	/* Both above zero or both below it. */
	if (least > 0 && most <= least * SPEEDS)
		return most;
	return most < 0 && least >= most * SPEEDS ? least : 0;
}

uint32_t aim_steady(const struct aim *aim)
{
	uint32_t steady = 0;

	for (unsigned gpr = 0; gpr < GPR_COUNT; gpr++)
		steady |= (uint32_t)(speed_of(aim, gpr) != 0) << gpr;
	return steady;
}

bool aim_remaining(const struct aim *aim, const uint64_t wanted[GPR_COUNT], uint64_t *remaining)
{
	bool any = false;

	for (unsigned gpr = 0; gpr < GPR_COUNT; gpr++) {
		double speed = speed_of(aim, gpr), time;

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
	struct aim aim = { .count = 0 };

	if (way->count < AIM_SAMPLES)
		return 0;
	for (unsigned i = 0; i < AIM_SAMPLES; i++) {
		const struct aim_sample *sample = &way->samples[(way->count - 1) * i / (AIM_SAMPLES - 1)];

		aim_add(&aim, sample->ran, sample->gpr);
	}
	return aim_steady(&aim);
}
