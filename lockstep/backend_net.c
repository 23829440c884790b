#include "lockstep/backend_net.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "devices/device.h"
#include "devices/host/net.h"
#include "lockstep/control.h"
#include "lockstep/inbox.h"

/* Frames that are taken at one look. */
enum { FRAMES_MAX = 64 };

_Static_assert((int)NET_FRAME_MAX == (int)DEVICE_FRAME_MAX, "a card's frames fit the host's");

struct backend_net {
	struct net net;
	uint64_t sent, sent_bytes;
	uint64_t received, received_bytes;
	uint64_t dropped; /* for which the inbox had no room */
};

static result open_it(struct backend_net *net, const char *place, int epoll_fd)
{
	struct epoll_event event = { .events = EPOLLIN };

	TRY(net_open(&net->net, place));
	event.data.fd = net->net.fd;
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, net->net.fd, &event) < 0)
		return fail_errno(STATUS_INPUT, errno, "--net %s: it cannot be waited for", place);
	return OK;
}

result backend_net_open(struct backend_net **opened, const char *place, int epoll_fd)
{
	struct backend_net *net = calloc(1, sizeof(*net));
	result r;

	*opened = NULL;
	if (!net)
		return fail(STATUS_FAILED, "no memory for a network");
	net->net.fd = -1;
	r = open_it(net, place, epoll_fd);
	if (failed(r))
		backend_net_close(net);
	else
		*opened = net;
	return r;
}

void backend_net_close(struct backend_net *net)
{
	if (!net)
		return;
	net_close(&net->net);
	free(net);
}

void backend_net_send(struct backend_net *net, const void *frame, size_t length)
{
	net->sent++;
	net->sent_bytes += length;
	net_send(&net->net, frame, length);
}

bool backend_net_bring(struct backend_net *net, uint32_t device, struct supervisor_page *page, uint64_t kept)
{
	struct device_input input;
	bool news = false;

	memset(&input, 0, offsetof(struct device_input, data));
	input.device = device;
	input.kind = INPUT_NET;
	for (unsigned i = 0; i < FRAMES_MAX; i++) {
		uint64_t waiting = atomic_load(&page->inbox_written) - kept;

		input.length = input.total = (uint32_t)net_receive(&net->net, input.data);
		if (input.length == 0)
			break;
		net->received++;
		net->received_bytes += input.length;
		if (waiting <= CONTROL_INBOX_SIZE / 2 && inbox_put(page, kept, &input, 0))
			news = true;
		else
			net->dropped++;
	}
	return news;
}

static void put(json_t *object, const char *name, uint64_t value)
{
	(void)json_object_set_new(object, name, json_integer((json_int_t)value));
}

json_t *backend_net_statistics(const struct backend_net *net)
{
	json_t *object = json_object();

	(void)json_object_set_new(object, "kind", json_string("net"));
	put(object, "frames_sent", net->sent);
	put(object, "bytes_sent", net->sent_bytes);
	put(object, "frames_received", net->received);
	put(object, "bytes_received", net->received_bytes);
	put(object, "dropped", net->dropped + net->net.dropped);
	return object;
}
