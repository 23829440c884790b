#include "base/result.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "tests/unit/fixture.h"

static must_check result pass_on(result r, bool *reached)
{
	*reached = false;
	TRY(r);
	*reached = true;
	return OK;
}

START_TEST(success)
{
	bool reached;

	ck_assert(!failed(OK));
	ck_assert(!failed(pass_on(OK, &reached)));
	ck_assert(reached);
	ck_assert(!failed(in_context(OK, "never said")));
}
END_TEST

START_TEST(failure)
{
	bool reached;
	result r = pass_on(fail(STATUS_INPUT, "%s is %d bytes short", "tape", 7), &reached);

	ck_assert(failed(r));
	ck_assert(!reached);
	ck_assert_int_eq(r.failure->status, STATUS_INPUT);
	ck_assert_str_eq(r.failure->message, "tape is 7 bytes short");
}
END_TEST

START_TEST(with_errno)
{
	result r = fail_errno(STATUS_HOST, ENOENT, "cannot open %s", "/dev/kvm");

	ck_assert_int_eq(r.failure->status, STATUS_HOST);
	ck_assert_str_eq(r.failure->message, "cannot open /dev/kvm: No such file or directory");
}
END_TEST

START_TEST(context)
{
	result r = in_context(fail(STATUS_GUEST, "no segments"), "guest %s", "image");

	ck_assert_int_eq(r.failure->status, STATUS_GUEST);
	ck_assert_str_eq(r.failure->message, "guest image: no segments");
}
END_TEST

START_TEST(a_failure_may_quote_the_one_before)
{
	result first = fail(STATUS_FAILED, "first");
	result second = fail(STATUS_FAILED, "second after %s", first.failure->message);

	ck_assert_str_eq(second.failure->message, "second after first");
}
END_TEST

START_TEST(long_messages_are_cut)
{
	char text[5000];

	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';

	result r = in_context(fail(STATUS_FAILED, "%s", text), "%s", text);

	ck_assert_uint_eq(strlen(r.failure->message), sizeof(r.failure->message) - 1);
}
END_TEST

START_TEST(broken_invariant_aborts)
{
	invariant(1 + 1 == 2);
	invariant(1 + 1 == 3);
}
END_TEST

START_TEST(array_size)
{
	const uint16_t array[7] = { 0 };

	ck_assert_uint_eq(ARRAY_SIZE(array), 7);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("result");
	TCase *tests = tcase_create("results");

	tcase_add_test(tests, success);
	tcase_add_test(tests, failure);
	tcase_add_test(tests, with_errno);
	tcase_add_test(tests, context);
	tcase_add_test(tests, a_failure_may_quote_the_one_before);
	tcase_add_test(tests, long_messages_are_cut);
	tcase_add_test_raise_signal(tests, broken_invariant_aborts, SIGABRT);
	tcase_add_test(tests, array_size);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
