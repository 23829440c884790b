/*
 * A counter of what a guest retires, and the guest, both made up: a round of the guest is one branch, two instructions
 * and one nanosecond. The counter has the vices of real ones.
 */
#ifndef TERCET_TESTS_UNIT_FAKE_COUNTER_H
#define TERCET_TESTS_UNIT_FAKE_COUNTER_H

#include "tests/unit/guest_memory.h"
#include "vmm/progress.h"

struct fake_counter {
	/* Vices; none where they are zero. */
	int open_error[PROGRESS_UNITS];
	int read_error, arm_error, disarm_error;
	uint64_t skid;      /* rounds from where a signal is due to where the guest stops */
	uint64_t loses;     /* each n-th round is not counted */
	uint64_t stops_at;  /* nothing is counted any more from this count on */
	bool shared;        /* it is on the CPU half of the time only */
	bool mute;          /* no signal comes */
	uint64_t host;      /* counted at each look, though the guest does nothing */
	bool endless;       /* the guest does not end */
	unsigned strangers; /* signals that others send, at once */

	enum progress_unit unit; /* that is open; PROGRESS_TIME: none */
	uint64_t count;
	uint64_t ns;
	uint64_t running_ns;
	bool armed;
	uint64_t due;   /* the count at which a signal is due */
	uint64_t done;  /* rounds, since the world began */
	uint64_t begun; /* rounds when the trial's guest began */
	uint64_t rounds;
	unsigned opened, closed;
};

extern const struct progress_calls fake_counter_calls;

struct progress_track fake_counter_track(struct fake_counter *fake);

/* The guest runs so many rounds, or until a signal comes: then true. */
bool fake_counter_run(struct fake_counter *fake, uint64_t rounds);

#endif
