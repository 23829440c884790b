/* what a counter does on a way that is known */
#include <stdio.h>

#include "vmm/progress.h"

/* Rounds of a run: half a millisecond and more. */
enum { ROUNDS = 1 << 20 };
/* Runs from begin to end; and stops, at places all along the way. */
enum { RUNS = 2, STOPS = 8 };
/* A counter is refused that errs by more than this part of the way, or stops so much too late: with such a margin time
 * would do as well. */
enum { ERROR_PART = 256, SKID_PART = 16 };
/* As much work of the host's may be counted with this part of it. */
enum { HOST_PART = 1024 };
/* Signals that others send, before one is missed. */
enum { OTHER_SIGNALS = 1000 };

struct trial {
	struct progress *progress;
	const struct progress_track *track;
	uint64_t a_round; /* what is counted in a round */
	struct progress_reading begin;
};

static uint64_t distance(uint64_t a, uint64_t b)
{
	return a > b ? a - b : b - a;
}

static result read_count(const struct trial *trial, uint64_t *count)
{
	struct progress *progress = trial->progress;
	struct progress_reading reading;
	int error = progress->calls->read(progress->context, &reading);

	if (error != 0)
		return fail_errno(STATUS_HOST, error, "the counter cannot be read");
	if (reading.enabled_ns - trial->begin.enabled_ns != reading.running_ns - trial->begin.running_ns)
		return fail(STATUS_HOST, "the counter is shared with others");
	*count = reading.count - trial->begin.count;
	return OK;
}

static result set_out(struct trial *trial)
{
	int error;

	TRY(trial->track->begin(trial->track->context, ROUNDS));
	error = trial->progress->calls->read(trial->progress->context, &trial->begin);
	return error == 0 ? OK : fail_errno(STATUS_HOST, error, "the counter cannot be read");
}

/* The guest has completed `rounds`: so far is the count from that. */
static result check_count(struct trial *trial, uint64_t rounds, uint64_t *count)
{
	struct progress_quality *quality = &trial->progress->quality;
	uint64_t wanted = rounds * trial->a_round, error;

	TRY(read_count(trial, count));
	error = distance(*count, wanted);
	if (error > ROUNDS * trial->a_round / ERROR_PART)
		return fail(STATUS_HOST, "the counter counts %llu where there are %llu", (unsigned long long)*count,
			    (unsigned long long)wanted);
	quality->error = error > quality->error ? error : quality->error;
	return OK;
}

static result run_to_end(struct trial *trial)
{
	bool ended = false;

	for (unsigned i = 0; i < OTHER_SIGNALS && !ended; i++)
		TRY(trial->track->run(trial->track->context, &ended));
	return ended ? OK : fail(STATUS_HOST, "the trial's guest does not end");
}

static result try_run(struct trial *trial)
{
	uint64_t count;

	TRY(set_out(trial));
	TRY(run_to_end(trial));
	return check_count(trial, ROUNDS, &count);
}

/* Whether the host's own work is left out. */
static result try_host(struct trial *trial)
{
	volatile uint64_t left = ROUNDS;
	uint64_t count;

	TRY(set_out(trial));
	while (left > 0)
		left--;
	TRY(read_count(trial, &count));
	if (count > ROUNDS / HOST_PART)
		return fail(STATUS_HOST, "the counter counts what the host does, too");
	return OK;
}

static result arm(const struct trial *trial, uint64_t after)
{
	const struct progress *progress = trial->progress;
	int error = progress->calls->arm(progress->context, after);

	return error == 0 ? OK : fail_errno(STATUS_HOST, error, "the counter gives no signal");
}

static result try_stop(struct trial *trial, uint64_t after)
{
	struct progress *progress = trial->progress;
	uint64_t rounds = 0, count = 0, skid;
	bool ended = false;
	int error;

	TRY(set_out(trial));
	TRY(arm(trial, after));
	for (unsigned i = 0; i < OTHER_SIGNALS && !ended && count < after; i++) {
		TRY(trial->track->run(trial->track->context, &ended));
		TRY(trial->track->completed(trial->track->context, &rounds));
		TRY(check_count(trial, rounds, &count));
	}
	error = progress->calls->disarm(progress->context);
	if (error != 0)
		return fail_errno(STATUS_HOST, error, "the counter cannot be kept quiet");
	skid = distance(rounds * trial->a_round, after);
	if (ended || count < after || skid > ROUNDS * trial->a_round / SKID_PART)
		return fail(STATUS_HOST, "the counter's signal does not stop a guest in time");
	progress->quality.skid = skid > progress->quality.skid ? skid : progress->quality.skid;
	return OK;
}

result progress_try(struct progress *progress, enum progress_unit unit, const struct progress_track *track)
{
	struct trial trial = {
		.progress = progress,
		.track = track,
		.a_round = unit == PROGRESS_INSTRUCTIONS ? 2 : 1,
	};

	progress->quality = (struct progress_quality){ .error = 0 };
	for (unsigned i = 0; i < RUNS; i++)
		TRY(try_run(&trial));
	TRY(try_host(&trial));
	for (unsigned i = 1; i <= STOPS; i++)
		TRY(try_stop(&trial, ROUNDS * trial.a_round / (STOPS + 2) * i));
	return OK;
}
