/* Repair: who is healed by whom, who leads next, who is started anew and when, and when the machine must stop. */
#include "tests/unit/supervised.h"

#include <string.h>

#include "lockstep/repair.h"
#include "lockstep/tape.h"
#include "lockstep/verdict.h"

static struct supervised supervised;
static struct supervisor *supervisor;

static void start(unsigned count)
{
	supervised_make(&supervised, count);
	supervisor = supervised.supervisor;
}

static void setup_three(void)
{
	start(3);
}

static void setup_five(void)
{
	start(5);
}

static void teardown(void)
{
	supervised_destroy(&supervised);
}

/* --- complaints --- */

static void judge_complaints(bool expected)
{
	bool done = !expected;

	must_succeed(repair_misled(supervisor, &done));
	ck_assert_int_eq(done, expected);
}

/* More than half of all who live, the leader among them, and all of the same place. */
START_TEST(misled)
{
	struct control *leader = supervised.own[0].control;

	supervised_stand(&supervised, 0, 120, 960);
	supervised_stand(&supervised, 1, 100, 480);
	supervised_stand(&supervised, 2, 100, 480);
	checked_word_store(&supervised.own[1].control->tape_written, 64);
	judge_complaints(false);
	supervised_complain(&supervised, 2);
	judge_complaints(false);
	supervised_must_be_led(&supervised, 0, 0, 0);
	supervised_complain(&supervised, 1);
	/* What the leader says of others is nothing. */
	atomic_store(&leader->complaint, 1);
	judge_complaints(true);
	supervised_must_be(&supervised, 0, CARE_GONE);
	supervised_must_be(&supervised, 1, CARE_LIVE);
	supervised_must_be(&supervised, 2, CARE_LIVE);
	supervised_must_be_led(&supervised, 1, 1, LEADERSHIP_AT_TAPE_END);
	/* What is behind the place of the complaint never was. */
	ck_assert_uint_eq(supervised_leadership(&supervised).tape_end, 480);
	ck_assert_uint_eq(supervised_leadership(&supervised).reached_end, 100);
	ck_assert_uint_eq(supervised_leadership(&supervised).tape_base, 64);
	ck_assert_uint_eq(json_array_size(supervisor->tally.faults), 1);
	ck_assert_str_eq(json_string_value(json_object_get(json_array_get(supervisor->tally.faults, 0), "kind")),
			 "misled");
	ck_assert_str_eq(supervisor->care[0].last_fault, "it does not fit");
}
END_TEST

static const char *first_kind(const json_t *list)
{
	return json_string_value(json_object_get(json_array_get(list, 0), "kind"));
}

/* A stop that most did not find ends a leadership like a wrong tape, and is no fault. */
START_TEST(unfound)
{
	supervised_stand(&supervised, 0, 120, 960);
	for (unsigned i = 1; i < 3; i++) {
		supervised_stand(&supervised, i, 100, 480);
		supervised_complain(&supervised, i);
		atomic_store(&supervised.own[i].control->complaint, COMPLAINT_PASSED);
	}
	judge_complaints(true);
	supervised_must_be(&supervised, 0, CARE_GONE);
	supervised_must_be_led(&supervised, 1, 1, LEADERSHIP_AT_TAPE_END);
	ck_assert_uint_eq(json_array_size(supervisor->tally.faults), 0);
	ck_assert_uint_eq(json_array_size(supervisor->tally.overshoots), 1);
	ck_assert_str_eq(first_kind(supervisor->tally.overshoots), "unfound");
	ck_assert(supervisor->care[0].by_death);
}
END_TEST

/* One that passed a stop alone takes over another one's state; what one says of the tape is a fault. */
START_TEST(overshot)
{
	struct member *member = &supervisor->members[2];
	const json_t *booked = _i ? supervisor->tally.overshoots : supervisor->tally.faults;
	const json_t *other = _i ? supervisor->tally.faults : supervisor->tally.overshoots;

	supervised_stand(&supervised, 2, 100, 480);
	supervised_complain(&supervised, 2);
	atomic_store(&supervised.own[2].control->complaint, _i ? COMPLAINT_PASSED : COMPLAINT_TAPE);
	must_succeed(verdict_bury_dead(supervisor));
	ck_assert(member->dissents);
	must_succeed(repair_minority(supervisor, 1u << 2, 3));
	supervised_must_be(&supervised, 2, CARE_WAITING);
	supervised_must_be_led(&supervised, 0, 0, 0);
	ck_assert_uint_eq(json_array_size(booked), 1);
	ck_assert_str_eq(first_kind(booked), _i ? "overshot" : "complained");
	ck_assert_uint_eq(json_array_size(other), 0);
	ck_assert(!supervisor->care[2].by_death);
}
END_TEST

static const struct place {
	uint64_t position, tape;
} places[] = { { 101, 456 }, { 100, 456 }, { 0, 0 } };

/* Complaints of different places are no majority. */
START_TEST(differently_misled)
{
	supervised_stand(&supervised, 1, 100, 480);
	supervised_stand(&supervised, 2, places[_i].position, places[_i].tape);
	supervised_complain(&supervised, 1);
	supervised_complain(&supervised, 2);
	judge_complaints(false);
	for (unsigned i = 0; i < 3; i++)
		supervised_must_be(&supervised, i, CARE_LIVE);
	supervised_must_be_led(&supervised, 0, 0, 0);
	/* Somebody must do something: a vote. */
	must_succeed(repair_continue(supervisor));
	ck_assert_uint_eq(atomic_load(&supervisor->page->vote_request), 1);
}
END_TEST

/* A damaged entry is seen before its position is known: the tape ends where the one that came furthest stands. */
START_TEST(misled_at_different_positions)
{
	const struct leadership *last;

	supervised_stand(&supervised, 1, 100, 480);
	supervised_stand(&supervised, 2, 107, 480);
	supervised_complain(&supervised, 1);
	supervised_complain(&supervised, 2);
	judge_complaints(true);
	last = &supervisor->page->leaderships[1];
	ck_assert_uint_eq(last->begin, LEADERSHIP_AT_TAPE_END);
	ck_assert_uint_eq(last->tape_end, 480);
	ck_assert_uint_eq(last->reached_end, 107);
}
END_TEST

/* What was said of the leader before is not held against the one that is now. */
START_TEST(misled_once)
{
	supervised_stand(&supervised, 1, 100, 480);
	supervised_stand(&supervised, 2, 100, 480);
	supervised_complain(&supervised, 1);
	supervised_complain(&supervised, 2);
	judge_complaints(true);
	judge_complaints(false);
	must_succeed(verdict_bury_dead(supervisor));
	ck_assert(!supervisor->members[1].dissents && !supervisor->members[2].dissents);
}
END_TEST

/* Of five it takes three; those who are not live count neither way. */
START_TEST(misled_of_five)
{
	for (unsigned i = 1; i < 5; i++)
		supervised_stand(&supervised, i, 100, 480);
	supervised_complain(&supervised, 1);
	supervised_complain(&supervised, 3);
	judge_complaints(false);
	if (_i) {
		supervised_complain(&supervised, 4);
		judge_complaints(true);
	} else {
		must_succeed(repair_lose(supervisor, &supervisor->members[4], "died", "killed"));
		judge_complaints(false); /* two of four */
		must_succeed(repair_lose(supervisor, &supervisor->members[2], "died", "killed"));
		judge_complaints(true); /* two of three */
	}
	supervised_must_be_led(&supervised, 1, 1, LEADERSHIP_AT_TAPE_END);
}
END_TEST

/* --- losses --- */

START_TEST(follower_lost)
{
	must_succeed(repair_lose(supervisor, &supervisor->members[2], "hung", "silence"));
	supervised_must_be(&supervised, 2, CARE_GONE);
	supervised_must_be_led(&supervised, 0, 0, 0);
	ck_assert_uint_eq(atomic_load(&supervisor->page->live), 3);
	ck_assert_uint_eq(supervised_events(&supervised, "LOCKSTEP_DEGRADED"), 1);
	ck_assert(repair_under_way(supervisor));
	/* It is started anew, from nothing. */
	supervised.own[2].control->order_done = 7;
	memset(supervised.own[2].page_hashes, 0xAA, 64);
	supervisor->page->orders[2].serial = 7;
	must_succeed(repair_continue(supervisor));
	supervised_must_be(&supervised, 2, CARE_JOINING);
	ck_assert_uint_eq(supervisor->tally.respawns, 1);
	ck_assert_uint_eq(atomic_load(&supervisor->page->orders[2].serial), 0);
	ck_assert_uint_eq(atomic_load(&supervised.own[2].control->order_done), 0);
	ck_assert_uint_eq(supervised.own[2].page_hashes[0].bytes[0], 0);
	ck_assert_uint_eq(supervised.own[2].control->magic, CONTROL_MAGIC);
	/* It copies; when it is ready, the next vote is its. */
	supervised_agree(&supervised, 100);
	supervised_must_be(&supervised, 2, CARE_JOINING);
	atomic_store(&supervised.own[2].control->state, REPLICA_JOINABLE);
	must_succeed(repair_continue(supervisor));
	ck_assert_uint_eq(atomic_load(&supervisor->page->vote_request), 1);
	supervised_agree(&supervised, 200);
	supervised_must_have_order(&supervised, 2, ORDER_RESYNC, 1, 1);
	ck_assert_uint_eq(atomic_load(&supervisor->page->hold), 2);
	supervised_stand(&supervised, 2, 200, 0);
	supervised_obey(&supervised, 2, 0);
	must_succeed(repair_continue(supervisor));
	supervised_must_be(&supervised, 2, CARE_LIVE);
	ck_assert_uint_eq(atomic_load(&supervisor->page->hold), 0);
	ck_assert_uint_eq(supervised_events(&supervised, "LOCKSTEP_RESTORED"), 1);
	ck_assert_uint_eq(supervisor->care[2].respawns, 1);
	ck_assert(!repair_under_way(supervisor));
	supervised_agree(&supervised, 300);
}
END_TEST

/* Inputs at positions 101 to 120, on the leader's tape from byte 480 to byte 960. */
static void write_inputs(void)
{
	struct area *leader = &supervised.own[0];
	struct tape_writer writer = {
		.ring = leader->tape,
		.mirror = leader->tape_mirror,
		.written = &leader->control->tape_written,
		.at = 480,
	};

	for (uint64_t position = 101; position <= 120; position++)
		(void)tape_write(&writer, TAPE_TIME, position, &position, sizeof(position));
	ck_assert_uint_eq(writer.at, 960);
}

/* A leader's successor goes on where its tape ends, however damaged that word is. */
START_TEST(leader_lost)
{
	supervised_stand(&supervised, 0, 120, 960);
	supervised_stand(&supervised, 1, 100, 480);
	supervised_stand(&supervised, 2, 110, 720);
	write_inputs();
	checked_word_store(&supervised.own[1].control->tape_written, 64);
	if (_i)
		atomic_fetch_xor(&supervised.own[0].control->tape_written, 8);
	if (_i)
		atomic_fetch_xor(&supervised.own[0].control->reached, 1);
	must_succeed(repair_lose(supervisor, &supervisor->members[0], "died", "killed"));
	supervised_must_be_led(&supervised, 1, 1, LEADERSHIP_AT_TAPE_END);
	/* The tape itself says where it ends; how far its writer came behind that, nobody knows for sure. */
	ck_assert_uint_eq(supervised_leadership(&supervised).tape_end, 960);
	if (_i)
		ck_assert_uint_gt(supervised_leadership(&supervised).reached_end, 120);
	else
		ck_assert_uint_eq(supervised_leadership(&supervised).reached_end, 120);
	ck_assert_uint_eq(supervised_leadership(&supervised).tape_base, 64);
	supervised_must_be(&supervised, 0, CARE_GONE);
}
END_TEST

/* Where replicas meet at every exit, followers may be inside the segment that the leader died in, or out of it: all of
 * them go to its end. Not into one whose inputs the leader had not all written down. */
START_TEST(leader_lost_inside_a_segment)
{
	const bool strict = _i != 1, closed = _i != 2;

	supervised.options.strict = strict;
	supervised_stand(&supervised, 0, 120, 960);
	supervised_stand(&supervised, 1, 120, 960);
	supervised_stand(&supervised, 2, 120, 960);
	checked_word_store(&supervised.own[0].control->closed, closed ? 120 : 119);
	must_succeed(repair_lose(supervisor, &supervisor->members[0], "died", "killed"));
	supervised_must_be_led(&supervised, 1, 1, LEADERSHIP_AT_TAPE_END);
	ck_assert_uint_eq(supervised_leadership(&supervised).reached_end, strict && closed ? 121 : 120);
}
END_TEST

/* The dead leader's tape is still read: its memories stay until everybody has left. */
START_TEST(respawned_when_all_have_left)
{
	must_succeed(repair_lose(supervisor, &supervisor->members[0], "died", "killed"));
	must_succeed(repair_continue(supervisor));
	supervised_must_be(&supervised, 0, CARE_GONE);
	atomic_store(&supervised.own[1].control->epoch, 1);
	must_succeed(repair_continue(supervisor));
	supervised_must_be(&supervised, 0, CARE_GONE);
	atomic_store(&supervised.own[2].control->epoch, 1);
	must_succeed(repair_continue(supervisor));
	supervised_must_be(&supervised, 0, CARE_JOINING);
}
END_TEST

/* Of two that are left one says that it passed the other's stop, or that the tape does not fit: nobody can tell who is
 * right, since a leader whose memory was damaged before its stop looks the same. */
START_TEST(passed_by_one_of_two)
{
	must_succeed(repair_lose(supervisor, &supervisor->members[2], "died", "killed"));
	supervised_stand(&supervised, 1, 100, 480);
	supervised_complain(&supervised, 1);
	atomic_store(&supervised.own[1].control->complaint, _i ? COMPLAINT_PASSED : COMPLAINT_TAPE);
	must_succeed(verdict_bury_dead(supervisor));
	supervised_must_be_led(&supervised, 0, 0, 0);
	supervised_stand(&supervised, 0, 100, 480);
	supervised_vote(&supervised, 0, 1);
	must_fail(verdict_judge(supervisor), STATUS_NO_MAJORITY, "nobody can tell which replica is right");
}
END_TEST

/* Leader after leader, down to the last; a lone one goes on. */
START_TEST(all_lost)
{
	for (unsigned i = 0; i + 1 < 3; i++) {
		must_succeed(repair_lose(supervisor, &supervisor->members[i], "died", "killed"));
		supervised_must_be_led(&supervised, i + 1, i + 1, LEADERSHIP_AT_TAPE_END);
	}
	supervised_agree(&supervised, 100);
	ck_assert_uint_eq(supervisor->tally.unconfirmed, 1);
	must_fail(repair_lose(supervisor, &supervisor->members[2], "died", "killed by signal 9"), STATUS_NO_MAJORITY,
		  "no replica is left (the last one, 2: killed by signal 9)");
}
END_TEST

START_TEST(only_one_lost)
{
	teardown();
	start(1);
	must_fail(repair_lose(supervisor, &supervisor->members[0], "died", "killed"), STATUS_FAILED,
		  "the only replica is lost (killed)");
}
END_TEST

/* Processes that never become part of the machine are not started for ever. */
START_TEST(given_up)
{
	unsigned attempts = 0;

	must_succeed(repair_lose(supervisor, &supervisor->members[2], "died", "killed"));
	while (supervisor->care[2].phase != CARE_RETIRED) {
		ck_assert_uint_lt(attempts++, 100);
		must_succeed(repair_continue(supervisor));
		supervised_must_be(&supervised, 2, CARE_JOINING);
		must_succeed(repair_lose(supervisor, &supervisor->members[2], "failed", "no memory"));
	}
	supervised_must_be(&supervised, 2, CARE_RETIRED);
	ck_assert_uint_eq(attempts, 5);
	ck_assert_uint_eq(supervised_events(&supervised, "LOCKSTEP_RETIRED"), 1);
	ck_assert_uint_eq(json_array_size(supervisor->tally.retired), 1);
	must_succeed(repair_continue(supervisor));
	supervised_must_be(&supervised, 2, CARE_RETIRED);
	ck_assert(!repair_under_way(supervisor));
	supervised_agree(&supervised, 100);
}
END_TEST

/* Where no process can be had the machine goes on with those that it has. */
START_TEST(no_new_process)
{
	unsigned attempts = 0;

	spawner_stop(&supervisor->spawner);
	must_succeed(repair_lose(supervisor, &supervisor->members[2], "died", "killed"));
	while (supervisor->care[2].phase != CARE_RETIRED) {
		ck_assert_uint_lt(attempts++, 100);
		supervised_must_be(&supervised, 2, CARE_GONE);
		must_succeed(repair_continue(supervisor));
	}
	ck_assert_uint_eq(attempts, 5);
	ck_assert_uint_eq(supervised_events(&supervised, "LOCKSTEP_RETIRED"), 1);
	ck_assert_ptr_nonnull(strstr(supervisor->care[2].last_fault, "the process that starts replicas"));
	ck_assert(!repair_under_way(supervisor));
	supervised_agree(&supervised, 100);
}
END_TEST

/* --- minorities --- */

/* An outvoted follower takes over another one's state, and is counted again from the next vote on. */
START_TEST(follower_outvoted)
{
	for (unsigned i = 0; i < 3; i++) {
		supervised_stand(&supervised, i, 100, 0);
		supervised_vote(&supervised, i, i == 2);
	}
	must_succeed(verdict_judge(supervisor));
	supervised_must_have_order(&supervised, 2, ORDER_RESYNC, 1, 0);
	supervised_must_be_led(&supervised, 0, 0, 0);
	ck_assert_uint_eq(atomic_load(&supervisor->page->hold), 2);
	/* Nothing is lost by waiting: the others' votes count. */
	must_succeed(repair_continue(supervisor));
	supervised_must_be(&supervised, 2, CARE_ORDERED);
	supervised_obey(&supervised, 2, 0);
	must_succeed(repair_continue(supervisor));
	supervised_must_be(&supervised, 2, CARE_LIVE);
	ck_assert_uint_eq(atomic_load(&supervisor->page->hold), 0);
	ck_assert_uint_eq(supervisor->tally.repairs, 1);
	ck_assert_uint_eq(supervisor->care[2].repairs, 1);
	ck_assert_uint_eq(supervised_events(&supervised, "LOCKSTEP_DIVERGENCE"), 1);
	ck_assert_uint_eq(supervised_events(&supervised, "LOCKSTEP_REPAIRED"), 1);
	supervised_agree(&supervised, 200);
}
END_TEST

/* What it says of itself afterwards must be what was voted; else it is no use. */
START_TEST(not_healed)
{
	struct vote_record *record = &supervised.own[2].control->records[0];

	for (unsigned i = 0; i < 3; i++) {
		supervised_stand(&supervised, i, 100, 0);
		supervised_vote(&supervised, i, i == 2);
	}
	must_succeed(verdict_judge(supervisor));
	supervised_obey(&supervised, 2, _i == 0 ? 1 : 0);
	if (_i == 1)
		record->position++;
	if (_i == 2) {
		record->number++;
		record->crc = vote_record_crc(record);
	}
	must_succeed(repair_continue(supervisor));
	ck_assert_int_ne(supervisor->care[2].phase, CARE_LIVE);
	ck_assert_uint_eq(supervisor->care[2].failures, 1);
	ck_assert_uint_eq(supervisor->tally.repairs, 0);
	ck_assert_uint_eq(atomic_load(&supervisor->page->hold), 0);
	supervised_agree(&supervised, 200);
}
END_TEST

/* An outvoted leader is succeeded at that vote, by one of the majority; the other one is the donor. */
START_TEST(leader_outvoted)
{
	checked_word_store(&supervised.own[1].control->tape_written, 64);
	supervised_agree(&supervised, 100);
	for (unsigned i = 0; i < 3; i++) {
		supervised_stand(&supervised, i, 200, 0);
		supervised_vote(&supervised, i, i == 0);
	}
	must_succeed(verdict_judge(supervisor));
	supervised_must_be_led(&supervised, 1, 1, LEADERSHIP_AT_VOTE);
	ck_assert_uint_eq(supervised_leadership(&supervised).vote, 1);
	ck_assert_uint_eq(supervised_leadership(&supervised).tape_base, 64);
	supervised_must_have_order(&supervised, 0, ORDER_RESYNC, 2, 1);
	supervised_follow(&supervised);
	supervised_obey(&supervised, 0, 0);
	must_succeed(repair_continue(supervisor));
	supervised_must_be(&supervised, 0, CARE_LIVE);
	supervised_agree(&supervised, 300);
}
END_TEST

/* Its donor dies while it copies: half a state is none. */
START_TEST(donor_lost)
{
	for (unsigned i = 0; i < 3; i++) {
		supervised_stand(&supervised, i, 100, 0);
		supervised_vote(&supervised, i, i == 2);
	}
	must_succeed(verdict_judge(supervisor));
	supervised_must_have_order(&supervised, 2, ORDER_RESYNC, 1, 0);
	must_succeed(repair_lose(supervisor, &supervisor->members[1], "died", "killed"));
	supervised_must_be(&supervised, 1, CARE_GONE);
	supervised_must_be(&supervised, 2, CARE_GONE);
	ck_assert(!supervisor->repair.active);
	ck_assert_uint_eq(atomic_load(&supervisor->page->hold), 0);
	must_succeed(repair_continue(supervisor));
	supervised_must_be(&supervised, 1, CARE_JOINING);
	supervised_must_be(&supervised, 2, CARE_JOINING);
	supervised_agree(&supervised, 200);
}
END_TEST

/* The leader dies while a follower is copied: that one is the better donor, and another one the better leader. */
START_TEST(successor_is_not_the_donor)
{
	for (unsigned i = 0; i < 5; i++) {
		supervised_stand(&supervised, i, 100, 0);
		supervised_vote(&supervised, i, i == 4);
	}
	must_succeed(verdict_judge(supervisor));
	supervised_must_have_order(&supervised, 4, ORDER_RESYNC, 1, 0);
	must_succeed(repair_lose(supervisor, &supervisor->members[0], "died", "killed"));
	supervised_must_be_led(&supervised, 1, 2, LEADERSHIP_AT_TAPE_END);
	supervised_must_be(&supervised, 4, CARE_ORDERED);
	/* Where there is nobody else, it is that one. */
	must_succeed(repair_lose(supervisor, &supervisor->members[3], "died", "killed"));
	must_succeed(repair_lose(supervisor, &supervisor->members[2], "died", "killed"));
	supervised_must_be_led(&supervised, 2, 1, LEADERSHIP_AT_TAPE_END);
}
END_TEST

/* Five outvote two at once, and a complaint is a vote against. */
START_TEST(two_of_five)
{
	for (unsigned i = 0; i < 5; i++) {
		supervised_stand(&supervised, i, 100, 0);
		if (i == 3)
			supervised_complain(&supervised, i);
		else
			supervised_vote(&supervised, i, i == 1);
	}
	must_succeed(verdict_bury_dead(supervisor));
	must_succeed(verdict_judge(supervisor));
	supervised_must_have_order(&supervised, 1, ORDER_RESYNC, 2, 0);
	supervised_must_have_order(&supervised, 3, ORDER_RESYNC, 2, 0);
	supervised_obey(&supervised, 3, 0);
	must_succeed(repair_continue(supervisor));
	supervised_must_be(&supervised, 3, CARE_LIVE);
	ck_assert(supervisor->repair.active);
	ck_assert_uint_eq(atomic_load(&supervisor->page->hold), 4);
	supervised_obey(&supervised, 1, 0);
	must_succeed(repair_continue(supervisor));
	supervised_must_be(&supervised, 1, CARE_LIVE);
	ck_assert(!supervisor->repair.active);
	supervised_agree(&supervised, 200);
}
END_TEST

START_TEST(nobody_has_a_majority)
{
	for (unsigned i = 0; i < supervisor->replicas; i++) {
		supervised_stand(&supervised, i, 100, 0);
		supervised_vote(&supervised, i, supervisor->replicas == 3 ? i : i / 2);
	}
	must_fail(verdict_judge(supervisor), STATUS_NO_MAJORITY, "no majority at vote 0");
	ck_assert_uint_eq(atomic_load(&supervisor->page->verdicts), 0);
}
END_TEST

int main(int argc, char **argv)
{
	Suite *suite = suite_create("repair");
	TCase *three = tcase_create("three replicas");
	TCase *five = tcase_create("five replicas");

	supervised_be_replica(argc, argv);
	tcase_add_checked_fixture(three, setup_three, teardown);
	tcase_add_test(three, misled);
	tcase_add_test(three, unfound);
	tcase_add_loop_test(three, overshot, 0, 2);
	tcase_add_loop_test(three, passed_by_one_of_two, 0, 2);
	tcase_add_test(three, misled_at_different_positions);
	tcase_add_test(three, misled_once);
	tcase_add_loop_test(three, differently_misled, 0, (int)ARRAY_SIZE(places));
	tcase_add_test(three, follower_lost);
	tcase_add_loop_test(three, leader_lost, 0, 2);
	tcase_add_loop_test(three, leader_lost_inside_a_segment, 0, 3);
	tcase_add_test(three, respawned_when_all_have_left);
	tcase_add_test(three, all_lost);
	tcase_add_test(three, only_one_lost);
	tcase_add_test(three, given_up);
	tcase_add_test(three, no_new_process);
	tcase_add_test(three, follower_outvoted);
	tcase_add_loop_test(three, not_healed, 0, 3);
	tcase_add_test(three, leader_outvoted);
	tcase_add_test(three, donor_lost);
	tcase_add_test(three, nobody_has_a_majority);
	suite_add_tcase(suite, three);
	tcase_add_checked_fixture(five, setup_five, teardown);
	tcase_add_loop_test(five, misled_of_five, 0, 2);
	tcase_add_test(five, successor_is_not_the_donor);
	tcase_add_test(five, two_of_five);
	tcase_add_test(five, nobody_has_a_majority);
	suite_add_tcase(suite, five);
	return fixture_run(suite);
}
