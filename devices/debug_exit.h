/*
 * Two ports for programs that run without an operating system: the debug exit port, a write to which ends the
 * machine with a status, and the latch of port 0x80 in which PC firmware leaves its POST codes.
 */
#ifndef TERCET_DEVICES_DEBUG_EXIT_H
#define TERCET_DEVICES_DEBUG_EXIT_H

#include <stdint.h>

#include "devices/device.h"

enum debug_exit_region {
	DEBUG_EXIT_STATUS = 0, /* 4 bytes, write only: an access of any size at offset 0 is the status */
	DEBUG_EXIT_POST = 1,   /* 4 bytes: reads back what was written */
};

struct debug_exit {
	uint32_t post;
	const struct device_board *board;
};

extern const struct device_model debug_exit_model;

/* To be called once, before the first reset, on zeroed memory. */
void debug_exit_init(struct debug_exit *port, const struct device_board *board);

#endif
