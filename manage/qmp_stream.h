/*
 * Messages of QMP in a stream of bytes. A message is one JSON object; white space may stand between messages, nothing
 * needs to. Only its end is looked for here; whether it is JSON is the parser's to say.
 *
 * After something that cannot be a message, everything up to the next line feed is skipped, so each bad line of a
 * peer that writes lines costs it one error.
 */
#ifndef TERCET_MANAGE_QMP_STREAM_H
#define TERCET_MANAGE_QMP_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The longest message in bytes. libvirt's longest are some KiB; what is longer is a mistake or an attack. */
#define QMP_STREAM_MESSAGE_MAX ((size_t)1 << 20)

enum {
	QMP_STREAM_NESTING_MAX = 64, /* brackets within brackets */
};

struct qmp_stream {
	char *text; /* of the message at hand; not terminated */
	size_t length;
	size_t room;
	uint64_t square; /* bit n: the bracket that opened depth n + 1 is [ and not { */
	unsigned depth;
	bool in_string;
	bool escaped;  /* the character before was a backslash, in a string */
	bool skipping; /* up to the next line feed */
};

enum qmp_stream_found {
	QMP_STREAM_NOTHING, /* all was taken, and no message has ended yet */
	QMP_STREAM_MESSAGE, /* text and length are a message's, until the next call */
	QMP_STREAM_ERROR,   /* what came is no message */
};

/* An empty stream. It holds no memory before the first byte. */
void qmp_stream_init(struct qmp_stream *stream);
void qmp_stream_destroy(struct qmp_stream *stream);

/* Takes bytes up to the end of a message or an error; `*taken` is how many of them. `*error` is set with
 * QMP_STREAM_ERROR: a text without an end. To be called again with the rest. */
enum qmp_stream_found qmp_stream_take(struct qmp_stream *stream, const char *data, size_t length, size_t *taken,
				      const char **error);

#endif
