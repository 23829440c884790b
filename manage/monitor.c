#include "manage/monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "manage/monitor_socket.h"

/* Bytes that are taken from one client before the supervisor's next look at its replicas. */
enum { READ_SIZE = 1024 };

/* epoll's numbers of the listening sockets; clients have their indices. */
#define LISTENER UINT32_MAX
#define INHERITED (UINT32_MAX - 1)

struct monitor_client {
	int fd; /* -1: nobody is here */
	uint32_t polled;
	bool ended; /* it sends no more */
	struct qmp qmp;
};

struct monitor {
	char name[PLACES_NAME_MAX + 16];
	struct monitor_socket socket;
	int inherited_fd; /* likewise listens, or -1 */
	int epoll_fd;
	int spare_fd; /* a descriptor in reserve, with which a client can be turned away when there are no more */
	struct qmp_machine machine;
	struct qmp_interface interface;
	struct service service;
	struct monitor_client clients[MONITOR_CLIENTS_MAX];
};

/* --- one client --- */

static void drop_client(struct monitor *monitor, struct monitor_client *client)
{
	if (client->fd < 0)
		return;
	/* Not by closing alone: a process that is just being started may still have a copy. */
	(void)epoll_ctl(monitor->epoll_fd, EPOLL_CTL_DEL, client->fd, NULL);
	fd_close(&client->fd);
	qmp_end(&client->qmp);
}

static void flush_client(struct monitor_client *client)
{
	size_t length;
	const char *output = qmp_output(&client->qmp, &length);

	while (length > 0 && !client->qmp.broken) {
		ssize_t sent = send(client->fd, output, length, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0 && errno == EAGAIN)
			break;
		if (sent < 0) {
			client->qmp.broken = true;
			break;
		}
		qmp_output_taken(&client->qmp, (size_t)sent);
		output = qmp_output(&client->qmp, &length);
	}
}

/* Sends what can be sent, drops the client that is done or beyond help, and asks to hear of what is next. */
static void settle_client(struct monitor *monitor, struct monitor_client *client)
{
	size_t waiting;

	if (client->qmp.broken)
		log_debug("a client of the monitor does not read, and is dropped");
	flush_client(client);
	(void)qmp_output(&client->qmp, &waiting);
	if (client->qmp.broken || (client->ended && waiting == 0)) {
		drop_client(monitor, client);
		return;
	}

	bool reading = !client->ended && qmp_wants_input(&client->qmp);
	struct epoll_event event = {
		.events = (reading ? EPOLLIN : 0u) | (waiting > 0 ? EPOLLOUT : 0u),
		.data.u32 = (uint32_t)(client - monitor->clients),
	};

	if (event.events != client->polled && epoll_ctl(monitor->epoll_fd, EPOLL_CTL_MOD, client->fd, &event) < 0)
		drop_client(monitor, client);
	else
		client->polled = event.events;
}

static void serve_client(struct monitor *monitor, struct monitor_client *client)
{
	char data[READ_SIZE];
	bool reading = !client->ended && qmp_wants_input(&client->qmp);
	ssize_t got = reading ? recv(client->fd, data, sizeof(data), MSG_DONTWAIT) : -1;

	if (got > 0)
		qmp_receive(&client->qmp, data, (size_t)got);
	else if (got == 0 || (reading && errno != EAGAIN && errno != EINTR))
		client->ended = true;
	settle_client(monitor, client);
}

/* --- new clients --- */

static void turn_away(int fd)
{
	char text[128];
	int length = snprintf(text, sizeof(text),
			      "{\"error\": {\"class\": \"GenericError\", \"desc\": \"the monitor has %d clients, and "
			      "takes no more\"}}\r\n",
			      MONITOR_CLIENTS_MAX);

	(void)send(fd, text, (size_t)length, MSG_NOSIGNAL | MSG_DONTWAIT);
	fd_close(&fd);
}

/* Without descriptors a client would wait for ever, and epoll would not let go of it. */
static void turn_away_without_descriptors(struct monitor *monitor, int listener)
{
	fd_close(&monitor->spare_fd);
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	fd_close(&fd);
	monitor->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void accept_client(struct monitor *monitor, int listener)
{
	struct monitor_client *client = monitor->clients;
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0) {
		if (errno == EMFILE || errno == ENFILE)
			turn_away_without_descriptors(monitor, listener);
		return;
	}
	while (client < monitor->clients + MONITOR_CLIENTS_MAX && client->fd >= 0)
		client++;
	if (client == monitor->clients + MONITOR_CLIENTS_MAX) {
		turn_away(fd);
		return;
	}
	struct epoll_event event = { .events = EPOLLIN, .data.u32 = (uint32_t)(client - monitor->clients) };

	if (epoll_ctl(monitor->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
		fd_close(&fd);
		return;
	}
	client->fd = fd;
	client->polled = event.events;
	client->ended = false;
	qmp_begin(&client->qmp, &monitor->interface);
	settle_client(monitor, client);
}

/* --- the supervisor's service --- */

static bool listen_to(const struct monitor *monitor, int fd, uint32_t number)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u32 = number };

	return fd < 0 || epoll_ctl(monitor->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

static result start(void *context, struct supervisor *supervisor, int *poll_fd)
{
	struct monitor *monitor = context;

	monitor->machine.supervisor = supervisor;
	monitor->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (monitor->epoll_fd < 0 || !listen_to(monitor, monitor->socket.fd, LISTENER) ||
	    !listen_to(monitor, monitor->inherited_fd, INHERITED))
		return fail_errno(STATUS_FAILED, errno, "the monitor cannot wait for its clients");
	*poll_fd = monitor->epoll_fd;
	return OK;
}

static void serve(void *context)
{
	struct monitor *monitor = context;
	struct epoll_event events[MONITOR_CLIENTS_MAX + 1];
	int count = epoll_wait(monitor->epoll_fd, events, MONITOR_CLIENTS_MAX + 1, 0);

	for (int i = 0; i < count; i++) {
		uint32_t number = events[i].data.u32;

		if (number == LISTENER)
			accept_client(monitor, monitor->socket.fd);
		else if (number == INHERITED)
			accept_client(monitor, monitor->inherited_fd);
		else if (monitor->clients[number].fd >= 0)
			serve_client(monitor, &monitor->clients[number]);
	}
}

static json_t *with_time(const json_t *event)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	return json_pack("{s:{s:I, s:I}, s:O, s:O?}", "timestamp", "seconds", (json_int_t)now.tv_sec, "microseconds",
			 (json_int_t)(now.tv_nsec / 1000), "event", json_object_get(event, "event"), "data",
			 json_object_get(event, "data"));
}

static void tell(void *context, const json_t *event)
{
	struct monitor *monitor = context;
	json_t *message = with_time(event);

	for (unsigned i = 0; i < MONITOR_CLIENTS_MAX && message; i++) {
		struct monitor_client *client = &monitor->clients[i];

		if (client->fd < 0)
			continue;
		qmp_tell(&client->qmp, message);
		settle_client(monitor, client);
	}
	json_decref(message);
}

/* The last events were sent when they were told; a client that was slow then has had its time. */
static void stop(void *context)
{
	struct monitor *monitor = context;

	for (unsigned i = 0; i < MONITOR_CLIENTS_MAX; i++)
		drop_client(monitor, &monitor->clients[i]);
	fd_close(&monitor->epoll_fd);
	fd_close(&monitor->inherited_fd);
	monitor_socket_release(&monitor->socket);
}

/* --- opening --- */

static result claim_place(struct monitor *monitor, const char *path)
{
	struct place place;
	bool taken;

	TRY(places_take_path("--monitor", path, &place));
	return in_context(monitor_socket_claim(&monitor->socket, &place, &taken), "--monitor");
}

static result claim_name(struct monitor *monitor, bool *taken)
{
	struct place place;

	TRY(places_of_new(monitor->name, &place));
	return monitor_socket_claim(&monitor->socket, &place, taken);
}

/* Whoever made it listen may have left it as others need it. */
static result take_inherited(struct monitor *monitor, int fd)
{
	int listening = 0, flags = fcntl(fd, F_GETFL);
	socklen_t size = sizeof(listening);

	if (flags < 0 || getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) < 0 || !listening)
		return fail(STATUS_USAGE, "the monitor: descriptor %d is no listening socket", fd);
	if (fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return fail_errno(STATUS_FAILED, errno, "the monitor: cannot use descriptor %d", fd);
	monitor->inherited_fd = fd;
	return OK;
}

static result claim(struct monitor *monitor, const struct monitor_options *options, const char *name)
{
	bool taken = false;

	if (options->fd >= 0)
		TRY(take_inherited(monitor, options->fd));

	if (options->place && strcmp(options->place, "none") == 0)
		return OK;
	if (options->place)
		return claim_place(monitor, options->place);
	result r = claim_name(monitor, &taken);

	if (taken && options->named)
		return fail(STATUS_INPUT, "a machine named %s is running already (use --name)", name);
	if (taken) {
		(void)snprintf(monitor->name, sizeof(monitor->name), "%s-%ld", name, (long)getpid());
		log_debug("a machine named %s is running already: this one is %s", name, monitor->name);
		r = claim_name(monitor, &taken);
	}
	if (failed(r))
		log_debug("this machine has no monitor: %s", r.failure->message);
	return OK;
}

result monitor_open(struct monitor **opened, const struct monitor_options *options, const char *name)
{
	struct monitor *monitor = calloc(1, sizeof(*monitor));

	if (!monitor)
		return fail(STATUS_FAILED, "no memory for the monitor");
	monitor->epoll_fd = monitor->socket.fd = monitor->inherited_fd = -1;
	monitor->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	for (unsigned i = 0; i < MONITOR_CLIENTS_MAX; i++)
		monitor->clients[i].fd = -1;
	(void)snprintf(monitor->name, sizeof(monitor->name), "%s", name);
	result r = claim(monitor, options, name);

	if (failed(r)) {
		monitor_close(monitor);
		return r;
	}
	if (monitor->socket.fd >= 0)
		log_debug("this machine is %s, its monitor listens at %s", monitor->name,
			  monitor->socket.place.path);
	*opened = monitor;
	return OK;
}

void monitor_close(struct monitor *monitor)
{
	if (!monitor)
		return;
	stop(monitor);
	fd_close(&monitor->spare_fd);
	free(monitor);
}

const char *monitor_name(const struct monitor *monitor)
{
	return monitor->name;
}

const struct service *monitor_service(struct monitor *monitor, const struct qmp_machine *machine)
{
	monitor->machine = *machine;
	monitor->machine.name = monitor->name;
	monitor->interface = qmp_commands_interface(&monitor->machine);
	return monitor_service_of(monitor, &monitor->interface);
}

const struct service *monitor_service_of(struct monitor *monitor, const struct qmp_interface *interface)
{
	if (monitor->socket.fd < 0 && monitor->inherited_fd < 0)
		return NULL;
	monitor->interface = *interface;
	monitor->service = (struct service){
		.context = monitor, .start = start, .serve = serve, .event = tell, .stop = stop,
	};
	return &monitor->service;
}

unsigned monitor_clients(const struct monitor *monitor)
{
	unsigned count = 0;

	for (unsigned i = 0; i < MONITOR_CLIENTS_MAX; i++)
		count += monitor->clients[i].fd >= 0;
	return count;
}
