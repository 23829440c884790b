#include "manage/qmp_stream.h"

#include <stdlib.h>

#include "base/result.h"

void qmp_stream_init(struct qmp_stream *stream)
{
	*stream = (struct qmp_stream){ .text = NULL };
}

void qmp_stream_destroy(struct qmp_stream *stream)
{
	free(stream->text);
	qmp_stream_init(stream);
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static const char *store(struct qmp_stream *stream, char c)
{
	enum { FIRST_ROOM = 1024 };

	if (stream->length == QMP_STREAM_MESSAGE_MAX)
		return "the message is longer than 1 MiB";
	if (stream->length == stream->room) {
		size_t room = stream->room == 0 ? FIRST_ROOM : 2 * stream->room;
		char *text = realloc(stream->text, room);

		if (!text)
			return "no memory for the message";
		stream->text = text;
		stream->room = room;
	}
	stream->text[stream->length++] = c;
	return NULL;
}

static const char *open_bracket(struct qmp_stream *stream, bool square)
{
	if (stream->depth == QMP_STREAM_NESTING_MAX)
		return "brackets are nested too deep";
	if (square)
		stream->square |= UINT64_C(1) << stream->depth;
	else
		stream->square &= ~(UINT64_C(1) << stream->depth);
	stream->depth++;
	return NULL;
}

static const char *close_bracket(struct qmp_stream *stream, bool square)
{
	invariant(stream->depth > 0);
	if ((stream->square >> (stream->depth - 1) & 1) != square)
		return "a bracket is closed by one of the other kind";
	stream->depth--;
	return NULL;
}

/* Control characters are refused here, since a line feed in a string must not hide what follows it. */
static const char *take_in_string(struct qmp_stream *stream, char c)
{
	if ((unsigned char)c < 0x20)
		return "a control character in a string";
	if (stream->escaped)
		stream->escaped = false;
	else if (c == '\\')
		stream->escaped = true;
	else if (c == '"')
		stream->in_string = false;
	return NULL;
}

static const char *take_outside(struct qmp_stream *stream, char c)
{
	switch (c) {
	case '{':
	case '[':
		return open_bracket(stream, c == '[');
	case '}':
	case ']':
		return close_bracket(stream, c == ']');
	case '"':
		stream->in_string = true;
		return NULL;
	default:
		/* Numbers and words are ASCII. */
		return is_space(c) || ((unsigned char)c >= 0x20 && (unsigned char)c < 0x7f) ? NULL :
		       "a character that JSON does not have outside of strings";
	}
}

static const char *take_character(struct qmp_stream *stream, char c)
{
	const char *error = NULL;

	if (stream->depth == 0 && c != '{')
		return "a message is a JSON object: it begins with {";
	error = store(stream, c);
	if (error)
		return error;
	return stream->in_string ? take_in_string(stream, c) : take_outside(stream, c);
}

enum qmp_stream_found qmp_stream_take(struct qmp_stream *stream, const char *data, size_t length, size_t *taken,
				      const char **error)
{
	/* Of the message that the last call gave. */
	if (stream->depth == 0)
		stream->length = 0;
	for (size_t i = 0; i < length; i++) {
		const char c = data[i];

		if (stream->skipping) {
			stream->skipping = c != '\n';
			continue;
		}
		if (stream->depth == 0 && is_space(c))
			continue;
		*taken = i + 1;
		*error = take_character(stream, c);
		if (*error) {
			stream->length = 0;
			stream->depth = 0;
			stream->in_string = stream->escaped = false;
			stream->skipping = c != '\n';
			return QMP_STREAM_ERROR;
		}
		if (stream->depth == 0)
			return QMP_STREAM_MESSAGE;
	}
	*taken = length;
	return QMP_STREAM_NOTHING;
}
