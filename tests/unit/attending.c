#include "tests/unit/attending.h"

struct replica_world world;

void begin_attending(unsigned count)
{
	replica_world_make(&world, count, NULL, NULL);
	replica_world_attend(&world);
}

void end_attending(void)
{
	replica_world_destroy(&world);
}

void stand_at(struct replica *replica, uint64_t position, uint64_t votes)
{
	replica->machine.position = position;
	checked_word_store(&replica->own.control->reached, position);
	while (replica->box.votes < votes)
		(void)replica_world_vote(replica);
}

void publish(uint32_t epoch, const struct leadership *leadership)
{
	leadership_publish(world.page, epoch, leadership);
	for (unsigned i = 0; i < world.count; i++)
		replica_world_call(&world, i);
}

void must_follow(struct replica *replica, uint32_t epoch, unsigned leader, uint64_t at)
{
	ck_assert(!replica->leads);
	ck_assert_ptr_eq(replica->source, &replica->sources.tape.source);
	ck_assert_ptr_eq(replica->sources.tape.leader, &replica->peers[leader]);
	ck_assert_uint_eq(replica->epoch, epoch);
	ck_assert_uint_eq(atomic_load(&replica->own.control->epoch), epoch);
	ck_assert_uint_eq(attend_tape_at(replica), at);
	ck_assert_uint_eq(atomic_load(&replica->own.control->tape_read), at);
}

enum input_kind ask(struct replica *replica)
{
	const struct source_view view = {
		.position = replica->machine.position,
		.deadline = DEVICE_NO_DEADLINE,
	};
	struct input input;

	must_succeed(replica->source->operations->next(replica->source, &view, &input));
	return input.kind;
}

void press(struct replica *leader, uint64_t position)
{
	struct tape_writer tape = {
		.ring = leader->own.tape,
		.mirror = leader->own.tape_mirror,
		.written = &leader->own.control->tape_written,
		.at = checked_word_load(&leader->own.control->tape_written, 0),
	};

	atomic_fetch_add(&world.page->buttons, 1);
	(void)tape_write(&tape, TAPE_BUTTON, position, NULL, 0);
}
