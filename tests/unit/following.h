/*
 * A follower's source and the tape that it reads, for unit tests.
 */
#ifndef TERCET_TESTS_UNIT_FOLLOWING_H
#define TERCET_TESTS_UNIT_FOLLOWING_H

#include "lockstep/source.h"
#include "tests/unit/replicas.h"

/* Of a test program: three replicas, the source of the last one, and the writer of the tape that this one reads. */
extern struct replicas replicas;
extern struct source_tape follower;
extern struct tape_writer tape;

/* Makes them; may be the setup of a fixture. The follower follows replica 0. */
void begin_following(void);

/* Replica 2 follows `leader` from offset `at` of that one's tape on. */
void follow_from(unsigned leader, uint64_t at);

/* The follower's next input. */
struct input next(const struct source_view *view);

#endif
