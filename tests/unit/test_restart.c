/* Two replicas that differ before any vote that they agreed about: the machine begins again at power-on. */
#include "tests/unit/supervised.h"

#include <string.h>
#include <sys/epoll.h>

#include "lockstep/leadership.h"
#include "lockstep/repair.h"
#include "lockstep/restart.h"
#include "lockstep/verdict.h"
#include "lockstep/watch.h"

static struct supervised supervised;
static struct supervisor *supervisor;
static pid_t before[2];

static void remember_processes(void)
{
	for (unsigned i = 0; i < 2; i++)
		before[i] = supervisor->members[i].pid;
}

static void setup(void)
{
	supervised_make(&supervised, 2);
	supervisor = supervised.supervisor;
	/* The host's clock may be younger than what is looked back at. */
	if (clock_monotonic_ns() < 10 * SUPERVISED_WATCHDOG)
		supervised.options.watchdog = clock_monotonic_ns() / 10;
	remember_processes();
}

static void teardown(void)
{
	supervised_destroy(&supervised);
}

static void disagree(uint64_t position)
{
	for (unsigned i = 0; i < 2; i++) {
		supervised_stand(&supervised, i, position, 64);
		supervised_vote(&supervised, i, 5 + i);
	}
}

static void must_be_watched(int fd)
{
	struct epoll_event event = { .events = EPOLLIN };

	/* It cannot be added twice. */
	ck_assert_int_lt(epoll_ctl(supervisor->epoll_fd, EPOLL_CTL_ADD, fd, &event), 0);
}

/* New processes with empty areas; nothing is decided, and all take part. */
static void must_have_restarted(unsigned times)
{
	const struct supervisor_page *page = supervisor->page;

	ck_assert_uint_eq(supervisor->tally.rollbacks, times);
	ck_assert_uint_eq(supervised_events(&supervised, "LOCKSTEP_ROLLBACK"), times);
	ck_assert_uint_eq(json_array_size(supervisor->tally.faults) + json_array_size(supervisor->tally.overshoots),
			  times);
	for (unsigned i = 0; i < 2; i++) {
		const struct control *control = supervisor->members[i].area.control;

		supervised_must_be(&supervised, i, CARE_LIVE);
		ck_assert_int_ne(supervisor->members[i].pid, before[i]);
		must_be_watched(supervisor->members[i].pid_fd);
		ck_assert_uint_eq(control->magic, CONTROL_MAGIC);
		ck_assert_uint_eq(atomic_load(&control->votes), 0);
		ck_assert_uint_eq(atomic_load(&control->reached), 0);
		ck_assert_uint_eq(atomic_load(&control->complaint), 0);
		ck_assert_uint_eq(atomic_load(&control->state), REPLICA_STARTING);
		ck_assert(!supervisor->members[i].dissents);
	}
	ck_assert_uint_eq(supervisor->verdicts, 0);
	ck_assert_uint_eq(atomic_load(&page->verdicts), 0);
	ck_assert_uint_eq(atomic_load(&page->output_released), 0);
	ck_assert_uint_eq(supervised_leadership(&supervised).leader, 0);
	supervised_must_be_led(&supervised, 0, 0, 0);
	remember_processes();
}

/* What the new processes would say of themselves. */
static void run(void)
{
	for (unsigned i = 0; i < 2; i++)
		atomic_store(&supervised.own[i].control->state, REPLICA_RUNNING);
}

/* Who passed a stop before there was any vote has no fault. */
START_TEST(passed_the_first_stop)
{
	supervised_stand(&supervised, 0, 100, 480);
	supervised_vote(&supervised, 0, 0);
	supervised_complain(&supervised, 1);
	atomic_store(&supervised.own[1].control->complaint, COMPLAINT_PASSED);
	must_succeed(verdict_bury_dead(supervisor));
	must_succeed(verdict_judge(supervisor));
	must_have_restarted(1);
	ck_assert_uint_eq(json_array_size(supervisor->tally.faults), 0);
	ck_assert_uint_eq(json_array_size(supervisor->tally.overshoots), 1);
}
END_TEST

START_TEST(differs_at_the_first_vote)
{
	const json_t *fault;

	disagree(100);
	must_succeed(verdict_judge(supervisor));
	must_have_restarted(1);
	fault = json_array_get(supervisor->tally.faults, 0);
	ck_assert_int_eq(json_integer_value(json_object_get(fault, "replica")), 0);
	ck_assert_str_eq(json_string_value(json_object_get(fault, "kind")), "outvoted");
	ck_assert_str_eq(json_string_value(json_object_get(fault, "method")), "restart");
	ck_assert(json_object_get(fault, "repaired_ns") != NULL);
	ck_assert_uint_eq(supervisor->tally.repairs, 0);
	ck_assert_uint_eq(supervisor->tally.respawns, 0);
	/* Nobody is ill, and the machine goes on like any other. */
	ck_assert(!repair_under_way(supervisor));
	must_succeed(verdict_bury_dead(supervisor));
	must_succeed(repair_continue(supervisor));
	must_succeed(watch_look(supervisor));
	run();
	supervised_agree(&supervised, 100);
	/* From now on there is a vote to go back to. */
	disagree(200);
	must_succeed(verdict_judge(supervisor));
	supervised_must_have_order(&supervised, 1, ORDER_ROLLBACK, 1, 0);
	ck_assert_int_eq(supervisor->members[0].pid, before[0]);
}
END_TEST

/* A difference that comes back stops the machine; an agreed vote between makes the next one the first again. */
START_TEST(differs_for_good)
{
	for (unsigned i = 0; i < 2; i++) {
		disagree(100);
		must_succeed(verdict_judge(supervisor));
		must_have_restarted(i + 1);
		run();
	}
	disagree(100);
	must_fail(verdict_judge(supervisor), STATUS_NO_MAJORITY, "after 2 attempts from power-on");
	ck_assert_uint_eq(supervisor->verdicts, 0);
	ck_assert_uint_eq(supervisor->tally.rollbacks, 2);
}
END_TEST

START_TEST(agrees_in_the_end)
{
	for (unsigned i = 0; i < 2; i++) {
		disagree(100);
		must_succeed(verdict_judge(supervisor));
		run();
	}
	supervised_agree(&supervised, 100);
	for (unsigned i = 0; i < 2; i++)
		ck_assert_int_eq(supervisor->care[i].phase, CARE_LIVE);
	ck_assert_uint_eq(supervisor->rollbacks_in_row, 0);
}
END_TEST

/* What belongs to the way that is undone is forgotten, and what the world has sent in is not. */
START_TEST(begins_at_the_beginning)
{
	struct supervisor_page *page = supervisor->page;
	const uint64_t now = clock_monotonic_ns();

	page->leaderships[0] = (struct leadership){ .leader = 1, .tape_base = 7 };
	atomic_store(&page->probe, 100);
	atomic_store(&page->hold, 3);
	for (unsigned i = 0; i < 2; i++) {
		atomic_store(&page->orders[i].serial, 3);
		atomic_store(&page->injections[i].serial, 4);
		supervisor->care[i].order = 3;
		supervisor->care[i].heartbeat = (struct heartbeat){ .beats = 9, .kicked = 3 };
	}
	memcpy(page->console, "typed", 5);
	atomic_store(&page->console_written, 5);
	atomic_store(&page->buttons, 2);
	supervisor->stalled_at = 100;
	supervisor->stalled_since = supervisor->ahead_since = supervisor->longest_segment = now;
	disagree(100);
	must_succeed(verdict_judge(supervisor));
	must_have_restarted(1);
	ck_assert_uint_eq(supervised_leadership(&supervised).tape_base, 0);
	ck_assert_uint_eq(atomic_load(&page->probe), 0);
	ck_assert_uint_eq(atomic_load(&page->hold), 0);
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_uint_eq(atomic_load(&page->orders[i].serial), 0);
		ck_assert_uint_eq(atomic_load(&page->injections[i].serial), 0);
		ck_assert_uint_eq(supervisor->care[i].order, 0);
		ck_assert_uint_eq(supervisor->care[i].heartbeat.beats, 0);
		ck_assert_uint_eq(supervisor->care[i].heartbeat.kicked, 0);
		/* A vote of the undone way is none of this one. */
		ck_assert_uint_eq(supervisor->records[i].crc, 0);
	}
	ck_assert_mem_eq(page->console, "typed", 5);
	ck_assert_uint_eq(atomic_load(&page->console_written), 5);
	ck_assert_uint_eq(atomic_load(&page->buttons), 2);
	ck_assert_uint_eq(supervisor->stalled_at, 0);
	ck_assert_uint_eq(supervisor->stalled_since, 0);
	ck_assert_uint_eq(supervisor->ahead_since, 0);
	ck_assert_uint_eq(supervisor->longest_segment, 0);
	ck_assert_uint_eq(supervisor->waiting_since, 0);
	/* Guest time begins at 0 now. */
	ck_assert_uint_ge(atomic_load(&supervisor->page->host_zero), now);
	ck_assert_int_gt(supervisor->config.rtc_epoch, 0);
}
END_TEST

/* A fault that was committed is a thing of the past. */
START_TEST(faults_come_once)
{
	static const struct inject_fault faults[] = {
		{ .replica = 0, .position = 100 }, { .replica = 1, .position = 200 }, { .replica = 0, .position = 0 },
		{ .replica = 0, .position = 101 }, { .replica = 1, .position = 50 },
	};

	memcpy(supervisor->config.fault, faults, sizeof(faults));
	supervisor->config.faults = ARRAY_SIZE(faults);
	disagree(100);
	must_succeed(verdict_judge(supervisor));
	must_have_restarted(1);
	ck_assert_uint_eq(supervisor->config.faults, 2);
	ck_assert_mem_eq(&supervisor->config.fault[0], &faults[1], sizeof(faults[0]));
	ck_assert_mem_eq(&supervisor->config.fault[1], &faults[3], sizeof(faults[0]));
	/* Where a position cannot be read, none is left that might come twice. */
	run();
	disagree(100);
	atomic_fetch_xor(&supervised.own[1].control->reached, 2);
	must_succeed(verdict_judge(supervisor));
	must_have_restarted(2);
	ck_assert_uint_eq(supervisor->config.faults, 1);
	ck_assert_uint_eq(supervisor->config.fault[0].position, 101);
}
END_TEST

/* A follower that cannot follow is a difference, too. */
START_TEST(complaint)
{
	supervised_stand(&supervised, 0, 100, 64);
	supervised_vote(&supervised, 0, 0);
	supervised_complain(&supervised, 1);
	must_succeed(verdict_bury_dead(supervisor));
	must_succeed(verdict_judge(supervisor));
	must_have_restarted(1);
}
END_TEST

/* As is one of the two that does not come to the vote, */
START_TEST(owed_ballot)
{
	supervised_vote(&supervised, (unsigned)_i, 0);
	must_succeed(verdict_judge(supervisor));
	supervisor->waiting_since = clock_monotonic_ns() - 3 * supervised.options.watchdog;
	must_succeed(watch_look(supervisor));
	if (_i == 0) {
		must_have_restarted(1);
		return;
	}
	/* A leader that owes its own is lost, and the other one leads. */
	supervised_must_be(&supervised, 0, CARE_GONE);
	supervised_must_be_led(&supervised, 1, 1, LEADERSHIP_AT_TAPE_END);
	ck_assert_uint_eq(supervisor->tally.rollbacks, 0);
}
END_TEST

/* or does not come out of its guest, where the other one has. */
START_TEST(stuck)
{
	supervised_stand(&supervised, 0, 100, 0);
	checked_word_store(&supervised.own[0].control->closed, 100);
	supervised_stand(&supervised, 1, 101, 0);
	atomic_store(&supervisor->page->probe, 100);
	supervisor->stalled_at = 100;
	supervisor->stalled_since = clock_monotonic_ns() - supervised.options.watchdog;
	supervisor->ahead_since = clock_monotonic_ns();
	supervisor->probed_since = supervisor->ahead_since;
	supervisor->ahead_cpu -= supervised.options.watchdog;
	must_succeed(watch_look(supervisor));
	must_have_restarted(1);
}
END_TEST

/* A death is no difference: the other one goes on, and a new process joins at a vote. */
START_TEST(lost)
{
	const unsigned gone = (unsigned)_i, left = 1 - gone;

	must_succeed(repair_lose(supervisor, &supervisor->members[gone], "died", "killed"));
	supervised_follow(&supervised);
	must_succeed(repair_continue(supervisor));
	supervised_must_be(&supervised, gone, CARE_JOINING);
	supervised_must_be(&supervised, left, CARE_LIVE);
	ck_assert_int_eq(supervisor->members[left].pid, before[left]);
	ck_assert_uint_eq(supervisor->leader, left);
	atomic_store(&supervised.own[gone].control->state, REPLICA_JOINABLE);
	supervised_agree(&supervised, 100);
	ck_assert_uint_eq(supervisor->tally.unconfirmed, 1);
	atomic_store(&supervised.own[left].control->held, 1);
	must_succeed(repair_continue(supervisor));
	supervised_must_have_order(&supervised, gone, ORDER_RESYNC, left, 0);
	supervised_stand(&supervised, gone, 100, 0);
	supervised_obey(&supervised, gone, 0);
	must_succeed(repair_continue(supervisor));
	supervised_must_be(&supervised, gone, CARE_LIVE);
	ck_assert_uint_eq(supervisor->tally.rollbacks, 0);
}
END_TEST

int main(int argc, char **argv)
{
	Suite *suite = suite_create("restart");
	TCase *tests = tcase_create("two replicas");

	supervised_be_replica(argc, argv);
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, passed_the_first_stop);
	tcase_add_test(tests, differs_at_the_first_vote);
	tcase_add_test(tests, differs_for_good);
	tcase_add_test(tests, agrees_in_the_end);
	tcase_add_test(tests, begins_at_the_beginning);
	tcase_add_test(tests, faults_come_once);
	tcase_add_test(tests, complaint);
	tcase_add_loop_test(tests, owed_ballot, 0, 2);
	tcase_add_test(tests, stuck);
	tcase_add_loop_test(tests, lost, 0, 2);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
