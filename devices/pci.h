/*
 * The PCI bus: a host bridge with configuration mechanism 1, and virtio functions of one I/O BAR each, with INTx.
 * Source: PCI Local Bus Specification 3.0, chapters 3.2.2.3.2 and 6; for what is virtio's, devices/virtio_pci.h.
 *
 * 00:00.0 is the host bridge; 00:01.0 and on are the functions. After a reset everything is as firmware leaves it: BARs
 * assigned one after the other in the I/O window, decoded, with interrupt lines. A BAR may be moved within the window;
 * elsewhere it is not decoded. There is no memory space, MSI, bus mastering to be switched off, or power management.
 * Without a function there is no bridge either, and mechanism 1 finds nothing: a guest loses no time with it.
 */
#ifndef TERCET_DEVICES_PCI_H
#define TERCET_DEVICES_PCI_H

#include <stddef.h>
#include <stdint.h>

#include "base/result.h"
#include "devices/board.h"
#include "devices/device.h"
#include "devices/reset_control.h"
#include "devices/virtio.h"
#include "devices/virtio_blk.h"
#include "devices/virtio_console.h"
#include "devices/virtio_net.h"
#include "devices/virtio_pci.h"
#include "devices/virtio_rng.h"

enum {
	PCI_CONFIG_PORT = 0xCF8, /* 8 bytes: address, data */
	PCI_WINDOW_PORT = 0xC000,
	PCI_WINDOW_SIZE = 0x1000,
	/* Functions take turns with the two interrupt lines: 00:01.0 has the first. */
	PCI_IRQ_FIRST = 10,
	PCI_IRQ_COUNT = 2,
	PCI_ELCR_SLAVE = 0x0C, /* both of them, in the ELCR's second byte */
};

enum pci_region {
	PCI_CONFIG = 0, /* 8 bytes; the byte at offset 1 is the reset control register's */
	PCI_WINDOW = 1, /* PCI_WINDOW_SIZE bytes */
};

/* A function. Which virtio device it is, its model tells. */
struct pci_function {
	enum board_pci_kind kind;
	union {
		struct virtio virtio;
		struct virtio_blk blk;
		struct virtio_net net;
		struct virtio_rng rng;
		struct virtio_console console;
	} device;
	/* State: */
	uint16_t command;
	uint32_t bar;
	uint8_t cache_line;
	uint8_t latency;
	uint8_t line;
	struct virtio_pci registers;
};

struct pci {
	const struct device_board *board;
	struct reset_control *reset_control;
	uint8_t *scratch; /* for the devices */
	size_t count;
	uint32_t address; /* the configuration address register */
	struct pci_function functions[BOARD_PCI_MAX];
};

extern const struct device_model pci_model;

/* To be called once, before the first reset, on zeroed memory. Errors: no memory; devices that are not as board.h says
 * (STATUS_INPUT). pci_destroy frees what it took, also after a failure. */
must_check result pci_init(struct pci *pci, const struct device_board *board, const struct board_pci_device *devices,
			   size_t count, struct reset_control *reset_control);
void pci_destroy(struct pci *pci);

/* The lines that firmware makes level-triggered, as bits of the ELCR's second byte. */
uint8_t pci_level_lines(const struct pci *pci);

/* See board_input_fits, board_input, board_resume and board_fetch_again. */
enum device_input_fit pci_input_fits(const struct pci *pci, const struct device_input *input);
void pci_input(struct pci *pci, const struct device_input *input);
void pci_resume(struct pci *pci);
void pci_fetch_again(const struct pci *pci);

#endif
