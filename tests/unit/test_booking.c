/* What is booked of a fault. */
#include "tests/unit/supervised.h"

#include "base/futex.h"
#include "lockstep/booking.h"

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

static bool booked_with_injection(unsigned replica)
{
	booking_fault(supervisor, replica, "outvoted", 10, "a test");
	return json_object_get(supervisor->care[replica].fault, "injected_ns") != NULL;
}

/* An injection belongs to one fault: what is found in the same replica later was something else. */
START_TEST(injection_is_booked_once)
{
	struct replica_statistics *statistics = &supervised.own[1].control->statistics;

	ck_assert(!booked_with_injection(1));
	statistics->injected = 1;
	statistics->injected_ns = clock_monotonic_ns();
	ck_assert(!booked_with_injection(0));
	ck_assert(booked_with_injection(1));
	ck_assert(!booked_with_injection(1));
	statistics->injected_ns++;
	ck_assert(booked_with_injection(1));
}
END_TEST

int main(int argc, char **argv)
{
	Suite *suite = suite_create("booking");
	TCase *tests = tcase_create("booking");

	supervised_be_replica(argc, argv);
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, injection_is_booked_once);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
