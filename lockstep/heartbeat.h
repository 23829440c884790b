/*
 * The watchdog's judgement of one replica: is it alive, does it need a nudge, does it hang? Pure: beats and time are
 * arguments, and what it answers is somebody else's to do.
 *
 * A replica moves its number of beats as long as it is alive. Who looks may itself be stopped or starved; time in
 * which nobody looked is not held against the replica.
 */
#ifndef TERCET_LOCKSTEP_HEARTBEAT_H
#define TERCET_LOCKSTEP_HEARTBEAT_H

#include <stdint.h>

enum heartbeat_state {
	HEARTBEAT_ALIVE, /* nothing to do */
	HEARTBEAT_KICK,  /* silent for half the watchdog's time, or for another quarter: send it a signal */
	HEARTBEAT_HUNG,  /* silent for the watchdog's time */
};

struct heartbeat {
	uint64_t beats;  /* as seen last */
	uint64_t since;  /* ns: the silence at hand began then */
	uint64_t looked; /* ns: the last look */
	uint64_t kicked; /* quarters of the watchdog's time after which it was kicked last, 0: not in this silence */
};

/* Begins to watch a new replica, which has the watchdog's time for its first beat. */
void heartbeat_reset(struct heartbeat *heartbeat, uint64_t now_ns);

/* Judges. Times are in ns of one monotonic clock; a watchdog's time of 0 judges everybody alive. It must look more
 * often than each quarter of the watchdog's time: after a longer gap, and when the clock has gone back, the silence
 * counts anew. What is hung stays so until it beats, or heartbeat_reset. */
enum heartbeat_state heartbeat_look(struct heartbeat *heartbeat, uint64_t beats, uint64_t now_ns,
				    uint64_t watchdog_ns);

#endif
