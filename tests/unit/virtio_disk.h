/*
 * A driver of virtio disks for unit tests: two disks of 1 MiB in a virtio_world, the second one read-only, both running
 * without VIRTIO_F_EVENT_IDX.
 */
#ifndef TERCET_TESTS_UNIT_VIRTIO_DISK_H
#define TERCET_TESTS_UNIT_VIRTIO_DISK_H

#include "devices/virtio_blk.h"
#include "tests/unit/virtio_world.h"

/* Where the first request's header, its status and all data are. */
#define DISK_HEADER (WORLD_DATA + 0x00)
#define DISK_STATUS (WORLD_DATA + 0x20)
#define DISK_DATA (WORLD_DATA + 0x1000)
#define DISK_SECTORS 2048U
#define VIRTIO_DISKS 2

enum { IN = 0, OUT = 1, FLUSH = 4, GET_ID = 8, DISCARD = 11, WRITE_ZEROES = 13 };
enum { GOOD = 0, IO_ERROR = 1, UNSUPPORTED = 2, NOTHING = 0xEE }; /* of a status; the last: none yet */

extern const struct board_pci_device virtio_disk_two[VIRTIO_DISKS];
extern struct virtio_world *virtio_disk_world;

/* Of a test case. */
void virtio_disk_setup(void);
void virtio_disk_teardown(void);

/* Writes the header of the request in descriptors `head` and on, or of the first; its status becomes NOTHING. */
void virtio_disk_header_at(unsigned head, uint32_t type, uint64_t sector);
void virtio_disk_header(uint32_t type, uint64_t sector);

/* Makes a request of descriptors `head` to `head + 2` available, without telling the device. */
void virtio_disk_prepare(unsigned device, unsigned head, uint32_t type, uint64_t sector, uint64_t data,
			 uint32_t length);

/* Makes a request in descriptors 0 to 2, with data at DISK_DATA, and tells the device; the first one. */
void virtio_disk_request_of(unsigned device, uint32_t type, uint64_t sector, uint32_t length);
void virtio_disk_request(uint32_t type, uint64_t sector, uint32_t length);

/* Writes the range that a discard is about to DISK_DATA. */
void virtio_disk_range(uint64_t sector, uint32_t sectors, uint32_t flags);

/* The request that stands in the output stream at `at`. */
struct device_disk_request virtio_disk_output(size_t at);

/* Tells the first disk that an output is done; false if it waits for no such thing. */
bool virtio_disk_done(uint64_t id, uint32_t status);

/* A piece of the answer to a fetch, with data that depends on the offset; that such data is in memory. */
struct device_input virtio_disk_piece(const struct device_fetch *fetch, uint64_t offset);
void virtio_disk_must_hold(uint64_t address, size_t length);

#endif
