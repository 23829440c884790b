#include "devices/bus.h"

#include <string.h>

#include "base/result.h"

void bus_add(struct bus *bus, const struct bus_range *range)
{
	size_t at = bus->count;

	invariant(bus->count < BUS_RANGES_MAX);
	invariant(range->length > 0 && range->base + (range->length - 1) >= range->base);
	while (at > 0 && bus->ranges[at - 1].base > range->base) {
		bus->ranges[at] = bus->ranges[at - 1];
		at--;
	}
	bus->ranges[at] = *range;
	bus->count++;
	for (size_t i = 1; i < bus->count; i++)
		invariant(bus->ranges[i].base - bus->ranges[i - 1].base >= bus->ranges[i - 1].length);
}

const struct bus_range *bus_find(const struct bus *bus, uint64_t address)
{
	size_t low = 0;
	size_t high = bus->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct bus_range *range = &bus->ranges[middle];

		if (address < range->base)
			high = middle;
		else if (address - range->base >= range->length)
			low = middle + 1;
		else
			return range;
	}
	return NULL;
}

/* The next piece of an access: the widest aligned one that the range takes. */
static unsigned bus_piece(const struct bus_range *range, uint64_t offset, unsigned left)
{
	unsigned piece = range->widest;

	while (piece > left || offset % piece != 0 || range->length - offset < piece)
		piece /= 2;
	return piece;
}

void bus_read(struct bus *bus, uint64_t address, unsigned size, void *data, uint64_t now)
{
	uint8_t *bytes = data;
	bool unassigned = false;
	unsigned done = 0;

	while (done < size) {
		const struct bus_range *range = bus_find(bus, address + done);

		if (!range) {
			unassigned = true;
			bytes[done++] = 0xFF;
			continue;
		}
		struct device_access access = {
			.region = range->region,
			.offset = address + done - range->base,
			.now = now,
		};

		access.size = bus_piece(range, access.offset, size - done);
		uint64_t value = range->model->read(range->device, &access);

		memcpy(bytes + done, &value, access.size);
		done += access.size;
	}
	bus->unassigned += unassigned;
}

void bus_write(struct bus *bus, uint64_t address, unsigned size, const void *data, uint64_t now)
{
	const uint8_t *bytes = data;
	bool unassigned = false;
	unsigned done = 0;

	while (done < size) {
		const struct bus_range *range = bus_find(bus, address + done);

		if (!range) {
			unassigned = true;
			done++;
			continue;
		}
		struct device_access access = {
			.region = range->region,
			.offset = address + done - range->base,
			.now = now,
		};
		uint64_t value = 0;

		access.size = bus_piece(range, access.offset, size - done);
		memcpy(&value, bytes + done, access.size);
		range->model->write(range->device, &access, value);
		done += access.size;
	}
	bus->unassigned += unassigned;
}
