/* Which core a replica gets, on made-up hosts, and when a core is left; then, on this one, that it is really so. */
#include "tests/unit/guest_memory.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lockstep/cores.h"

static struct cores cores;
static struct cores_policy policy;

static void setup(void)
{
	policy = CORES_POLICY_DEFAULT;
	cores = (struct cores){ .core = NULL };
}

static void teardown(void)
{
	cores_close(&cores);
}

/* Four cores without siblings; two physical cores of two threads each, numbered as Linux does on most hosts; four of
 * them. */
static const struct cores_place plain[] = { { 0, 0 }, { 1, 1 }, { 2, 2 }, { 3, 3 } };
static const struct cores_place threads[] = { { 0, 0 }, { 1, 1 }, { 2, 0 }, { 3, 1 } };
static const struct cores_place neighbours[] = { { 0, 0 }, { 1, 0 }, { 2, 2 }, { 3, 2 },
						 { 4, 4 }, { 5, 4 }, { 6, 6 }, { 7, 6 } };

#define open_on(places, replicas) \
	must_succeed(cores_open_on(&cores, &policy, replicas, places, (unsigned)ARRAY_SIZE(places)))

/* The replicas' cores as text: "0 2 -". */
static const char *placed(void)
{
	static char text[64];
	size_t used = 0;

	text[0] = '\0';
	for (unsigned r = 0; r < cores.replicas; r++) {
		int core = cores_of(&cores, r);

		used += (size_t)(core < 0 ? snprintf(text + used, sizeof(text) - used, "%s-", r ? " " : "") :
					    snprintf(text + used, sizeof(text) - used, "%s%d", r ? " " : "", core));
	}
	return text;
}

/* Books faults to a core until it is left; how many it took, or 0 if that never happens. */
static unsigned wear_out(int core)
{
	for (unsigned i = 1; i <= 3 * CORES_FAULTS_DEFAULT; i++)
		if (cores_book_fault(&cores, core, i * NS_PER_S))
			return i;
	return 0;
}

/* --- words --- */

START_TEST(words)
{
	policy.threshold = 7;
	must_succeed(cores_parse("none", &policy));
	ck_assert_int_eq(policy.mode, CORES_NONE);
	must_succeed(cores_parse("0,2,4-6", &policy));
	ck_assert_int_eq(policy.mode, CORES_LIST);
	ck_assert_uint_eq(policy.count, 5);
	ck_assert_uint_eq(policy.list[0], 0);
	ck_assert_uint_eq(policy.list[1], 2);
	ck_assert_uint_eq(policy.list[2], 4);
	ck_assert_uint_eq(policy.list[3], 5);
	ck_assert_uint_eq(policy.list[4], 6);
	must_succeed(cores_parse("3-3,1", &policy));
	ck_assert_uint_eq(policy.count, 2);
	ck_assert_uint_eq(policy.list[0], 3);
	must_succeed(cores_parse("8191", &policy));
	ck_assert_uint_eq(policy.list[0], 8191);
	must_succeed(cores_parse("auto", &policy));
	ck_assert_int_eq(policy.mode, CORES_AUTO);
	ck_assert_uint_eq(policy.count, 0);
	ck_assert_uint_eq(policy.threshold, 7);
}
END_TEST

START_TEST(bad_words)
{
	static const char *const bad[] = { "", ",", "0,", ",0", "0,,1", "4-", "-4", "6-4", "1 2", " 1", "+1", "0x1",
					   "8192", "0-8192", "18446744073709551616", "autos", "None", "1;2", "1-2-3" };

	must_succeed(cores_parse("1,2", &policy));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		must_fail(cores_parse(bad[i], &policy), STATUS_USAGE, "give auto, none or a list");
	must_fail(cores_parse("1,2,1", &policy), STATUS_USAGE, "core 1 is named twice");
	must_fail(cores_parse("5,4-6", &policy), STATUS_USAGE, "core 5 is named twice");
	must_succeed(cores_parse("0-255", &policy));
	must_fail(cores_parse("0-256", &policy), STATUS_USAGE, "at most 256");
	/* What was asked for before stays. */
	ck_assert_uint_eq(policy.count, 256);
}
END_TEST

START_TEST(thresholds)
{
	static const char *const bad[] = { "", "-1", "1001", "3x", " 3", "+3", "18446744073709551617" };

	must_succeed(cores_parse_faults("0", &policy));
	ck_assert_uint_eq(policy.threshold, 0);
	must_succeed(cores_parse_faults("1000", &policy));
	ck_assert_uint_eq(policy.threshold, 1000);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		must_fail(cores_parse_faults(bad[i], &policy), STATUS_USAGE, "--core-faults");
	ck_assert_uint_eq(policy.threshold, 1000);
}
END_TEST

/* --- places --- */

START_TEST(apart)
{
	open_on(plain, 3);
	ck_assert_str_eq(placed(), "0 1 2");
}
END_TEST

START_TEST(physical_cores_first)
{
	open_on(threads, 2);
	ck_assert_str_eq(placed(), "0 1");
	cores_close(&cores);
	open_on(neighbours, 3);
	ck_assert_str_eq(placed(), "0 2 4");
	cores_close(&cores);
	/* The fifth has to share. */
	open_on(neighbours, 5);
	ck_assert_str_eq(placed(), "0 2 4 6 1");
	cores_close(&cores);
	open_on(threads, 3);
	ck_assert_str_eq(placed(), "0 1 2");
}
END_TEST

START_TEST(too_few_cores)
{
	open_on(plain, 5);
	ck_assert_str_eq(placed(), "- - - - -");
	ck_assert(!cores.pinned);
}
END_TEST

START_TEST(alone)
{
	open_on(plain, 1);
	ck_assert_str_eq(placed(), "-");
	cores_close(&cores);
	must_succeed(cores_parse("2", &policy));
	open_on(plain, 1);
	ck_assert_str_eq(placed(), "2");
}
END_TEST

START_TEST(taking_turns)
{
	const unsigned crowding[] = { 1, 1, 1, 1, 2 };

	for (unsigned replicas = 1; replicas <= ARRAY_SIZE(crowding); replicas++) {
		open_on(plain, replicas);
		ck_assert_uint_eq(cores_crowding(&cores), crowding[replicas - 1]);
		cores_close(&cores);
	}
	must_succeed(cores_open_on(&cores, &policy, 3, plain, 2));
	ck_assert_uint_eq(cores_crowding(&cores), 2);
	cores_close(&cores);
	must_succeed(cores_open_on(&cores, &policy, 5, plain, 1));
	ck_assert_uint_eq(cores_crowding(&cores), 5);
}
END_TEST

START_TEST(shared_cores)
{
	open_on(plain, 5);
	ck_assert_uint_eq(cores_shared(&cores), 4);
	ck_assert_uint_eq(wear_out(1), CORES_FAULTS_DEFAULT);
	ck_assert_uint_eq(cores_shared(&cores), 3);
	cores_close(&cores);
	/* Each has its own, until one of them is left. */
	open_on(plain, 4);
	ck_assert_uint_eq(cores_shared(&cores), 0);
	ck_assert_uint_eq(wear_out(1), CORES_FAULTS_DEFAULT);
	ck_assert_uint_eq(cores_shared(&cores), 3);
	cores_close(&cores);
	must_succeed(cores_parse("none", &policy));
	open_on(plain, 5);
	ck_assert_uint_eq(cores_shared(&cores), 0);
}
END_TEST

START_TEST(none_is_none)
{
	must_succeed(cores_parse("none", &policy));
	open_on(plain, 3);
	ck_assert_str_eq(placed(), "- - -");
}
END_TEST

/* The user's list is taken as it stands, siblings or not. */
START_TEST(listed)
{
	must_succeed(cores_parse("5,4,0", &policy));
	open_on(neighbours, 3);
	ck_assert_str_eq(placed(), "5 4 0");
}
END_TEST

START_TEST(bad_lists)
{
	must_succeed(cores_parse("0,1,7", &policy));
	must_fail(cores_open_on(&cores, &policy, 3, plain, 4), STATUS_USAGE,
		  "core 7 is not among those that this process may use: 0-3");
	must_succeed(cores_parse("0,1", &policy));
	must_fail(cores_open_on(&cores, &policy, 3, plain, 4), STATUS_USAGE, "3 replicas need as many cores");
	ck_assert_ptr_null(cores.core);
}
END_TEST

/* --- faults --- */

START_TEST(core_is_left)
{
	open_on(plain, 3);
	ck_assert(!cores_book_fault(&cores, 1, 1));
	ck_assert(!cores_book_fault(&cores, 0, 2)); /* another's fault does not count */
	ck_assert(!cores_book_fault(&cores, 1, 3));
	ck_assert_str_eq(placed(), "0 1 2");
	ck_assert(cores_book_fault(&cores, 1, 4));
	ck_assert_str_eq(placed(), "0 3 2"); /* only replica 1 moves */
	/* That is told once. */
	for (unsigned i = 0; i < 10; i++)
		ck_assert(!cores_book_fault(&cores, 1, 5 + i));
	ck_assert_str_eq(placed(), "0 3 2");
}
END_TEST

START_TEST(window)
{
	const uint64_t begin = 5 * NS_PER_S;

	open_on(plain, 3);
	ck_assert(!cores_book_fault(&cores, 2, begin));
	ck_assert(!cores_book_fault(&cores, 2, begin + 10));
	/* The first one is just forgotten, and the second one is not yet. */
	ck_assert(!cores_book_fault(&cores, 2, begin + CORES_WINDOW_NS + 1));
	ck_assert(cores_book_fault(&cores, 2, begin + CORES_WINDOW_NS + 10));
	ck_assert_str_eq(placed(), "0 1 3");
	/* Once an hour is never too often. */
	for (unsigned i = 0; i < 50; i++)
		ck_assert(!cores_book_fault(&cores, 0, begin + i * (CORES_WINDOW_NS / 2 + 1)));
}
END_TEST

START_TEST(thresholds_count)
{
	policy.threshold = 1;
	open_on(plain, 3);
	ck_assert_uint_eq(wear_out(0), 1);
	cores_close(&cores);
	policy.threshold = 0;
	open_on(plain, 3);
	ck_assert_uint_eq(wear_out(0), 0);
	cores_close(&cores);
	policy.threshold = 5;
	open_on(plain, 3);
	ck_assert_uint_eq(wear_out(0), 5);
}
END_TEST

START_TEST(no_such_core)
{
	static const int numbers[] = { -1, 4, 8191, 1 << 20, INT32_MAX, INT32_MIN };

	open_on(plain, 3);
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		ck_assert_uint_eq(wear_out(numbers[i]), 0);
	ck_assert_str_eq(placed(), "0 1 2");
}
END_TEST

/* The best free core: not beside a replica while another is free; then not beside one that has been left; then one
 * with fewer faults. */
START_TEST(best_free_core)
{
	open_on(neighbours, 3);
	ck_assert_uint_eq(wear_out(0), CORES_FAULTS_DEFAULT);
	ck_assert_str_eq(placed(), "6 2 4"); /* not 1, whose sibling was left */
	ck_assert_uint_eq(wear_out(2), CORES_FAULTS_DEFAULT);
	ck_assert_str_eq(placed(), "6 1 4"); /* beside one that was left, rather than beside a replica */
	cores_close(&cores);

	open_on(plain, 2);
	ck_assert(!cores_book_fault(&cores, 2, 1));
	ck_assert_uint_eq(wear_out(0), CORES_FAULTS_DEFAULT);
	ck_assert_str_eq(placed(), "3 1");
}
END_TEST

/* A spare one: the list's, never another. */
START_TEST(spare_cores)
{
	must_succeed(cores_parse("3,1,0", &policy));
	open_on(plain, 2);
	ck_assert_str_eq(placed(), "3 1");
	ck_assert_uint_eq(wear_out(3), CORES_FAULTS_DEFAULT);
	ck_assert_str_eq(placed(), "0 1");
	/* Then there are too few, and 2 is not on the list. */
	ck_assert_uint_eq(wear_out(1), CORES_FAULTS_DEFAULT);
	ck_assert_str_eq(placed(), "- -");
	ck_assert_uint_eq(wear_out(2), 0);
	/* The last one is not left. */
	ck_assert_uint_eq(wear_out(0), 0);
}
END_TEST

START_TEST(last_core_stays)
{
	unsigned left = 0;

	must_succeed(cores_parse("none", &policy));
	open_on(plain, 3);
	for (int core = 0; core < 4; core++)
		left += wear_out(core) > 0;
	ck_assert_uint_eq(left, 3);
	ck_assert(!cores.core[3].left);
}
END_TEST

/* A spare core that was worn out before it was used is not used. */
START_TEST(free_core_is_left)
{
	open_on(plain, 3);
	ck_assert_uint_eq(wear_out(3), CORES_FAULTS_DEFAULT);
	ck_assert_str_eq(placed(), "0 1 2");
	ck_assert_uint_eq(wear_out(1), CORES_FAULTS_DEFAULT);
	ck_assert_str_eq(placed(), "- - -");
}
END_TEST

/* Whatever happens on whatever host: pinned replicas have cores of their own that were not left, and no physical core
 * has two while one that was not left has none. */
static void must_be_sound(const struct cores_place *places, unsigned count)
{
	unsigned users[CORES_MAX] = { 0 };
	bool free_physical = false;
	bool crowded = false;
	unsigned left = 0;

	for (unsigned i = 0; i < count; i++)
		left += cores.core[i].left;
	ck_assert_uint_lt(left, count);
	ck_assert(cores.pinned == (cores.replicas > 1 && count - left >= cores.replicas));
	ck_assert_uint_ge(cores_crowding(&cores) * (count - left), cores.replicas);
	ck_assert_uint_lt((cores_crowding(&cores) - 1) * (count - left), cores.replicas);
	for (unsigned r = 0; r < cores.replicas; r++) {
		ck_assert((cores_of(&cores, r) >= 0) == cores.pinned);
		if (!cores.pinned)
			continue;
		ck_assert(!cores.core[cores.of[r]].left);
		for (unsigned other = 0; other < r; other++)
			ck_assert_int_ne(cores.of[other], cores.of[r]);
		users[cores.core[cores.of[r]].place.physical]++;
	}
	for (unsigned i = 0; i < count && cores.pinned; i++) {
		crowded |= users[places[i].physical] > 1;
		free_physical |= users[places[i].physical] == 0;
	}
	/* Who has a good core is not moved, so this holds of fresh machines only. */
	if (left == 0)
		ck_assert(!(crowded && free_physical));
}

START_TEST(random_hosts)
{
	uint64_t seed = 20;

	for (unsigned round = 0; round < 2000; round++) {
		struct cores_place places[12];
		unsigned count = 1 + (unsigned)(fixture_random(&seed) % ARRAY_SIZE(places));
		unsigned replicas = 1 + (unsigned)(fixture_random(&seed) % VOTE_REPLICAS_MAX);

		for (unsigned i = 0; i < count; i++) {
			unsigned first = (unsigned)(fixture_random(&seed) % (i + 1));

			places[i].number = (uint16_t)(2 * i);
			/* Often a sibling of an earlier one. */
			places[i].physical = places[first].number;
			if (first < i)
				places[i].physical = places[first].physical;
		}
		must_succeed(cores_open_on(&cores, &policy, replicas, places, count));
		must_be_sound(places, count);
		for (unsigned i = 0; i < 60; i++) {
			(void)cores_book_fault(&cores, (int)(fixture_random(&seed) % 24), i);
			must_be_sound(places, count);
		}
		cores_close(&cores);
	}
}
END_TEST

START_TEST(status)
{
	char *text;
	json_t *json;

	open_on(plain, 3);
	(void)cores_book_fault(&cores, 2, 1);
	ck_assert_uint_eq(wear_out(1), CORES_FAULTS_DEFAULT);
	json = cores_json(&cores);
	text = json_dumps(json, JSON_COMPACT);
	ck_assert_str_eq(text, "{\"pin\":\"auto\",\"pinned\":true,\"core_faults\":3,\"replica\":[0,3,2],\"left\":[1],"
			       "\"faults\":[{\"core\":1,\"faults\":3},{\"core\":2,\"faults\":1}]}");
	free(text);
	json_decref(json);
	ck_assert_uint_eq(wear_out(2), CORES_FAULTS_DEFAULT - 1);
	json = cores_json(&cores);
	ck_assert(json_is_false(json_object_get(json, "pinned")));
	ck_assert(json_is_null(json_array_get(json_object_get(json, "replica"), 2)));
	json_decref(json);
}
END_TEST

/* --- this host --- */

/* The machine of one replica is for this core, the last one that may be used if it is -1. */
static void want_core(int core)
{
	char list[16];
	cpu_set_t allowed;

	ck_assert_int_eq(sched_getaffinity(0, sizeof(allowed), &allowed), 0);
	for (int last = CPU_SETSIZE - 1; core < 0 && last >= 0; last--)
		if (CPU_ISSET((unsigned)last, &allowed))
			core = last;
	(void)snprintf(list, sizeof(list), "%d", core);
	must_succeed(cores_parse(list, &policy));
}

START_TEST(this_host)
{
	cpu_set_t allowed, now;

	ck_assert_int_eq(sched_getaffinity(0, sizeof(allowed), &allowed), 0);
	must_succeed(cores_open(&cores, &policy, 1));
	ck_assert_uint_eq(cores.count, (unsigned)CPU_COUNT(&allowed));
	cores_close(&cores);
	want_core(-1);
	must_succeed(cores_open(&cores, &policy, 1));
	for (unsigned i = 0; i < cores.count; i++) {
		ck_assert(CPU_ISSET(cores.core[i].place.number, &allowed));
		ck_assert_uint_le(cores.core[i].place.physical, cores.core[i].place.number);
	}
	must_succeed(cores_apply(&cores, 0, 0));
	ck_assert_int_eq(sched_getaffinity(0, sizeof(now), &now), 0);
	ck_assert_int_eq(CPU_COUNT(&now), 1);
	ck_assert(CPU_ISSET((unsigned)cores_of(&cores, 0), &now));
	/* What is pinned now has one core only. */
	must_succeed(cores_parse("none", &policy));
	cores_close(&cores);
	must_succeed(cores_open(&cores, &policy, 3));
	ck_assert_uint_eq(cores.count, 1);
}
END_TEST

/* The scheduler decides: nothing is touched until a core has been left, then it is without that one. */
START_TEST(mask_without_a_core)
{
	cpu_set_t before, after;

	must_succeed(cores_parse("none", &policy));
	must_succeed(cores_open(&cores, &policy, 3));
	ck_assert_int_eq(sched_getaffinity(0, sizeof(before), &before), 0);
	must_succeed(cores_apply(&cores, 2, 0));
	ck_assert_int_eq(sched_getaffinity(0, sizeof(after), &after), 0);
	ck_assert(CPU_EQUAL(&before, &after));

	int worn = cores.core[0].place.number;

	if (cores.count == 1) {
		ck_assert_uint_eq(wear_out(worn), 0);
		return;
	}
	ck_assert_uint_eq(wear_out(worn), CORES_FAULTS_DEFAULT);
	must_succeed(cores_apply(&cores, 2, 0));
	ck_assert_int_eq(sched_getaffinity(0, sizeof(after), &after), 0);
	CPU_CLR((unsigned)worn, &before);
	ck_assert(CPU_EQUAL(&before, &after));
}
END_TEST

/* Another process, and one that is gone. */
START_TEST(processes)
{
	int hold[2];
	cpu_set_t now;
	pid_t pid;

	ck_assert_int_eq(pipe(hold), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		char byte;

		(void)close(hold[1]);
		_exit(read(hold[0], &byte, 1) == 0 ? 0 : 1);
	}
	want_core(-1);
	must_succeed(cores_open(&cores, &policy, 1));
	must_succeed(cores_apply(&cores, 0, pid));
	ck_assert_int_eq(sched_getaffinity(pid, sizeof(now), &now), 0);
	ck_assert_int_eq(CPU_COUNT(&now), 1);
	(void)close(hold[1]);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	must_fail(cores_apply(&cores, 0, pid), STATUS_FAILED, strerror(ESRCH));
}
END_TEST

/* A core that the host has not, as after its removal. */
START_TEST(core_is_gone)
{
	static const struct cores_place far[] = { { 8000, 8000 } };

	want_core(8000);
	open_on(far, 1);
	ck_assert_int_eq(cores_of(&cores, 0), 8000);
	must_fail(cores_apply(&cores, 0, 0), STATUS_FAILED, "on core 8000");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("cores");
	TCase *tests = tcase_create("cores");

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, words);
	tcase_add_test(tests, bad_words);
	tcase_add_test(tests, thresholds);
	tcase_add_test(tests, apart);
	tcase_add_test(tests, physical_cores_first);
	tcase_add_test(tests, too_few_cores);
	tcase_add_test(tests, none_is_none);
	tcase_add_test(tests, alone);
	tcase_add_test(tests, taking_turns);
	tcase_add_test(tests, shared_cores);
	tcase_add_test(tests, listed);
	tcase_add_test(tests, bad_lists);
	tcase_add_test(tests, core_is_left);
	tcase_add_test(tests, window);
	tcase_add_test(tests, thresholds_count);
	tcase_add_test(tests, no_such_core);
	tcase_add_test(tests, best_free_core);
	tcase_add_test(tests, spare_cores);
	tcase_add_test(tests, last_core_stays);
	tcase_add_test(tests, free_core_is_left);
	tcase_add_test(tests, random_hosts);
	tcase_add_test(tests, status);
	tcase_add_test(tests, this_host);
	tcase_add_test(tests, mask_without_a_core);
	tcase_add_test(tests, processes);
	tcase_add_test(tests, core_is_gone);
	tcase_set_timeout(tests, 60);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
