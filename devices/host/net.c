#include "devices/host/net.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"

static const char tap_prefix[] = "tap=", fd_prefix[] = "fd=", passt_prefix[] = "passt=";

/* What stands behind the prefix, or NULL. */
static const char *behind(const char *place, const char *prefix)
{
	size_t length = strlen(prefix);

	return strncmp(place, prefix, length) == 0 && place[length] != '\0' ? place + length : NULL;
}

/* A descriptor's number, or -1. */
static int number_of(const char *text)
{
	char *end;
	long number = strtol(text, &end, 10);

	return *text >= '0' && *text <= '9' && *end == '\0' && number <= INT32_MAX ? (int)number : -1;
}

result net_check(const char *place)
{
	const char *tap = behind(place, tap_prefix);
	const char *fd = behind(place, fd_prefix);
	const char *passt = behind(place, passt_prefix);

	if ((tap && strlen(tap) < IFNAMSIZ) || (fd && number_of(fd) >= 0) ||
	    (passt && strlen(passt) < sizeof(((struct sockaddr_un *)NULL)->sun_path)))
		return OK;
	return fail(STATUS_USAGE, "--net %s: give tap=NAME, fd=NUMBER or passt=SOCKET", place);
}

static result open_tap(struct net *net, const char *name)
{
	struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI };

	net->fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (net->fd < 0)
		return fail_errno(STATUS_INPUT, errno, "--net tap=%s: cannot open /dev/net/tun", name);
	(void)snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	if (ioctl(net->fd, TUNSETIFF, &request) < 0)
		return fail_errno(STATUS_INPUT, errno, "--net tap=%s: this tap cannot be had", name);
	return OK;
}

static result take_fd(struct net *net, int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return fail_errno(STATUS_INPUT, errno, "--net fd=%d: this is no open descriptor", fd);
	net->fd = fd;
	return OK;
}

static result connect_passt(struct net *net, const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	net->stream = true;
	net->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (net->fd < 0 || connect(net->fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    fcntl(net->fd, F_SETFL, O_NONBLOCK) < 0)
		return fail_errno(STATUS_INPUT, errno, "--net passt=%s: no passt answers there", path);
	return OK;
}

result net_open(struct net *net, const char *place)
{
	result r;

	memset(net, 0, sizeof(*net));
	net->fd = -1;
	TRY(net_check(place));
	if (behind(place, tap_prefix))
		r = open_tap(net, behind(place, tap_prefix));
	else if (behind(place, fd_prefix))
		r = take_fd(net, number_of(behind(place, fd_prefix)));
	else
		r = connect_passt(net, behind(place, passt_prefix));
	if (failed(r))
		net_close(net);
	return r;
}

void net_close(struct net *net)
{
	fd_close(&net->fd);
}

/* Writes what waits, as far as it goes; the other side may have gone. */
static void flush(struct net *net)
{
	while (net->fd >= 0 && net->pending > 0) {
		ssize_t sent = send(net->fd, net->out, net->pending, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0 && errno != EAGAIN)
			net_close(net);
		if (sent <= 0)
			return;
		net->pending -= (size_t)sent;
		memmove(net->out, net->out + sent, net->pending);
	}
}

void net_send(struct net *net, const void *frame, size_t length)
{
	invariant(length <= NET_FRAME_MAX);
	if (!net->stream) {
		if (net->fd < 0 || write(net->fd, frame, length) != (ssize_t)length)
			net->dropped++;
		return;
	}
	flush(net);
	if (net->fd < 0 || net->pending + NET_LENGTH + length > NET_PENDING) {
		net->dropped++;
		return;
	}
	for (unsigned i = 0; i < NET_LENGTH; i++)
		net->out[net->pending++] = (uint8_t)(length >> (8 * (NET_LENGTH - 1 - i)));
	memcpy(net->out + net->pending, frame, length);
	net->pending += length;
	flush(net);
}

/* Reads up to `wanted` bytes of the stream to where they belong; whether all are there now. */
static bool fill(struct net *net, size_t wanted)
{
	while (net->received < wanted) {
		ssize_t got = read(net->fd, net->in + net->received, wanted - net->received);

		if (got < 0 && errno == EINTR)
			continue;
		if (got == 0 || (got < 0 && errno != EAGAIN))
			net_close(net);
		if (got <= 0)
			return false;
		net->received += (size_t)got;
	}
	return true;
}

/* Passes over the rest of a frame that is too long; whether that is done. */
static bool pass_over(struct net *net)
{
	while (net->skip > 0) {
		size_t part = net->skip < sizeof(net->in) ? net->skip : sizeof(net->in);

		net->received = 0;
		bool whole = fill(net, part);

		net->skip -= net->received;
		net->received = 0;
		if (!whole)
			return false;
	}
	return true;
}

static size_t receive_stream(struct net *net, uint8_t *frame)
{
	flush(net);
	while (net->fd >= 0 && pass_over(net) && fill(net, NET_LENGTH)) {
		size_t length = (size_t)net->in[0] << 24 | (size_t)net->in[1] << 16 | (size_t)net->in[2] << 8 |
				net->in[3];

		if (length == 0 || length > NET_FRAME_MAX) {
			net->dropped++;
			net->skip = length;
			net->received = 0;
			continue;
		}
		if (!fill(net, NET_LENGTH + length))
			return 0;
		memcpy(frame, net->in + NET_LENGTH, length);
		net->received = 0;
		return length;
	}
	return 0;
}

size_t net_receive(struct net *net, uint8_t frame[NET_FRAME_MAX])
{
	if (net->fd < 0)
		return 0;
	if (net->stream)
		return receive_stream(net, frame);
	for (;;) {
		/* A frame that is longer than the buffer is cut: one byte more tells. */
		ssize_t got = read(net->fd, net->in, NET_FRAME_MAX + 1);

		if (got > 0 && got <= NET_FRAME_MAX) {
			memcpy(frame, net->in, (size_t)got);
			return (size_t)got;
		}
		if (got > NET_FRAME_MAX)
			net->dropped++;
		else if (got == 0 || (errno != EINTR && errno != EAGAIN)) {
			net_close(net);
			return 0;
		} else if (errno == EAGAIN) {
			return 0;
		}
	}
}
