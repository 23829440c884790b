#include "devices/uart16550.h"

#include <string.h>

/* Registers by offset; two of them lie under the divisor while DLAB is set. */
enum {
	REGISTER_DATA = 0,
	REGISTER_INTERRUPT_ENABLE = 1,
	REGISTER_INTERRUPT_ID = 2, /* FIFO control when written */
	REGISTER_LINE_CONTROL = 3,
	REGISTER_MODEM_CONTROL = 4,
	REGISTER_LINE_STATUS = 5,
	REGISTER_MODEM_STATUS = 6,
	REGISTER_SCRATCH = 7,
};

#define IER_RECEIVED 0x01U
#define IER_TRANSMITTER 0x02U
#define IER_LINE_STATUS 0x04U
#define IER_MODEM_STATUS 0x08U
#define IER_MASK 0x0FU

#define IIR_MODEM_STATUS 0x00U
#define IIR_NONE 0x01U
#define IIR_TRANSMITTER 0x02U
#define IIR_RECEIVED 0x04U
#define IIR_LINE_STATUS 0x06U
#define IIR_TIMEOUT 0x0CU
#define IIR_FIFOS 0xC0U

#define FCR_ENABLE 0x01U
#define FCR_CLEAR_RECEIVER 0x02U
#define FCR_KEPT 0xC9U /* enable, DMA mode, trigger level */

#define LCR_BREAK 0x40U
#define LCR_DLAB 0x80U

#define MCR_DTR 0x01U
#define MCR_RTS 0x02U
#define MCR_OUT1 0x04U
#define MCR_OUT2 0x08U
#define MCR_LOOP 0x10U
#define MCR_MASK 0x1FU

#define LSR_DATA_READY 0x01U
#define LSR_OVERRUN 0x02U
#define LSR_PARITY 0x04U
#define LSR_FRAMING 0x08U
#define LSR_BREAK 0x10U
#define LSR_TRANSMITTER_EMPTY 0x60U /* THRE and TEMT: always */
#define LSR_FIFO_ERROR 0x80U
#define LSR_CHARACTER_ERRORS (LSR_PARITY | LSR_FRAMING | LSR_BREAK)

#define MSR_DELTA_CTS 0x01U
#define MSR_DELTA_DSR 0x02U
#define MSR_TRAILING_RI 0x04U
#define MSR_DELTA_DCD 0x08U
#define MSR_DELTAS 0x0FU
#define MSR_CTS 0x10U
#define MSR_DSR 0x20U
#define MSR_RI 0x40U
#define MSR_DCD 0x80U

/* 9600 baud at 1.8432 MHz, as PC firmware leaves COM1. */
#define RESET_DIVISOR 12U

static bool uart_has_fifos(const struct uart16550 *uart)
{
	return uart->fifo_control & FCR_ENABLE;
}

static unsigned uart_capacity(const struct uart16550 *uart)
{
	return uart_has_fifos(uart) ? UART16550_FIFO : 1;
}

static unsigned uart_trigger(const struct uart16550 *uart)
{
	static const uint8_t levels[4] = { 1, 4, 8, 14 };

	return uart_has_fifos(uart) ? levels[uart->fifo_control >> 6] : 1;
}

static uint8_t uart_line_status(const struct uart16550 *uart)
{
	unsigned status = LSR_TRANSMITTER_EMPTY;

	if (uart->count > 0)
		status |= LSR_DATA_READY | uart->errors[0];
	if (uart->overrun)
		status |= LSR_OVERRUN;
	for (unsigned i = 0; i < uart->count && uart_has_fifos(uart); i++)
		if (uart->errors[i])
			status |= LSR_FIFO_ERROR;
	return (uint8_t)status;
}

/* The interrupt of the highest priority, without the FIFO bits. */
static uint8_t uart_interrupt(const struct uart16550 *uart)
{
	uint8_t enabled = uart->interrupt_enable;

	if ((enabled & IER_LINE_STATUS) && (uart_line_status(uart) & (LSR_OVERRUN | LSR_CHARACTER_ERRORS)))
		return IIR_LINE_STATUS;
	if ((enabled & IER_RECEIVED) && uart->count > 0)
		return uart->count >= uart_trigger(uart) ? IIR_RECEIVED : IIR_TIMEOUT;
	if ((enabled & IER_TRANSMITTER) && uart->transmitter_empty_pending)
		return IIR_TRANSMITTER;
	if ((enabled & IER_MODEM_STATUS) && (uart->modem_status & MSR_DELTAS))
		return IIR_MODEM_STATUS;
	return IIR_NONE;
}

static void uart_drive(const struct uart16550 *uart)
{
	/* In loopback the OUT2 pin is inactive, and with it the PC's gate. */
	bool gate = (uart->modem_control & (MCR_OUT2 | MCR_LOOP)) == MCR_OUT2;

	uart->board->set_irq(uart->board->context, UART16550_IRQ, gate && uart_interrupt(uart) != IIR_NONE);
}

static void uart_clear_receiver(struct uart16550 *uart)
{
	memset(uart->data, 0, sizeof(uart->data));
	memset(uart->errors, 0, sizeof(uart->errors));
	uart->count = 0;
}

static void uart_receive_one(struct uart16550 *uart, uint8_t character, uint8_t errors)
{
	if (uart->count >= uart_capacity(uart)) {
		uart->overrun = true;
		/* The FIFO keeps what it has; the single register takes the newer character. */
		if (uart_has_fifos(uart))
			return;
		uart->count = 0;
	}
	uart->data[uart->count] = character;
	uart->errors[uart->count] = errors;
	uart->count++;
}

static uint8_t uart_read_data(struct uart16550 *uart)
{
	uint8_t character = uart->data[0];

	if (uart->count == 0)
		return 0;
	uart->count--;
	memmove(uart->data, uart->data + 1, sizeof(uart->data) - 1);
	memmove(uart->errors, uart->errors + 1, sizeof(uart->errors) - 1);
	uart->data[UART16550_FIFO - 1] = 0;
	uart->errors[UART16550_FIFO - 1] = 0;
	return character;
}

static void uart_write_data(struct uart16550 *uart, uint8_t character)
{
	/* Writing takes the interrupt back, and the character's departure raises it anew: an edge. */
	uart->transmitter_empty_pending = false;
	uart_drive(uart);
	if (uart->modem_control & MCR_LOOP)
		uart_receive_one(uart, character, 0);
	else
		uart->board->output(uart->board->context, OUTPUT_CONSOLE, &character, 1);
	uart->transmitter_empty_pending = true;
}

/* The modem inputs as they are: the terminal's, or in loopback our own outputs. */
static void uart_update_modem_status(struct uart16550 *uart)
{
	uint8_t control = uart->modem_control;
	unsigned now = MSR_CTS | MSR_DSR | MSR_DCD;
	unsigned deltas = uart->modem_status & MSR_DELTAS;
	unsigned changed;

	if (control & MCR_LOOP)
		now = (control & MCR_RTS ? MSR_CTS : 0U) | (control & MCR_DTR ? MSR_DSR : 0U) |
		      (control & MCR_OUT1 ? MSR_RI : 0U) | (control & MCR_OUT2 ? MSR_DCD : 0U);
	changed = now ^ uart->modem_status;
	deltas |= (changed & MSR_CTS ? MSR_DELTA_CTS : 0U) | (changed & MSR_DSR ? MSR_DELTA_DSR : 0U) |
		  (changed & ~now & MSR_RI ? MSR_TRAILING_RI : 0U) | (changed & MSR_DCD ? MSR_DELTA_DCD : 0U);
	uart->modem_status = (uint8_t)(now | deltas);
}

static void uart_write_fifo_control(struct uart16550 *uart, uint8_t value)
{
	/* The other bits are programmed only together with a set enable. */
	if (!(value & FCR_ENABLE))
		value = 0;
	if (((value ^ uart->fifo_control) & FCR_ENABLE) || (value & FCR_CLEAR_RECEIVER))
		uart_clear_receiver(uart);
	uart->fifo_control = value & FCR_KEPT;
}

static uint64_t uart16550_read(void *device, const struct device_access *access)
{
	struct uart16550 *uart = device;
	bool divisor = uart->line_control & LCR_DLAB;
	uint8_t value = 0;

	switch (access->offset) {
	case REGISTER_DATA:
		value = divisor ? uart->divisor_low : uart_read_data(uart);
		break;
	case REGISTER_INTERRUPT_ENABLE:
		value = divisor ? uart->divisor_high : uart->interrupt_enable;
		break;
	case REGISTER_INTERRUPT_ID:
		value = uart_interrupt(uart);
		if (value == IIR_TRANSMITTER)
			uart->transmitter_empty_pending = false;
		if (uart_has_fifos(uart))
			value |= IIR_FIFOS;
		break;
	case REGISTER_LINE_CONTROL:
		return uart->line_control;
	case REGISTER_MODEM_CONTROL:
		return uart->modem_control;
	case REGISTER_LINE_STATUS:
		value = uart_line_status(uart);
		uart->overrun = false;
		uart->errors[0] = 0;
		break;
	case REGISTER_MODEM_STATUS:
		value = uart->modem_status;
		uart->modem_status &= (uint8_t)~MSR_DELTAS;
		break;
	default:
		return uart->scratch;
	}
	uart_drive(uart);
	return value;
}

static void uart16550_write(void *device, const struct device_access *access, uint64_t written)
{
	struct uart16550 *uart = device;
	bool divisor = uart->line_control & LCR_DLAB;
	uint8_t value = (uint8_t)written;

	switch (access->offset) {
	case REGISTER_DATA:
		if (divisor)
			uart->divisor_low = value;
		else
			uart_write_data(uart, value);
		break;
	case REGISTER_INTERRUPT_ENABLE:
		if (divisor) {
			uart->divisor_high = value;
			break;
		}
		/* Enabling the transmitter's interrupt while it is empty raises it, seen before or not. */
		if (value & ~uart->interrupt_enable & IER_TRANSMITTER)
			uart->transmitter_empty_pending = true;
		uart->interrupt_enable = value & IER_MASK;
		break;
	case REGISTER_INTERRUPT_ID:
		uart_write_fifo_control(uart, value);
		break;
	case REGISTER_LINE_CONTROL:
		/* In loopback a break on the way out is a break on the way in. */
		if ((value & ~uart->line_control & LCR_BREAK) && (uart->modem_control & MCR_LOOP))
			uart_receive_one(uart, 0, LSR_BREAK);
		uart->line_control = value;
		break;
	case REGISTER_MODEM_CONTROL:
		uart->modem_control = value & MCR_MASK;
		uart_update_modem_status(uart);
		break;
	case REGISTER_LINE_STATUS:
	case REGISTER_MODEM_STATUS:
		return; /* read only outside factory tests */
	default:
		uart->scratch = value;
		return;
	}
	uart_drive(uart);
}

void uart16550_init(struct uart16550 *uart, const struct device_board *board)
{
	uart->board = board;
}

size_t uart16550_room(const struct uart16550 *uart)
{
	return uart->modem_control & MCR_LOOP ? 0 : uart_capacity(uart) - uart->count;
}

void uart16550_receive(struct uart16550 *uart, const uint8_t *data, size_t length)
{
	if (uart->modem_control & MCR_LOOP)
		return;
	for (size_t i = 0; i < length; i++)
		uart_receive_one(uart, data[i], 0);
	uart_drive(uart);
}

static void uart16550_reset(void *device, uint64_t now)
{
	struct uart16550 *uart = device;

	(void)now;
	*uart = (struct uart16550){
		.board = uart->board,
		.modem_status = MSR_CTS | MSR_DSR | MSR_DCD,
		.divisor_low = RESET_DIVISOR,
	};
	uart_drive(uart);
}

static void uart16550_save(const void *device, struct bytes_writer *writer)
{
	const struct uart16550 *uart = device;

	bytes_put_u8(writer, uart->interrupt_enable);
	bytes_put_u8(writer, uart->fifo_control);
	bytes_put_u8(writer, uart->line_control);
	bytes_put_u8(writer, uart->modem_control);
	bytes_put_u8(writer, uart->modem_status);
	bytes_put_u8(writer, uart->scratch);
	bytes_put_u8(writer, uart->divisor_low);
	bytes_put_u8(writer, uart->divisor_high);
	bytes_put_bool(writer, uart->overrun);
	bytes_put_bool(writer, uart->transmitter_empty_pending);
	bytes_put_u8(writer, uart->count);
	bytes_put(writer, uart->data, sizeof(uart->data));
	bytes_put(writer, uart->errors, sizeof(uart->errors));
}

static result uart16550_load(void *device, struct bytes_reader *reader, uint64_t now)
{
	struct uart16550 *uart = device;

	(void)now;
	uart->interrupt_enable = bytes_get_u8(reader);
	uart->fifo_control = bytes_get_u8(reader);
	uart->line_control = bytes_get_u8(reader);
	uart->modem_control = bytes_get_u8(reader);
	uart->modem_status = bytes_get_u8(reader);
	uart->scratch = bytes_get_u8(reader);
	uart->divisor_low = bytes_get_u8(reader);
	uart->divisor_high = bytes_get_u8(reader);
	uart->overrun = bytes_get_bool(reader);
	uart->transmitter_empty_pending = bytes_get_bool(reader);
	uart->count = bytes_get_u8(reader);
	bytes_get(reader, uart->data, sizeof(uart->data));
	bytes_get(reader, uart->errors, sizeof(uart->errors));

	bool valid = !(uart->interrupt_enable & ~IER_MASK) && !(uart->modem_control & ~MCR_MASK) &&
		     !(uart->fifo_control & ~FCR_KEPT) &&
		     (uart->fifo_control == 0 || uart_has_fifos(uart)) && uart->count <= uart_capacity(uart);

	for (unsigned i = 0; i < UART16550_FIFO; i++) {
		valid = valid && !(uart->errors[i] & ~LSR_CHARACTER_ERRORS);
		if (i >= uart->count)
			valid = valid && uart->data[i] == 0 && uart->errors[i] == 0;
	}
	if (!valid)
		return fail(STATUS_INPUT, "serial port state is not valid");
	return OK;
}

const struct device_model uart16550_model = {
	.name = "uart16550",
	.reset = uart16550_reset,
	.read = uart16550_read,
	.write = uart16550_write,
	.save = uart16550_save,
	.load = uart16550_load,
};
