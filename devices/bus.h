/*
 * A bus: which device answers at an address, and how an access is cut into the ones that it can take.
 *
 * An ISA bus turns a 16- or 32-bit access to an 8-bit device into successive byte cycles at successive
 * addresses; so does bus_read and bus_write. Bytes at which no device answers read as ones, and writes to
 * them are dropped.
 */
#ifndef TERCET_DEVICES_BUS_H
#define TERCET_DEVICES_BUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "devices/device.h"

#define BUS_RANGES_MAX 32

struct bus_range {
	uint64_t base;
	uint64_t length;      /* bytes, at least 1 */
	unsigned widest;      /* bytes in the widest access that the device takes: 1, 2, 4 or 8 */
	unsigned region;      /* handed to the device */
	bool read_timed;      /* a read needs the guest's time */
	bool write_timed;     /* a write needs the guest's time */
	const struct device_model *model;
	void *device;
};

struct bus {
	struct bus_range ranges[BUS_RANGES_MAX]; /* by address, without overlap */
	size_t count;
	uint64_t unassigned; /* accesses of which at least one byte had no device */
};

/* Adds a range. An overlap, a range that wraps round, and one too many are broken invariants. */
void bus_add(struct bus *bus, const struct bus_range *range);

/* The range that holds `address`, or NULL. */
const struct bus_range *bus_find(const struct bus *bus, uint64_t address);

/* Accesses of any size of at least 1; `data` is little-endian. An access does not wrap round at the end of the
 * address space of the bus: the caller's addresses are at most 2^64 - 1 - size. */
void bus_read(struct bus *bus, uint64_t address, unsigned size, void *data, uint64_t now);
void bus_write(struct bus *bus, uint64_t address, unsigned size, const void *data, uint64_t now);

#endif
