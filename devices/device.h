/*
 * What every device model looks like to the board, and what it may ask of the board.
 *
 * A device is a deterministic machine: its state changes only in the calls below, as a function of their
 * arguments. It reads no clock, file or socket. Times are guest nanoseconds since power-on and never go back.
 */
#ifndef TERCET_DEVICES_DEVICE_H
#define TERCET_DEVICES_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/result.h"

#define DEVICE_NO_DEADLINE UINT64_MAX

/* Where output goes. The numbers are part of the outbox's byte format. */
enum output_channel {
	OUTPUT_CONSOLE = 1, /* COM1 */
};

/* What a device can ask the machine to do, after the exit at hand is complete. */
enum board_request {
	BOARD_REQUEST_NONE = 0,
	BOARD_REQUEST_POWER_OFF, /* ACPI S5 */
	BOARD_REQUEST_RESET,     /* i8042 pulse, port 0xCF9, ACPI reset register */
	BOARD_REQUEST_EXIT,      /* debug exit port; the argument is the guest's status */
};

/* The board as a device sees it: implemented by board.c, and by unit tests. */
struct device_board {
	void *context;
	/* Sets the level of an ISA interrupt line, 0 to 15. */
	void (*set_irq)(void *context, unsigned line, bool level);
	/* Hands bytes to the outside; they leave the machine only after a vote. */
	void (*output)(void *context, enum output_channel channel, const void *data, size_t length);
	void (*request)(void *context, enum board_request request, uint32_t argument);
};

/* One access to a device, after the bus has cut it to what the range can take (see devices/bus.h). */
struct device_access {
	unsigned region; /* which of the device's own regions, in its own numbering (its header lists them) */
	uint64_t offset; /* bytes from the region's start */
	unsigned size;   /* 1, 2, 4 or 8; offset + size is within the region */
	uint64_t now;    /* guest time; the present only where the board's table says `timed` */
};

/* What a device model is to the board. `device` is its state structure, zero before the first reset. */
struct device_model {
	const char *name;
	/* Power-on reset; what a battery keeps alive stays. */
	void (*reset)(void *device, uint64_t now);
	/* The value is in the low 8 * size bits; the bus ignores the rest. */
	uint64_t (*read)(void *device, const struct device_access *access);
	void (*write)(void *device, const struct device_access *access, uint64_t value);
	/* Moves the device's time to `now`. NULL for a device to which time means nothing. */
	void (*advance)(void *device, uint64_t now);
	/* When the device would raise its interrupt line next by itself, or DEVICE_NO_DEADLINE. May lie in the
	 * past: then it is due. NULL with `advance` NULL. */
	uint64_t (*deadline)(const void *device);
	/* All state that the guest can notice, little-endian and without padding. */
	void (*save)(const void *device, struct bytes_writer *writer);
	/* Replaces all state by what `save` wrote at guest time `now`. Calls nobody on the board. After a
	 * failure the state is undefined: load into a copy. */
	must_check result (*load)(void *device, struct bytes_reader *reader, uint64_t now);
};

#endif
