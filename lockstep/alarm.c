#include "lockstep/alarm.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "base/futex.h"

result alarm_create(struct alarm *alarm)
{
	struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1 };

	*alarm = (struct alarm){ .exists = false };
	event._sigev_un._tid = gettid(); /* glibc 2.36 has no sigev_notify_thread_id (timer_create(2)) */
	if (timer_create(CLOCK_MONOTONIC, &event, &alarm->timer) < 0)
		return fail_errno(STATUS_FAILED, errno, "cannot make a timer that takes the guest out of its code");
	alarm->exists = true;
	return OK;
}

void alarm_destroy(struct alarm *alarm)
{
	if (alarm->exists)
		(void)timer_delete(alarm->timer);
	alarm->exists = false;
}

static void set(struct alarm *alarm, uint64_t at)
{
	const struct itimerspec time = {
		.it_value = { .tv_sec = (time_t)(at / NS_PER_S), .tv_nsec = (long)(at % NS_PER_S) },
	};

	alarm->at = at;
	if (alarm->exists)
		(void)timer_settime(alarm->timer, TIMER_ABSTIME, &time, NULL);
}

void alarm_set(struct alarm *alarm, uint64_t at)
{
	set(alarm, at > 0 ? at : 1); /* 0 would clear it */
}

void alarm_clear(struct alarm *alarm)
{
	set(alarm, 0);
}

bool alarm_pending(const struct alarm *alarm, uint64_t now)
{
	return alarm->at > now;
}
