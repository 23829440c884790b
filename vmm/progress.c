#include "vmm/progress.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/futex.h"
#include "base/log.h"

/* The margin is so many times what the trial saw, */
enum { MARGIN_TIMES = 4 };
/* a little more, and this part of the way: 1/1024. */
enum { MARGIN_LEAST = 64, MARGIN_PART = 1024 };
/* The goal is passed where the count is beyond it by so many margins, and this part of the way: after each breakpoint
 * the guest is entered anew, and each time may count a little wrong. */
enum { PAST_MARGINS = 2, PAST_PART = 128 };
/* One of two counters stood still if the blind time brings the guest no farther than this part of the way, or if it is
 * there after this part of that time. */
enum { STILL_PART = 16 };
#define STILL_NS (10 * NS_PER_MS)
/* The leader ran for run_ns at least. A count that takes so many times as long, and this, is not worth the wait. */
enum { LATE_TIMES = 4 };
#define LATE_NS (200 * NS_PER_MS)
/* The signal comes at the goal; looks in between are for what was lost, and for who must show that it is alive. */
#define LOOK_MIN_NS NS_PER_MS
#define LOOK_MAX_NS (100 * NS_PER_MS)

const char *progress_unit_name(enum progress_unit unit)
{
	static const char *const names[PROGRESS_UNITS] = {
		[PROGRESS_TIME] = "time",
		[PROGRESS_BRANCHES] = "branches",
		[PROGRESS_INSTRUCTIONS] = "instructions",
	};

	return names[unit];
}

void progress_create_time(struct progress *progress, const char *reason)
{
	*progress = (struct progress){
		.unit = PROGRESS_TIME,
		.calls = &progress_perf_calls,
		.perf = { .fd = -1 },
	};
	(void)snprintf(progress->reason, sizeof(progress->reason), "%s", reason);
}

void progress_destroy(struct progress *progress)
{
	if (progress->unit != PROGRESS_TIME)
		progress->calls->close(progress->context);
	progress->unit = PROGRESS_TIME;
}

/* The counter is no good any more. */
printf_like(2, 3) static void turn_off(struct progress *progress, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(progress->reason, sizeof(progress->reason), format, arguments);
	va_end(arguments);
	progress->calls->close(progress->context);
	progress->unit = PROGRESS_TIME;
	progress->armed = false;
	log_warning("progress is told by time from here on: %s", progress->reason);
}

/* --- where one is --- */

/* Reads the counter, if there is one, and turns it off if it cannot be relied on. */
static bool read_counter(struct progress *progress, struct progress_reading *reading)
{
	const struct progress_reading *begin = &progress->begin;
	int error;

	if (progress->unit == PROGRESS_TIME)
		return false;
	error = progress->calls->read(progress->context, reading);
	if (error == 0 && reading->enabled_ns - begin->enabled_ns == reading->running_ns - begin->running_ns &&
	    reading->count >= begin->count)
		return true;
	if (error == ENODATA)
		turn_off(progress, "the counter has lost its place to others");
	else if (error != 0)
		turn_off(progress, "the counter cannot be read: %s", strerror(error));
	else if (reading->count < begin->count)
		turn_off(progress, "the counter went backwards");
	else
		turn_off(progress, "the counter is shared with others");
	return false;
}

void progress_begin(struct progress *progress)
{
	struct progress_reading reading;

	if (progress->unit == PROGRESS_TIME)
		return;
	if (read_counter(progress, &reading))
		progress->begin = reading;
}

void progress_start_clock(struct progress *progress)
{
	progress->begin_ns = progress->calls->thread_ns(progress->context);
}

static uint64_t clock_of(const struct progress *progress)
{
	return progress->calls->thread_ns(progress->context) - progress->begin_ns;
}

static bool stood_still(struct progress *progress, uint64_t count, uint64_t ran)
{
	/* No guest computes for so long without a branch. */
	if (count > 0 || ran <= STILL_NS)
		return false;
	turn_off(progress, "the counter stood still for %llu us", (unsigned long long)(ran / NS_PER_US));
	return true;
}

void progress_mark(struct progress *progress, struct progress_mark *mark)
{
	struct progress_reading reading;

	*mark = (struct progress_mark){ .run_ns = clock_of(progress), .unit = PROGRESS_TIME };
	if (!read_counter(progress, &reading) ||
	    stood_still(progress, reading.count - progress->begin.count, mark->run_ns))
		return;
	mark->unit = progress->unit;
	mark->count = reading.count - progress->begin.count;
}

/* --- to where somebody else was --- */

uint64_t progress_margin(const struct progress *progress, uint64_t count)
{
	return MARGIN_TIMES * (progress->quality.error + progress->quality.skid) + MARGIN_LEAST + count / MARGIN_PART;
}

/* Whether the goal is told in what is counted here. */
static bool counts(const struct progress *progress)
{
	return progress->unit != PROGRESS_TIME && progress->unit == progress->goal.unit;
}

static uint64_t saturated_product(uint64_t a, uint64_t b)
{
	uint64_t product;

	return __builtin_mul_overflow(a, b, &product) ? UINT64_MAX : product;
}

static uint64_t saturated_sum(uint64_t a, uint64_t b)
{
	uint64_t sum;

	return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

/* The count from which on the goal is looked for. */
static uint64_t near_count(const struct progress *progress)
{
	uint64_t count = progress->goal.count, margin = progress_margin(progress, count);

	return count > margin ? count - margin : 0;
}

static bool is_past(const struct progress *progress, uint64_t count)
{
	uint64_t goal = progress->goal.count;
	uint64_t slack = saturated_sum(saturated_product(PAST_MARGINS, progress_margin(progress, goal)),
				       goal / PAST_PART);

	return count > saturated_sum(goal, slack);
}

void progress_head_for(struct progress *progress, const struct progress_mark *goal, unsigned blind_percent)
{
	uint64_t near;
	int error;

	progress->goal = *goal;
	progress->blind_ns = goal->run_ns / 100 * blind_percent;
	progress_start_clock(progress);
	progress_begin(progress);
	if (!counts(progress))
		return;
	near = near_count(progress);
	if (near == 0)
		return;
	error = progress->calls->arm(progress->context, near);
	progress->armed = error == 0;
	if (error != 0)
		turn_off(progress, "the counter gives no signal: %s", strerror(error));
}

static enum progress_place look_by_time(const struct progress *progress, uint64_t ran, uint64_t *left_ns)
{
	if (ran >= progress->blind_ns)
		return PROGRESS_NEAR;
	*left_ns = progress->blind_ns - ran;
	return PROGRESS_BEFORE;
}

/* How long one may run before the next look, at `count` after `ran` ns. */
static uint64_t next_look(const struct progress *progress, uint64_t count, uint64_t ran)
{
	uint64_t left = LOOK_MAX_NS;

	if (count > 0) {
		/* A signal that has not come by then was lost. */
		left = saturated_product(2 * (near_count(progress) - count), ran / count + 1);
		left = left < LOOK_MIN_NS ? LOOK_MIN_NS : left > LOOK_MAX_NS ? LOOK_MAX_NS : left;
	}
	/* At the end of the blind time it is seen whether the counter counts at all. */
	if (ran < progress->blind_ns && progress->blind_ns - ran < left)
		left = progress->blind_ns - ran;
	return left;
}

/* The two counts cannot both be right: this goal is told by time. */
static enum progress_place disbelieve(struct progress *progress, uint64_t count, uint64_t ran, uint64_t *left_ns)
{
	(void)stood_still(progress, count, ran);
	progress->goal.unit = PROGRESS_TIME;
	return look_by_time(progress, ran, left_ns);
}

enum progress_place progress_look(struct progress *progress, uint64_t *left_ns)
{
	uint64_t ran = clock_of(progress), count;
	struct progress_reading reading;

	*left_ns = 0;
	if (!counts(progress) || !read_counter(progress, &reading))
		return look_by_time(progress, ran, left_ns);
	count = reading.count - progress->begin.count;
	if (count >= near_count(progress) && ran < progress->blind_ns / STILL_PART)
		return disbelieve(progress, count, ran, left_ns);
	if (is_past(progress, count))
		return PROGRESS_PAST;
	if (count >= near_count(progress))
		return PROGRESS_NEAR;
	if (ran >= progress->blind_ns && count < progress->goal.count / STILL_PART)
		return disbelieve(progress, count, ran, left_ns);
	if (ran > saturated_sum(saturated_product(LATE_TIMES, progress->goal.run_ns), LATE_NS))
		return PROGRESS_NEAR;
	*left_ns = next_look(progress, count, ran);
	return PROGRESS_BEFORE;
}

bool progress_past(struct progress *progress)
{
	struct progress_reading reading;

	return counts(progress) && read_counter(progress, &reading) &&
	       is_past(progress, reading.count - progress->begin.count);
}

void progress_halt(struct progress *progress)
{
	int error = progress->armed ? progress->calls->disarm(progress->context) : 0;

	progress->armed = false;
	if (error != 0)
		turn_off(progress, "the counter cannot be kept quiet: %s", strerror(error));
}

/* --- which backend --- */

static result refuse(struct progress *progress, int error)
{
	if (progress->open_error == 0)
		progress->open_error = error;
	switch (error) {
	case EACCES:
	case EPERM:
		return fail(STATUS_HOST, "counting is not permitted (kernel.perf_event_paranoid, or a container)");
	case ENOENT:
	case ENODEV:
	case EOPNOTSUPP:
	case ENOSYS:
	case EINVAL:
		return fail(STATUS_HOST, "this host has no counters for guests, like most virtual machines");
	default:
		return fail_errno(STATUS_HOST, error, "no counter can be opened");
	}
}

/* Opens a counter and tries it; the track is opened when there is something to try. */
static result use(struct progress *progress, enum progress_unit unit, const struct progress_track *track)
{
	struct progress_track own = { .context = NULL };
	int error = progress->calls->open(progress->context, unit);
	result r = OK;

	if (error != 0)
		return refuse(progress, error);
	if (!track)
		r = progress_track_open(&own, progress->perf.signal);
	if (!failed(r))
		r = progress_try(progress, unit, track ? track : &own);
	if (own.context)
		progress_track_close(&own);
	if (failed(r))
		progress->calls->close(progress->context);
	else
		progress->unit = unit;
	return r;
}

/* The first that works; else the reason is what was wrong with the first. */
static void choose(struct progress *progress, const struct progress_track *track)
{
	static const enum progress_unit units[] = { PROGRESS_BRANCHES, PROGRESS_INSTRUCTIONS };

	for (size_t i = 0; i < ARRAY_SIZE(units) && progress->unit == PROGRESS_TIME; i++) {
		result r = use(progress, units[i], track);

		if (failed(r) && i == 0)
			(void)snprintf(progress->reason, sizeof(progress->reason), "%.*s",
				       (int)sizeof(progress->reason) - 1, r.failure->message);
	}
	if (progress->unit != PROGRESS_TIME)
		progress->reason[0] = '\0';
}

void progress_create_with(struct progress *progress, const struct progress_calls *calls, void *context,
			  const struct progress_track *track)
{
	*progress = (struct progress){ .calls = calls, .context = context, .perf = { .fd = -1 } };
	choose(progress, track);
}

void progress_create(struct progress *progress, int signal, bool kernel)
{
	*progress = (struct progress){
		.calls = &progress_perf_calls,
		.perf = { .signal = signal, .kernel = kernel, .fd = -1 },
	};
	progress->context = &progress->perf;
	choose(progress, NULL);
}
