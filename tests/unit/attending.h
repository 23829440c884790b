/*
 * Replicas that attend to their supervisor, in one line each. No guest runs: positions and votes are made up.
 */
#ifndef TERCET_TESTS_UNIT_ATTENDING_H
#define TERCET_TESTS_UNIT_ATTENDING_H

#include "lockstep/attend.h"
#include "tests/unit/replica_world.h"

/* The one world of a test program. */
extern struct replica_world world;

/* Makes so many replicas, all of which follow replica 0 from power-on. */
void begin_attending(unsigned count);

/* Ends them; may be the teardown of a fixture. */
void end_attending(void);

/* A replica comes to this position, and to as many votes. */
void stand_at(struct replica *replica, uint64_t position, uint64_t votes);

/* The supervisor tells everybody of a leadership. */
void publish(uint32_t epoch, const struct leadership *leadership);

/* A replica follows `leader` in this epoch, and reads its tape at offset `at`. */
void must_follow(struct replica *replica, uint32_t epoch, unsigned leader, uint64_t at);

/* The next input of a follower, whose kind is told, or of a leader that has nothing to do. */
enum input_kind ask(struct replica *replica);

/* An entry of 16 bytes at the end of a replica's own tape. */
void press(struct replica *leader, uint64_t position);

#endif
