/*
 * Motorola MC146818A real-time clock and the PC's CMOS memory behind it.
 * Source: Motorola MC146818A data sheet (ADI1150), with the 128 cells and the century cell of later PCs; the
 * meaning of the CMOS cells: IBM PC/AT Technical Reference, section 5, and the usage of PC firmware since.
 *
 * The time shown is `rtc_epoch` plus guest time until the guest sets it. Registers and flags are brought
 * forward in closed form, so a leap of years costs what a leap of a second does. Bit 7 of the index port (the
 * PC's NMI mask) is ignored: the board has no source of NMIs. The update cycle shows the old time until it ends.
 */
#ifndef TERCET_DEVICES_MC146818_H
#define TERCET_DEVICES_MC146818_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/device.h"

#define MC146818_IRQ 8U
#define MC146818_CELLS 128
/* Where the century is kept; told to the operating system in the FADT's CENTURY field. */
#define MC146818_CENTURY 0x32U

enum mc146818_region {
	MC146818_INDEX = 0, /* 1 byte, write only */
	MC146818_DATA = 1,  /* 1 byte */
};

struct mc146818 {
	uint8_t index;
	uint8_t cells[MC146818_CELLS]; /* time and flag registers hold what is written here only while SET is on */
	uint8_t weekday_shift;         /* days by which the guest's day of the week is ahead of the date's, 0 to 6 */
	int64_t seconds;               /* the time shown, in seconds since 1970-01-01 */
	uint64_t next_update;          /* guest time at which the next second begins; 0 with the divider held */
	uint64_t synced;               /* guest time up to which flags are set */
	const struct device_board *board;
};

extern const struct device_model mc146818_model;

/* To be called once, before the first reset, on zeroed memory: starts the clock at `epoch` (Unix time, year 1970
 * to 9999) at guest time 0 and fills the CMOS cells as a PC's firmware would that found `low_ram` bytes from
 * address 0 and `high_ram` bytes from 4 GiB. */
void mc146818_init(struct mc146818 *rtc, const struct device_board *board, int64_t epoch, uint64_t low_ram,
		   uint64_t high_ram);

#endif
