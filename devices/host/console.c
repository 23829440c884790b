#include "devices/host/console.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/futex.h"
#include "base/log.h"

/* A pipe or terminal that is ready takes at least so much without blocking (POSIX, PIPE_BUF on Linux). */
enum { CHUNK = 4096 };
/* A pty is empty when it was seen empty so often, so many milliseconds apart. */
enum { PTY_LOOKS = 3, PTY_LOOK_MS = 10 };

static const char file_prefix[] = "file:";
enum { KEY_ESCAPE = 1 /* Ctrl-A */, KEY_QUIT = 'x' };

result console_check(const char *option)
{
	if (strcmp(option, "stdio") == 0 || strcmp(option, "pty") == 0 ||
	    (strncmp(option, file_prefix, strlen(file_prefix)) == 0 && option[strlen(file_prefix)] != '\0'))
		return OK;
	return fail(STATUS_USAGE, "--console %s: give stdio, pty or file:PATH", option);
}

static void make_raw(struct console *console, int fd)
{
	struct termios raw;

	if (!isatty(fd) || tcgetattr(fd, &console->saved) < 0)
		return;
	raw = console->saved;
	cfmakeraw(&raw);
	/* The guest's own line discipline adds carriage returns; what tercet itself says has none. */
	raw.c_oflag |= OPOST;
	console->raw = tcsetattr(fd, TCSANOW, &raw) == 0;
}

static void open_stdio(struct console *console)
{
	console->input_fd = STDIN_FILENO;
	console->output_fd = STDOUT_FILENO;
	make_raw(console, STDIN_FILENO);
}

static result open_pty(struct console *console)
{
	char name[64];
	struct termios raw;
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (master < 0 || grantpt(master) < 0 || unlockpt(master) < 0 || ptsname_r(master, name, sizeof(name)) != 0) {
		fd_close(&master);
		return fail_errno(STATUS_FAILED, errno, "--console pty: no pseudo-terminal to be had");
	}
	console->keeper_fd = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (console->keeper_fd < 0) {
		int error = errno;

		fd_close(&master);
		return fail_errno(STATUS_FAILED, error, "--console pty: cannot open %s", name);
	}
	if (tcgetattr(console->keeper_fd, &raw) == 0) {
		cfmakeraw(&raw);
		(void)tcsetattr(console->keeper_fd, TCSANOW, &raw);
	}
	console->owns_fds = true;
	console->input_fd = console->output_fd = master;
	log_info("console: %s", name);
	return OK;
}

static result open_file(struct console *console, const char *path)
{
	console->output_fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (console->output_fd < 0)
		return fail_errno(STATUS_INPUT, errno, "--console: cannot write %s", path);
	console->owns_fds = true;
	return OK;
}

result console_open(struct console *console, const char *option)
{
	struct stat information;

	*console = (struct console){ .input_fd = -1, .output_fd = -1, .keeper_fd = -1 };
	TRY(console_check(option));
	if (strcmp(option, "stdio") == 0)
		open_stdio(console);
	else if (strcmp(option, "pty") == 0)
		TRY(open_pty(console));
	else
		TRY(open_file(console, option + strlen(file_prefix)));
	console->pollable = fstat(console->output_fd, &information) == 0 && !S_ISREG(information.st_mode);
	return OK;
}

size_t console_pending(const struct console *console)
{
	return console->pending_end - console->pending_begin;
}

bool console_must_deliver(const struct console *console)
{
	return console_pending(console) > 0 && console->keeper_fd < 0;
}

/* What a pty's reader has not read is lost with the master; and what was written a moment ago may not have got
 * there yet. */
static void await_reader(const struct console *console, uint64_t until)
{
	int unread = 1;
	unsigned empty = 0;

	while (empty < PTY_LOOKS && clock_monotonic_ns() < until) {
		struct pollfd nothing = { .fd = -1 };

		if (ioctl(console->keeper_fd, FIONREAD, &unread) < 0)
			return;
		empty = unread == 0 ? empty + 1 : 0;
		(void)poll(&nothing, 1, PTY_LOOK_MS);
	}
}

void console_close(struct console *console)
{
	uint64_t until = clock_monotonic_ns() + NS_PER_S;

	while (console_pending(console) > 0 && clock_monotonic_ns() < until) {
		struct pollfd ready = { .fd = console->output_fd, .events = POLLOUT };

		(void)poll(&ready, 1, 100);
		if (failed(console_flush(console)))
			break;
	}
	if (console->keeper_fd >= 0)
		await_reader(console, until);
	if (console->raw)
		(void)tcsetattr(console->input_fd >= 0 ? console->input_fd : STDIN_FILENO, TCSANOW, &console->saved);
	if (console->owns_fds)
		fd_close(&console->output_fd);
	fd_close(&console->keeper_fd);
	free(console->pending);
	*console = (struct console){ .input_fd = -1, .output_fd = -1, .keeper_fd = -1 };
}

result console_put(struct console *console, const void *data, size_t length)
{
	if (console->pending_begin == console->pending_end)
		console->pending_begin = console->pending_end = 0;
	if (console->pending_size - console->pending_end < length) {
		size_t pending = console_pending(console);
		size_t size = 2 * (pending + length);
		uint8_t *larger = malloc(size);

		if (!larger)
			return fail(STATUS_FAILED, "no memory for %zu bytes of console output", size);
		if (pending > 0)
			memcpy(larger, console->pending + console->pending_begin, pending);
		free(console->pending);
		console->pending = larger;
		console->pending_size = size;
		console->pending_begin = 0;
		console->pending_end = pending;
	}
	memcpy(console->pending + console->pending_end, data, length);
	console->pending_end += length;
	return console_flush(console);
}

static bool can_write(const struct console *console)
{
	struct pollfd ready = { .fd = console->output_fd, .events = POLLOUT };

	return !console->pollable || (poll(&ready, 1, 0) == 1 && (ready.revents & (POLLOUT | POLLERR | POLLHUP)));
}

result console_flush(struct console *console)
{
	while (console_pending(console) > 0 && can_write(console)) {
		size_t part = console_pending(console) < CHUNK ? console_pending(console) : CHUNK;
		ssize_t written = write(console->output_fd, console->pending + console->pending_begin, part);

		if (written < 0 && (errno == EINTR || errno == EAGAIN))
			break;
		if (written < 0)
			return fail_errno(STATUS_FAILED, errno, "the console cannot be written");
		console->pending_begin += (size_t)written;
	}
	return OK;
}

/* Takes Ctrl-A x (end) and Ctrl-A Ctrl-A (one Ctrl-A) out of what a user typed. */
static size_t filter_escapes(struct console *console, uint8_t *data, size_t length, bool *quit)
{
	size_t kept = 0;

	for (size_t i = 0; i < length; i++) {
		bool escaped = console->escape;

		console->escape = false;
		if (escaped && data[i] == KEY_QUIT)
			*quit = true;
		else if (!escaped && data[i] == KEY_ESCAPE)
			console->escape = true;
		else
			data[kept++] = data[i];
	}
	return kept;
}

size_t console_read(struct console *console, uint8_t *data, size_t size, bool *quit)
{
	ssize_t got = read(console->input_fd, data, size);

	if (got < 0 && (errno == EINTR || errno == EAGAIN))
		return 0;
	if (got <= 0) {
		console->input_fd = -1; /* the guest goes on without */
		return 0;
	}
	return console->raw ? filter_escapes(console, data, (size_t)got, quit) : (size_t)got;
}
