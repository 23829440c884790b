/*
 * A virtio network card without offloads. Source: Virtual I/O Device (VIRTIO) 1.2, chapter 5.1. A frame for which the
 * guest has no buffer, or none that is large enough, is lost, as on a wire.
 */
#ifndef TERCET_DEVICES_VIRTIO_NET_H
#define TERCET_DEVICES_VIRTIO_NET_H

#include <stdint.h>

#include "devices/virtio.h"

enum { VIRTIO_NET_MAC = 6 }; /* bytes */

struct virtio_net {
	struct virtio virtio;
	uint8_t mac[VIRTIO_NET_MAC];
};

extern const struct virtio_model virtio_net_model;

/* To be called once, behind virtio_init. `mac` has VIRTIO_NET_MAC bytes. */
void virtio_net_init(struct virtio_net *net, const uint8_t *mac);

#endif
