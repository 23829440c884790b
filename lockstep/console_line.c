/* the console in the supervisor's event loop: when its backend is waited for, and what comes from it */
#include "lockstep/console_line.h"

#include <sys/epoll.h>
#include <unistd.h>

#include "base/futex.h"
#include "base/ring.h"
#include "lockstep/steer.h"
#include "lockstep/supervisor_state.h"
#include "lockstep/verdict.h"

static void poll_fd(struct supervisor *supervisor, int operation, int fd, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.fd = fd };

	(void)epoll_ctl(supervisor->epoll_fd, operation, fd, &event);
}

static uint64_t input_room(const struct supervisor *supervisor)
{
	return CONTROL_INPUT_SIZE -
	       (atomic_load(&supervisor->page->console_written) - supervisor->console_taken);
}

/* A client that has left is forgotten before its descriptor is, which a process that is just being started may
 * still have; and the next one is waited for. */
static void arrange_clients(struct supervisor *supervisor)
{
	struct console *console = &supervisor->console;
	bool want = console->listen_fd >= 0 && console->output_fd < 0;

	if (console->left_fd >= 0) {
		poll_fd(supervisor, EPOLL_CTL_DEL, console->left_fd, 0);
		supervisor->input_polled = false;
		console_forget(console);
	}
	if (want != supervisor->clients_polled) {
		poll_fd(supervisor, want ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, console->listen_fd, EPOLLIN);
		supervisor->clients_polled = want;
	}
}

/* Waits for key presses only while there is room for them, and for a slow reader only while there is one. */
bool console_line_arrange(struct supervisor *supervisor)
{
	arrange_clients(supervisor);

	bool want_input = supervisor->console.input_fd >= 0 && input_room(supervisor) > 0;
	bool want_output = console_pending(&supervisor->console) > 0;
	int input_fd = supervisor->console.input_fd;
	int output_fd = supervisor->console.output_fd;

	if (input_fd >= 0 && input_fd == output_fd) {
		uint32_t events = (want_input ? EPOLLIN : 0u) | (want_output ? EPOLLOUT : 0u);

		poll_fd(supervisor, supervisor->input_polled ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, input_fd, events);
		supervisor->input_polled = true;
		return false;
	}
	if (want_input && !supervisor->input_polled && !supervisor->input_always) {
		struct epoll_event event = { .events = EPOLLIN, .data.fd = input_fd };

		if (epoll_ctl(supervisor->epoll_fd, EPOLL_CTL_ADD, input_fd, &event) == 0)
			supervisor->input_polled = true;
		else
			supervisor->input_always = true; /* a regular file, or /dev/null */
	} else if (!want_input && supervisor->input_polled) {
		poll_fd(supervisor, EPOLL_CTL_DEL, input_fd >= 0 ? input_fd : STDIN_FILENO, 0);
		supervisor->input_polled = false;
	}
	if (want_output != supervisor->output_polled && supervisor->console.pollable) {
		poll_fd(supervisor, want_output ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, output_fd, EPOLLOUT);
		supervisor->output_polled = want_output;
	}
	return supervisor->input_always && input_fd >= 0 && input_room(supervisor) > 0;
}

result console_line_keys(struct supervisor *supervisor)
{
	uint8_t keys[4096];
	const struct ring ring = { supervisor->page->console, CONTROL_INPUT_SIZE };
	uint64_t room = input_room(supervisor);
	uint64_t written = atomic_load(&supervisor->page->console_written);
	bool quit = false;

	if (supervisor->console.input_fd < 0 || room == 0)
		return OK;
	size_t length = console_read(&supervisor->console, keys,
				     room < sizeof(keys) ? (size_t)room : sizeof(keys), &quit);

	if (quit) {
		supervisor->asked_to_end = LIFE_HOST_UI;
		return steer_quit(supervisor, "ended by Ctrl-A x");
	}
	if (length == 0)
		return OK;
	ring_put(&ring, written, keys, length);
	atomic_store_explicit(&supervisor->page->console_written, written + length, memory_order_release);
	futex_signal(&supervisor->page->sequence);
	return OK;
}

result console_line_open(struct supervisor *supervisor)
{
	const struct machine_options *options = supervisor->options;

	TRY(in_context(console_open(&supervisor->console, options->console), "--console"));
	supervisor->console_open = true;
	supervisor->console.lossy = options->console_lossy;
	return options->console_log ? console_open_log(&supervisor->console, options->console_log) : OK;
}

result console_line_event(struct supervisor *supervisor, const struct epoll_event *event)
{
	struct console *console = &supervisor->console;
	int fd = event->data.fd;

	if (fd == console->listen_fd)
		console_accept(console);
	if (event->events & (EPOLLOUT | EPOLLERR) && fd == console->output_fd) {
		TRY(console_flush(console));
		verdict_tell(supervisor);
	}
	if (event->events & (EPOLLIN | EPOLLHUP) && fd == console->input_fd)
		return console_line_keys(supervisor);
	return OK;
}

result console_line_look(struct supervisor *supervisor)
{
	size_t before = console_pending(&supervisor->console);

	TRY(console_flush(&supervisor->console));
	if (console_pending(&supervisor->console) < before)
		verdict_tell(supervisor);
	return OK;
}
