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

enum {
	BOARD_PCI_MAX = 8,      /* PCI functions, not counting the host bridge */
	BOARD_SERIAL_SIZE = 20, /* bytes of a disk's serial number (virtio 1.2, 5.2.6) */
	BOARD_MAC_SIZE = 6,
	BOARD_STATE_MAX = 20480, /* bytes that board_save writes at most: all devices disks with all their requests */
};

enum board_pci_kind {
	BOARD_PCI_DISK = 1,
	BOARD_PCI_NET = 2,
	BOARD_PCI_RNG = 3,
	BOARD_PCI_CONSOLE = 4,
};

/* One virtio device on the PCI bus. */
struct board_pci_device {
	enum board_pci_kind kind;
	uint64_t disk_size;             /* bytes: a multiple of 512, not 0 */
	bool read_only;                 /* the disk */
	char serial[BOARD_SERIAL_SIZE]; /* of the disk: printable ASCII, zeros behind it */
	uint8_t mac[BOARD_MAC_SIZE];    /* of the network card */
};

struct board_config {
	uint64_t ram_size;       /* bytes; told to the guest by the RTC's CMOS cells as a PC's firmware does */
	int64_t rtc_epoch;       /* Unix time in seconds that the RTC shows at guest time 0 */
	struct device_board out; /* all but `set_irq` are called, which is the board's own */
	/* What is on the PCI bus, in the order of its functions; copied. `device` in inputs, fetches and streams is
	 * the index here. */
	const struct board_pci_device *pci;
	size_t pci_count; /* at most BOARD_PCI_MAX */
};

/* Allocates a board in its power-on state. Errors: no memory; an epoch outside the years 1970 to 9999; PCI devices
 * that are not as above. Functions of `out` that are NULL are not called: then there is no memory, nothing is
 * fetched, and there is room for all output. */
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

/* Whether the device that an input names takes it; and its delivery, for inputs that fit. The answer changes with what
 * the guest and the outside do, and is the same in all replicas at the same position. */
enum device_input_fit board_input_fits(const struct board *board, const struct device_input *input);
void board_input(struct board *board, const struct device_input *input);

/* To be called behind each vote point, at its position, when `output_room` has grown: devices that waited for room go
 * on. */
void board_resume(struct board *board);

/* Repeats all fetches that are not answered in full, with their ids: for a new leader. It changes no state. An answer
 * starts anew, at offset 0: pieces of it that a device has already got never fit, and are skipped. */
void board_fetch_again(struct board *board);

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
