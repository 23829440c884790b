/* Pause, resume, reset, power-off and end, as the supervisor has them: what replicas and the world are told. */
#include "tests/unit/supervised.h"

#include <string.h>

#include "lockstep/guest_time.h"
#include "lockstep/repair.h"
#include "lockstep/steer.h"
#include "lockstep/supervisor.h"
#include "lockstep/verdict.h"

static const struct machine_control *const control = &supervisor_control;
static struct supervised supervised;
static struct supervisor *supervisor;

static void begin(bool paused, bool hold, bool no_reboot)
{
	supervised_make(&supervised, 3);
	supervisor = supervised.supervisor;
	supervised.options.paused = paused;
	supervised.options.hold = hold;
	supervised.options.no_reboot = no_reboot;
	steer_begin(supervisor);
	supervised_stand(&supervised, 0, 100, 0);
}

static void setup(void)
{
	begin(false, false, false);
}

static void setup_held(void)
{
	begin(false, true, false);
}

static void teardown(void)
{
	supervised_destroy(&supervised);
}

static unsigned events(const char *name)
{
	return supervised_events(&supervised, name);
}

/* The reason of the last event of this name. */
static const char *reason(const char *name)
{
	const char *found = "";
	size_t i;
	json_t *event;

	json_array_foreach(supervisor->tally.events, i, event)
		if (strcmp(json_string_value(json_object_get(event, "event")), name) == 0)
			found = json_string_value(json_object_get(json_object_get(event, "data"), "reason"));
	return found ? found : "";
}

static uint64_t told(void)
{
	return atomic_load(&supervisor->page->verdicts);
}

static uint64_t resets(void)
{
	return atomic_load(&supervisor->page->resets);
}

START_TEST(pause_and_resume)
{
	ck_assert_int_eq(control->state(supervisor), LIFE_RUNNING);
	must_succeed(control->resume(supervisor));
	ck_assert_uint_eq(events("RESUME"), 0);
	must_succeed(control->pause(supervisor));
	must_succeed(control->pause(supervisor));
	ck_assert_int_eq(control->state(supervisor), LIFE_PAUSED);
	ck_assert(guest_time_frozen(supervisor->page));
	ck_assert_uint_eq(events("STOP"), 1);
	must_succeed(control->resume(supervisor));
	ck_assert_int_eq(control->state(supervisor), LIFE_RUNNING);
	ck_assert(!guest_time_frozen(supervisor->page));
	ck_assert_uint_eq(events("RESUME"), 1);
}
END_TEST

START_TEST(begins_paused)
{
	teardown();
	begin(true, false, false);
	ck_assert_int_eq(control->state(supervisor), LIFE_PRELAUNCH);
	ck_assert(guest_time_frozen(supervisor->page));
	must_succeed(control->resume(supervisor));
	ck_assert(!guest_time_frozen(supervisor->page));
	ck_assert_uint_eq(events("RESUME"), 1);
}
END_TEST

/* The guest's own: replicas go on behind the vote, and nobody asked them to. */
START_TEST(guest_resets)
{
	supervised_end(&supervised, END_RESET, RESET_BY_GUEST);
	ck_assert(!supervisor->over);
	ck_assert_uint_eq(told(), 1);
	ck_assert_uint_eq(resets(), 0);
	ck_assert_uint_eq(supervisor->tally.resets, 1);
	ck_assert_uint_eq(events("RESET"), 1);
	ck_assert_str_eq(reason("RESET"), "guest-reset");
	must_succeed(steer_continue(supervisor, false));
	ck_assert_uint_eq(events("SHUTDOWN"), 0);
}
END_TEST

START_TEST(asked_reset)
{
	must_succeed(control->reset(supervisor));
	ck_assert_uint_eq(resets(), 1);
	ck_assert_uint_eq(events("RESET"), 0);
	supervised_end(&supervised, END_RESET, RESET_BY_HOST);
	ck_assert_uint_eq(events("RESET"), 1);
	ck_assert_str_eq(reason("RESET"), "host-qmp-system-reset");
	ck_assert_uint_eq(told(), 1);
	/* One that stands still stays there. */
	must_succeed(control->pause(supervisor));
	must_succeed(control->reset(supervisor));
	ck_assert_int_eq(control->state(supervisor), LIFE_PRELAUNCH);
	ck_assert(guest_time_frozen(supervisor->page));
}
END_TEST

/* Without a reboot the replicas stay at the vote. */
START_TEST(no_reboot)
{
	teardown();
	begin(false, false, true);
	supervised_end(&supervised, END_RESET, RESET_BY_GUEST);
	ck_assert(supervisor->over);
	ck_assert_int_eq(supervisor->end, END_RESET);
	ck_assert_uint_eq(supervisor->verdicts, 1);
	ck_assert_uint_eq(told(), 0);
	verdict_tell(supervisor);
	ck_assert_uint_eq(told(), 0);
	steer_tell_shutdown(supervisor);
	ck_assert_str_eq(reason("SHUTDOWN"), "guest-reset");
	ck_assert(failed(control->reset(supervisor)));
	ck_assert(failed(control->pause(supervisor)));
	ck_assert(failed(control->power_button(supervisor)));
	ck_assert(failed(control->end(supervisor)));
}
END_TEST

START_TEST(power_off)
{
	supervised_end(&supervised, END_POWER_OFF, 0);
	ck_assert(supervisor->over);
	ck_assert_uint_eq(told(), 0);
	must_succeed(steer_continue(supervisor, false));
	ck_assert_uint_eq(events("STOP"), 0);
	steer_tell_shutdown(supervisor);
	ck_assert_uint_eq(events("SHUTDOWN"), 1);
	ck_assert_str_eq(reason("SHUTDOWN"), "guest-shutdown");
	ck_assert(failed(steer_quit(supervisor, "ended")));
}
END_TEST

/* Nobody hears of it before all output has left; then it is off, and only a reset brings it back. */
START_TEST(held)
{
	supervised_end(&supervised, END_POWER_OFF, 0);
	ck_assert(!supervisor->over);
	ck_assert_uint_eq(told(), 1);
	ck_assert_int_eq(control->state(supervisor), LIFE_SHUTDOWN);
	ck_assert(guest_time_frozen(supervisor->page));
	must_succeed(steer_continue(supervisor, true));
	ck_assert_uint_eq(events("SHUTDOWN"), 0);
	must_succeed(steer_continue(supervisor, false));
	must_succeed(steer_continue(supervisor, false));
	ck_assert_uint_eq(events("SHUTDOWN"), 1);
	ck_assert_uint_eq(events("STOP"), 1);
	ck_assert_str_eq(reason("SHUTDOWN"), "guest-shutdown");
	ck_assert(failed(control->resume(supervisor)));
	ck_assert(failed(control->pause(supervisor)));
	ck_assert(failed(control->power_button(supervisor)));
	/* A vote for a repair is no second power-off. */
	supervised_end(&supervised, END_POWER_OFF, 0);
	must_succeed(steer_continue(supervisor, false));
	ck_assert_uint_eq(events("SHUTDOWN"), 1);
	ck_assert_uint_eq(told(), 2);

	must_succeed(control->reset(supervisor));
	ck_assert_uint_eq(resets(), 1);
	ck_assert_int_eq(control->state(supervisor), LIFE_PRELAUNCH);
	must_succeed(control->resume(supervisor));
	ck_assert(!guest_time_frozen(supervisor->page));
	supervised_end(&supervised, END_RESET, RESET_BY_HOST);
	ck_assert_int_eq(control->state(supervisor), LIFE_RUNNING);
	ck_assert_uint_eq(events("RESET"), 1);
	/* And off again. */
	supervised_end(&supervised, END_POWER_OFF, 0);
	must_succeed(steer_continue(supervisor, false));
	ck_assert_uint_eq(events("SHUTDOWN"), 2);
}
END_TEST

/* Held where its guest has reset it: it begins again when somebody says so. */
START_TEST(held_without_reboot)
{
	teardown();
	begin(false, true, true);
	supervised_end(&supervised, END_RESET, RESET_BY_GUEST);
	ck_assert(!supervisor->over);
	ck_assert_uint_eq(told(), 0);
	must_succeed(steer_continue(supervisor, false));
	ck_assert_str_eq(reason("SHUTDOWN"), "guest-reset");
	must_succeed(control->reset(supervisor));
	ck_assert_uint_eq(told(), 1);
	ck_assert_uint_eq(resets(), 0);
	ck_assert_uint_eq(events("RESET"), 1);
	ck_assert_int_eq(control->state(supervisor), LIFE_PRELAUNCH);
	must_succeed(control->resume(supervisor));
	ck_assert(!guest_time_frozen(supervisor->page));
}
END_TEST

/* A machine that runs is ended with an error, one that is off is not. */
START_TEST(quit)
{
	result r;

	must_succeed(steer_continue(supervisor, false));
	must_succeed(control->end(supervisor));
	r = steer_continue(supervisor, false);
	ck_assert(failed(r));
	ck_assert_ptr_nonnull(strstr(r.failure->message, "ended by its monitor before the guest powered off"));
	steer_tell_shutdown(supervisor);
	ck_assert_str_eq(reason("SHUTDOWN"), "host-qmp-quit");
}
END_TEST

START_TEST(quit_while_held)
{
	supervised_end(&supervised, END_POWER_OFF, 0);
	must_succeed(steer_continue(supervisor, false));
	must_succeed(control->end(supervisor));
	must_succeed(steer_continue(supervisor, false));
	ck_assert(supervisor->over);
	ck_assert_int_eq(supervisor->end, END_POWER_OFF);
	must_succeed(steer_continue(supervisor, false));
	steer_tell_shutdown(supervisor);
	ck_assert_uint_eq(events("SHUTDOWN"), 2);
	ck_assert_str_eq(reason("SHUTDOWN"), "host-qmp-quit");
}
END_TEST

START_TEST(power_button)
{
	must_succeed(control->power_button(supervisor));
	must_succeed(control->power_button(supervisor));
	ck_assert_uint_eq(atomic_load(&supervisor->page->buttons), 2);
	ck_assert_uint_eq(events("POWERDOWN"), 2);
}
END_TEST

/* Who is outvoted where the guest resets the machine takes over the state there, as at any vote. */
START_TEST(repair_at_reset)
{
	supervised_agree(&supervised, 100);
	supervised_stand(&supervised, 1, 100, 0);
	supervisor->care[1].phase = CARE_WAITING;
	supervisor->members[1].live = false;
	supervised_end(&supervised, END_RESET, RESET_BY_GUEST);
	supervised_must_have_order(&supervised, 1, ORDER_RESYNC, 2, 1);
	ck_assert_uint_eq(told(), 2);
	ck_assert_uint_eq(atomic_load(&supervisor->page->hold), 1u << 2);
}
END_TEST

int main(int argc, char **argv)
{
	Suite *suite = suite_create("steer");
	TCase *tests = tcase_create("steer");
	TCase *with_hold = tcase_create("held");

	supervised_be_replica(argc, argv);
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, pause_and_resume);
	tcase_add_test(tests, begins_paused);
	tcase_add_test(tests, guest_resets);
	tcase_add_test(tests, asked_reset);
	tcase_add_test(tests, no_reboot);
	tcase_add_test(tests, power_off);
	tcase_add_test(tests, held_without_reboot);
	tcase_add_test(tests, quit);
	tcase_add_test(tests, power_button);
	tcase_add_test(tests, repair_at_reset);
	suite_add_tcase(suite, tests);
	tcase_add_checked_fixture(with_hold, setup_held, teardown);
	tcase_add_test(with_hold, held);
	tcase_add_test(with_hold, quit_while_held);
	suite_add_tcase(suite, with_hold);
	return fixture_run(suite);
}
