#include "base/result.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

static _Thread_local struct failure last_failure;

static __attribute__((returns_nonnull)) const struct failure *
set_failure(enum status status, const char *format, va_list arguments)
{
	/* Formatted aside first: an argument may be the message of the failure before. */
	char message[sizeof(last_failure.message)];

	(void)vsnprintf(message, sizeof(message), format, arguments);
	memcpy(last_failure.message, message, sizeof(message));
	last_failure.status = status;
	return &last_failure;
}

const struct failure *failure_make(enum status status, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	const struct failure *failure = set_failure(status, format, arguments);
	va_end(arguments);
	return failure;
}

const struct failure *failure_make_errno(enum status status, int error, const char *format, ...)
{
	char message[sizeof(last_failure.message)];
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(message, sizeof(message), format, arguments);
	va_end(arguments);
	return failure_make(status, "%s: %s", message, strerror(error));
}

result in_context(result r, const char *format, ...)
{
	char context[sizeof(last_failure.message)];
	va_list arguments;

	if (!failed(r))
		return r;
	va_start(arguments, format);
	(void)vsnprintf(context, sizeof(context), format, arguments);
	va_end(arguments);
	return fail(r.failure->status, "%s: %s", context, r.failure->message);
}

void invariant_failed(const char *condition, const char *file, int line)
{
	log_error("invariant broken: %s (%s:%d): this is a bug in tercet, please report it", condition, file,
		  line);
	abort();
}
