/*
 * Run meter: how long this thread has been at work since a segment began, by its own processor time: what the host
 * gave to others in between does not count. Read from time to time only; a leader does not know at its beginning that
 * a segment will be long.
 */
#ifndef TERCET_LOCKSTEP_RUN_METER_H
#define TERCET_LOCKSTEP_RUN_METER_H

#include <stdint.h>

struct run_meter {
	uint64_t before; /* ns counted up to `cpu` */
	uint64_t cpu;    /* the thread's processor time at that moment */
};

/* The calling thread's processor time in ns. */
uint64_t run_meter_cpu(void);

/* Starts to count at `before` ns. */
void run_meter_start(struct run_meter *meter, uint64_t before);

/* ns counted so far. */
uint64_t run_meter_read(const struct run_meter *meter);

#endif
