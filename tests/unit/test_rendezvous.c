/* The rendezvous of --sync strict: who waits for whom, and what is seen to differ. Exits are made up. */
#include "tests/unit/replica_world.h"

#include <pthread.h>

#include "base/futex.h"
#include "lockstep/rendezvous.h"

enum { POSITIONS = 300 };

static struct replica_world world;

static void setup(void)
{
	replica_world_make(&world, 3, NULL, NULL);
	for (unsigned i = 0; i < world.count; i++)
		world.replicas[i]->config.strict = 1;
	replica_world_attend(&world);
}

static void teardown(void)
{
	replica_world_destroy(&world);
}

/* The exit that leads to a position, as replica.c logs it. */
static void come_to(struct replica *replica, uint64_t position, uint64_t data)
{
	replica->machine.position = position;
	replica->machine.exit.record = (struct exit_record){
		.position = position, .reason = EXIT_PORT_OUT, .size = 1, .address = 0x80, .data = data,
	};
	checked_word_store(&replica->own.control->reached, position);
	ballot_box_log_exit(&replica->box);
}

static const struct replica_statistics *counted(unsigned index)
{
	return &world.replicas[index]->own.control->statistics;
}

static uint64_t met(unsigned index)
{
	return atomic_load(&world.replicas[index]->own.control->met);
}

/* A whole way, alone in a thread. */
static void *go(void *context)
{
	struct replica *replica = context;

	for (uint64_t position = 1; position <= POSITIONS; position++) {
		come_to(replica, position, position * 3);
		must_succeed(rendezvous_meet(replica));
		for (unsigned i = 0; i < world.count; i++)
			ck_assert_uint_ge(met(i), position);
	}
	return NULL;
}

static void meet_in(pthread_t *thread, void *(*way)(void *), unsigned index)
{
	ck_assert_int_eq(pthread_create(thread, NULL, way, world.replicas[index]), 0);
}

/* Nobody passes an exit before all have come to it. */
START_TEST(all_meet)
{
	pthread_t threads[3];

	for (unsigned i = 0; i < 3; i++)
		meet_in(&threads[i], go, i);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_uint_eq(counted(i)->meetings, POSITIONS);
		ck_assert_uint_eq(counted(i)->partings, 0);
		ck_assert_uint_eq(counted(i)->absences, 0);
		ck_assert(!world.replicas[i]->parted);
	}
}
END_TEST

static void *meet(void *context)
{
	must_succeed(rendezvous_meet(context));
	return NULL;
}

static void all_come(uint64_t position, uint64_t zero, uint64_t one, uint64_t two)
{
	const uint64_t data[] = { zero, one, two };
	pthread_t threads[3];

	for (unsigned i = 0; i < 3; i++)
		come_to(world.replicas[i], position, data[i]);
	for (unsigned i = 0; i < 3; i++)
		meet_in(&threads[i], meet, i);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
}

/* Everybody sees it, and who is wrong is not decided here. */
START_TEST(differences_are_seen)
{
	all_come(5, 7, 7, 7);
	all_come(6, 7, 7, 9);
	ck_assert_uint_eq(counted(0)->partings, 1);
	ck_assert_uint_eq(counted(1)->partings, 1);
	ck_assert_uint_eq(counted(2)->partings, 2);
	for (unsigned i = 0; i < 3; i++)
		ck_assert(world.replicas[i]->parted);
	/* It was the exit, and is over with it: only the vote takes the wish away. */
	all_come(7, 1, 1, 1);
	ck_assert_uint_eq(counted(2)->partings, 2);
	ck_assert(world.replicas[0]->parted);
}
END_TEST

/* Registers belong to an exit. */
START_TEST(registers_are_compared)
{
	pthread_t threads[3];

	for (unsigned i = 0; i < 3; i++) {
		come_to(world.replicas[i], 9, 1);
		if (i == 1) {
			world.replicas[i]->machine.exit.record.gpr[GPR_R15] ^= 1ull << 63;
			ballot_box_log_exit(&world.replicas[i]->box);
		}
	}
	for (unsigned i = 0; i < 3; i++)
		meet_in(&threads[i], meet, i);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
	ck_assert_uint_eq(counted(0)->partings, 1);
	ck_assert_uint_eq(counted(1)->partings, 2);
	ck_assert_uint_eq(counted(2)->partings, 1);
}
END_TEST

/* Waits until a replica sleeps for another at a rendezvous. */
static void until_awaited(unsigned waiter, unsigned peer)
{
	while (atomic_load(&world.replicas[waiter]->own.control->awaits) != peer + 1)
		;
}

/* One that dies while it is waited for. */
START_TEST(the_dead_are_not_waited_for)
{
	pthread_t threads[2];

	for (unsigned i = 0; i < 2; i++) {
		come_to(world.replicas[i], 4, 4);
		meet_in(&threads[i], meet, i);
	}
	until_awaited(0, 2);
	atomic_store(&world.page->live, 3);
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
		ck_assert_uint_eq(counted(i)->absences, 0);
		ck_assert_uint_eq(counted(i)->partings, 0);
		ck_assert(!world.replicas[i]->parted);
	}
}
END_TEST

/* What one that died left in its log counts for nothing. */
START_TEST(the_dead_are_not_compared)
{
	come_to(world.replicas[1], 4, 5);
	atomic_store(&world.replicas[1]->own.control->met, 4);
	atomic_store(&world.page->live, 1);
	come_to(world.replicas[0], 4, 4);
	must_succeed(rendezvous_meet(world.replicas[0]));
	ck_assert(!world.replicas[0]->parted);
}
END_TEST

START_TEST(who_complains_is_not_waited_for)
{
	atomic_store(&world.page->live, 5);
	atomic_store(&world.replicas[2]->own.control->complaint, COMPLAINT_TAPE);
	come_to(world.replicas[0], 4, 4);
	must_succeed(rendezvous_meet(world.replicas[0]));
	ck_assert(!world.replicas[0]->parted);
	ck_assert_uint_eq(counted(0)->absences, 0);
}
END_TEST

/* One that never comes does not hold up the vote that will find it out. */
START_TEST(nobody_is_waited_for_for_ever)
{
	come_to(world.replicas[0], 4, 4);
	atomic_store(&world.page->live, 5);
	must_succeed(rendezvous_meet(world.replicas[0]));
	ck_assert_uint_eq(counted(0)->absences, 1);
	ck_assert_uint_eq(counted(0)->partings, 0);
	ck_assert(world.replicas[0]->parted);
}
END_TEST

START_TEST(the_supervisor_ends_it)
{
	pthread_t thread;

	come_to(world.replicas[1], 4, 4);
	meet_in(&thread, meet, 1);
	until_awaited(1, 0);
	atomic_store(&world.page->command, COMMAND_END);
	replica_world_call(&world, 1);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert(world.replicas[1]->leave);
}
END_TEST

/* Without --sync strict nobody waits, and a replica that came late reads no exits that are gone. */
START_TEST(others_need_no_rendezvous)
{
	world.replicas[0]->config.strict = 0;
	come_to(world.replicas[0], 4, 4);
	must_succeed(rendezvous_meet(world.replicas[0]));
	ck_assert_uint_eq(counted(0)->meetings, 0);
	ck_assert_uint_eq(met(0), 0);
	for (unsigned i = 0; i < 2; i++) {
		come_to(world.replicas[i], 4 + CONTROL_EXIT_LOG, 5);
		atomic_store(&world.replicas[i]->own.control->met, 4 + CONTROL_EXIT_LOG);
	}
	come_to(world.replicas[2], 4, 4);
	must_succeed(rendezvous_meet(world.replicas[2]));
	ck_assert_uint_eq(counted(2)->meetings, 1);
	ck_assert(!world.replicas[2]->parted);
}
END_TEST

static enum input_kind ask(struct replica *replica, bool parted, uint64_t *value)
{
	const struct source_view view = {
		.position = replica->machine.position, .deadline = DEVICE_NO_DEADLINE, .parted = parted,
	};
	struct input input;

	must_succeed(replica->source->operations->next(replica->source, &view, &input));
	*value = input.value;
	return input.kind;
}

/* A vote is asked for where replicas parted, once. */
START_TEST(partings_are_voted_on)
{
	uint64_t value;

	come_to(world.replicas[0], 4, 4);
	ck_assert_int_eq(ask(world.replicas[0], false, &value), INPUT_CLOSED);
	ck_assert_int_eq(ask(world.replicas[0], true, &value), INPUT_VOTE);
	ck_assert_uint_eq(value, VOTE_CAUSE_REQUEST);
	(void)replica_world_vote(world.replicas[0]);
	ck_assert_int_eq(ask(world.replicas[0], true, &value), INPUT_CLOSED);
}
END_TEST

/* A follower enters a segment with its leader, but not before its inputs are known. */
START_TEST(segments_are_entered_together)
{
	struct control *leader = world.replicas[0]->own.control;
	struct replica *follower = world.replicas[1];
	uint64_t value;

	come_to(world.replicas[0], 4, 4);
	come_to(follower, 4, 4);
	checked_word_store(&leader->closed, 4);
	ck_assert_int_eq(ask(follower, false, &value), INPUT_CLOSED);
	/* What stands on the tape comes first. */
	atomic_fetch_add(&world.page->buttons, 1);
	(void)tape_write(&world.replicas[0]->sources.live.tape, TAPE_BUTTON, 4, NULL, 0);
	ck_assert_int_eq(ask(follower, false, &value), INPUT_BUTTON);
	ck_assert_int_eq(ask(follower, false, &value), INPUT_CLOSED);
}
END_TEST

static uint32_t rung(void)
{
	return atomic_load(&world.replicas[0]->own.control->sequence);
}

/* A follower wakes by itself now and then, and may just then be seen by nobody to wait. */
static void *open_until_rung(void *context)
{
	uint32_t before = rung();

	(void)context;
	while (rung() == before)
		rendezvous_open(world.replicas[0]);
	checked_word_store(&world.replicas[0]->own.control->closed, 4);
	return NULL;
}

/* One that sleeps is woken by the leader's entering; where nobody sleeps, nobody is. */
START_TEST(sleepers_are_woken_to_enter)
{
	uint32_t before = rung();
	pthread_t thread;
	uint64_t value;

	come_to(world.replicas[0], 4, 4);
	come_to(world.replicas[1], 4, 4);
	rendezvous_open(world.replicas[0]);
	ck_assert_uint_eq(rung(), before);
	meet_in(&thread, open_until_rung, 1);
	ck_assert_int_eq(ask(world.replicas[1], false, &value), INPUT_CLOSED);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert_uint_ne(rung(), before);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("rendezvous");
	TCase *all = tcase_create("all");

	tcase_set_timeout(all, 60);
	tcase_add_checked_fixture(all, setup, teardown);
	tcase_add_test(all, all_meet);
	tcase_add_test(all, differences_are_seen);
	tcase_add_test(all, registers_are_compared);
	tcase_add_test(all, the_dead_are_not_waited_for);
	tcase_add_test(all, the_dead_are_not_compared);
	tcase_add_test(all, who_complains_is_not_waited_for);
	tcase_add_test(all, nobody_is_waited_for_for_ever);
	tcase_add_test(all, the_supervisor_ends_it);
	tcase_add_test(all, others_need_no_rendezvous);
	tcase_add_test(all, partings_are_voted_on);
	tcase_add_test(all, segments_are_entered_together);
	tcase_add_test(all, sleepers_are_woken_to_enter);
	suite_add_tcase(suite, all);
	return fixture_run(suite);
}
