/* Where messages end: every split of the bytes, brackets and quotes in strings, rubbish, limits, and what follows. */
#include "tests/unit/fixture.h"

#include <stdlib.h>
#include <string.h>

#include "base/result.h"
#include "manage/qmp_stream.c"

/* What a stream made of some bytes: "M" and the message, or "E", each with a line feed behind it. */
struct findings {
	char text[8192];
	size_t length;
};

static void note(struct findings *findings, const char *kind, const char *text, size_t length)
{
	ck_assert_uint_lt(findings->length + length + 3, sizeof(findings->text));
	findings->text[findings->length++] = *kind;
	memcpy(findings->text + findings->length, text, length);
	findings->length += length;
	findings->text[findings->length++] = '\n';
	findings->text[findings->length] = '\0';
}

/* Feeds pieces of `piece` bytes; each call must take something of what it is given. */
static void feed(struct qmp_stream *stream, const char *data, size_t length, size_t piece, struct findings *findings)
{
	size_t at = 0;

	while (at < length) {
		size_t end = at + piece < length ? at + piece : length;

		while (at < end) {
			const char *error = NULL;
			size_t taken = 0;
			enum qmp_stream_found found = qmp_stream_take(stream, data + at, end - at, &taken, &error);

			ck_assert_uint_gt(taken, 0);
			ck_assert_uint_le(taken, end - at);
			at += taken;
			if (found == QMP_STREAM_MESSAGE)
				note(findings, "M", stream->text, stream->length);
			else if (found == QMP_STREAM_ERROR)
				note(findings, "E", "", 0);
			else
				ck_assert_uint_eq(at, end);
			ck_assert(found != QMP_STREAM_ERROR || error != NULL);
		}
	}
}

static void findings_of(const char *data, size_t length, size_t piece, struct findings *findings)
{
	struct qmp_stream stream;

	*findings = (struct findings){ .length = 0 };
	qmp_stream_init(&stream);
	feed(&stream, data, length, piece, findings);
	qmp_stream_destroy(&stream);
}

/* Whatever the pieces, these bytes are found to be this. */
static void expect(const char *data, const char *wanted)
{
	for (size_t piece = 1; piece <= strlen(data); piece++) {
		struct findings findings;

		findings_of(data, strlen(data), piece, &findings);
		ck_assert_str_eq(findings.text, wanted);
	}
}

START_TEST(messages)
{
	expect("{}", "M{}\n");
	expect(" \r\n\t{\"execute\": \"x\"}\r\n", "M{\"execute\": \"x\"}\n");
	expect("{\"a\": [1, {\"b\": [[]]}]}", "M{\"a\": [1, {\"b\": [[]]}]}\n");
	/* Over several lines, as people write. */
	expect("{\n\t\"a\":\n1}\n", "M{\n\t\"a\":\n1}\n");
	/* One behind the other, with and without space. */
	expect("{}{\"a\": 1} {\"b\": 2}\n{}", "M{}\nM{\"a\": 1}\nM{\"b\": 2}\nM{}\n");
	/* Not JSON, but that is for the parser. */
	expect("{a b}{,}", "M{a b}\nM{,}\n");
}
END_TEST

START_TEST(strings)
{
	expect("{\"}\": \"]{[\"}{}", "M{\"}\": \"]{[\"}\nM{}\n");
	expect("{\"\\\"}\": \"\\\\\"}{}", "M{\"\\\"}\": \"\\\\\"}\nM{}\n");
	expect("{\"\\\\\\\"}\": 1}", "M{\"\\\\\\\"}\": 1}\n");
	expect("{\"\xc3\xa4\": \"\xff\"}", "M{\"\xc3\xa4\": \"\xff\"}\n");
}
END_TEST

START_TEST(rubbish)
{
	expect("hello\n{}", "E\nM{}\n");
	expect("[]\n{}", "E\nM{}\n");
	expect("}\n{}", "E\nM{}\n");
	expect("\"{}\" {} {}\n{\"a\": 1}", "E\nM{\"a\": 1}\n");
	expect("{]}}{}\n{}", "E\nM{}\n");
	expect("{\"a\": [}\n{}", "E\nM{}\n");
	expect("{\x80}{}\n{}", "E\nM{}\n");
	expect("{\x01}{}\n{}", "E\nM{}\n");
	expect("{\x7f}\n{}", "E\nM{}\n");
	expect("{\"a\x01\"}\n{}", "E\nM{}\n");
	/* The line feed that ends a string ends what is skipped, too. */
	expect("{\"a\n{}\n{\"\\\n{}", "E\nM{}\nE\nM{}\n");
	expect("a\nb\n\nc\n{}", "E\nE\nE\nM{}\n");
	expect("{} x {}\n", "M{}\nE\n");
}
END_TEST

START_TEST(nesting)
{
	char text[2 * (QMP_STREAM_NESTING_MAX + 1) + 8];
	struct findings findings;

	for (unsigned deep = QMP_STREAM_NESTING_MAX; deep <= QMP_STREAM_NESTING_MAX + 1; deep++) {
		size_t length = 0;

		for (unsigned i = 0; i < deep; i++)
			text[length++] = i % 3 == 0 ? '{' : '[';
		for (unsigned i = deep; i-- > 0;)
			text[length++] = i % 3 == 0 ? '}' : ']';
		memcpy(text + length, "\n{}", 3);
		findings_of(text, length + 3, 7, &findings);
		if (deep <= QMP_STREAM_NESTING_MAX)
			ck_assert_int_eq(findings.text[0], 'M');
		else
			ck_assert_str_eq(findings.text, "E\nM{}\n");
	}
}
END_TEST

/* A message of `length` bytes, in pieces of a network's size. */
static enum qmp_stream_found feed_long(struct qmp_stream *stream, size_t length)
{
	static char piece[4000];
	enum qmp_stream_found found = QMP_STREAM_NOTHING;
	const char *error;
	size_t taken, sent = 2;

	memset(piece, 'x', sizeof(piece));
	ck_assert_int_eq(qmp_stream_take(stream, "{\"", 2, &taken, &error), QMP_STREAM_NOTHING);
	while (sent < length - 2 && found == QMP_STREAM_NOTHING) {
		size_t next = length - 2 - sent < sizeof(piece) ? length - 2 - sent : sizeof(piece);

		found = qmp_stream_take(stream, piece, next, &taken, &error);
		sent += taken;
	}
	return found == QMP_STREAM_NOTHING ? qmp_stream_take(stream, "\"}", 2, &taken, &error) : found;
}

START_TEST(longest)
{
	struct qmp_stream stream;
	const char *error;
	size_t taken;

	qmp_stream_init(&stream);
	ck_assert_int_eq(feed_long(&stream, QMP_STREAM_MESSAGE_MAX), QMP_STREAM_MESSAGE);
	ck_assert_uint_eq(stream.length, QMP_STREAM_MESSAGE_MAX);
	ck_assert_int_eq(feed_long(&stream, QMP_STREAM_MESSAGE_MAX + 1), QMP_STREAM_ERROR);
	ck_assert_int_eq(qmp_stream_take(&stream, "\"}}}}", 5, &taken, &error), QMP_STREAM_NOTHING);
	ck_assert_int_eq(qmp_stream_take(&stream, "\n{}", 3, &taken, &error), QMP_STREAM_MESSAGE);
	ck_assert_uint_eq(stream.length, 2);
	qmp_stream_destroy(&stream);
}
END_TEST

/* Any bytes, those that mean something more often: the same is found however they are cut. */
START_TEST(random_bytes)
{
	static const char alphabet[] = "{{{}}}[]\"\"\\\n\n ,:a1\x01\xff";
	uint64_t seed = 20261122;
	unsigned good = 0, bad = 0;

	for (unsigned round = 0; round < 3000; round++) {
		char data[256];
		size_t length = 1 + fixture_random(&seed) % sizeof(data);
		struct findings whole, pieces;

		for (size_t i = 0; i < length; i++)
			data[i] = alphabet[fixture_random(&seed) % (sizeof(alphabet) - 1)];
		findings_of(data, length, length, &whole);
		findings_of(data, length, 1 + fixture_random(&seed) % 9, &pieces);
		ck_assert_uint_eq(whole.length, pieces.length);
		ck_assert_mem_eq(whole.text, pieces.text, whole.length);
		for (size_t i = 0; i < whole.length; i++) {
			good += whole.text[i] == 'M';
			bad += whole.text[i] == 'E';
		}
	}
	ck_assert_uint_gt(good, 1000);
	ck_assert_uint_gt(bad, 1000);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("qmp_stream");
	TCase *tests = tcase_create("messages");

	tcase_add_test(tests, messages);
	tcase_add_test(tests, strings);
	tcase_add_test(tests, rubbish);
	tcase_add_test(tests, nesting);
	tcase_add_test(tests, longest);
	tcase_add_test(tests, random_bytes);
	tcase_set_timeout(tests, 60);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
