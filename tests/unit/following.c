#include "tests/unit/following.h"

struct replicas replicas;
struct source_tape follower;
struct tape_writer tape;

void follow_from(unsigned leader, uint64_t at)
{
	const struct source_links links = replicas_links(&replicas, 2);

	source_tape_init(&follower, &links, leader, at);
	tape = (struct tape_writer){
		.ring = replicas.own[leader].tape,
		.mirror = replicas.own[leader].tape_mirror,
		.written = &replicas.own[leader].control->tape_written,
		.at = at,
	};
}

void begin_following(void)
{
	replicas_make(&replicas, 3);
	follow_from(0, 0);
}

struct input next(const struct source_view *view)
{
	return replicas_next(&follower.source, view);
}
