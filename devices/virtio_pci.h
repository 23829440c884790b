/*
 * The registers of a virtio device on PCI: one I/O BAR, and the capabilities that tell where in it things are.
 * Source: Virtual I/O Device (VIRTIO) 1.2, chapter 4.1. Modern only: there is no legacy interface.
 *
 * The BAR: common configuration at 0x00, interrupt status at 0x40, notification of all queues at 0x44, the device's
 * own configuration at 0x80.
 */
#ifndef TERCET_DEVICES_VIRTIO_PCI_H
#define TERCET_DEVICES_VIRTIO_PCI_H

#include <stdint.h>

#include "base/bytes.h"
#include "base/result.h"
#include "devices/virtio.h"

enum {
	VIRTIO_PCI_VENDOR = 0x1AF4,
	VIRTIO_PCI_DEVICE = 0x1040, /* plus the device's ID */
	VIRTIO_PCI_BAR_SIZE = 0x100,
	VIRTIO_PCI_COMMON = 0x00,
	VIRTIO_PCI_ISR = 0x40,
	VIRTIO_PCI_NOTIFY = 0x44,
	VIRTIO_PCI_CONFIG = 0x80,
	VIRTIO_PCI_CAPABILITIES = 0x40,     /* in configuration space: the first one, and their end */
	VIRTIO_PCI_CAPABILITIES_END = 0x98,
};

/* What the registers remember. */
struct virtio_pci {
	uint32_t offered_select;
	uint32_t accepted_select;
	uint16_t queue_select;
	/* The window through configuration space (4.1.4.9). */
	uint8_t window_bar;
	uint32_t window_offset;
	uint32_t window_length;
};

/* An access of 1, 2 or 4 bytes to the BAR. */
uint32_t virtio_pci_read(struct virtio_pci *registers, struct virtio *virtio, unsigned offset, unsigned size);
void virtio_pci_write(struct virtio_pci *registers, struct virtio *virtio, unsigned offset, unsigned size,
		      uint32_t value);

/* An access of 1, 2 or 4 bytes to the capabilities; `offset` is that in configuration space. */
uint32_t virtio_pci_read_capability(struct virtio_pci *registers, struct virtio *virtio, unsigned offset,
				    unsigned size);
void virtio_pci_write_capability(struct virtio_pci *registers, struct virtio *virtio, unsigned offset,
				 unsigned size, uint32_t value);

/* All that is remembered; any bytes are a valid state. */
void virtio_pci_save(const struct virtio_pci *registers, struct bytes_writer *writer);
void virtio_pci_load(struct virtio_pci *registers, struct bytes_reader *reader);

#endif
