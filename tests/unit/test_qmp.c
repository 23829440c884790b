/* A conversation in QMP: greeting, negotiation, requests good and bad, order, events, and peers that do not read. */
#include "tests/unit/fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "manage/qmp.c"
#include "manage/qmp_stream.c"

static struct qmp qmp;
static unsigned runs;

static result run_echo(void *context, json_t *arguments, struct qmp_answer *answer)
{
	ck_assert_ptr_eq(context, &runs);
	ck_assert(json_is_object(arguments));
	runs++;
	json_decref(answer->value);
	answer->value = json_incref(arguments);
	return OK;
}

static result run_nothing(void *context, json_t *arguments, struct qmp_answer *answer)
{
	(void)context, (void)arguments, (void)answer;
	runs++;
	return OK;
}

static result run_failing(void *context, json_t *arguments, struct qmp_answer *answer)
{
	(void)context, (void)arguments, (void)answer;
	return fail(STATUS_FAILED, "it is %s", "broken");
}

static result run_no_device(void *context, json_t *arguments, struct qmp_answer *answer)
{
	(void)context, (void)arguments;
	answer->error_class = "DeviceNotFound";
	return fail(STATUS_FAILED, "a text in Latin-1: \xe4");
}

static result run_event(void *context, json_t *arguments, struct qmp_answer *answer)
{
	json_t *event = json_pack("{s:s}", "event", "RESUME");

	(void)context, (void)arguments, (void)answer;
	qmp_tell(&qmp, event);
	json_decref(event);
	return OK;
}

static const char *const echo_parameters[] = { "a", "b", NULL };

static const struct qmp_command table[] = {
	{ "echo", echo_parameters, run_echo },
	{ "nothing", NULL, run_nothing },
	{ "failing", NULL, run_failing },
	{ "no-device", NULL, run_no_device },
	{ "cont", NULL, run_event },
};

static const struct qmp_interface interface = {
	.commands = table, .count = ARRAY_SIZE(table), .context = &runs,
};

/* Takes all output; valid until the next call. */
static const char *take(void)
{
	static char text[4096];
	size_t length;
	const char *output = qmp_output(&qmp, &length);

	ck_assert_uint_lt(length, sizeof(text));
	memcpy(text, output, length);
	text[length] = '\0';
	qmp_output_taken(&qmp, length);
	return text;
}

static void say(const char *text)
{
	qmp_receive(&qmp, text, strlen(text));
}

/* What comes back for `text` is exactly `wanted`, in lines. */
static void expect(const char *text, const char *wanted)
{
	say(text);
	ck_assert_str_eq(take(), wanted);
}

/* What comes back is one error of this class, with this id (as JSON, or NULL). */
static void expect_error(const char *text, const char *class, const char *id)
{
	char wanted[128];

	say(text);
	const char *got = take();

	ck_assert_msg(strncmp(got, "{\"error\": {\"class\": \"", 21) == 0, "%s: %s", text, got);
	ck_assert_msg(strncmp(got + 21, class, strlen(class)) == 0, "%s: %s", text, got);
	ck_assert_msg(strchr(got, '\n') == got + strlen(got) - 1, "%s: %s", text, got);
	(void)snprintf(wanted, sizeof(wanted), id ? "\"}, \"id\": %s}\r\n" : "\"}}\r\n", id);
	ck_assert_msg(strlen(got) > strlen(wanted), "%s: %s", text, got);
	ck_assert_str_eq(got + strlen(got) - strlen(wanted), wanted);
}

static void setup(void)
{
	runs = 0;
	qmp_begin(&qmp, &interface);
}

static void setup_negotiated(void)
{
	setup();
	(void)take();
	expect("{\"execute\": \"qmp_capabilities\"}", "{\"return\": {}}\r\n");
}

static void teardown(void)
{
	ck_assert(!qmp.broken);
	qmp_end(&qmp);
}

START_TEST(greeting)
{
	ck_assert_str_eq(take(), "{\"QMP\": {\"version\": {\"qemu\": {\"major\": 4, \"minor\": 2, \"micro\": 0}, "
				 "\"package\": \" (tercet " TERCET_VERSION ")\"}, \"capabilities\": []}}\r\n");
}
END_TEST

START_TEST(negotiation)
{
	(void)take();
	expect_error("{\"execute\": \"nothing\", \"id\": 5}", "CommandNotFound\"", "5");
	expect_error("{\"execute\": \"there-is-none\"}", "CommandNotFound\"", NULL);
	ck_assert_uint_eq(runs, 0);
	expect_error("{\"execute\": \"qmp_capabilities\", \"arguments\": {\"enable\": [\"oob\"]}}", "GenericError\"",
		     NULL);
	expect_error("{\"execute\": \"qmp_capabilities\", \"arguments\": {\"enable\": 1}}", "GenericError\"", NULL);
	expect_error("{\"execute\": \"qmp_capabilities\", \"arguments\": {\"disable\": []}}", "GenericError\"", NULL);
	ck_assert(!qmp.negotiated);
	expect("{\"execute\": \"qmp_capabilities\", \"arguments\": {\"enable\": []}, \"id\": \"x\"}",
	       "{\"return\": {}, \"id\": \"x\"}\r\n");
	expect_error("{\"execute\": \"qmp_capabilities\"}", "CommandNotFound\"", NULL);
	expect("{\"execute\": \"nothing\"}", "{\"return\": {}}\r\n");
}
END_TEST

START_TEST(requests)
{
	expect("{\"execute\": \"echo\"}", "{\"return\": {}}\r\n");
	expect("{\"execute\": \"echo\", \"arguments\": {\"a\": [1, null], \"b\": {\"c\": 2}}, \"id\": {\"d\": [3]}}",
	       "{\"return\": {\"a\": [1, null], \"b\": {\"c\": 2}}, \"id\": {\"d\": [3]}}\r\n");
	expect("{\"id\": null, \"arguments\": {}, \"execute\": \"nothing\"}",
	       "{\"return\": {}, \"id\": null}\r\n");
	expect("{\"execute\": \"failing\", \"id\": false}",
	       "{\"error\": {\"class\": \"GenericError\", \"desc\": \"it is broken\"}, \"id\": false}\r\n");
	expect("{\"execute\": \"no-device\"}",
	       "{\"error\": {\"class\": \"DeviceNotFound\", \"desc\": \"a text in Latin-1: ?\"}}\r\n");
	ck_assert_uint_eq(runs, 3);
}
END_TEST

START_TEST(bad_requests)
{
	static const struct {
		const char *text, *class, *id;
	} bad[] = {
		{ "{\"execute\": \"there-is-none\", \"id\": 1}", "CommandNotFound\"", "1" },
		{ "{\"execute\": \"echo\", \"arguments\": {\"c\": 1}, \"id\": 1}", "GenericError\"", "1" },
		{ "{\"execute\": \"nothing\", \"arguments\": {\"a\": 1}}", "GenericError\"", NULL },
		{ "{\"execute\": \"nothing\", \"arguments\": []}", "GenericError\"", NULL },
		{ "{\"execute\": \"nothing\", \"argument\": {}, \"id\": 2}", "GenericError\"", "2" },
		{ "{\"execute\": 5, \"id\": 3}", "GenericError\"", "3" },
		{ "{\"id\": 3}", "GenericError\"", "3" },
		{ "{}", "GenericError\"", NULL },
		{ "{\"exec-oob\": \"nothing\", \"id\": 1}", "GenericError\"", "1" },
		{ "{\"execute\": \"nothing\", \"execute\": \"nothing\"}", "GenericError\"", NULL },
		{ "{\"execute\": \"noth\\u0000ing\"}", "GenericError\"", NULL },
		{ "{\"execute\": \"nothing\",}", "GenericError\"", NULL },
		{ "{\"execute\": 'nothing'}", "GenericError\"", NULL },
		{ "{\"execute\": \"nothing\", \"id\": 99999999999999999999}", "GenericError\"", NULL },
		{ "{\"execute\": \"\xff\xfe\"}", "GenericError\"", NULL },
		{ "nothing\n", "GenericError\"", NULL },
		{ "{\"a\": ]\n", "GenericError\"", NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		expect_error(bad[i].text, bad[i].class, bad[i].id);
	ck_assert_uint_eq(runs, 0);
	expect("{\"execute\": \"nothing\"}", "{\"return\": {}}\r\n");
}
END_TEST

START_TEST(pipelined)
{
	static const char text[] = "{\"execute\": \"nothing\", \"id\": 1}{\"execute\": \"failing\", \"id\": 2}\n"
				   "\n{\"execute\": \"echo\", \"arguments\": {\"a\": 1}, \"id\": 3}";
	static const char wanted[] =
		"{\"return\": {}, \"id\": 1}\r\n"
		"{\"error\": {\"class\": \"GenericError\", \"desc\": \"it is broken\"}, \"id\": 2}\r\n"
		"{\"return\": {\"a\": 1}, \"id\": 3}\r\n";

	expect(text, wanted);
	/* Byte for byte. */
	for (const char *c = text; *c; c++)
		qmp_receive(&qmp, c, 1);
	ck_assert_str_eq(take(), wanted);
}
END_TEST

START_TEST(events)
{
	json_t *event = json_pack("{s:s, s:{}}", "event", "X", "data");

	(void)take();
	qmp_tell(&qmp, event);
	ck_assert_str_eq(take(), "");
	say("{\"execute\": \"qmp_capabilities\"}");
	qmp_tell(&qmp, event);
	ck_assert_str_eq(take(), "{\"return\": {}}\r\n{\"event\": \"X\", \"data\": {}}\r\n");
	/* Before the reply of the command that made it happen: libvirt relies on it. */
	expect("{\"execute\": \"cont\"}", "{\"event\": \"RESUME\"}\r\n{\"return\": {}}\r\n");
	json_decref(event);
}
END_TEST

/* Output that leaves in pieces while more is added is what one that leaves at once is. */
START_TEST(output_in_pieces)
{
	static char got[1 << 20];
	size_t used = 0;
	uint64_t seed = 7;

	for (unsigned i = 0; i < 3000; i++) {
		char text[64];
		size_t length;

		(void)snprintf(text, sizeof(text), "{\"execute\": \"nothing\", \"id\": %u}", i);
		say(text);
		const char *output = qmp_output(&qmp, &length);
		size_t part = fixture_random(&seed) % (length + 1);

		if (i == 2999)
			part = length;
		memcpy(got + used, output, part);
		used += part;
		qmp_output_taken(&qmp, part);
	}
	got[used] = '\0';
	const char *at = got;

	for (unsigned i = 0; i < 3000; i++) {
		char wanted[64];
		int length = snprintf(wanted, sizeof(wanted), "{\"return\": {}, \"id\": %u}\r\n", i);

		ck_assert_int_eq(strncmp(at, wanted, (size_t)length), 0);
		at += length;
	}
	ck_assert_int_eq(*at, '\0');
}
END_TEST

/* Events for a peer that does not read end it; until then nothing of them is lost. */
START_TEST(unread_output)
{
	json_t *event = json_pack("{s:s}", "event", "TEXT");
	const size_t size = strlen("{\"event\": \"TEXT\"}\r\n");
	size_t count = 0, waiting;

	while (qmp_wants_input(&qmp)) {
		qmp_tell(&qmp, event);
		count++;
	}
	(void)qmp_output(&qmp, &waiting);
	ck_assert_uint_eq(waiting, count * size);
	ck_assert_uint_ge(waiting, QMP_OUTPUT_CALM);
	ck_assert_uint_lt(waiting, QMP_OUTPUT_CALM + size);
	while (!qmp.broken && count * size <= QMP_OUTPUT_MAX) {
		qmp_tell(&qmp, event);
		count++;
	}
	ck_assert(qmp.broken);
	ck_assert_uint_gt(count * size, QMP_OUTPUT_MAX);
	(void)qmp_output(&qmp, &waiting);
	ck_assert_uint_le(waiting, QMP_OUTPUT_MAX);
	ck_assert(!qmp_wants_input(&qmp));
	json_decref(event);
	qmp.broken = false;
}
END_TEST

/* The longest request comes back in its reply. */
START_TEST(longest_id)
{
	static const char head[] = "{\"execute\": \"nothing\", \"id\": \"";
	static char text[QMP_STREAM_MESSAGE_MAX + 1];
	size_t waiting;

	memset(text, 'x', QMP_STREAM_MESSAGE_MAX);
	memcpy(text, head, strlen(head));
	memcpy(text + QMP_STREAM_MESSAGE_MAX - 2, "\"}", 3);
	say(text);
	(void)qmp_output(&qmp, &waiting);
	ck_assert_uint_gt(waiting, QMP_STREAM_MESSAGE_MAX - strlen(head));
	qmp_output_taken(&qmp, waiting);
	text[QMP_STREAM_MESSAGE_MAX - 2] = 'x';
	say(text);
	(void)qmp_output(&qmp, &waiting);
	ck_assert_uint_eq(waiting, 0);
	say("y");
	ck_assert_ptr_nonnull(strstr(take(), "longer than 1 MiB"));
	ck_assert_uint_eq(runs, 1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("qmp");
	TCase *fresh = tcase_create("fresh");
	TCase *negotiated = tcase_create("negotiated");

	tcase_add_checked_fixture(fresh, setup, teardown);
	tcase_add_test(fresh, greeting);
	tcase_add_test(fresh, negotiation);
	tcase_add_test(fresh, events);
	suite_add_tcase(suite, fresh);
	tcase_add_checked_fixture(negotiated, setup_negotiated, teardown);
	tcase_add_test(negotiated, requests);
	tcase_add_test(negotiated, bad_requests);
	tcase_add_test(negotiated, pipelined);
	tcase_add_test(negotiated, output_in_pieces);
	tcase_add_test(negotiated, unread_output);
	tcase_add_test(negotiated, longest_id);
	tcase_set_timeout(negotiated, 60);
	suite_add_tcase(suite, negotiated);
	return fixture_run(suite);
}
