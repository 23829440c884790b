/*
 * The chip set's two reset registers: port 0x92 ("fast A20 and reset") and the reset control register 0xCF9.
 * Source: Intel 82371AB (PIIX4) data sheet, sections 4.2.6 (port 92) and 4.1.15 (RCR).
 *
 * 0xCF9 lies in the middle of the ports of PCI configuration mechanism 1, which devices/pci.c answers; it hands on
 * what is for this register. The region is the whole of 0xCF8 to 0xCFF, of which only a byte access to 0xCF9 means
 * something; all else reads as ones.
 */
#ifndef TERCET_DEVICES_RESET_CONTROL_H
#define TERCET_DEVICES_RESET_CONTROL_H

#include <stdint.h>

#include "devices/device.h"

/* Told to the operating system by the FADT: writing the value to the port resets the machine. */
#define RESET_CONTROL_PORT 0xCF9U
#define RESET_CONTROL_FULL_RESET 0x06U

enum reset_control_region {
	RESET_CONTROL_FAST = 0, /* 1 byte: port 0x92 */
	RESET_CONTROL_PCI = 1,  /* 8 bytes: ports 0xCF8 to 0xCFF */
};

struct reset_control {
	uint8_t fast;    /* port 0x92: A20 (bit 1, kept only: A20 is always open), reset (bit 0) */
	uint8_t control; /* 0xCF9: full reset (bit 3), reset CPU (bit 2), system reset (bit 1) */
	const struct device_board *board;
};

extern const struct device_model reset_control_model;

/* To be called once, before the first reset, on zeroed memory. */
void reset_control_init(struct reset_control *control, const struct device_board *board);

#endif
