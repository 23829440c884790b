#include "devices/host/console.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/futex.h"
#include "base/log.h"

/* A pipe or terminal that is ready takes at least so much without blocking (POSIX, PIPE_BUF on Linux). */
enum { CHUNK = 4096 };
/* A pty is empty when it was seen empty so often, so many milliseconds apart. */
enum { PTY_LOOKS = 3, PTY_LOOK_MS = 10 };

enum { KEY_ESCAPE = 1 /* Ctrl-A */, KEY_QUIT = 'x' };

/* What follows the prefix in the option, or NULL. */
static const char *behind(const char *option, const char *prefix)
{
	size_t length = strlen(prefix);

	return strncmp(option, prefix, length) == 0 && option[length] != '\0' ? option + length : NULL;
}

static int number_behind(const char *option, const char *prefix)
{
	const char *text = behind(option, prefix);
	char *end;
	long number;

	if (!text || *text < '0' || *text > '9')
		return -1;
	errno = 0;
	number = strtol(text, &end, 10);
	return errno == 0 && *end == '\0' && number <= INT_MAX ? (int)number : -1;
}

result console_check(const char *option)
{
	if (strcmp(option, "stdio") == 0 || strcmp(option, "pty") == 0 || strcmp(option, "null") == 0 ||
	    behind(option, "file:") || behind(option, "append:") || behind(option, "unix:") ||
	    number_behind(option, "fd:") >= 0 || number_behind(option, "unix-fd:") >= 0)
		return OK;
	return fail(STATUS_USAGE, "%s: give stdio, pty, file:PATH, append:PATH, unix:PATH or null",
		    option);
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
	char *name = console->place;
	struct termios raw;
	/* One that is ready may take less than a chunk, and would have us wait for a reader with the rest. */
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);

	if (master < 0 || grantpt(master) < 0 || unlockpt(master) < 0 ||
	    ptsname_r(master, name, sizeof(console->place)) != 0) {
		fd_close(&master);
		return fail_errno(STATUS_FAILED, errno, "pty: no pseudo-terminal to be had");
	}
	console->keeper_fd = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (console->keeper_fd < 0) {
		int error = errno;

		fd_close(&master);
		return fail_errno(STATUS_FAILED, error, "pty: cannot open %s", name);
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

static result open_file(struct console *console, const char *path, int flags)
{
	console->output_fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0666);
	if (console->output_fd < 0)
		return fail_errno(STATUS_INPUT, errno, "cannot write %s", path);
	console->owns_fds = true;
	return OK;
}

/* A reader that does not keep up must not block whoever writes to it. */
static result take_descriptor(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return fail_errno(STATUS_INPUT, errno, "cannot use descriptor %d", fd);
	return OK;
}

static result open_descriptor(struct console *console, int fd)
{
	TRY(take_descriptor(fd));
	console->output_fd = fd;
	console->owns_fds = true;
	return OK;
}

static result open_listening(struct console *console, int fd)
{
	int listening = 0;
	socklen_t size = sizeof(listening);

	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) < 0 || !listening)
		return fail(STATUS_INPUT, "descriptor %d is no listening socket", fd);
	TRY(take_descriptor(fd));
	console->listen_fd = fd;
	return OK;
}

static result open_socket(struct console *console, const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(address.sun_path))
		return fail(STATUS_USAGE, "unix:%s: the path of a socket has at most %zu bytes", path,
			    sizeof(address.sun_path) - 1);
	memcpy(address.sun_path, path, strlen(path) + 1);
	console->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (console->listen_fd < 0)
		return fail_errno(STATUS_FAILED, errno, "cannot make a socket");
	/* A console is its user's alone; whoever shall have it gets the right from its owner. */
	mode_t before = umask(0177);
	int bound = bind(console->listen_fd, (const struct sockaddr *)&address, sizeof(address));
	int error = errno;

	(void)umask(before);
	if (bound == 0)
		console->path = strdup(path);
	if (bound < 0 || listen(console->listen_fd, 1) < 0)
		return fail_errno(STATUS_INPUT, bound < 0 ? error : errno, "cannot listen at %s", path);
	return OK;
}

static result open_any(struct console *console, const char *option)
{
	const char *file = behind(option, "file:"), *append = behind(option, "append:");
	const char *socket_path = behind(option, "unix:");

	if (strcmp(option, "stdio") == 0)
		open_stdio(console);
	else if (strcmp(option, "pty") == 0)
		return open_pty(console);
	else if (file || append)
		return open_file(console, file ? file : append, file ? O_TRUNC : O_APPEND);
	else if (socket_path)
		return open_socket(console, socket_path);
	else if (number_behind(option, "unix-fd:") >= 0)
		return open_listening(console, number_behind(option, "unix-fd:"));
	else if (number_behind(option, "fd:") >= 0)
		return open_descriptor(console, number_behind(option, "fd:"));
	return OK;
}

static const struct console closed = {
	.input_fd = -1, .output_fd = -1, .keeper_fd = -1, .listen_fd = -1, .left_fd = -1,
};

result console_open(struct console *console, const char *option)
{
	struct stat information;
	result r = console_check(option);

	*console = closed;
	if (!failed(r))
		r = open_any(console, option);
	if (failed(r))
		console_close(console);
	else
		console->pollable = console->output_fd >= 0 && fstat(console->output_fd, &information) == 0 &&
				    !S_ISREG(information.st_mode);
	return r;
}

result console_open_log(struct console *console, const char *option)
{
	struct console *log = malloc(sizeof(*log));
	result r;

	if (!log)
		return fail(STATUS_FAILED, "no memory for the console's log");
	r = console_open(log, option);
	if (failed(r)) {
		free(log);
		return r;
	}
	log->lossy = true;
	console->log = log;
	return OK;
}

void console_accept(struct console *console)
{
	int fd;

	if (console->listen_fd < 0 || console->output_fd >= 0)
		return;
	fd = accept4(console->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	console->input_fd = console->output_fd = fd;
	console->pollable = fd >= 0;
}

static void lose_client(struct console *console)
{
	console_forget(console);
	console->left_fd = console->output_fd;
	console->input_fd = console->output_fd = -1;
	console->dropped += console_pending(console);
	console->pending_begin = console->pending_end = 0;
}

void console_forget(struct console *console)
{
	fd_close(&console->left_fd);
}

size_t console_pending(const struct console *console)
{
	return console->pending_end - console->pending_begin;
}

bool console_must_deliver(const struct console *console)
{
	return console_pending(console) > 0 && console->keeper_fd < 0 && !console->lossy;
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

static bool can_write(const struct console *console)
{
	struct pollfd ready = { .fd = console->output_fd, .events = POLLOUT };

	return !console->pollable || (poll(&ready, 1, 0) == 1 && (ready.revents & (POLLOUT | POLLERR | POLLHUP)));
}

/* What is left could not be written. */
static void look_at_patience(struct console *console)
{
	uint64_t now = clock_monotonic_ns();
	size_t pending = console_pending(console);

	if (console->stuck_since == 0)
		console->stuck_since = now;
	if (!console->lossy || pending <= CONSOLE_KEPT || now - console->stuck_since < CONSOLE_PATIENCE_NS)
		return;
	console->dropped += pending - CONSOLE_KEPT;
	console->pending_begin = console->pending_end - CONSOLE_KEPT;
}

/* --- one place, without its log, which is a place of its own --- */

static result flush_place(struct console *console)
{
	while (console_pending(console) > 0 && can_write(console)) {
		size_t part = console_pending(console) < CHUNK ? console_pending(console) : CHUNK;
		ssize_t written = write(console->output_fd, console->pending + console->pending_begin, part);

		if (written < 0 && (errno == EINTR || errno == EAGAIN))
			break;
		if (written < 0 && console->listen_fd >= 0) {
			lose_client(console);
			return OK;
		}
		if (written < 0)
			return fail_errno(STATUS_FAILED, errno, "the console cannot be written");
		console->pending_begin += (size_t)written;
		console->stuck_since = 0;
	}
	if (console_pending(console) > 0)
		look_at_patience(console);
	return OK;
}

static result put_place(struct console *console, const void *data, size_t length)
{
	if (console->output_fd < 0) {
		console->dropped += length;
		return OK;
	}
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
	return flush_place(console);
}

static void close_place(struct console *console)
{
	uint64_t until = clock_monotonic_ns() + NS_PER_S;

	while (console_pending(console) > 0 && clock_monotonic_ns() < until) {
		struct pollfd ready = { .fd = console->output_fd, .events = POLLOUT };

		(void)poll(&ready, 1, 100);
		if (failed(flush_place(console)))
			break;
	}
	if (console->keeper_fd >= 0)
		await_reader(console, until);
	if (console->raw)
		(void)tcsetattr(console->input_fd >= 0 ? console->input_fd : STDIN_FILENO, TCSANOW, &console->saved);
	if (console->owns_fds || console->listen_fd >= 0)
		fd_close(&console->output_fd);
	fd_close(&console->keeper_fd);
	fd_close(&console->listen_fd);
	fd_close(&console->left_fd);
	if (console->path)
		(void)unlink(console->path);
	free(console->path);
	free(console->pending);
}

/* --- a place and its log --- */

static void close_log(struct console *console)
{
	if (console->log)
		close_place(console->log);
	free(console->log);
	console->log = NULL;
}

static void lose_log(struct console *console)
{
	log_warning("the console's log cannot be written any more");
	close_log(console);
}

void console_close(struct console *console)
{
	close_place(console);
	close_log(console);
	*console = closed;
}

result console_put(struct console *console, const void *data, size_t length)
{
	if (console->log && failed(put_place(console->log, data, length)))
		lose_log(console);
	return put_place(console, data, length);
}

result console_flush(struct console *console)
{
	if (console->log && failed(flush_place(console->log)))
		lose_log(console);
	return flush_place(console);
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
	if (got <= 0 && console->listen_fd >= 0) {
		lose_client(console);
		return 0;
	}
	if (got <= 0) {
		console->input_fd = -1; /* the guest goes on without */
		return 0;
	}
	return console->raw ? filter_escapes(console, data, (size_t)got, quit) : (size_t)got;
}
