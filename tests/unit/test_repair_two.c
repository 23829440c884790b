/* Repair of two replicas, of which nobody can tell who is right: the lone leader that waits for another one, and the
 * way back to where both agreed. */
#include "tests/unit/supervised.h"

#include "lockstep/repair.h"
#include "lockstep/verdict.h"

static struct supervised supervised;
static struct supervisor *supervisor;

static void setup(void)
{
	supervised_make(&supervised, 2);
	supervisor = supervised.supervisor;
}

static void teardown(void)
{
	supervised_destroy(&supervised);
}

/* Two replicas: one's word against the other's. */
START_TEST(misled)
{
	bool done = true;

	supervised_stand(&supervised, 1, 100, 480);
	supervised_complain(&supervised, 1);
	must_succeed(repair_misled(supervisor, &done));
	ck_assert(!done);
	supervised_must_be_led(&supervised, 0, 0, 0);
}
END_TEST

/* --- a lone leader --- */

/* It is told to stand still, and is the donor where it does. */
START_TEST(lone_leader_is_held)
{
	supervised_agree(&supervised, 100);
	must_succeed(repair_lose(supervisor, &supervisor->members[1], "died", "killed"));
	must_succeed(repair_continue(supervisor));
	supervised_must_be(&supervised, 1, CARE_JOINING);
	atomic_store(&supervised.own[1].control->state, REPLICA_JOINABLE);
	supervised_agree(&supervised, 200);
	supervised_must_be(&supervised, 1, CARE_JOINING);
	ck_assert_uint_eq(atomic_load(&supervisor->page->hold), 1);
	/* Not before it says that it stands, and not where it stood before. */
	atomic_store(&supervised.own[0].control->held, 1);
	must_succeed(repair_continue(supervisor));
	supervised_must_be(&supervised, 1, CARE_JOINING);
	atomic_store(&supervised.own[0].control->held, 2);
	must_succeed(repair_continue(supervisor));
	supervised_must_have_order(&supervised, 1, ORDER_RESYNC, 0, 1);
	ck_assert_uint_eq(atomic_load(&supervisor->page->hold), 1);
	supervised_stand(&supervised, 1, 200, 0);
	supervised_obey(&supervised, 1, 0);
	must_succeed(repair_continue(supervisor));
	supervised_must_be(&supervised, 1, CARE_LIVE);
	ck_assert_uint_eq(atomic_load(&supervisor->page->hold), 0);
	supervised_agree(&supervised, 300);
}
END_TEST

/* It stands at a vote that is judged only then. */
START_TEST(lone_leader_stands_already)
{
	must_succeed(repair_lose(supervisor, &supervisor->members[1], "died", "killed"));
	must_succeed(repair_continue(supervisor));
	atomic_store(&supervised.own[1].control->state, REPLICA_JOINABLE);
	supervised_agree(&supervised, 100);
	atomic_store(&supervised.own[0].control->held, 2);
	supervised_agree(&supervised, 200);
	supervised_must_have_order(&supervised, 1, ORDER_RESYNC, 0, 1);
}
END_TEST

/* Whom it waits for dies: then it goes on. */
START_TEST(lone_leader_is_let_go)
{
	must_succeed(repair_lose(supervisor, &supervisor->members[1], "died", "killed"));
	must_succeed(repair_continue(supervisor));
	atomic_store(&supervised.own[1].control->state, REPLICA_JOINABLE);
	supervised_agree(&supervised, 100);
	ck_assert_uint_eq(atomic_load(&supervisor->page->hold), 1);
	must_succeed(repair_lose(supervisor, &supervisor->members[1], "died", "killed"));
	must_succeed(repair_continue(supervisor));
	supervised_must_be(&supervised, 1, CARE_JOINING);
	must_succeed(repair_continue(supervisor));
	ck_assert_uint_eq(atomic_load(&supervisor->page->hold), 0);
}
END_TEST

/* --- rollback --- */

static void disagree(uint64_t position)
{
	for (unsigned i = 0; i < 2; i++) {
		supervised_stand(&supervised, i, position, 0);
		supervised_vote(&supervised, i, 5 + i);
	}
}

/* The follower goes back, then leads, then is the old leader's donor. */
static void go_back(uint64_t vote)
{
	unsigned follower = 1 - supervisor->leader;
	uint32_t epoch = supervisor->epoch;

	supervised_must_have_order(&supervised, follower, ORDER_ROLLBACK, follower, vote);
	supervised_must_be(&supervised, 1 - follower, CARE_WAITING);
	supervised_obey(&supervised, follower, 0);
	must_succeed(repair_continue(supervisor));
	supervised_must_be_led(&supervised, epoch + 1, follower, LEADERSHIP_AT_VOTE);
	ck_assert_uint_eq(supervised_leadership(&supervised).vote, vote);
	supervised_must_be(&supervised, follower, CARE_LIVE);
	supervised_must_have_order(&supervised, 1 - follower, ORDER_RESYNC, follower, vote);
	ck_assert_uint_eq(atomic_load(&supervisor->page->hold), 1u << follower);
	supervised_obey(&supervised, 1 - follower, 0);
	must_succeed(repair_continue(supervisor));
	supervised_must_be(&supervised, 1 - follower, CARE_LIVE);
	ck_assert_uint_eq(atomic_load(&supervisor->page->hold), 0);
	supervised_follow(&supervised);
}

START_TEST(rolled_back)
{
	supervised_agree(&supervised, 100);
	supervised_agree(&supervised, 200);
	for (unsigned round = 0; round < 6; round++) {
		disagree(300 + round);
		must_succeed(verdict_judge(supervisor));
		/* Nothing was decided. */
		ck_assert_uint_eq(supervisor->verdicts, 2 + round);
		go_back(1 + round);
		/* An agreed vote between makes the next one the first again. */
		supervised_agree(&supervised, 300 + round);
		ck_assert_uint_eq(supervisor->tally.rollbacks, round + 1);
	}
	ck_assert_uint_eq(supervised_events(&supervised, "LOCKSTEP_ROLLBACK"), 6);
}
END_TEST

/* A difference that comes back stops the machine. */
START_TEST(rolled_back_in_vain)
{
	supervised_agree(&supervised, 100);
	for (unsigned i = 0; i < 2; i++) {
		disagree(200);
		must_succeed(verdict_judge(supervisor));
		go_back(0);
	}
	disagree(200);
	must_fail(verdict_judge(supervisor), STATUS_NO_MAJORITY, "the replicas differ again at vote 1");
	ck_assert_uint_eq(supervisor->verdicts, 1);
}
END_TEST

/* A checkpoint that is not what was agreed is none. */
START_TEST(wrong_checkpoint)
{
	supervised_agree(&supervised, 100);
	disagree(200);
	must_succeed(verdict_judge(supervisor));
	supervised_obey(&supervised, 1, 9);
	must_fail(repair_continue(supervisor), STATUS_NO_MAJORITY, "its checkpoint is not what was agreed");
}
END_TEST

/* A follower that cannot follow is a difference, too. */
START_TEST(complaint_of_two)
{
	supervised_agree(&supervised, 100);
	supervised_stand(&supervised, 0, 200, 0);
	supervised_vote(&supervised, 0, 0);
	supervised_complain(&supervised, 1);
	must_succeed(verdict_bury_dead(supervisor));
	must_succeed(verdict_judge(supervisor));
	atomic_store(&supervised.own[1].control->votes, 1);
	go_back(0);
	supervised_agree(&supervised, 200);
}
END_TEST

/* One that went wrong may die, or hang, before the other one is back. */
START_TEST(lost_while_going_back)
{
	supervised_agree(&supervised, 100);
	disagree(200);
	must_succeed(verdict_judge(supervisor));
	supervised_must_have_order(&supervised, 1, ORDER_ROLLBACK, 1, 0);
	must_succeed(repair_lose(supervisor, &supervisor->members[0], "died", "killed"));
	must_succeed(repair_continue(supervisor));
	/* Nobody leads yet, and there is no donor for a new process. */
	supervised_must_be(&supervised, 0, CARE_GONE);
	supervised_must_have_order(&supervised, 1, ORDER_ROLLBACK, 1, 0);
	supervised_obey(&supervised, 1, 0);
	must_succeed(repair_continue(supervisor));
	supervised_must_be_led(&supervised, 1, 1, LEADERSHIP_AT_VOTE);
	supervised_must_be(&supervised, 1, CARE_LIVE);
	ck_assert_uint_eq(atomic_load(&supervisor->page->hold), 0);
	supervised_follow(&supervised);
	must_succeed(repair_continue(supervisor));
	supervised_must_be(&supervised, 0, CARE_JOINING);
	ck_assert(supervised_runs(&supervised, 0));
	supervised_agree(&supervised, 200);
	ck_assert_uint_eq(supervisor->tally.unconfirmed, 1);
}
END_TEST

/* Both are lost: there is nobody. */
START_TEST(all_lost_while_going_back)
{
	for (unsigned first = 0; first < 2; first++) {
		supervised_agree(&supervised, 100);
		disagree(200);
		must_succeed(verdict_judge(supervisor));
		if (first == 0)
			must_succeed(repair_lose(supervisor, &supervisor->members[0], "died", "killed"));
		must_fail(repair_lose(supervisor, &supervisor->members[1], "died", "killed"), STATUS_NO_MAJORITY,
			  "no replica is left");
		teardown();
		setup();
	}
}
END_TEST

int main(int argc, char **argv)
{
	Suite *suite = suite_create("repair_two");
	TCase *tests = tcase_create("two replicas");

	supervised_be_replica(argc, argv);
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, misled);
	tcase_add_test(tests, lone_leader_is_held);
	tcase_add_test(tests, lone_leader_stands_already);
	tcase_add_test(tests, lone_leader_is_let_go);
	tcase_add_test(tests, rolled_back);
	tcase_add_test(tests, rolled_back_in_vain);
	tcase_add_test(tests, wrong_checkpoint);
	tcase_add_test(tests, complaint_of_two);
	tcase_add_test(tests, lost_while_going_back);
	tcase_add_test(tests, all_lost_while_going_back);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
