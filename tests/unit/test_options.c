/* Options of `tercet run`: what holds where nothing is said, and what does not go together. */
#include "tests/unit/guest_memory.h"

#include <string.h>

#include "base/futex.h"
#include "manage/options.h"

static struct machine_options machine;
static struct monitor_options monitor;

/* As if these were given, up to a NULL, to a payload. */
static result take(const char *const (*given)[2])
{
	struct options_reader reader;

	options_begin(&reader, &machine, &monitor);
	must_succeed(options_set(&reader, "payload", "/payload"));
	for (; (*given)[0]; given++)
		TRY(options_set(&reader, (*given)[0], (*given)[1]));
	return options_end(&reader);
}

/* Guests are preempted unless that, or the other way of going on together, is asked for. */
START_TEST(preemption)
{
	static const struct {
		const char *given[3][2];
		uint64_t grace;
		bool unasked;
	} cases[] = {
		{ { { NULL } }, NS_PER_MS, true },
		{ { { "preempt-grace", "20ms" } }, 20 * NS_PER_MS, false },
		{ { { "preempt-grace", "1ms" } }, NS_PER_MS, false },
		{ { { "preempt-grace", "none" } }, 0, false },
		{ { { "sync", "votes" } }, NS_PER_MS, true },
		{ { { "sync", "strict" } }, 0, true },
		{ { { "sync", "strict" }, { "preempt-grace", "none" } }, 0, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		must_succeed(take(cases[i].given));
		ck_assert_msg(machine.preempt_grace == cases[i].grace, "case %zu: %ju", i,
			      (uintmax_t)machine.preempt_grace);
		ck_assert_msg(machine.preempt_unasked == cases[i].unasked, "case %zu", i);
	}
}
END_TEST

START_TEST(not_both)
{
	static const char *const given[][2] = { { "preempt-grace", "2ms" }, { "sync", "strict" }, { NULL } };
	result r = take(given);

	ck_assert(failed(r));
	ck_assert_int_eq(r.failure->status, STATUS_USAGE);
	ck_assert_msg(strstr(r.failure->message, "leave out --preempt-grace"), "%s", r.failure->message);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("options");
	TCase *all = tcase_create("all");

	tcase_add_test(all, preemption);
	tcase_add_test(all, not_both);
	suite_add_tcase(suite, all);
	return fixture_run(suite);
}
