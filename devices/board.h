/*
 * The board: THE device table (address, interrupt line, order) and the buses behind it.
 * Order is part of determinism: devices advance, save and are listed in the table's order.
 */
#ifndef TERCET_DEVICES_BOARD_H
#define TERCET_DEVICES_BOARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/result.h"
#include "devices/device.h"

struct board; /* all devices of one machine */

/* RAM from address 0 ends here at the latest; what is more lies from 4 GiB on. */
#define BOARD_LOW_RAM_MAX (UINT64_C(3) << 30)

/* The last guest time, 292 years after power-on. */
#define BOARD_TIME_MAX ((uint64_t)INT64_MAX)

struct board_config {
	uint64_t ram_size;       /* bytes; told to the guest by the RTC's CMOS cells as a PC's firmware does */
	int64_t rtc_epoch;       /* Unix time in seconds that the RTC shows at guest time 0 */
	struct device_board out; /* only `output` and `request` are called; `set_irq` is the board's own */
};

/* Allocates a board in its power-on state. Errors: no memory; an epoch outside the years 1970 to 9999. Functions
 * of `out` that are NULL are not called. */
must_check result board_create(struct board **board, const struct board_config *config);
void board_destroy(struct board *board);

/* Power-on reset of every device (the guest's time goes on). */
void board_reset(struct board *board);

/* Whether an access needs the guest's time: then, and only then, the caller must have advanced the board
 * to the present before the access. (An access that starts before a timed port and reaches into it sees the
 * time of the last advance.) */
bool board_port_is_timed(const struct board *board, uint16_t port, bool write);

/* Port accesses of 1, 2 or 4 bytes. Reads of unassigned ports give all ones; writes to them are dropped and
 * counted. `data` is little-endian. */
void board_port_read(struct board *board, uint16_t port, unsigned size, void *data);
void board_port_write(struct board *board, uint16_t port, unsigned size, const void *data);

/* Memory-mapped accesses of 1 to 8 bytes, likewise. */
void board_mmio_read(struct board *board, uint64_t address, unsigned size, void *data);
void board_mmio_write(struct board *board, uint64_t address, unsigned size, const void *data);

/* Moves the devices' time to `now` (ns since power-on); earlier than the present, or later than BOARD_TIME_MAX,
 * is a broken invariant. */
void board_advance(struct board *board, uint64_t now);
uint64_t board_now(const struct board *board);

/* The time at which the board wants to be advanced, or DEVICE_NO_DEADLINE. It changes with every access and
 * acknowledge. A time in the past means now: an edge is due that nobody waited for when it happened, because its
 * interrupt was masked, requested or in service. */
uint64_t board_deadline(const struct board *board);

/* The PIC's INTR output, and its acknowledge cycle, which gives the vector. */
bool board_interrupt_pending(const struct board *board);
uint8_t board_interrupt_acknowledge(struct board *board);

/* Key presses for COM1: how many bytes its receiver can take now, and their delivery (at most that many). */
size_t board_console_room(const struct board *board);
void board_console_input(struct board *board, const uint8_t *data, size_t length);

/* Presses the ACPI power button. */
void board_power_button(struct board *board);

/* The table: number of devices, the name of each, and one device's state (for digests and reports). */
size_t board_device_count(const struct board *board);
const char *board_device_name(const struct board *board, size_t index);
void board_device_save(const struct board *board, size_t index, struct bytes_writer *writer);

/* All state, with a version. Load validates everything before it changes anything. */
void board_save(const struct board *board, struct bytes_writer *writer);
must_check result board_load(struct board *board, struct bytes_reader *reader);

/* Where one device's state lies in bytes that board_save wrote; false if they are damaged. */
bool board_saved_device(const uint8_t *saved, size_t size, size_t index, size_t *offset, size_t *length);

/* Accesses to unassigned ports and addresses so far (for statistics). */
uint64_t board_unassigned_accesses(const struct board *board);

#endif
