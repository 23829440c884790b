#include "lockstep/backend_console.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/fd.h"
#include "base/log.h"
#include "devices/device.h"
#include "devices/host/console.h"
#include "lockstep/control.h"
#include "lockstep/inbox.h"

/* With more than this to write it makes the guest wait. */
enum { BEHIND = 256 << 10 };

struct backend_console {
	struct console console;
	int epoll_fd, bell_fd;
	uint32_t input_events, output_events, client_events; /* that are waited for now */
	bool input_always;                    /* what cannot be waited for: a regular file, or /dev/null */
	bool broken;
	uint64_t sent, received;              /* bytes */
};

result backend_console_open(struct backend_console **opened, const char *place, int epoll_fd, int bell_fd)
{
	struct backend_console *console = calloc(1, sizeof(*console));
	result r;

	*opened = NULL;
	if (!console)
		return fail(STATUS_FAILED, "no memory for a virtio console");
	console->epoll_fd = epoll_fd;
	console->bell_fd = bell_fd;
	r = in_context(console_open(&console->console, place), "--virtio-console");
	if (failed(r)) {
		free(console);
		return r;
	}
	fd_ring(bell_fd); /* so that somebody arranges what to wait for */
	*opened = console;
	return OK;
}

void backend_console_close(struct backend_console *console)
{
	if (!console)
		return;
	console_close(&console->console);
	free(console);
}

static void check(struct backend_console *console, result r)
{
	if (!failed(r))
		return;
	log_warning("--virtio-console: %s; what the guest says there is lost from now on", r.failure->message);
	console->broken = true;
}

void backend_console_put(struct backend_console *console, const void *data, size_t length)
{
	if (console->broken)
		return;
	console->sent += length;
	check(console, console_put(&console->console, data, length));
	fd_ring(console->bell_fd);
}

static size_t pending(const struct backend_console *console)
{
	return console->broken ? 0 : console_pending(&console->console);
}

/* Waits for `wanted` on `fd`; false where it cannot be waited for. */
static bool wait_for(const struct backend_console *console, int fd, uint32_t *events, uint32_t wanted)
{
	struct epoll_event event = { .events = wanted, .data.fd = fd };
	int operation = *events == 0 ? EPOLL_CTL_ADD : wanted == 0 ? EPOLL_CTL_DEL : EPOLL_CTL_MOD;

	if (*events == wanted)
		return true;
	*events = wanted;
	return epoll_ctl(console->epoll_fd, operation, fd, &event) == 0;
}

/* A client that has left is forgotten before its descriptor is, and the next one is waited for. */
static void arrange_clients(struct backend_console *console)
{
	struct console *host = &console->console;
	struct epoll_event none = { .events = 0 };

	if (host->left_fd >= 0) {
		(void)epoll_ctl(console->epoll_fd, EPOLL_CTL_DEL, host->left_fd, &none);
		console->input_events = console->output_events = 0;
		console_forget(host);
	}
	(void)wait_for(console, host->listen_fd, &console->client_events, host->output_fd < 0 ? EPOLLIN : 0u);
}

/* Waits for what is typed only while there is room for it, and for a slow reader only while there is one. */
static void arrange(struct backend_console *console, bool room)
{
	const struct console *host = &console->console;
	uint32_t input = room && host->input_fd >= 0 ? EPOLLIN : 0;
	uint32_t output = pending(console) > 0 && host->pollable ? EPOLLOUT : 0;

	if (host->listen_fd >= 0)
		arrange_clients(console);
	if (host->input_fd >= 0 && host->input_fd == host->output_fd) {
		(void)wait_for(console, host->input_fd, &console->input_events, input | output);
		return;
	}
	(void)wait_for(console, host->output_fd, &console->output_events, output);
	if (host->input_fd >= 0 && !console->input_always &&
	    !wait_for(console, host->input_fd, &console->input_events, input))
		console->input_always = true;
	if (console->input_always && input)
		fd_ring(console->bell_fd);
}

static bool has_room(const struct supervisor_page *page, uint64_t kept)
{
	return atomic_load(&page->inbox_written) - kept <= CONTROL_INBOX_SIZE / 2;
}

static bool is_readable(int fd)
{
	struct pollfd ready = { .fd = fd, .events = POLLIN };

	return fd >= 0 && poll(&ready, 1, 0) == 1;
}

bool backend_console_bring(struct backend_console *console, uint32_t device, struct supervisor_page *page,
			   uint64_t kept)
{
	struct device_input input;
	bool news = false, quit = false;

	if (console->console.output_fd < 0 && is_readable(console->console.listen_fd))
		console_accept(&console->console);

	int input_fd = console->console.input_fd;

	if (pending(console) > 0)
		check(console, console_flush(&console->console));
	if (is_readable(input_fd) && has_room(page, kept)) {
		struct epoll_event none = { .events = 0 };

		memset(&input, 0, offsetof(struct device_input, data));
		input.device = device;
		input.kind = INPUT_VCONSOLE;
		input.length = input.total = (uint32_t)console_read(&console->console, input.data, DEVICE_INPUT_MAX,
								    &quit);
		console->received += input.length;
		news = input.length > 0 && inbox_put(page, kept, &input, 0);
		/* At its end nothing of it is waited for any more. */
		if (console->console.input_fd < 0 && console->input_events)
			(void)epoll_ctl(console->epoll_fd, EPOLL_CTL_DEL, input_fd, &none);
		if (quit)
			(void)raise(SIGTERM);
	}
	arrange(console, has_room(page, kept));
	return news;
}

bool backend_console_behind(const struct backend_console *console)
{
	return pending(console) > BEHIND;
}

bool backend_console_busy(const struct backend_console *console)
{
	return !console->broken && console_must_deliver(&console->console);
}

json_t *backend_console_statistics(const struct backend_console *console)
{
	json_t *object = json_object();

	(void)json_object_set_new(object, "kind", json_string("console"));
	(void)json_object_set_new(object, "bytes_sent", json_integer((json_int_t)console->sent));
	(void)json_object_set_new(object, "bytes_received", json_integer((json_int_t)console->received));
	return object;
}
