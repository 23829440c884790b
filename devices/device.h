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

#endif
