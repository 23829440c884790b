/*
 * An interval timer for unit tests, at its ports and at its clock.
 */
#ifndef TERCET_TESTS_UNIT_TIMER_H
#define TERCET_TESTS_UNIT_TIMER_H

#include "devices/i8254.h"
#include "tests/unit/fixture.h"

/* The one timer of a test program, what it tells, and the time by which it is asked, in CLK pulses. */
extern struct fixture fixture;
extern struct i8254 pit;
extern uint64_t clock_now;

/* Resets it at 1000 pulses; may be the setup of a fixture. */
void timer_begin(void);

/* The time in ns. */
uint64_t now(void);

/* So many pulses pass. */
void pass(uint64_t clocks);

/* Its ports, and that of the speaker. */
void out(unsigned port, unsigned value);
unsigned in(unsigned port);
void speaker(unsigned value);

/* Programs a channel: low byte, then high byte. */
void program(unsigned channel, unsigned mode, unsigned count);

#endif
