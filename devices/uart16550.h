/*
 * National Semiconductor 16550A UART, one PC serial port.
 * Source: PC16550D data sheet (TL/C/8652), sections 6 and 8.
 *
 * A character takes no time: it is transmitted when it is written, so the transmitter is always empty, and the
 * receiver's character timeout comes with the character. Word length, parity and divisor are kept and have no
 * other effect. A terminal that is always there holds CTS, DSR and DCD. As on a PC the interrupt leaves the
 * chip through the gate that OUT2 opens.
 */
#ifndef TERCET_DEVICES_UART16550_H
#define TERCET_DEVICES_UART16550_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "devices/device.h"

#define UART16550_IRQ 4U /* COM1 */
#define UART16550_FIFO 16U

/* The only region: 8 bytes. */

struct uart16550 {
	uint8_t interrupt_enable;
	uint8_t fifo_control; /* enable and trigger level */
	uint8_t line_control;
	uint8_t modem_control;
	uint8_t modem_status;
	uint8_t scratch;
	uint8_t divisor_low;
	uint8_t divisor_high;
	bool overrun;
	bool transmitter_empty_pending; /* THRE was not yet seen by the guest */
	uint8_t count;                  /* characters received and not yet read */
	uint8_t data[UART16550_FIFO];   /* oldest first, zero from `count` on */
	uint8_t errors[UART16550_FIFO]; /* line status bits that came with each */
	const struct device_board *board;
};

extern const struct device_model uart16550_model;

/* To be called once, before the first reset, on zeroed memory. */
void uart16550_init(struct uart16550 *uart, const struct device_board *board);

/* Characters that the receiver can take now without losing one. None in loopback. */
size_t uart16550_room(const struct uart16550 *uart);

/* Receives characters; what does not fit is lost with an overrun, as on the wire. */
void uart16550_receive(struct uart16550 *uart, const uint8_t *data, size_t length);

#endif
