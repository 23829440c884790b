/* Verdicts, complaints and calls: when a replica waits, for what, and what it says meanwhile. No guest runs here:
 * positions and votes are made up. */
#include "tests/unit/attending.h"

#include <pthread.h>
#include <time.h>

#include "base/futex.h"

static void setup(void)
{
	begin_attending(3);
}

/* --- verdicts --- */

struct later {
	void (*act)(void);
	_Atomic bool done;
};

static void *act_later(void *context)
{
	struct later *later = context;
	const struct timespec pause = { .tv_nsec = 40 * 1000 * 1000 };

	nanosleep(&pause, NULL);
	atomic_store(&later->done, true);
	later->act();
	return NULL;
}

/* It must not come back before somebody has acted. */
static void must_wait_for(void (*act)(void), result (*wait)(struct replica *replica), struct replica *replica)
{
	struct later later = { .act = act };
	pthread_t thread;

	ck_assert_int_eq(pthread_create(&thread, NULL, act_later, &later), 0);
	must_succeed(wait(replica));
	bool done = atomic_load(&later.done);

	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert_msg(done, "it did not wait");
}

static void judge(void)
{
	atomic_fetch_add(&world.page->verdicts, 1);
	futex_signal(&world.page->sequence);
}

static void release(void)
{
	atomic_store(&world.page->hold, 0);
	futex_signal(&world.page->sequence);
}

static void end(void)
{
	atomic_store(&world.page->command, COMMAND_END);
	for (unsigned i = 0; i < world.count; i++)
		replica_world_call(&world, i);
}

/* A follower goes on after the verdict. */
START_TEST(followers_wait)
{
	struct replica *follower = world.replicas[1];
	uint64_t beats = atomic_load(&follower->own.control->beats);

	stand_at(follower, 10, 1);
	must_wait_for(judge, attend_verdict, follower);
	ck_assert_uint_gt(atomic_load(&follower->own.control->beats), beats);
	ck_assert_uint_gt(follower->own.control->statistics.time.ns[STAGE_WAIT_VERDICT], 0);
	/* Its verdict is there. */
	must_succeed(attend_verdict(follower));
	stand_at(follower, 11, 3);
	judge();
	must_wait_for(judge, attend_verdict, follower);
	/* One that is told to end does not wait. */
	stand_at(follower, 12, 4);
	must_wait_for(end, attend_verdict, follower);
	ck_assert(follower->leave);
}
END_TEST

/* Both in one moment: who goes on has heard who leads from here. What the leader before has put on its tape behind the
 * vote is void. */
START_TEST(verdicts_against_the_leader)
{
	struct replica *next = world.replicas[1], *other = world.replicas[2];

	stand_at(next, 10, 2);
	stand_at(other, 10, 2);
	publish(1, &(struct leadership){ .leader = 1, .begin = LEADERSHIP_AT_VOTE, .vote = 1, .tape_base = 64 });
	atomic_store(&world.page->verdicts, 2);
	must_succeed(attend_verdict(next));
	ck_assert(next->leads);
	must_succeed(attend_verdict(other));
	must_follow(other, 1, 1, 64);
}
END_TEST

enum { MOMENTS = 2000 };

static _Atomic unsigned moment;

/* The supervisor, in its order: the leadership, the call, the verdict. */
static void *outvote_leaders(void *context)
{
	for (unsigned i = 1; i <= MOMENTS; i++) {
		while (atomic_load(&moment) < i)
			;
		for (volatile unsigned pause = i % 64 * 16; pause > 0; pause--)
			;
		publish(i, &(struct leadership){ .leader = i % 2, .begin = LEADERSHIP_AT_VOTE, .vote = i - 1 });
		judge();
	}
	return context;
}

/* The same at any moment of its waiting. */
START_TEST(verdicts_at_any_moment)
{
	struct replica *follower = world.replicas[2];
	pthread_t thread;

	ck_assert_int_eq(pthread_create(&thread, NULL, outvote_leaders, NULL), 0);
	for (unsigned i = 1; i <= MOMENTS; i++) {
		stand_at(follower, 10 * i, i);
		atomic_store(&moment, i);
		must_succeed(attend_verdict(follower));
		must_follow(follower, i, i % 2, 0);
	}
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
}
END_TEST

/* A leader casts its next vote, at this offset of a leadership's tape, where it stands then. */
static void stand_on_tape(struct replica *leader, uint64_t votes, uint32_t epoch, uint64_t at)
{
	struct vote_record *record = &leader->own.control->records[votes - 1];

	stand_at(leader, 10 * votes, votes);
	record->epoch = epoch;
	record->tape_at = leader->sources.live.tape.at = at;
}

/* The leader goes on without, but not for ever: not too many votes, exits or bytes or too long ahead, and not at the
 * end. */
START_TEST(leaders_wait_within_reason)
{
	struct replica *leader = world.replicas[0];

	leader->config.vote_interval = 3600 * NS_PER_S;
	switch (_i) {
	case 0:
		for (unsigned votes = 1; votes < CONTROL_VOTE_BACKLOG; votes++) {
			stand_at(leader, 10 * votes, votes);
			must_succeed(attend_verdict(leader));
		}
		stand_at(leader, 1000, CONTROL_VOTE_BACKLOG);
		break;
	case 1:
		stand_at(leader, 10, 1);
		stand_at(leader, 10 + CONTROL_EXIT_LOG / 4, 2);
		must_succeed(attend_verdict(leader));
		stand_at(leader, 11 + CONTROL_EXIT_LOG / 4, 3);
		break;
	case 2:
		leader->end = END_POWER_OFF;
		stand_at(leader, 10, 1);
		break;
	case 3:
		stand_at(leader, 10, 1);
		must_succeed(attend_verdict(leader));
		leader->box.cast_ns[0] -= leader->config.vote_interval;
		stand_at(leader, 20, 2);
		break;
	case 6:
		/* What is asked for later counts. */
		atomic_store(&world.page->vote_interval, 60 * NS_PER_S);
		stand_at(leader, 10, 1);
		leader->box.cast_ns[0] -= 59 * NS_PER_S;
		must_succeed(attend_verdict(leader));
		leader->box.cast_ns[0] -= NS_PER_S;
		stand_at(leader, 20, 2);
		break;
	case 7:
		/* Three on two cores take turns. */
		leader->config.crowding = 2;
		stand_at(leader, 10, 1);
		leader->box.cast_ns[0] -= 2 * leader->config.vote_interval - NS_PER_S;
		must_succeed(attend_verdict(leader));
		leader->box.cast_ns[0] -= NS_PER_S;
		stand_at(leader, 20, 2);
		break;
	case 8:
		/* Both cores have work without it, or one has not. */
		leader->config.crowding = 2;
		stand_at(leader, 10, 1);
		leader->box.cast_ns[0] -= leader->config.vote_interval;
		must_succeed(attend_verdict(leader));
		atomic_store(&world.page->turn, TURN_REST);
		stand_at(leader, 20, 2);
		break;
	case 4:
		stand_on_tape(leader, 1, 0, 5000);
		must_succeed(attend_verdict(leader));
		stand_on_tape(leader, 2, 0, 5000 + CONTROL_TAPE_PER_VOTE);
		must_succeed(attend_verdict(leader));
		stand_on_tape(leader, 3, 0, 5024 + CONTROL_TAPE_PER_VOTE);
		break;
	case 5:
		/* A vote that it cast as a follower was on another tape. */
		leader->epoch = 1;
		leadership_publish(world.page, 1, &(struct leadership){ .leader = 0, .tape_base = 300 });
		stand_on_tape(leader, 1, 0, 1 << 30);
		stand_on_tape(leader, 2, 1, 300 + CONTROL_TAPE_PER_VOTE);
		must_succeed(attend_verdict(leader));
		stand_on_tape(leader, 3, 1, 324 + CONTROL_TAPE_PER_VOTE);
		break;
	default:
		leader->outbox.end = leader->outbox.voted = CONTROL_OUTBOX_SIZE / 2;
		stand_at(leader, 10, 1);
		must_succeed(attend_verdict(leader));
		leader->outbox.end = ++leader->outbox.voted;
		must_wait_for(end, attend_verdict, leader);
		return;
	}
	must_wait_for(judge, attend_verdict, leader);
}
END_TEST

/* What counts is how far a leader has gone on, not for how long it waits: it goes on when it is near enough. */
START_TEST(waits_do_not_count)
{
	struct replica *leader = world.replicas[0];

	leader->config.vote_interval = 3600 * NS_PER_S;
	stand_at(leader, 10, 1);
	stand_at(leader, 20, 2);
	stand_at(leader, 30, 3);
	leader->box.cast_ns[0] -= 3600 * NS_PER_S;
	leader->box.cast_ns[1] -= 3599 * NS_PER_S;
	must_wait_for(judge, attend_verdict, leader);
	ck_assert_uint_eq(atomic_load(&world.page->verdicts), 1);
	/* 40 ms at least. */
	ck_assert_uint_ge(leader->box.waited_ns, 30 * NS_PER_MS);
	ck_assert_uint_eq(leader->box.waits_since_ns, 0);
	ck_assert_uint_lt(ballot_box_since(&leader->box, 1), 3600 * NS_PER_S);
}
END_TEST

static result rest(struct replica *replica)
{
	attend_rest(replica);
	ck_assert_uint_eq(atomic_load(&replica->own.control->rests), 0);
	ck_assert_uint_eq(replica->box.waits_since_ns, 0);
	return OK;
}

static void be_needed(void)
{
	ck_assert_uint_eq(atomic_load(&world.replicas[0]->own.control->rests), 1);
	atomic_store(&world.page->turn, TURN_AHEAD);
	futex_signal(&world.page->sequence);
}

static void call(void)
{
	replica_world_call(&world, 0);
}

/* A leader that shares a core leaves it to those who are needed for the verdict. */
START_TEST(leaders_rest)
{
	static void (*const wake[])(void) = { judge, be_needed, call, end };
	struct replica *leader = world.replicas[0];

	leader->config.vote_interval = 3600 * NS_PER_S;
	leader->config.crowding = 2;
	atomic_store(&world.page->turn, TURN_REST);
	must_succeed(rest(leader));
	stand_at(leader, 10, 1);
	must_succeed(rest(leader));
	leader->box.cast_ns[0] -= 3600 * NS_PER_S / 4 * 3;
	must_wait_for(wake[_i], rest, leader);
	ck_assert(!leader->leave);
	ck_assert_uint_gt(leader->own.control->statistics.time.ns[STAGE_WAIT_VERDICT], 0);
	/* It does not where it is called, a core is idle, or it has one of its own; nor does a follower. */
	atomic_store(&world.page->verdicts, 0);
	if (_i != 1)
		return;
	must_succeed(rest(leader));
	atomic_store(&world.page->turn, TURN_OWN);
	must_succeed(rest(leader));
	atomic_store(&world.page->turn, TURN_REST);
	leader->config.crowding = 1;
	must_succeed(rest(leader));
	leader->config.crowding = 2;
	leader->leads = false;
	must_succeed(rest(leader));
}
END_TEST

/* Output that the backends have not taken yet holds up everybody, verdict or not. */
START_TEST(backends_that_are_slow)
{
	struct replica *follower = world.replicas[1];

	follower->outbox.end = follower->outbox.voted = CONTROL_OUTBOX_SIZE / 2 + 1;
	stand_at(follower, 10, 1);
	judge();
	must_wait_for(end, attend_verdict, follower);
	follower->leave = false;
	atomic_store(&world.page->command, COMMAND_RUN);
	atomic_store(&world.page->output_released, 1);
	must_succeed(attend_verdict(follower));
	ck_assert(!follower->leave);
}
END_TEST

/* Whoever is held stands still though its verdict is there, and says where: the leader, too. */
START_TEST(held)
{
	struct replica *replica = world.replicas[_i];

	stand_at(replica, 10, 1);
	judge();
	atomic_store(&world.page->hold, 7u & ~(1u << _i));
	must_succeed(attend_verdict(replica));
	ck_assert_uint_eq(atomic_load(&replica->own.control->held), 0);
	atomic_store(&world.page->hold, 1u << _i);
	(void)replica_world_rung(&world);
	must_wait_for(release, attend_verdict, replica);
	ck_assert(replica_world_rung(&world));
	/* Going again, it does not say that it stands. */
	ck_assert_uint_eq(atomic_load(&replica->own.control->held), 0);
}
END_TEST

static uint64_t seen_held;

static void look_and_release(void)
{
	seen_held = atomic_load(&world.replicas[0]->own.control->held);
	release();
}

START_TEST(held_where)
{
	struct replica *leader = world.replicas[0];

	stand_at(leader, 10, 5);
	atomic_store(&world.page->hold, 1);
	must_wait_for(look_and_release, attend_verdict, leader);
	ck_assert_uint_eq(seen_held, 5);
}
END_TEST

/* Two replicas have nobody to ask: a follower keeps where it agreed, and only that. */
START_TEST(checkpoints)
{
	end_attending();
	begin_attending(2);
	for (unsigned votes = 1; votes < 4; votes++) {
		for (unsigned i = 0; i < 2; i++)
			stand_at(world.replicas[i], 10 * votes, votes);
		judge();
		for (unsigned i = 0; i < 2; i++)
			must_succeed(attend_verdict(world.replicas[i]));
		ck_assert(world.replicas[1]->checkpoint.valid);
		ck_assert_uint_eq(world.replicas[1]->checkpoint.record->number, votes - 1);
		ck_assert(!world.replicas[0]->checkpoint.valid);
	}
	stand_at(world.replicas[1], 100, 4);
	must_wait_for(end, attend_verdict, world.replicas[1]);
	ck_assert_uint_eq(world.replicas[1]->checkpoint.record->number, 2);
}
END_TEST

START_TEST(no_checkpoints_among_three)
{
	stand_at(world.replicas[1], 10, 1);
	judge();
	must_succeed(attend_verdict(world.replicas[1]));
	ck_assert_ptr_null(world.replicas[1]->checkpoint.memory);
}
END_TEST

/* --- complaints --- */

static result complain(struct replica *replica)
{
	return attend_complain(replica, COMPLAINT_TAPE, "the tape does not fit");
}

static uint32_t seen_complaint;

static void look_and_change_leader(void)
{
	const struct control *control = world.replicas[2]->own.control;

	seen_complaint = atomic_load(&control->complaint);
	ck_assert_uint_eq(control->complaint_position, 10);
	ck_assert_uint_eq(control->complaint_tape_at, 16);
	ck_assert_str_eq(control->failure, "the tape does not fit");
	publish(1, &(struct leadership){
			   .leader = 1,
			   .begin = LEADERSHIP_AT_TAPE_END,
			   .tape_end = 16,
			   .reached_end = 10,
			   .tape_base = 400,
		   });
}

/* It says what, and where, and waits until that has consequences. */
START_TEST(complaints)
{
	struct replica *follower = world.replicas[2];

	press(world.replicas[0], 10);
	stand_at(follower, 10, 1);
	ck_assert_int_eq(ask(follower), INPUT_BUTTON);
	(void)replica_world_rung(&world);
	must_wait_for(look_and_change_leader, complain, follower);
	ck_assert(replica_world_rung(&world));
	ck_assert_uint_eq(seen_complaint, 1);
	ck_assert_uint_eq(atomic_load(&follower->own.control->complaint), 0);
	must_follow(follower, 1, 1, 400);
	must_wait_for(end, complain, follower);
	ck_assert(follower->leave);
}
END_TEST

/* --- other calls --- */

START_TEST(leaves)
{
	must_succeed(attend(world.replicas[1]));
	ck_assert(!world.replicas[1]->leave);
	end();
	must_succeed(attend(world.replicas[1]));
	ck_assert(world.replicas[1]->leave);
}
END_TEST

/* What was said before it looked is heard, what comes later is news. */
START_TEST(attention)
{
	struct replica *replica = world.replicas[1];
	const struct source_links *links = &replica->sources.tape.links;

	ck_assert(!source_attention(links));
	replica_world_call(&world, 1);
	ck_assert(source_attention(links));
	must_succeed(attend(replica));
	ck_assert(!source_attention(links));
	replica_world_call(&world, 1);
	ck_assert(source_attention(links));
}
END_TEST

/* A fault is taken once, and only by whom it is for. */
START_TEST(injections)
{
	struct replica *replica = world.replicas[1];
	struct injection *injection = &world.page->injections[1];

	for (uint32_t serial = 1; serial < 5; serial++) {
		injection->fault.position = 100 + serial;
		atomic_store(&injection->serial, serial);
		for (unsigned twice = 0; twice < 2; twice++) {
			for (unsigned i = 0; i < 3; i++)
				must_succeed(attend(world.replicas[i]));
			ck_assert_uint_eq(replica->fault_count, serial);
			ck_assert_uint_eq(replica->faults[serial - 1].position, 100 + serial);
			ck_assert_uint_eq(atomic_load(&replica->own.control->injection_done), serial);
		}
		ck_assert_uint_eq(world.replicas[0]->fault_count, 0);
		ck_assert_uint_eq(world.replicas[2]->fault_count, 0);
	}
	/* With no place left it waits, and says so by not saying that it took it. */
	replica->fault_count = ARRAY_SIZE(replica->faults);
	atomic_store(&injection->serial, 9);
	must_succeed(attend(replica));
	ck_assert_uint_eq(atomic_load(&replica->own.control->injection_done), 4);
	replica->fault_count = 0;
	must_succeed(attend(replica));
	ck_assert_uint_eq(replica->fault_count, 1);
	ck_assert_uint_eq(atomic_load(&replica->own.control->injection_done), 9);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("attend_verdicts");
	TCase *verdicts = tcase_create("verdicts");

	tcase_add_checked_fixture(verdicts, setup, end_attending);
	tcase_add_test(verdicts, followers_wait);
	tcase_add_test(verdicts, verdicts_against_the_leader);
	tcase_add_test(verdicts, verdicts_at_any_moment);
	tcase_add_loop_test(verdicts, leaders_wait_within_reason, 0, 10);
	tcase_add_test(verdicts, waits_do_not_count);
	tcase_add_loop_test(verdicts, leaders_rest, 0, 4);
	tcase_add_test(verdicts, backends_that_are_slow);
	tcase_add_loop_test(verdicts, held, 0, 3);
	tcase_add_test(verdicts, held_where);
	tcase_add_test(verdicts, checkpoints);
	tcase_add_test(verdicts, no_checkpoints_among_three);
	tcase_add_test(verdicts, complaints);
	tcase_add_test(verdicts, leaves);
	tcase_add_test(verdicts, attention);
	tcase_add_test(verdicts, injections);
	tcase_set_timeout(verdicts, 60);
	suite_add_tcase(suite, verdicts);
	return fixture_run(suite);
}
