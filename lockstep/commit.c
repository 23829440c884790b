#include "lockstep/commit.h"

#include <stdlib.h>
#include <string.h>

#include "base/futex.h"
#include "lockstep/outbox.h"

/* A backend that has more than this to write makes the guest wait. */
enum { BACKEND_BEHIND = 256 << 10 };

result commit_create(struct commit *commit, struct console *console, struct backends *backends,
		     struct digest_context *digests)
{
	*commit = (struct commit){
		.console = console,
		.backends = backends,
		.digests = digests,
		.stream = malloc(CONTROL_OUTBOX_SIZE),
	};
	if (!commit->stream)
		return fail(STATUS_FAILED, "no memory for output on its way out");
	return OK;
}

void commit_destroy(struct commit *commit)
{
	free(commit->stream);
	commit->stream = NULL;
}

static result release(struct commit *commit, uint64_t length)
{
	uint64_t at = 0;

	while (at < length) {
		struct outbox_record record;

		TRY(outbox_next(commit->stream, length, &at, &record));
		if (record.channel != OUTPUT_CONSOLE) {
			TRY(backends_output(commit->backends, record.channel, record.data, record.length));
			continue;
		}
		TRY(console_put(commit->console, record.data, record.length));
		commit->console_bytes += record.length;
	}
	return OK;
}

result commit_vote(struct commit *commit, const struct area *area, const struct vote_record *record)
{
	uint64_t length = record->output_end - commit->taken;
	struct digest digest;

	if (record->output_end < commit->taken || length > CONTROL_OUTBOX_SIZE)
		return fail(STATUS_FAILED, "vote %llu would release output up to byte %llu, after %llu",
			    (unsigned long long)record->number, (unsigned long long)record->output_end,
			    (unsigned long long)commit->taken);
	ring_get(&area->outbox, commit->taken, commit->stream, length);
	digest = digest_of(commit->digests, DIGEST_OUTPUT, record->number, commit->stream, (size_t)length);
	if (memcmp(&digest, &record->ballot.digests[VOTE_OUTPUT], sizeof(digest)) != 0)
		return fail(STATUS_NO_MAJORITY, "output of vote %llu is not what was voted",
			    (unsigned long long)record->number);
	TRY(release(commit, length));
	commit->taken = record->output_end;
	if (record->output_host_ns != 0)
		histogram_add(&commit->latency, clock_monotonic_ns() - record->output_host_ns);
	return OK;
}

uint64_t commit_released(const struct commit *commit, uint64_t before)
{
	bool behind = console_pending(commit->console) > BACKEND_BEHIND || backends_behind(commit->backends);

	return behind ? before : commit->taken;
}
