#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

static char log_role[32];
static bool log_verbose;

void log_set_role(const char *role)
{
	(void)snprintf(log_role, sizeof(log_role), "%s", role ? role : "");
}

void log_set_verbose(bool verbose)
{
	log_verbose = verbose;
}

void log_make_plain(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || (unsigned char)*text > '~')
			*text = '?';
}

static void log_line(const char *level, const char *format, va_list arguments)
{
	char text[2048];
	char line[2200];

	(void)vsnprintf(text, sizeof(text), format, arguments);
	int length = snprintf(line, sizeof(line), "tercet%s%s%s: %s%s\n", log_role[0] ? "[" : "", log_role,
			      log_role[0] ? "]" : "", level, text);

	if (length > (int)sizeof(line) - 1)
		length = (int)sizeof(line) - 1;
	/* One write a line, so that lines of several processes do not mix. A failure has nowhere to go. */
	ssize_t written = write(STDERR_FILENO, line, (size_t)length);

	(void)written;
}

#define LOG_FUNCTION(name, level, enabled)              \
	void name(const char *format, ...)              \
	{                                               \
		va_list arguments;                      \
                                                        \
		if (!(enabled))                         \
			return;                         \
		va_start(arguments, format);            \
		log_line(level, format, arguments);     \
		va_end(arguments);                      \
	}

LOG_FUNCTION(log_error, "error: ", true)
LOG_FUNCTION(log_warning, "warning: ", true)
LOG_FUNCTION(log_info, "", true)
LOG_FUNCTION(log_debug, "debug: ", log_verbose)
