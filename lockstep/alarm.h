/*
 * An alarm: after a time the calling thread gets SIGUSR1, which takes its vCPU out of the guest (kvm_vcpu_kick).
 */
#ifndef TERCET_LOCKSTEP_ALARM_H
#define TERCET_LOCKSTEP_ALARM_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "base/result.h"

struct alarm {
	timer_t timer;
	bool exists;
	uint64_t at; /* host ns at which it goes off, or has gone off; 0: it is not set */
};

/* Makes an alarm of the calling thread's. Errors: the host has no timer. */
must_check result alarm_create(struct alarm *alarm);
void alarm_destroy(struct alarm *alarm);

/* Goes off at host time `at` (CLOCK_MONOTONIC ns), or at once if that is over; not at the time set before. */
void alarm_set(struct alarm *alarm, uint64_t at);

/* Does not go off any more. */
void alarm_clear(struct alarm *alarm);

/* Whether it is set and its time has not come. */
bool alarm_pending(const struct alarm *alarm, uint64_t now);

#endif
