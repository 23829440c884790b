/* the counter of progress.h as perf_event_open(2) offers it */
#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/futex.h"
#include "vmm/progress.h"

/* Never, for a period; perf takes up to 2^63 - 1. */
#define PERIOD_NEVER (UINT64_C(1) << 60)

static const uint64_t events[PROGRESS_UNITS] = {
	[PROGRESS_BRANCHES] = PERF_COUNT_HW_BRANCH_INSTRUCTIONS,
	[PROGRESS_INSTRUCTIONS] = PERF_COUNT_HW_INSTRUCTIONS,
};

/* Overflows come as `signal` to this thread, and to no other of its process. */
static bool direct_signal(int fd, int signal)
{
	struct f_owner_ex owner = { .type = F_OWNER_TID, .pid = gettid() };

	return fcntl(fd, F_SETOWN_EX, &owner) == 0 && fcntl(fd, F_SETSIG, signal) == 0 &&
	       fcntl(fd, F_SETFL, O_ASYNC) == 0;
}

static int perf_open(void *context, enum progress_unit unit)
{
	struct progress_perf *perf = context;
	struct perf_event_attr attributes = {
		.type = PERF_TYPE_HARDWARE,
		.size = sizeof(attributes),
		.config = events[unit],
		/* Only who samples can be signalled. */
		.sample_period = PERIOD_NEVER,
		.wakeup_events = 1,
		.read_format = PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING,
		/* Always on the CPU, or in an error that a read shows, rather than now and then. */
		.pinned = 1,
		.exclude_host = 1,
		.exclude_kernel = !perf->kernel,
	};
	int error = 0;

	perf->fd = (int)syscall(SYS_perf_event_open, &attributes, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
	if (perf->fd < 0)
		return errno;
	if (!direct_signal(perf->fd, perf->signal)) {
		error = errno;
		fd_close(&perf->fd);
	}
	return error;
}

static int perf_read(void *context, struct progress_reading *reading)
{
	struct progress_perf *perf = context;
	uint64_t values[3]; /* in the order that perf_event_open(2) gives for this read_format */
	ssize_t length = read(perf->fd, values, sizeof(values));

	if (length < 0)
		return errno;
	/* End of file is how a pinned counter says that it is on the CPU no longer. */
	if (length != (ssize_t)sizeof(values))
		return ENODATA;
	*reading = (struct progress_reading){ values[0], values[1], values[2] };
	return 0;
}

/* Takes effect at once since Linux 3.14. */
static int set_period(struct progress_perf *perf, uint64_t period)
{
	return ioctl(perf->fd, PERF_EVENT_IOC_PERIOD, &period) == 0 ? 0 : errno;
}

static int perf_arm(void *context, uint64_t after)
{
	return set_period(context, after == 0 ? 1 : after > PERIOD_NEVER ? PERIOD_NEVER : after);
}

static int perf_disarm(void *context)
{
	return set_period(context, PERIOD_NEVER);
}

static void perf_close(void *context)
{
	struct progress_perf *perf = context;

	fd_close(&perf->fd);
}

static uint64_t perf_thread_ns(void *context)
{
	struct timespec time;

	(void)context;
	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
	return (uint64_t)time.tv_sec * NS_PER_S + (uint64_t)time.tv_nsec;
}

const struct progress_calls progress_perf_calls = {
	.open = perf_open,
	.read = perf_read,
	.arm = perf_arm,
	.disarm = perf_disarm,
	.close = perf_close,
	.thread_ns = perf_thread_ns,
};
