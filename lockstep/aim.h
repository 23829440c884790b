/*
 * Aim: how far it still is to a wanted state, by registers that move towards it steadily. Where a guest is in a loop,
 * what it counts tells that better than any clock. Pure: samples in, an estimate out; no guarantee, so that who goes
 * by it goes a part of the way only, and looks again.
 */
#ifndef TERCET_LOCKSTEP_AIM_H
#define TERCET_LOCKSTEP_AIM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/futex.h"
#include "vmm/registers.h"

enum { AIM_SAMPLES = 7 };

struct aim_sample {
	uint64_t ran; /* ns, since some moment */
	uint64_t gpr[GPR_COUNT];
};

struct aim {
	struct aim_sample samples[AIM_SAMPLES]; /* the last ones, oldest first */
	unsigned count;
};

/* Takes general registers after `ran` ns of run time; it must not be less than before. */
void aim_add(struct aim *aim, uint64_t ran, const uint64_t gpr[GPR_COUNT]);

/* The registers, by bit, that have always moved in one direction, and about as fast for half of the time at least. */
uint32_t aim_steady(const struct aim *aim);

/* The ns until such registers, of those in `among`, are as in `wanted`, the shortest of their estimates; false: none
 * moves there. */
bool aim_remaining(const struct aim *aim, uint32_t among, const uint64_t wanted[GPR_COUNT], uint64_t *remaining);

/* Samples that are nearer to each other say little. */
#define AIM_APART_LEAST_NS (150 * NS_PER_US)

/* How far from each other samples are to be, in ns, where what is ahead may be as long as `way` ns; and for how long it
 * may take to come to the place where one is to be taken: where it takes longer the guest is elsewhere. */
uint64_t aim_apart(uint64_t way);
uint64_t aim_patience(uint64_t way);

/* Samples of a way whose length nobody knows yet, in about equal steps from its beginning to its end so far. */
enum { AIM_WAY_SAMPLES = 16 };

struct aim_way {
	struct aim_sample samples[AIM_WAY_SAMPLES];
	unsigned count, offered, every; /* of those offered, one in so many is kept */
};

/* Begins without samples; takes one as aim_add does. */
void aim_way_begin(struct aim_way *way);
void aim_way_add(struct aim_way *way, uint64_t ran, const uint64_t gpr[GPR_COUNT]);

/* The registers that were steady all the way but for an eighth at its beginning, and so can lead others along it. */
uint32_t aim_way_steady(const struct aim_way *way);

#endif
