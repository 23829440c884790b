/* Who moves to which core where replicas share cores, and when the leader is to rest. */
#include "tests/unit/supervised.h"

#include <sched.h>
#include <string.h>

#include "lockstep/turns.h"
#include "lockstep/verdict.h"

/* --- decisions --- */

static struct turns turns;
static struct turns_view view;

static void setup(void)
{
	turns = (struct turns){ 0 };
	view = (struct turns_view){ .cores = 2, .replicas = 3, .runs = 7 };
}

/* Carries out all moves, and returns them as text: "1>0 ", which is replica 1 to core 0. */
static const char *moves(void)
{
	static char text[128];
	size_t used = 0;
	unsigned replica, core;

	text[0] = '\0';
	while (turns_next(&turns, &view, &replica, &core)) {
		ck_assert_uint_lt(replica, view.replicas);
		ck_assert_uint_lt(core, view.cores);
		ck_assert_uint_lt(used, sizeof(text) - 16);
		turns.seat[replica] = (struct turns_seat){ .pid = 1, .core = core };
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%u>%u ", replica, core);
	}
	return text;
}

START_TEST(first_seats)
{
	ck_assert_str_eq(moves(), "0>0 1>1 2>0 ");
	ck_assert_str_eq(moves(), "");
	/* A new process beside those that have seats. */
	turns.seat[1].pid = 0;
	ck_assert_str_eq(moves(), "1>1 ");
	/* Who does not run yet has none. */
	setup();
	view.runs = 3;
	ck_assert_str_eq(moves(), "0>0 1>1 ");
}
END_TEST

/* Replica 1 waits, and its core has nothing to do. */
START_TEST(idle_core)
{
	(void)moves();
	view.runs = 5;
	view.ahead = _i;
	ck_assert_str_eq(moves(), _i ? "0>1 " : "2>1 ");
	/* Everybody runs again: one and two is as good as it gets. */
	view.runs = 7;
	ck_assert_str_eq(moves(), "");
}
END_TEST

/* The leader rests, and both followers are on one core. */
START_TEST(resting_leader)
{
	(void)moves();
	view.runs = 5;
	ck_assert_str_eq(moves(), "2>1 ");
	view.runs = 6;
	ck_assert_str_eq(moves(), "2>0 ");
	view.runs = 0;
	ck_assert_str_eq(moves(), "");
}
END_TEST

START_TEST(another_leader)
{
	view.leader = 2;
	view.ahead = true;
	(void)moves();
	view.runs = 5;
	ck_assert_str_eq(moves(), "2>1 ");
}
END_TEST

START_TEST(busy)
{
	ck_assert(turns_busy(&view));
	view.runs = 6;
	ck_assert(turns_busy(&view));
	view.runs = 5;
	ck_assert(!turns_busy(&view));
	view.leader = 1;
	ck_assert(turns_busy(&view));
	view = (struct turns_view){ .cores = 3, .replicas = 5, .leader = 4, .runs = 0x1B };
	ck_assert(turns_busy(&view));
	view.runs = 0x13;
	ck_assert(!turns_busy(&view));
}
END_TEST

/* Whoever runs where: then everybody who does has a seat, and cores have as many as each other, or one more. */
START_TEST(random_states)
{
	uint64_t seed = 40;

	for (unsigned round = 0; round < 20000; round++) {
		unsigned load[TURNS_CORES_MAX] = { 0 }, least = VOTE_REPLICAS_MAX, most = 0, runs;

		view.cores = 1 + (unsigned)(fixture_random(&seed) % TURNS_CORES_MAX);
		view.replicas = 1 + (unsigned)(fixture_random(&seed) % VOTE_REPLICAS_MAX);
		view.leader = (unsigned)(fixture_random(&seed) % view.replicas);
		view.runs = (uint32_t)fixture_random(&seed) & ((1u << view.replicas) - 1);
		view.ahead = fixture_random(&seed) & 1;
		for (unsigned i = 0; i < VOTE_REPLICAS_MAX; i++)
			turns.seat[i] = (struct turns_seat){ .pid = (pid_t)(fixture_random(&seed) % 3),
							     .core = (unsigned)(fixture_random(&seed) % view.cores) };
		(void)moves();
		runs = view.runs;
		for (unsigned i = 0; i < view.replicas; i++) {
			if (!(runs >> i & 1))
				continue;
			ck_assert_int_ne(turns.seat[i].pid, 0);
			load[turns.seat[i].core]++;
		}
		for (unsigned i = 0; i < view.cores; i++) {
			least = load[i] < least ? load[i] : least;
			most = load[i] > most ? load[i] : most;
		}
		ck_assert_uint_le(most, least + 1);
	}
}
END_TEST

/* --- a supervisor --- */

static struct supervised supervised;
static struct supervisor *supervisor;

/* Two cores that this process may use, and the first again; the same one where there is no other. */
static void find_places(struct cores_place *places)
{
	cpu_set_t allowed;
	unsigned count = 0;

	ck_assert_int_eq(sched_getaffinity(0, sizeof(allowed), &allowed), 0);
	for (unsigned core = 0; core < CPU_SETSIZE && count < 2; core++)
		if (CPU_ISSET(core, &allowed))
			places[count++].number = (uint16_t)core;
	if (count == 1)
		places[1] = places[0];
	places[2] = places[0];
}

static void share(enum cores_mode mode, unsigned count)
{
	const struct cores_policy policy = { .mode = mode, .threshold = 1 };
	struct cores_place places[3] = { 0 };

	find_places(places);
	cores_close(&supervisor->cores);
	must_succeed(cores_open_on(&supervisor->cores, &policy, supervisor->replicas, places, count));
}

static void setup_machine(void)
{
	supervised_make(&supervised, 3);
	supervisor = supervised.supervisor;
	share(CORES_AUTO, 2);
}

/* As the supervisor does when somebody rang. */
static void judge(void)
{
	must_succeed(verdict_judge(supervisor));
	turns_take(supervisor);
}

/* Votes in quick succession. */
static void agree(unsigned votes)
{
	for (unsigned i = 0; i < votes; i++) {
		supervised_agree(&supervised, supervisor->verdicts + 1);
		turns_take(supervisor);
	}
}

static void teardown_machine(void)
{
	supervised_destroy(&supervised);
}

/* The test fails unless a replica may run on that one of the two cores alone, -1: on both. */
static void must_sit(unsigned replica, int core)
{
	cpu_set_t set;

	ck_assert_int_eq(sched_getaffinity(supervisor->members[replica].pid, sizeof(set), &set), 0);
	if (core >= 0) {
		ck_assert_uint_eq(supervisor->turns.seat[replica].core, (unsigned)core);
		ck_assert_int_eq(CPU_COUNT(&set), 1);
	}
	for (int i = 0; i < 2; i++)
		if (core < 0 || i == core)
			ck_assert(CPU_ISSET(supervisor->cores.core[i].place.number, &set));
}

static void must_tell(enum leader_turn expected)
{
	ck_assert_uint_eq(atomic_load(&supervisor->page->turn), expected);
}

START_TEST(a_vote)
{
	uint32_t sequence;

	agree(TURNS_VOTES);
	must_sit(0, 0);
	must_sit(1, 1);
	must_sit(2, 0);
	must_tell(TURN_REST);
	/* The leader is two votes ahead: it rests, and the first follower to come to the vote has its core for it. */
	supervised_vote(&supervised, 0, 0);
	supervised_vote(&supervised, 0, 0);
	judge();
	must_tell(TURN_REST);
	sequence = atomic_load(&supervisor->page->sequence);
	supervised_vote(&supervised, 1, 0);
	judge();
	must_tell(TURN_AHEAD);
	ck_assert_uint_ne(atomic_load(&supervisor->page->sequence), sequence);
	must_sit(0, 1);
	must_sit(2, 0);
	/* Behind the verdict both run, and the leader does not. */
	supervised_vote(&supervised, 0, 0);
	supervised_vote(&supervised, 2, 0);
	judge();
	ck_assert_uint_eq(supervisor->verdicts, TURNS_VOTES + 1);
	must_tell(TURN_REST);
	must_sit(1, 1);
	must_sit(2, 0);
}
END_TEST

/* A leader that says that it rests needs no core, while everybody else does. */
START_TEST(leader_that_rests)
{
	agree(TURNS_VOTES);
	must_sit(0, 0);
	must_sit(1, 1);
	must_sit(2, 0);
	supervised_vote(&supervised, 0, 0);
	judge();
	must_sit(2, 0);
	must_sit(1, 1);
	atomic_store(&supervised.own[0].control->rests, 1);
	judge();
	must_tell(TURN_REST);
	must_sit(1, 1);
	must_sit(2, 0);
	supervised_vote(&supervised, 1, 0);
	judge();
	must_tell(TURN_AHEAD);
	must_sit(0, 1);
}
END_TEST

/* Where votes are far apart the scheduler decides. */
START_TEST(rare_votes)
{
	agree(TURNS_VOTES - 1);
	must_sit(0, -1);
	must_tell(TURN_REST);
	ck_assert_int_eq(turns_wait(supervisor), TURNS_WAIT_MS);
	turns_free(supervisor);
	ck_assert_int_eq(turns_wait(supervisor), -1);
	agree(TURNS_VOTES - 1);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(supervisor->turns.seat[i].pid, 0);
	agree(1);
	must_sit(0, 0);
	must_sit(1, 1);
	must_sit(2, 0);
	turns_free(supervisor);
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_int_eq(supervisor->turns.seat[i].pid, 0);
		must_sit(i, -1);
	}
	/* From the beginning again. */
	agree(1);
	must_sit(0, -1);
	/* A process that is gone is nobody's. */
	agree(TURNS_VOTES);
	supervisor->turns.seat[2].pid = INT32_MAX;
	turns_free(supervisor);
	ck_assert_int_eq(supervisor->turns.seat[2].pid, 0);
}
END_TEST

/* Who sleeps until the leader has gone on has nothing to do. */
START_TEST(waiting_follower)
{
	agree(TURNS_VOTES);
	atomic_store(&supervised.own[1].control->waiting, 1);
	judge();
	must_tell(TURN_AHEAD);
	must_sit(0, 0);
	must_sit(2, 1);
}
END_TEST

/* With a core for each nobody is moved, until one of them is left. */
START_TEST(one_of_three_cores_left)
{
	cpu_set_t set;

	share(CORES_AUTO, 3);
	agree(TURNS_VOTES);
	ck_assert_int_eq(supervisor->turns.seat[0].pid, 0);
	ck_assert(cores_book_fault(&supervisor->cores, supervisor->cores.core[0].place.number, 1));
	judge();
	for (unsigned i = 0; i < 3; i++) {
		const struct cores_state *core = &supervisor->cores.core[1 + supervisor->turns.seat[i].core];

		ck_assert_int_eq(sched_getaffinity(supervisor->members[i].pid, sizeof(set), &set), 0);
		ck_assert_int_eq(CPU_COUNT(&set), 1);
		ck_assert(CPU_ISSET(core->place.number, &set));
	}
}
END_TEST

/* Two that are left need not wait for a core, whoever of them waits for the other. */
START_TEST(one_is_missing)
{
	agree(TURNS_VOTES);
	supervised_vote(&supervised, 0, 0);
	supervised_vote(&supervised, 1, 0);
	judge();
	must_tell(TURN_AHEAD);
	supervisor->members[2].live = false;
	judge();
	must_tell(TURN_OWN);
}
END_TEST

/* A core is left: everybody is on the other one, and nobody is moved any more. */
START_TEST(one_core_left)
{
	const unsigned worn = supervisor->cores.core[1].place.number;

	agree(TURNS_VOTES);
	ck_assert_int_ne(supervisor->turns.seat[0].pid, 0);
	ck_assert(cores_book_fault(&supervisor->cores, (int)worn, 1));
	turns_forget(supervisor);
	judge();
	must_tell(TURN_AHEAD);
	ck_assert_int_eq(supervisor->turns.seat[0].pid, 0);
}
END_TEST

/* The scheduler decides; there is one core; replicas meet at each exit. */
START_TEST(no_turns)
{
	if (_i == 0)
		share(CORES_NONE, 2);
	else if (_i == 1)
		share(CORES_AUTO, 1);
	else
		supervisor->config.strict = 1;
	agree(2 * TURNS_VOTES);
	must_tell(TURN_AHEAD);
	ck_assert_int_eq(turns_wait(supervisor), -1);
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_int_eq(supervisor->turns.seat[i].pid, 0);
		if (_i != 1)
			must_sit(i, -1);
	}
}
END_TEST

int main(int argc, char **argv)
{
	Suite *suite = suite_create("turns");
	TCase *pure = tcase_create("decisions");
	TCase *machine = tcase_create("a supervisor");

	supervised_be_replica(argc, argv);
	tcase_add_checked_fixture(pure, setup, NULL);
	tcase_add_test(pure, first_seats);
	tcase_add_loop_test(pure, idle_core, 0, 2);
	tcase_add_test(pure, resting_leader);
	tcase_add_test(pure, another_leader);
	tcase_add_test(pure, busy);
	tcase_add_test(pure, random_states);
	suite_add_tcase(suite, pure);
	tcase_add_checked_fixture(machine, setup_machine, teardown_machine);
	tcase_add_test(machine, a_vote);
	tcase_add_test(machine, leader_that_rests);
	tcase_add_test(machine, rare_votes);
	tcase_add_test(machine, waiting_follower);
	tcase_add_test(machine, one_is_missing);
	tcase_add_test(machine, one_of_three_cores_left);
	tcase_add_test(machine, one_core_left);
	tcase_add_loop_test(machine, no_turns, 0, 3);
	suite_add_tcase(suite, machine);
	return fixture_run(suite);
}
