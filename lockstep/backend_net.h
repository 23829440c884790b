/*
 * What stands behind a network card: the host's side of it (devices/host/net.h), and the way of its frames into the
 * inbox.
 */
#ifndef TERCET_LOCKSTEP_BACKEND_NET_H
#define TERCET_LOCKSTEP_BACKEND_NET_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/result.h"

struct backend_net;
struct supervisor_page;

/* Opens what `place` names (net_check); `epoll_fd` waits for its frames. Errors: STATUS_INPUT it cannot be had. */
must_check result backend_net_open(struct backend_net **net, const char *place, int epoll_fd);
void backend_net_close(struct backend_net *net);

/* Sends a frame of at most DEVICE_FRAME_MAX bytes that was voted on. */
void backend_net_send(struct backend_net *net, const void *frame, size_t length);

/* Brings frames that have come to the inbox, for device `device`; what is there from offset `kept` on stays. Where it
 * is half full of what the guest has not taken, they are lost. Returns whether there are any. */
must_check bool backend_net_bring(struct backend_net *net, uint32_t device, struct supervisor_page *page,
				  uint64_t kept);

/* What it did, for the statistics (docs/statistics.md). */
json_t *backend_net_statistics(const struct backend_net *net);

#endif
