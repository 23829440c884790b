/* The watch: who is silent, who owes a ballot, who does not come out of its guest. Time is set back by hand: nothing
 * here waits. */
#include "tests/unit/supervised.h"

#include "lockstep/repair.h"
#include "lockstep/verdict.h"
#include "lockstep/watch.h"

static struct supervised supervised;
static struct supervisor *supervisor;

static void start(unsigned count)
{
	supervised_make(&supervised, count);
	supervisor = supervised.supervisor;
	/* The host's clock may be younger than what is looked back at. */
	if (clock_monotonic_ns() < 10 * SUPERVISED_WATCHDOG)
		supervised.options.watchdog = clock_monotonic_ns() / 10;
}

static void setup(void)
{
	start(3);
}

static void setup_two(void)
{
	start(2);
}

static void teardown(void)
{
	supervised_destroy(&supervised);
}

/* A replica has been silent for so long, and somebody has looked all the time. */
static void silent_for(unsigned index, uint64_t time)
{
	uint64_t now = clock_monotonic_ns();

	supervisor->care[index].heartbeat = (struct heartbeat){
		.beats = atomic_load(&supervised.own[index].control->beats),
		.since = now - time,
		.looked = now,
	};
}

static void must_be_lost(unsigned index, const char *why)
{
	ck_assert_int_eq(supervisor->care[index].phase, CARE_GONE);
	ck_assert(!supervised_runs(&supervised, index));
	ck_assert_str_eq(supervisor->members[index].why, why);
}

static void must_live(unsigned index)
{
	ck_assert_int_eq(supervisor->care[index].phase, CARE_LIVE);
	ck_assert(supervised_runs(&supervised, index));
}

START_TEST(interval)
{
	static const struct {
		uint64_t watchdog, interval;
	} cases[] = {
		{ 100 * NS_PER_MS, 10 * NS_PER_MS }, { 320 * NS_PER_MS, 10 * NS_PER_MS },
		{ 640 * NS_PER_MS, 20 * NS_PER_MS }, { 3200 * NS_PER_MS, 100 * NS_PER_MS },
		{ 1000 * NS_PER_S, 100 * NS_PER_MS },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		supervised.options.watchdog = cases[i].watchdog;
		ck_assert_uint_eq(watch_interval(supervisor), cases[i].interval);
		/* The heartbeat's judge wants to look in every quarter of the watchdog's time. */
		ck_assert_uint_lt(watch_interval(supervisor), cases[i].watchdog / 4);
	}
}
END_TEST

START_TEST(all_is_well)
{
	for (unsigned i = 0; i < 5; i++)
		must_succeed(watch_look(supervisor));
	for (unsigned i = 0; i < 3; i++)
		must_live(i);
}
END_TEST

/* --- signs of life --- */

START_TEST(silent)
{
	uint64_t watchdog = supervised.options.watchdog;

	silent_for(2, watchdog - watchdog / 8);
	must_succeed(watch_look(supervisor));
	must_live(2);
	silent_for(2, watchdog);
	must_succeed(watch_look(supervisor));
	must_be_lost(2, "no sign of life within the watchdog's time");
	/* Who has no process is not looked at. */
	must_succeed(watch_look(supervisor));
	must_live(0);
	must_live(1);
}
END_TEST

START_TEST(leader_silent)
{
	silent_for(0, supervised.options.watchdog);
	must_succeed(watch_look(supervisor));
	must_be_lost(0, "no sign of life within the watchdog's time");
	ck_assert_uint_eq(supervisor->leader, 1);
	ck_assert_uint_eq(supervisor->epoch, 1);
}
END_TEST

/* A beat is a sign. */
START_TEST(not_silent)
{
	silent_for(2, 2 * supervised.options.watchdog);
	atomic_fetch_add(&supervised.own[2].control->beats, 1);
	must_succeed(watch_look(supervisor));
	must_live(2);
}
END_TEST

/* One that boots gets longer, and one that has booted does not. */
START_TEST(booting)
{
	supervised.options.watchdog = 400 * NS_PER_MS;
	atomic_store(&supervised.own[2].control->state, REPLICA_STARTING);
	silent_for(2, 800 * NS_PER_MS);
	must_succeed(watch_look(supervisor));
	must_live(2);
	atomic_store(&supervised.own[2].control->state, REPLICA_JOINING);
	silent_for(2, 800 * NS_PER_MS);
	must_succeed(watch_look(supervisor));
	must_be_lost(2, "no sign of life within the watchdog's time");
}
END_TEST

/* --- ballots --- */

static void owe(uint64_t times)
{
	supervisor->waiting_since = clock_monotonic_ns() - times * supervised.options.watchdog;
}

/* One vote is cast, one is a complaint, one is owed. */
START_TEST(owed_ballots)
{
	supervised_vote(&supervised, 0, 0);
	supervised_complain(&supervised, 1);
	must_succeed(verdict_bury_dead(supervisor));
	must_succeed(verdict_judge(supervisor));
	ck_assert_uint_ne(supervisor->waiting_since, 0);
	must_succeed(watch_look(supervisor));
	owe(1);
	must_succeed(watch_look(supervisor));
	must_live(2);
	owe(3);
	must_succeed(watch_look(supervisor));
	must_be_lost(2, "it owes its ballot for too long");
	must_live(0);
	must_live(1);
	ck_assert_uint_eq(supervisor->waiting_since, 0);
}
END_TEST

/* After a reset one may need longer than another to read its files, up to the first vote of the boot. */
START_TEST(owed_while_it_boots)
{
	supervised.options.watchdog = NS_PER_S;
	supervised_end(&supervised, END_RESET, RESET_BY_GUEST);
	atomic_store(&supervised.own[2].control->state, REPLICA_STARTING);
	supervised_vote(&supervised, 0, 0);
	supervised_vote(&supervised, 1, 0);
	must_succeed(verdict_judge(supervisor));
	owe(50);
	must_succeed(watch_look(supervisor));
	must_live(2);
	owe(70);
	must_succeed(watch_look(supervisor));
	must_be_lost(2, "it owes its ballot for too long");
}
END_TEST

/* Who only says so later gets no more time than others. */
START_TEST(owed_by_a_liar)
{
	supervised.options.watchdog = NS_PER_S;
	supervised_agree(&supervised, 10);
	atomic_store(&supervised.own[2].control->state, REPLICA_STARTING);
	supervised_vote(&supervised, 0, 0);
	supervised_vote(&supervised, 1, 0);
	must_succeed(verdict_judge(supervisor));
	owe(3);
	must_succeed(watch_look(supervisor));
	must_be_lost(2, "it owes its ballot for too long");
}
END_TEST

/* What is owed since before the supervisor itself was kept from looking is not held against anybody. */
START_TEST(owed_over_a_gap)
{
	supervised_vote(&supervised, 0, 0);
	supervised_vote(&supervised, 1, 0);
	must_succeed(verdict_bury_dead(supervisor));
	must_succeed(verdict_judge(supervisor));
	owe(3);
	supervisor->watched_at = clock_monotonic_ns() - 3 * supervised.options.watchdog;
	must_succeed(watch_look(supervisor));
	must_live(2);
	owe(3);
	must_succeed(watch_look(supervisor));
	must_be_lost(2, "it owes its ballot for too long");
}
END_TEST

/* Nor what it came to know only then. */
START_TEST(began_after_a_gap)
{
	supervised_vote(&supervised, 0, 0);
	must_succeed(verdict_judge(supervisor));
	ck_assert_uint_ne(supervisor->waiting_since, 0);
	supervisor->watched_at = clock_monotonic_ns() - 3 * supervised.options.watchdog;
	must_succeed(watch_look(supervisor));
	for (unsigned i = 0; i < 3; i++)
		must_live(i);
	ck_assert_uint_le(supervisor->waiting_since, clock_monotonic_ns());
}
END_TEST

/* Nor what it ordered before it looked around again. */
START_TEST(ordered_after_a_gap)
{
	supervised_agree(&supervised, 100);
	for (unsigned i = 0; i < 2; i++) {
		supervised_stand(&supervised, i, 200, 0);
		supervised_vote(&supervised, i, 5 + i);
	}
	must_succeed(verdict_judge(supervisor));
	supervised_must_have_order(&supervised, 1, ORDER_ROLLBACK, 1, 0);
	supervisor->watched_at = clock_monotonic_ns() - 3 * supervised.options.watchdog;
	must_succeed(watch_look(supervisor));
	supervised_must_have_order(&supervised, 1, ORDER_ROLLBACK, 1, 0);
	supervised_must_be(&supervised, 0, CARE_WAITING);
}
END_TEST

START_TEST(nobody_waits)
{
	must_succeed(verdict_judge(supervisor));
	ck_assert_uint_eq(supervisor->waiting_since, 0);
	must_succeed(watch_look(supervisor));
	for (unsigned i = 0; i < 3; i++)
		must_live(i);
}
END_TEST

/* A leader owes, too; and a vote that has been judged is owed by nobody. */
START_TEST(leader_owes)
{
	supervised_vote(&supervised, 1, 0);
	supervised_vote(&supervised, 2, 0);
	must_succeed(verdict_judge(supervisor));
	owe(3);
	must_succeed(watch_look(supervisor));
	must_be_lost(0, "it owes its ballot for too long");
	ck_assert_uint_eq(supervisor->leader, 1);
	must_succeed(verdict_judge(supervisor));
	ck_assert_uint_eq(supervisor->verdicts, 1);
	ck_assert_uint_eq(supervisor->waiting_since, 0);
}
END_TEST

/* --- a leader that does not come out of its guest --- */

/* Inside at position 100, for so many quarters of the watchdog's time. */
static void inside_for(uint64_t quarters)
{
	supervised_stand(&supervised, 0, 100, 0);
	checked_word_store(&supervised.own[0].control->closed, 100);
	supervisor->stalled_at = 100;
	supervisor->stalled_since = clock_monotonic_ns() - quarters * (supervised.options.watchdog / 4);
}

/* And most of its followers have been out of there while it had `time` ns of a processor. */
static void ahead_for(uint64_t time)
{
	ck_assert_uint_ne(supervisor->ahead_since, 0);
	supervisor->ahead_cpu -= time;
}

/* As long as they needed, and one of these quarters. */
static void ahead_for_one(void)
{
	ahead_for(supervisor->ahead_since - supervisor->probed_since + supervised.options.watchdog / 4);
}

static uint64_t probe(void)
{
	return atomic_load(&supervisor->page->probe);
}

/* Of a guest that does not exit for ten seconds it is told, once. */
START_TEST(endless)
{
	inside_for(0);
	supervisor->stalled_since -= 9 * NS_PER_S;
	must_succeed(watch_look(supervisor));
	ck_assert(!supervisor->endless_told);
	supervisor->stalled_since -= NS_PER_S;
	must_succeed(watch_look(supervisor));
	ck_assert(supervisor->endless_told);
	supervised_stand(&supervised, 0, 101, 0);
	must_succeed(watch_look(supervisor));
	ck_assert(!supervisor->endless_told);
}
END_TEST

/* First the others are let in, then they are counted. */
START_TEST(stuck)
{
	for (unsigned i = 1; i < 3; i++)
		supervised_stand(&supervised, i, 100, 0);
	inside_for(0);
	must_succeed(watch_look(supervisor));
	ck_assert_uint_eq(probe(), 0);
	inside_for(1);
	must_succeed(watch_look(supervisor));
	ck_assert_uint_eq(probe(), 100);
	/* Nobody comes out: the guest computes. */
	inside_for(100);
	must_succeed(watch_look(supervisor));
	must_live(0);
	/* One of three is no majority. */
	supervised_stand(&supervised, 1, 101, 0);
	must_succeed(watch_look(supervisor));
	must_live(0);
	/* Two are, if it has had time to follow. */
	supervised_stand(&supervised, 2, 101, 0);
	inside_for(1);
	must_succeed(watch_look(supervisor));
	must_live(0);
	inside_for(100);
	must_succeed(watch_look(supervisor));
	must_live(0);
	/* If it had no processor meanwhile, time says nothing. */
	supervisor->ahead_since -= 50 * supervised.options.watchdog;
	supervisor->probed_since = supervisor->ahead_since;
	must_succeed(watch_look(supervisor));
	must_live(0);
	/* If they took long, it may. */
	supervisor->probed_since -= supervised.options.watchdog;
	ahead_for(supervised.options.watchdog);
	must_succeed(watch_look(supervisor));
	must_live(0);
	ahead_for_one();
	must_succeed(watch_look(supervisor));
	must_be_lost(0, "it does not come out of its guest, where others do");
	ck_assert_uint_eq(supervisor->leader, 1);
}
END_TEST

static void moves_on(void)
{
	supervised_stand(&supervised, 0, 101, 0);
}

static void takes_inputs(void)
{
	checked_word_store(&supervised.own[0].control->closed, 99);
}

static void flips(void)
{
	atomic_fetch_xor(&supervised.own[0].control->closed, 2);
}

static void (*const doings[])(void) = { moves_on, takes_inputs, flips };

/* One that is not inside, or not at the same place any more, is not stuck. */
START_TEST(not_stuck)
{
	atomic_store(&supervisor->page->probe, 100);
	supervisor->probed_since = clock_monotonic_ns();
	for (unsigned i = 1; i < 3; i++)
		supervised_stand(&supervised, i, 102, 0);
	inside_for(100);
	doings[_i]();
	must_succeed(watch_look(supervisor));
	must_live(0);
	/* And its time begins anew. */
	inside_for(0);
	must_succeed(watch_look(supervisor));
	must_live(0);
}
END_TEST

/* Ballots are waited for as long as a leader needed for a segment, but one that is lost inside has shown nothing. */
START_TEST(long_segment)
{
	uint64_t watchdog = supervised.options.watchdog;

	inside_for(4);
	must_succeed(watch_look(supervisor));
	ck_assert_uint_eq(supervisor->longest_segment, 0);
	moves_on();
	must_succeed(watch_look(supervisor));
	ck_assert_uint_ge(supervisor->longest_segment, watchdog);
	supervised_vote(&supervised, 0, 0);
	supervised_vote(&supervised, 1, 0);
	must_succeed(verdict_judge(supervisor));
	owe(3);
	must_succeed(watch_look(supervisor));
	must_live(2);
	owe(4 + 2 * (supervisor->longest_segment / watchdog));
	must_succeed(watch_look(supervisor));
	must_be_lost(2, "it owes its ballot for too long");
}
END_TEST

START_TEST(endless_segment)
{
	for (unsigned i = 1; i < 3; i++)
		supervised_stand(&supervised, i, 101, 0);
	atomic_store(&supervisor->page->probe, 100);
	supervisor->probed_since = clock_monotonic_ns();
	inside_for(8);
	must_succeed(watch_look(supervisor));
	ahead_for_one();
	must_succeed(watch_look(supervisor));
	must_be_lost(0, "it does not come out of its guest, where others do");
	must_succeed(watch_look(supervisor));
	ck_assert_uint_eq(supervisor->longest_segment, 0);
}
END_TEST

/* Two: the follower's word against the leader's, so both go back. */
START_TEST(stuck_of_two)
{
	for (unsigned i = 0; i < 2; i++) {
		supervised_stand(&supervised, i, 50, 0);
		supervised_vote(&supervised, i, 0);
	}
	must_succeed(verdict_judge(supervisor));
	atomic_store(&supervisor->page->probe, 100);
	supervisor->probed_since = clock_monotonic_ns();
	supervised_stand(&supervised, 1, 101, 0);
	inside_for(2);
	must_succeed(watch_look(supervisor));
	ck_assert(!supervisor->repair.active);
	ahead_for_one();
	must_succeed(watch_look(supervisor));
	ck_assert(supervisor->repair.active);
	ck_assert(supervisor->repair.rollback);
	ck_assert_uint_eq(supervisor->tally.rollbacks, 1);
	ck_assert_uint_eq(supervisor->page->orders[1].kind, ORDER_ROLLBACK);
}
END_TEST

int main(int argc, char **argv)
{
	Suite *suite = suite_create("watch");
	TCase *three = tcase_create("three replicas");
	TCase *two = tcase_create("two replicas");

	supervised_be_replica(argc, argv);
	tcase_add_checked_fixture(three, setup, teardown);
	tcase_add_test(three, interval);
	tcase_add_test(three, all_is_well);
	tcase_add_test(three, silent);
	tcase_add_test(three, leader_silent);
	tcase_add_test(three, not_silent);
	tcase_add_test(three, booting);
	tcase_add_test(three, owed_ballots);
	tcase_add_test(three, owed_while_it_boots);
	tcase_add_test(three, owed_by_a_liar);
	tcase_add_test(three, owed_over_a_gap);
	tcase_add_test(three, began_after_a_gap);
	tcase_add_test(three, nobody_waits);
	tcase_add_test(three, leader_owes);
	tcase_add_test(three, endless);
	tcase_add_test(three, stuck);
	tcase_add_test(three, long_segment);
	tcase_add_test(three, endless_segment);
	tcase_add_loop_test(three, not_stuck, 0, (int)ARRAY_SIZE(doings));
	suite_add_tcase(suite, three);
	tcase_add_checked_fixture(two, setup_two, teardown);
	tcase_add_test(two, stuck_of_two);
	tcase_add_test(two, ordered_after_a_gap);
	suite_add_tcase(suite, two);
	return fixture_run(suite);
}
