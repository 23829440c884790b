#include "tests/unit/replicas.h"

#include <string.h>

#include "base/fd.h"
#include "lockstep/guest_time.h"

void replicas_make(struct replicas *replicas, unsigned count)
{
	int fds[VOTE_REPLICAS_MAX];
	int page, view;

	memset(replicas, 0, sizeof(*replicas));
	replicas->count = count;
	replicas->host_zero = clock_monotonic_ns() - NS_PER_S;
	for (unsigned i = 0; i < count; i++) {
		must_succeed(fd_sealed_memory(&fds[i], "area", area_size(REPLICAS_PAGES)));
		must_succeed(area_map(&replicas->own[i], fds[i], REPLICAS_PAGES, true));
		area_init(&replicas->own[i]);
	}
	for (unsigned i = 0; i < count; i++)
		for (unsigned j = 0; j < count; j++)
			if (i != j)
				must_succeed(area_map(&replicas->peers[i][j], fds[j], REPLICAS_PAGES, false));
	must_succeed(fd_sealed_memory(&page, "page", sizeof(*replicas->supervisor)));
	must_succeed(fd_read_only_view(page, "page", &view));
	must_succeed(supervisor_page_map(&replicas->supervisor, page, true));
	must_succeed(supervisor_page_map(&replicas->view, view, false));
	atomic_store(&replicas->supervisor->live, (1u << count) - 1);
	guest_time_begin(replicas->supervisor, replicas->host_zero);
}

struct source_links replicas_links(struct replicas *replicas, unsigned index)
{
	return (struct source_links){
		.index = index,
		.replicas = replicas->count,
		.own = &replicas->own[index],
		.peers = replicas->peers[index],
		.supervisor = replicas->view,
		.attention_seen = &replicas->attention_seen[index],
	};
}

void replicas_call(struct replicas *replicas, unsigned index)
{
	atomic_fetch_add(&replicas->supervisor->attention[index], 1);
	futex_signal(&replicas->supervisor->sequence);
	for (unsigned i = 0; i < replicas->count; i++)
		futex_wake(&replicas->own[i].control->sequence);
}

void replicas_type(struct replicas *replicas, const void *keys, size_t length)
{
	struct supervisor_page *page = replicas->supervisor;
	const struct ring ring = { page->console, CONTROL_INPUT_SIZE };
	uint64_t at = atomic_load(&page->console_written);

	ring_put(&ring, at, keys, length);
	atomic_store(&page->console_written, at + length);
	futex_signal(&page->sequence);
}

struct source_view replicas_view(uint64_t position, uint64_t now)
{
	return (struct source_view){
		.position = position,
		.now = now,
		.deadline = DEVICE_NO_DEADLINE,
		.console_room = 16,
	};
}

struct input replicas_next(struct source *source, const struct source_view *view)
{
	struct input input;

	memset(&input, 0xEE, sizeof(input));
	must_succeed(source->operations->next(source, view, &input));
	return input;
}
