/*
 * A driver for virtio devices on the PCI bus, as payloads need it: one I/O BAR (devices/virtio_pci.h), split
 * virtqueues, no interrupts. Virtual I/O Device (VIRTIO) 1.2, chapters 2.7 and 4.1; PCI by configuration mechanism 1
 * (PCI Local Bus 3.0, 3.2.2.3.2).
 */
#ifndef TERCET_PAYLOADS_DRIVER_H
#define TERCET_PAYLOADS_DRIVER_H

#include <stdbool.h>
#include <stdint.h>

enum {
	DRIVER_QUEUE = 64,  /* descriptors of each queue, at most what a device has */
	DRIVER_BLOCK = 4096,
	DRIVER_NEXT = 1,    /* flags of a descriptor (2.7.5) */
	DRIVER_WRITE = 2,
};

struct descriptor {
	uint64_t address;
	uint32_t length;
	uint16_t flags;
	uint16_t next;
};

struct driver_queue {
	_Alignas(DRIVER_BLOCK) struct descriptor descriptors[DRIVER_QUEUE];
	_Alignas(DRIVER_BLOCK) volatile struct {
		uint16_t flags;
		uint16_t index;
		uint16_t ring[DRIVER_QUEUE];
	} available;
	_Alignas(DRIVER_BLOCK) volatile struct {
		uint16_t flags;
		uint16_t index;
		struct {
			uint32_t id;
			uint32_t length;
		} ring[DRIVER_QUEUE];
	} used;
};

/* The I/O BAR of the first device with these IDs, vendor in the lower half; 0: there is none. */
uint16_t driver_find(uint32_t id);

/* Resets a device, accepts of its lower 32 features those in `features`, and starts it with these queues. False: it
 * does not want to. */
bool driver_start(uint16_t bar, uint32_t features, struct driver_queue *queues, unsigned count);

/* Makes the chain that begins at descriptor `head` available; the device is not told of it yet. */
void driver_put(struct driver_queue *queue, unsigned head);

void driver_notify(uint16_t bar, unsigned queue);

/* Some exits with all requests ready and not told of: whoever looks at buffers between two exits finds them so. */
void driver_linger(void);

/* An exit that takes inputs and acknowledges the device's interrupt. */
void driver_look(uint16_t bar);

#endif
