/*
 * What unit tests of virtio devices share: a board with PCI devices over an array of memory, an outside that records,
 * and a driver in one line per step.
 */
#ifndef TERCET_TESTS_UNIT_VIRTIO_WORLD_H
#define TERCET_TESTS_UNIT_VIRTIO_WORLD_H

#include "devices/board.h"
#include "devices/virtio.h"
#include "devices/virtio_pci.h"
#include "tests/unit/fixture.h"

enum {
	WORLD_MEMORY = 1 << 20, /* bytes of RAM, from address 0 on */
	WORLD_DATA = 0x80000,   /* from here on no queue lies */
	WORLD_STREAM = 1 << 19,
	WORLD_FETCHES = 256,
	WORLD_STATE = 32768,
};

enum {
	DESCRIPTOR_NEXT = 1,
	DESCRIPTOR_WRITE = 2,
	DESCRIPTOR_INDIRECT = 4,
};

struct virtio_world {
	struct board *board;
	uint8_t memory[WORLD_MEMORY];
	uint64_t writes; /* into memory, by devices */
	uint8_t stream[WORLD_STREAM]; /* output of all channels */
	enum output_channel channel;  /* the last */
	size_t streamed;
	size_t room; /* what output_room says, less what was put out since it was set */
	struct device_fetch fetches[WORLD_FETCHES];
	size_t fetched;
	uint16_t offered[BOARD_PCI_MAX][VIRTIO_QUEUES_MAX]; /* available indices */
};

/* A world whose only device is a disk of 1 MiB, or what the list says. */
struct virtio_world *virtio_world_create(const struct board_pci_device *devices, size_t count);
void virtio_world_destroy(struct virtio_world *world);

/* Configuration space of 00:`slot`.0, by mechanism 1. */
uint32_t virtio_world_config(struct virtio_world *world, unsigned slot, unsigned offset, unsigned size);
void virtio_world_set_config(struct virtio_world *world, unsigned slot, unsigned offset, unsigned size,
			     uint32_t value);

/* Registers in the BAR of device `device`, which is where firmware put it. */
uint32_t virtio_world_in(struct virtio_world *world, unsigned device, unsigned offset, unsigned size);
void virtio_world_out(struct virtio_world *world, unsigned device, unsigned offset, unsigned size, uint32_t value);

/* The addresses that virtio_world_start gives the parts of a queue. */
uint64_t virtio_world_descriptors(unsigned device, unsigned queue);
uint64_t virtio_world_available(unsigned device, unsigned queue);
uint64_t virtio_world_used(unsigned device, unsigned queue);

/* Does what a driver does until a device runs, accepting all features but `without`. Returns the status. */
uint8_t virtio_world_start(struct virtio_world *world, unsigned device, uint64_t without);
uint8_t virtio_world_status(struct virtio_world *world, unsigned device);

/* Writes a descriptor into a table. */
void virtio_world_describe(struct virtio_world *world, uint64_t table, unsigned index, uint64_t address,
			   uint32_t length, unsigned flags, unsigned next);

/* Makes a chain available; tells the device. */
void virtio_world_offer(struct virtio_world *world, unsigned device, unsigned queue, uint16_t head);
void virtio_world_kick(struct virtio_world *world, unsigned device, unsigned queue);

/* The used ring's index; the entry before it, as head and length. */
uint16_t virtio_world_done(const struct virtio_world *world, unsigned device, unsigned queue);
uint32_t virtio_world_last_head(const struct virtio_world *world, unsigned device, unsigned queue);
uint32_t virtio_world_last_length(const struct virtio_world *world, unsigned device, unsigned queue);

/* Levels of the PIC's inputs 10 and 11, by its IRR: bits 2 and 3. */
unsigned virtio_world_lines(struct virtio_world *world);

/* Whether the board takes an input now; it is given to it then. */
bool virtio_world_give(struct virtio_world *world, const struct device_input *input);

/* Saves the board, loads it into another that is made alike, and goes on with that one; the states are equal. */
void virtio_world_move(struct virtio_world *world, const struct board_pci_device *devices, size_t count);

#endif
