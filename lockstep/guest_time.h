/*
 * The machine's clock: CLOCK_MONOTONIC since power-on, without the time in which the machine stood still, and slower
 * by a factor where that is asked for. It lives on
 * the supervisor's page, so that it is the same for every leader, and stands still whoever leads.
 *
 * The supervisor alone changes it. A leader that looks at it meanwhile may see a time that is too early, never one that
 * is too late: it never goes below its guest's time anyway.
 */
#ifndef TERCET_LOCKSTEP_GUEST_TIME_H
#define TERCET_LOCKSTEP_GUEST_TIME_H

#include <stdbool.h>
#include <stdint.h>

#include "lockstep/control.h"

/* Guest time 0 is host time `host_ns` (CLOCK_MONOTONIC); a clock that stood still stands still from there on. */
void guest_time_begin(struct supervisor_page *page, uint64_t host_ns);

/* From power-on, before any replica runs: the host's clock goes on by `dilation` ns for each of the guest's. To the
 * guest its processor, its disks and its network then are so many times as fast. */
#define GUEST_TIME_DILATION_MAX 1000
void guest_time_dilate(struct supervisor_page *page, uint32_t dilation);

/* The clock stands still, and goes on. Asking twice makes no difference. */
void guest_time_freeze(struct supervisor_page *page);
void guest_time_thaw(struct supervisor_page *page);
bool guest_time_frozen(const struct supervisor_page *page);

/* The guest's time, ns. */
uint64_t guest_time_now(const struct supervisor_page *page);

/* No clock that a leader read up to now was later than this, ns. */
uint64_t guest_time_bound(const struct supervisor_page *page);

/* The host time at which a clock that goes on will be at `guest_ns`; UINT64_MAX for what never comes. */
uint64_t guest_time_to_host(const struct supervisor_page *page, uint64_t guest_ns);

#endif
