/*
 * Waiting on a word of shared memory, and the clock that goes with it. Words are sequence numbers, never locks:
 * whoever dies leaves nothing locked.
 */
#ifndef TERCET_BASE_FUTEX_H
#define TERCET_BASE_FUTEX_H

#include <stdatomic.h>
#include <stdint.h>

/* CLOCK_MONOTONIC in ns. */
uint64_t clock_monotonic_ns(void);

#define NS_PER_US 1000ull
#define NS_PER_MS 1000000ull
#define NS_PER_S 1000000000ull

/* Sleeps while `*word` is `expected`, at most `timeout_ns`; may wake early. The word can be in memory that is
 * mapped read-only here (futex(2), FUTEX_WAIT on shared memory). */
void futex_wait(const _Atomic uint32_t *word, uint32_t expected, uint64_t timeout_ns);

/* Wakes all that sleep on `word`. */
void futex_wake(const _Atomic uint32_t *word);

/* Moves a sequence word on and wakes all that sleep on it. */
void futex_signal(_Atomic uint32_t *word);

#endif
