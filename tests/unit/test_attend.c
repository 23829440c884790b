/* Leaderships: which one a replica follows, and from where on. No guest runs here: positions and votes are made up. */
#include "tests/unit/attending.h"

static void setup(void)
{
	begin_attending(3);
}

static void setup_five(void)
{
	begin_attending(5);
}

static void must_lead(struct replica *replica, uint32_t epoch)
{
	ck_assert(replica->leads);
	ck_assert_ptr_eq(replica->source, &replica->sources.live.source);
	ck_assert_uint_eq(replica->epoch, epoch);
	ck_assert_uint_eq(atomic_load(&replica->own.control->epoch), epoch);
	ck_assert_uint_eq(attend_tape_at(replica), replica->sources.live.tape.at);
}

/* --- leaderships --- */

START_TEST(begins)
{
	must_lead(world.replicas[0], 0);
	must_follow(world.replicas[1], 0, 0, 0);
	must_follow(world.replicas[2], 0, 0, 0);
	/* Wherever the first leadership is. */
	leadership_publish(world.page, 0, &(struct leadership){ .leader = 2, .tape_base = 48 });
	attend_begin(world.replicas[1]);
	must_follow(world.replicas[1], 0, 2, 48);
}
END_TEST

/* At the vote, not before it, and not behind it. */
START_TEST(at_a_vote)
{
	struct replica *next = world.replicas[1], *follower = world.replicas[2];
	const struct leadership second = {
		.leader = 1, .begin = LEADERSHIP_AT_VOTE, .vote = 2, .tape_base = 0,
	};

	press(world.replicas[0], 10);
	stand_at(next, 10, 2);
	stand_at(follower, 10, 2);
	ck_assert_int_eq(ask(follower), INPUT_BUTTON);
	publish(1, &second);
	for (unsigned i = 1; i < 3; i++)
		must_succeed(attend(world.replicas[i]));
	must_follow(next, 0, 0, 0);
	must_follow(follower, 0, 0, 16);
	stand_at(next, 11, 3);
	stand_at(follower, 11, 3);
	/* Followers may come there before the new leader does. */
	must_succeed(attend(follower));
	must_follow(follower, 1, 1, 0);
	must_follow(next, 0, 0, 0);
	must_succeed(attend(next));
	must_lead(next, 1);
	ck_assert_uint_eq(checked_word_load(&next->own.control->reached, 0), 11);
	/* What the old leader writes means nothing any more, what the new one writes does. */
	press(world.replicas[0], 11);
	press(next, 11);
	press(next, 11);
	checked_word_store(&next->own.control->reached, 12);
	ck_assert_int_eq(ask(follower), INPUT_BUTTON);
	ck_assert_int_eq(ask(follower), INPUT_BUTTON);
	ck_assert_int_eq(ask(follower), INPUT_CLOSED);
	must_follow(follower, 1, 1, 32);
}
END_TEST

/* The vote of a leadership is gone by: that is no place to begin it. */
START_TEST(at_a_vote_that_is_past)
{
	stand_at(world.replicas[2], 20, 4);
	publish(1, &(struct leadership){ .leader = 1, .begin = LEADERSHIP_AT_VOTE, .vote = 2 });
	must_succeed(attend(world.replicas[2]));
	must_follow(world.replicas[2], 0, 0, 0);
}
END_TEST

/* A dead leader's tape is followed to its end, to the byte and to the position. */
START_TEST(at_the_end_of_a_tape)
{
	struct replica *next = world.replicas[1], *follower = world.replicas[2];

	press(world.replicas[0], 5);
	press(world.replicas[0], 7);
	press(world.replicas[0], 7); /* behind the end */
	checked_word_store(&world.replicas[0]->own.control->reached, 7);
	press(next, 7); /* of a leadership of its own, before all this */
	stand_at(next, 5, 0);
	stand_at(follower, 5, 0);
	publish(1, &(struct leadership){
			   .leader = 1,
			   .begin = LEADERSHIP_AT_TAPE_END,
			   .tape_end = 32,
			   .reached_end = 7,
			   .tape_base = 16,
		   });
	for (unsigned i = 1; i < 3; i++) {
		struct replica *replica = world.replicas[i];

		must_succeed(attend(replica));
		must_follow(replica, 0, 0, 0);
		ck_assert_int_eq(ask(replica), INPUT_BUTTON);
		ck_assert_int_eq(ask(replica), INPUT_CLOSED);
		stand_at(replica, 6, 0);
		must_succeed(attend(replica));
		must_follow(replica, 0, 0, 16);
		ck_assert_int_eq(ask(replica), INPUT_CLOSED);
		stand_at(replica, 7, 0);
		must_succeed(attend(replica));
		must_follow(replica, 0, 0, 16); /* an entry of this position is still to be taken */
		ck_assert_int_eq(ask(replica), INPUT_BUTTON);
		ck_assert_int_eq(ask(replica), INPUT_ATTENTION);
		must_succeed(attend(replica));
	}
	/* Its own tape goes on where it ended. */
	must_lead(next, 1);
	ck_assert_uint_eq(attend_tape_at(next), 16);
	must_follow(follower, 1, 1, 16);
}
END_TEST

/* All leaderships that have come meanwhile, one after the other, in the order of their numbers. */
START_TEST(several_in_a_row)
{
	struct replica *late = world.replicas[4];

	stand_at(late, 10, 2);
	publish(1, &(struct leadership){ .leader = 1, .begin = LEADERSHIP_AT_VOTE, .vote = 1, .tape_base = 64 });
	publish(2, &(struct leadership){
			   .leader = 2,
			   .begin = LEADERSHIP_AT_TAPE_END,
			   .tape_end = 64,
			   .reached_end = 10,
			   .tape_base = 128,
		   });
	publish(3, &(struct leadership){ .leader = 3, .begin = LEADERSHIP_AT_VOTE, .vote = 1, .tape_base = 256 });
	/* One more that it has not come to. */
	publish(4, &(struct leadership){
			   .leader = 4,
			   .begin = LEADERSHIP_AT_TAPE_END,
			   .tape_end = 272,
			   .reached_end = 10,
			   .tape_base = 0,
		   });
	must_succeed(attend(late));
	must_follow(late, 3, 3, 256);
	stand_at(late, 10, 3);
	late->sources.tape.tape.at = 272;
	must_succeed(attend(late));
	must_lead(late, 4);
}
END_TEST

/* More than are kept at once: places are used again. */
START_TEST(many_leaderships)
{
	struct replica *follower = world.replicas[4];

	for (uint32_t epoch = 1; epoch < 5 * CONTROL_LEADERSHIPS; epoch++) {
		unsigned leader = epoch % 4;

		stand_at(follower, epoch, epoch);
		publish(epoch, &(struct leadership){
				       .leader = leader,
				       .begin = LEADERSHIP_AT_VOTE,
				       .vote = epoch - 1,
				       .tape_base = 8ull * epoch,
			       });
		must_succeed(attend(follower));
		must_follow(follower, epoch, leader, 8ull * epoch);
	}
}
END_TEST

/* An old leader does not follow what others made of its tape: it is told what to do otherwise. */
START_TEST(old_leaders)
{
	stand_at(world.replicas[0], 10, 1);
	publish(1, &(struct leadership){ .leader = 1, .begin = LEADERSHIP_AT_TAPE_END, .reached_end = 10 });
	must_succeed(attend(world.replicas[0]));
	must_lead(world.replicas[0], 0);
}
END_TEST

/* Who has no number of a replica leads nobody. */
START_TEST(leaders_that_do_not_exist)
{
	stand_at(world.replicas[2], 10, 1);
	publish(1, &(struct leadership){ .leader = (unsigned)_i, .begin = LEADERSHIP_AT_VOTE, .vote = 0 });
	must_succeed(attend(world.replicas[2]));
	must_follow(world.replicas[2], 0, 0, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("attend");
	TCase *leaderships = tcase_create("leaderships");
	TCase *five = tcase_create("five replicas");

	tcase_add_checked_fixture(leaderships, setup, end_attending);
	tcase_add_test(leaderships, begins);
	tcase_add_test(leaderships, at_a_vote);
	tcase_add_test(leaderships, at_a_vote_that_is_past);
	tcase_add_test(leaderships, at_the_end_of_a_tape);
	tcase_add_test(leaderships, old_leaders);
	tcase_add_loop_test(leaderships, leaders_that_do_not_exist, 3, 6);
	suite_add_tcase(suite, leaderships);
	tcase_add_checked_fixture(five, setup_five, end_attending);
	tcase_add_test(five, several_in_a_row);
	tcase_add_test(five, many_leaderships);
	suite_add_tcase(suite, five);
	return fixture_run(suite);
}
