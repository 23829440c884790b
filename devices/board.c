#include "devices/board.h"

#include <stdlib.h>

#include "devices/acpi_pm.h"
#include "devices/bus.h"
#include "devices/debug_exit.h"
#include "devices/i8042.h"
#include "devices/i8254.h"
#include "devices/i8259.h"
#include "devices/mc146818.h"
#include "devices/pci.h"
#include "devices/reset_control.h"
#include "devices/uart16550.h"

#define BOARD_MAGIC 0x44524254U /* "TBRD" */
#define BOARD_VERSION 2U

#define ISA_PORTS 0x10000U
#define ELCR_SCI 0x02U /* of the slave: IRQ 9 */

/* Years 1970 to 9999. */
#define EPOCH_MAX INT64_C(253402300799)

struct board {
	struct i8254 pit;
	struct mc146818 rtc;
	struct uart16550 com1;
	struct i8042 keyboard;
	struct acpi_pm pm;
	struct debug_exit debug_exit;
	struct reset_control reset_control;
	struct pci pci;
	struct i8259 pic;
	uint64_t now;
	struct bus ports;
	struct bus memory;
	struct device_board self; /* what the devices call */
	struct device_board out;  /* the machine outside */
};

enum {
	DEVICE_PIT,
	DEVICE_RTC,
	DEVICE_COM1,
	DEVICE_KEYBOARD,
	DEVICE_PM,
	DEVICE_DEBUG_EXIT,
	DEVICE_RESET_CONTROL,
	DEVICE_PCI,
	DEVICE_PIC,
	DEVICE_COUNT,
};

#define NO_IRQ UINT8_MAX

/* THE device table. The interrupt controller comes last: a reset of the others may move its inputs. */
static const struct {
	const struct device_model *model;
	size_t offset;     /* of the state in struct board */
	uint8_t timed_irq; /* line that the device raises at its deadline */
} board_devices[DEVICE_COUNT] = {
	[DEVICE_PIT] = { &i8254_model, offsetof(struct board, pit), I8254_IRQ },
	[DEVICE_RTC] = { &mc146818_model, offsetof(struct board, rtc), MC146818_IRQ },
	[DEVICE_COM1] = { &uart16550_model, offsetof(struct board, com1), NO_IRQ },
	[DEVICE_KEYBOARD] = { &i8042_model, offsetof(struct board, keyboard), NO_IRQ },
	[DEVICE_PM] = { &acpi_pm_model, offsetof(struct board, pm), ACPI_PM_IRQ },
	[DEVICE_DEBUG_EXIT] = { &debug_exit_model, offsetof(struct board, debug_exit), NO_IRQ },
	[DEVICE_RESET_CONTROL] = { &reset_control_model, offsetof(struct board, reset_control), NO_IRQ },
	[DEVICE_PCI] = { &pci_model, offsetof(struct board, pci), NO_IRQ },
	[DEVICE_PIC] = { &i8259_model, offsetof(struct board, pic), NO_IRQ },
};

/* ... and where they answer. Timed: the access needs the guest's time (reads, writes). PM1 events are timed for
 * the sake of TMR_STS. */
static const struct {
	uint16_t base;
	uint16_t length;
	uint8_t device;
	uint8_t region;
	uint8_t widest;
	bool read_timed;
	bool write_timed;
} board_ports[] = {
	{ 0x0020, 2, DEVICE_PIC, I8259_MASTER, 1, false, false },
	{ 0x0040, 4, DEVICE_PIT, I8254_PORTS, 1, true, true },
	{ 0x0060, 1, DEVICE_KEYBOARD, I8042_DATA, 1, false, false },
	{ 0x0061, 1, DEVICE_PIT, I8254_SPEAKER, 1, true, true },
	{ 0x0064, 1, DEVICE_KEYBOARD, I8042_COMMAND, 1, false, false },
	{ 0x0070, 1, DEVICE_RTC, MC146818_INDEX, 1, false, false },
	{ 0x0071, 1, DEVICE_RTC, MC146818_DATA, 1, true, true },
	{ 0x0080, 4, DEVICE_DEBUG_EXIT, DEBUG_EXIT_POST, 4, false, false },
	{ 0x0092, 1, DEVICE_RESET_CONTROL, RESET_CONTROL_FAST, 1, false, false },
	{ 0x00A0, 2, DEVICE_PIC, I8259_SLAVE, 1, false, false },
	{ 0x00F4, 4, DEVICE_DEBUG_EXIT, DEBUG_EXIT_STATUS, 4, false, false },
	{ 0x03F8, 8, DEVICE_COM1, 0, 1, false, false },
	{ 0x04D0, 2, DEVICE_PIC, I8259_ELCR, 1, false, false },
	{ ACPI_PM_EVENT_PORT, ACPI_PM_EVENT_LENGTH, DEVICE_PM, ACPI_PM_EVENT, 4, true, true },
	{ ACPI_PM_CONTROL_PORT, ACPI_PM_CONTROL_LENGTH, DEVICE_PM, ACPI_PM_CONTROL, 2, false, false },
	{ ACPI_PM_TIMER_PORT, ACPI_PM_TIMER_LENGTH, DEVICE_PM, ACPI_PM_TIMER, 4, true, false },
	{ PCI_CONFIG_PORT, 8, DEVICE_PCI, PCI_CONFIG, 4, false, false },
	{ PCI_WINDOW_PORT, PCI_WINDOW_SIZE, DEVICE_PCI, PCI_WINDOW, 4, false, false },
};

static void *board_device(struct board *board, size_t index)
{
	return (char *)board + board_devices[index].offset;
}

static const void *board_const_device(const struct board *board, size_t index)
{
	return (const char *)board + board_devices[index].offset;
}

static void board_set_irq(void *context, unsigned line, bool level)
{
	struct board *board = context;

	i8259_set_line(&board->pic, line, level);
}

static void board_output(void *context, enum output_channel channel, const void *data, size_t length)
{
	const struct board *board = context;

	if (board->out.output)
		board->out.output(board->out.context, channel, data, length);
}

static void board_request(void *context, enum board_request request, uint32_t argument)
{
	const struct board *board = context;

	if (board->out.request)
		board->out.request(board->out.context, request, argument);
}

static bool board_memory_read(void *context, uint64_t address, void *data, size_t length)
{
	const struct board *board = context;

	return board->out.memory_read && board->out.memory_read(board->out.context, address, data, length);
}

static bool board_memory_write(void *context, uint64_t address, const void *data, size_t length)
{
	const struct board *board = context;

	return board->out.memory_write && board->out.memory_write(board->out.context, address, data, length);
}

static size_t board_output_room(void *context)
{
	const struct board *board = context;

	return board->out.output_room ? board->out.output_room(board->out.context) : SIZE_MAX;
}

static void board_fetch(void *context, const struct device_fetch *fetch)
{
	const struct board *board = context;

	if (board->out.fetch)
		board->out.fetch(board->out.context, fetch);
}

static void board_wire(struct board *board)
{
	for (size_t i = 0; i < ARRAY_SIZE(board_ports); i++) {
		struct bus_range range = {
			.base = board_ports[i].base,
			.length = board_ports[i].length,
			.widest = board_ports[i].widest,
			.region = board_ports[i].region,
			.read_timed = board_ports[i].read_timed,
			.write_timed = board_ports[i].write_timed,
			.model = board_devices[board_ports[i].device].model,
			.device = board_device(board, board_ports[i].device),
		};

		invariant(range.base + range.length <= ISA_PORTS);
		bus_add(&board->ports, &range);
	}
}

result board_create(struct board **created, const struct board_config *config)
{
	*created = NULL;
	if (config->rtc_epoch < 0 || config->rtc_epoch > EPOCH_MAX)
		return fail(STATUS_INPUT, "the clock cannot start at %lld s: its years are 1970 to 9999",
			    (long long)config->rtc_epoch);

	struct board *board = calloc(1, sizeof(*board));

	if (!board)
		return fail(STATUS_FAILED, "out of memory for the devices of a machine");
	board->out = config->out;
	board->self = (struct device_board){
		.context = board,
		.set_irq = board_set_irq,
		.output = board_output,
		.request = board_request,
		.memory_read = board_memory_read,
		.memory_write = board_memory_write,
		.output_room = board_output_room,
		.fetch = board_fetch,
	};

	uint64_t low_ram = config->ram_size < BOARD_LOW_RAM_MAX ? config->ram_size : BOARD_LOW_RAM_MAX;

	i8254_init(&board->pit, &board->self);
	mc146818_init(&board->rtc, &board->self, config->rtc_epoch, low_ram, config->ram_size - low_ram);
	uart16550_init(&board->com1, &board->self);
	i8042_init(&board->keyboard, &board->self);
	acpi_pm_init(&board->pm, &board->self);
	debug_exit_init(&board->debug_exit, &board->self);
	reset_control_init(&board->reset_control, &board->self);

	result r = pci_init(&board->pci, &board->self, config->pci, config->pci_count, &board->reset_control);

	if (failed(r)) {
		board_destroy(board);
		return r;
	}
	board_wire(board);
	board_reset(board);
	*created = board;
	return OK;
}

void board_destroy(struct board *board)
{
	if (board)
		pci_destroy(&board->pci);
	free(board);
}

void board_reset(struct board *board)
{
	uint8_t elcr = ELCR_SCI | pci_level_lines(&board->pci);

	for (size_t i = 0; i < DEVICE_COUNT; i++)
		board_devices[i].model->reset(board_device(board, i), board->now);
	/* Firmware's work: without an MADT the trigger mode of the SCI, and of PCI's lines, is what the ELCR says. */
	bus_write(&board->ports, 0x4D1, sizeof(elcr), &elcr, board->now);
}

bool board_port_is_timed(const struct board *board, uint16_t port, bool write)
{
	const struct bus_range *range = bus_find(&board->ports, port);

	return range && (write ? range->write_timed : range->read_timed);
}

void board_port_read(struct board *board, uint16_t port, unsigned size, void *data)
{
	bus_read(&board->ports, port, size, data, board->now);
}

void board_port_write(struct board *board, uint16_t port, unsigned size, const void *data)
{
	bus_write(&board->ports, port, size, data, board->now);
}

void board_mmio_read(struct board *board, uint64_t address, unsigned size, void *data)
{
	bus_read(&board->memory, address, size, data, board->now);
}

void board_mmio_write(struct board *board, uint64_t address, unsigned size, const void *data)
{
	bus_write(&board->memory, address, size, data, board->now);
}

void board_advance(struct board *board, uint64_t now)
{
	invariant(now >= board->now && now <= BOARD_TIME_MAX);
	board->now = now;
	for (size_t i = 0; i < DEVICE_COUNT; i++)
		if (board_devices[i].model->advance)
			board_devices[i].model->advance(board_device(board, i), now);
}

uint64_t board_now(const struct board *board)
{
	return board->now;
}

uint64_t board_deadline(const struct board *board)
{
	uint64_t deadline = DEVICE_NO_DEADLINE;

	for (size_t i = 0; i < DEVICE_COUNT; i++) {
		/* Nobody waits for an edge that the interrupt controller would not pass on now. */
		if (!board_devices[i].model->deadline || !i8259_listens(&board->pic, board_devices[i].timed_irq))
			continue;

		uint64_t at = board_devices[i].model->deadline(board_const_device(board, i));

		if (at < deadline)
			deadline = at;
	}
	return deadline;
}

bool board_interrupt_pending(const struct board *board)
{
	return i8259_interrupt_pending(&board->pic);
}

uint8_t board_interrupt_acknowledge(struct board *board)
{
	return i8259_acknowledge(&board->pic);
}

size_t board_console_room(const struct board *board)
{
	return uart16550_room(&board->com1);
}

void board_console_input(struct board *board, const uint8_t *data, size_t length)
{
	uart16550_receive(&board->com1, data, length);
}

enum device_input_fit board_input_fits(const struct board *board, const struct device_input *input)
{
	return pci_input_fits(&board->pci, input);
}

void board_input(struct board *board, const struct device_input *input)
{
	pci_input(&board->pci, input);
}

void board_resume(struct board *board)
{
	pci_resume(&board->pci);
}

void board_fetch_again(struct board *board)
{
	pci_fetch_again(&board->pci);
}

void board_power_button(struct board *board)
{
	acpi_pm_power_button(&board->pm);
}

size_t board_device_count(const struct board *board)
{
	(void)board;
	return DEVICE_COUNT;
}

const char *board_device_name(const struct board *board, size_t index)
{
	(void)board;
	invariant(index < DEVICE_COUNT);
	return board_devices[index].model->name;
}

void board_device_save(const struct board *board, size_t index, struct bytes_writer *writer)
{
	invariant(index < DEVICE_COUNT);
	board_devices[index].model->save(board_const_device(board, index), writer);
}

/* magic u32, version u32, now u64, unassigned accesses u64 (ports, memory), device count u32, and each device's
 * state in the table's order behind its length (u32). */
void board_save(const struct board *board, struct bytes_writer *writer)
{
	bytes_put_u32(writer, BOARD_MAGIC);
	bytes_put_u32(writer, BOARD_VERSION);
	bytes_put_u64(writer, board->now);
	bytes_put_u64(writer, board->ports.unassigned);
	bytes_put_u64(writer, board->memory.unassigned);
	bytes_put_u32(writer, DEVICE_COUNT);
	for (size_t i = 0; i < DEVICE_COUNT; i++) {
		size_t length_at = writer->used;

		bytes_put_u32(writer, 0);
		board_device_save(board, i, writer);
		if (!writer->overflow)
			bytes_store_u32(writer->data + length_at,
					(uint32_t)(writer->used - length_at - sizeof(uint32_t)));
	}
}

static result board_load_devices(struct board *board, struct bytes_reader *reader)
{
	for (size_t i = 0; i < DEVICE_COUNT; i++) {
		uint32_t length = bytes_get_u32(reader);
		size_t start = reader->at;
		const char *name = board_devices[i].model->name;

		TRY(board_devices[i].model->load(board_device(board, i), reader, board->now));
		if (reader->underflow || reader->at - start != length)
			return fail(STATUS_INPUT, "saved state of %s is damaged or cut short", name);
	}
	return OK;
}

result board_load(struct board *board, struct bytes_reader *reader)
{
	if (bytes_get_u32(reader) != BOARD_MAGIC || bytes_get_u32(reader) != BOARD_VERSION)
		return fail(STATUS_INPUT, "saved device state is not of this version of tercet");

	/* A copy, whose devices still call the original: it becomes the original when all of it is valid. */
	struct board *loaded = malloc(sizeof(*loaded));

	if (!loaded)
		return fail(STATUS_FAILED, "out of memory to load a machine's devices");
	*loaded = *board;
	loaded->now = bytes_get_u64(reader);
	loaded->ports.unassigned = bytes_get_u64(reader);
	loaded->memory.unassigned = bytes_get_u64(reader);

	uint32_t count = bytes_get_u32(reader);
	result r;

	if (reader->underflow || loaded->now > BOARD_TIME_MAX || count != DEVICE_COUNT)
		r = fail(STATUS_INPUT, "saved device state is damaged or cut short");
	else
		r = board_load_devices(loaded, reader);
	if (!failed(r))
		*board = *loaded;
	free(loaded);
	return r;
}

bool board_saved_device(const uint8_t *saved, size_t size, size_t index, size_t *offset, size_t *length)
{
	size_t at = 4 * sizeof(uint64_t) + sizeof(uint32_t); /* the header of board_save */

	for (size_t i = 0; i < DEVICE_COUNT && at <= size && size - at >= sizeof(uint32_t); i++) {
		*length = bytes_load_u32(saved + at);
		*offset = at + sizeof(uint32_t);
		if (*length > size - *offset)
			return false;
		if (i == index)
			return true;
		at = *offset + *length;
	}
	return false;
}

uint64_t board_unassigned_accesses(const struct board *board)
{
	return board->ports.unassigned + board->memory.unassigned;
}
