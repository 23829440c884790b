/*
 * A virtio console with one port and no control queue. Source: Virtual I/O Device (VIRTIO) 1.2, chapter 5.3. Bytes for
 * which the guest has no buffer are lost.
 */
#ifndef TERCET_DEVICES_VIRTIO_CONSOLE_H
#define TERCET_DEVICES_VIRTIO_CONSOLE_H

#include "devices/virtio.h"

struct virtio_console {
	struct virtio virtio;
};

extern const struct virtio_model virtio_console_model;

#endif
