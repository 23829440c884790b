/*
 * Intel 8254 programmable interval timer, and port 0x61 of the PC/AT that gates its third channel.
 * Source: Intel 82C54 data sheet (order 231244); port 0x61: Intel 82371AB (PIIX4) data sheet, section 4.2.6.
 *
 * The CLK inputs are one free-running clock that starts at guest time 0; a channel is brought forward in
 * closed form, never clock by clock. Channel 0's OUT drives IRQ 0. If OUT rises several times within one
 * advance, IRQ 0 sees one rising edge, as an interrupt controller that was not served meanwhile would.
 */
#ifndef TERCET_DEVICES_I8254_H
#define TERCET_DEVICES_I8254_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/device.h"

/* Hz: a third of the NTSC colour subcarrier, 3579545.45 / 3, rounded as every PC operating system does. */
#define I8254_FREQUENCY 1193182U
#define I8254_CHANNELS 3
#define I8254_IRQ 0U

enum i8254_region {
	I8254_PORTS = 0,   /* 4 bytes: channels 0 to 2, control word */
	I8254_SPEAKER = 1, /* 1 byte: port 0x61 */
};

struct i8254_channel {
	uint8_t control;   /* mode as written (3 bits) */
	uint8_t access;    /* RW bits: 1 low byte, 2 high byte, 3 low then high */
	bool bcd;
	bool gate;
	bool out;
	bool programmed;   /* a whole count was written since the control word */
	bool null_count;   /* the count register was not yet copied to the counting element */
	bool load_next;    /* the next CLK pulse copies it */
	bool loaded;       /* the counting element holds a count */
	bool done;         /* modes 0, 1, 4, 5: terminal count was reached */
	uint16_t count;    /* the count register, as written */
	uint16_t period;   /* mode 3: the count behind the half-period at hand, as written */
	uint32_t element;  /* the counting element; in mode 3 the CLK pulses left in the half-period */
	uint8_t low_byte;  /* first byte of a two-byte write */
	bool write_high;   /* the second byte of a two-byte write comes next */
	bool read_high;    /* likewise for reads */
	bool status_latched;
	uint8_t status;
	uint8_t latched_bytes; /* bytes of `latched` still to be read, 0 to 2 */
	uint16_t latched;
};

struct i8254 {
	struct i8254_channel channels[I8254_CHANNELS];
	uint64_t clocks;  /* CLK pulses up to the present */
	uint8_t speaker;  /* writable bits of port 0x61 */
	const struct device_board *board;
};

extern const struct device_model i8254_model;

/* To be called once, before the first reset, on zeroed memory. */
void i8254_init(struct i8254 *pit, const struct device_board *board);

/* CLK pulses that lie at or before a guest time, and the first guest time at which `clocks` pulses have passed
 * (saturates at DEVICE_NO_DEADLINE). */
uint64_t i8254_clocks_at(uint64_t now);
uint64_t i8254_time_of(uint64_t clocks);

#endif
