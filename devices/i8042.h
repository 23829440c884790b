/*
 * Intel 8042 keyboard controller of the PC/AT with a PS/2 auxiliary port, nothing plugged into either.
 * Source: IBM PS/2 Hardware Interface Technical Reference, "Keyboard and Auxiliary Device Controller"; the
 * reset pulse on bit 0 of its output port is how PC operating systems restart the machine.
 *
 * A command takes no time. A byte sent to a device that is not there comes back as 0xFE with the time-out bit.
 */
#ifndef TERCET_DEVICES_I8042_H
#define TERCET_DEVICES_I8042_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/device.h"

#define I8042_KEYBOARD_IRQ 1U
#define I8042_AUXILIARY_IRQ 12U

enum i8042_region {
	I8042_DATA = 0,    /* 1 byte: port 0x60 */
	I8042_COMMAND = 1, /* 1 byte: port 0x64, status when read */
};

struct i8042 {
	uint8_t status;      /* as read at port 0x64 */
	uint8_t mode;        /* the command byte */
	uint8_t output;      /* the output buffer, valid with the status' OBF */
	uint8_t command;     /* command that waits for its data byte, 0 for none */
	uint8_t output_port; /* A20 and reset pins */
	const struct device_board *board;
};

extern const struct device_model i8042_model;

/* To be called once, before the first reset, on zeroed memory. */
void i8042_init(struct i8042 *controller, const struct device_board *board);

#endif
