/* Verdicts: what is booked of a vote. */
#include "tests/unit/supervised.h"

#include "lockstep/verdict.h"

static struct supervised supervised;
static struct supervisor *supervisor;

static void setup(void)
{
	supervised_make(&supervised, 3);
	supervisor = supervised.supervisor;
}

static void teardown(void)
{
	supervised_destroy(&supervised);
}

/* A vote's time begins with its first ballot. A minority's clock does not count, and nobody's that goes ahead. */
START_TEST(latency)
{
	const uint64_t now = clock_monotonic_ns();
	/* A host may have been up for a moment only. */
	const uint64_t unit = now / 10 < NS_PER_S ? now / 10 : NS_PER_S;

	supervised.cast_ns[0] = now - 3 * unit;
	supervised.cast_ns[1] = _i ? now - 9 * unit : now + unit;
	supervised.cast_ns[2] = now - 5 * unit;
	for (unsigned i = 0; i < 3; i++) {
		supervised_stand(&supervised, i, 100, 0);
		supervised_vote(&supervised, i, i == 1 && _i);
	}
	must_succeed(verdict_judge(supervisor));
	ck_assert_uint_eq(supervisor->tally.vote_latency.count, 1);
	ck_assert_uint_ge(supervisor->tally.vote_latency.max, 5 * unit);
	ck_assert_uint_lt(supervisor->tally.vote_latency.max, 9 * unit);
}
END_TEST

int main(int argc, char **argv)
{
	Suite *suite = suite_create("verdict");
	TCase *tests = tcase_create("three replicas");

	supervised_be_replica(argc, argv);
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_loop_test(tests, latency, 0, 2);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
