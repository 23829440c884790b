#include "devices/i8042.h"

#define STATUS_OUTPUT_FULL 0x01U
#define STATUS_SYSTEM 0x04U
#define STATUS_COMMAND 0x08U
#define STATUS_UNLOCKED 0x10U
#define STATUS_AUXILIARY 0x20U
#define STATUS_TIMEOUT 0x40U

#define MODE_KEYBOARD_INTERRUPT 0x01U
#define MODE_AUXILIARY_INTERRUPT 0x02U
#define MODE_SYSTEM 0x04U
#define MODE_KEYBOARD_DISABLED 0x10U
#define MODE_AUXILIARY_DISABLED 0x20U
#define MODE_WRITABLE 0x77U

#define COMMAND_READ_MODE 0x20U
#define COMMAND_WRITE_MODE 0x60U
#define COMMAND_DISABLE_AUXILIARY 0xA7U
#define COMMAND_ENABLE_AUXILIARY 0xA8U
#define COMMAND_TEST_AUXILIARY 0xA9U
#define COMMAND_SELF_TEST 0xAAU
#define COMMAND_TEST_KEYBOARD 0xABU
#define COMMAND_DISABLE_KEYBOARD 0xADU
#define COMMAND_ENABLE_KEYBOARD 0xAEU
#define COMMAND_READ_INPUT_PORT 0xC0U
#define COMMAND_READ_OUTPUT_PORT 0xD0U
#define COMMAND_WRITE_OUTPUT_PORT 0xD1U
#define COMMAND_LOOP_KEYBOARD 0xD2U
#define COMMAND_LOOP_AUXILIARY 0xD3U
#define COMMAND_WRITE_AUXILIARY 0xD4U
#define COMMAND_PULSE 0xF0U /* the low four bits are the output pins that are not pulsed */

#define SELF_TEST_PASSED 0x55U
#define INTERFACE_TEST_PASSED 0x00U
#define REPLY_RESEND 0xFEU

#define PIN_NOT_RESET 0x01U
#define PIN_A20 0x02U
/* Input port: keyboard not locked, the rest as pulled up on a PC. */
#define INPUT_PORT 0xA0U

static void i8042_drive(const struct i8042 *controller)
{
	const struct device_board *board = controller->board;
	bool full = controller->status & STATUS_OUTPUT_FULL;
	bool auxiliary = controller->status & STATUS_AUXILIARY;

	board->set_irq(board->context, I8042_KEYBOARD_IRQ,
		       full && !auxiliary && (controller->mode & MODE_KEYBOARD_INTERRUPT));
	board->set_irq(board->context, I8042_AUXILIARY_IRQ,
		       full && auxiliary && (controller->mode & MODE_AUXILIARY_INTERRUPT));
}

/* `flags` are status bits that come with the byte. */
static void i8042_answer(struct i8042 *controller, uint8_t value, unsigned flags)
{
	controller->output = value;
	controller->status &= (uint8_t)~(STATUS_AUXILIARY | STATUS_TIMEOUT);
	controller->status |= (uint8_t)(STATUS_OUTPUT_FULL | flags);
}

static void i8042_request_reset(const struct i8042 *controller)
{
	controller->board->request(controller->board->context, BOARD_REQUEST_RESET, 0);
}

static void i8042_set_mode(struct i8042 *controller, uint8_t mode)
{
	controller->mode = mode & MODE_WRITABLE;
	controller->status &= (uint8_t)~STATUS_SYSTEM;
	if (mode & MODE_SYSTEM)
		controller->status |= STATUS_SYSTEM;
}

static void i8042_run_command(struct i8042 *controller, uint8_t command)
{
	controller->command = 0;
	controller->status |= STATUS_COMMAND;
	if (command >= COMMAND_PULSE) {
		if (!(command & PIN_NOT_RESET))
			i8042_request_reset(controller);
		return;
	}
	switch (command) {
	case COMMAND_READ_MODE:
		i8042_answer(controller, controller->mode, 0);
		break;
	case COMMAND_WRITE_MODE:
	case COMMAND_WRITE_OUTPUT_PORT:
	case COMMAND_LOOP_KEYBOARD:
	case COMMAND_LOOP_AUXILIARY:
	case COMMAND_WRITE_AUXILIARY:
		controller->command = command;
		break;
	case COMMAND_DISABLE_AUXILIARY:
		controller->mode |= MODE_AUXILIARY_DISABLED;
		break;
	case COMMAND_ENABLE_AUXILIARY:
		controller->mode &= (uint8_t)~MODE_AUXILIARY_DISABLED;
		break;
	case COMMAND_DISABLE_KEYBOARD:
		controller->mode |= MODE_KEYBOARD_DISABLED;
		break;
	case COMMAND_ENABLE_KEYBOARD:
		controller->mode &= (uint8_t)~MODE_KEYBOARD_DISABLED;
		break;
	case COMMAND_SELF_TEST:
		i8042_set_mode(controller, controller->mode | MODE_SYSTEM);
		i8042_answer(controller, SELF_TEST_PASSED, 0);
		break;
	case COMMAND_TEST_AUXILIARY:
	case COMMAND_TEST_KEYBOARD:
		i8042_answer(controller, INTERFACE_TEST_PASSED, 0);
		break;
	case COMMAND_READ_INPUT_PORT:
		i8042_answer(controller, INPUT_PORT, 0);
		break;
	case COMMAND_READ_OUTPUT_PORT:
		i8042_answer(controller, controller->output_port, 0);
		break;
	default:
		break; /* the controller's firmware ignores what it does not know */
	}
}

static void i8042_take_data(struct i8042 *controller, uint8_t value)
{
	uint8_t command = controller->command;

	controller->command = 0;
	controller->status &= (uint8_t)~STATUS_COMMAND;
	switch (command) {
	case COMMAND_WRITE_MODE:
		i8042_set_mode(controller, value);
		break;
	case COMMAND_WRITE_OUTPUT_PORT:
		/* A20 is always open; the pin is kept for who reads it back. */
		controller->output_port = (uint8_t)((value & PIN_A20) | PIN_NOT_RESET);
		if (!(value & PIN_NOT_RESET))
			i8042_request_reset(controller);
		break;
	case COMMAND_LOOP_KEYBOARD:
		i8042_answer(controller, value, 0);
		break;
	case COMMAND_LOOP_AUXILIARY:
		i8042_answer(controller, value, STATUS_AUXILIARY);
		break;
	case COMMAND_WRITE_AUXILIARY:
		i8042_answer(controller, REPLY_RESEND, STATUS_AUXILIARY | STATUS_TIMEOUT);
		break;
	default:
		/* A byte for the keyboard opens its interface, as the data sheet has it, and finds none. */
		controller->mode &= (uint8_t)~MODE_KEYBOARD_DISABLED;
		i8042_answer(controller, REPLY_RESEND, STATUS_TIMEOUT);
		break;
	}
}

static uint64_t i8042_read(void *device, const struct device_access *access)
{
	struct i8042 *controller = device;

	if (access->region == I8042_COMMAND)
		return controller->status;
	/* The buffer keeps its last byte; the error bits go with the byte that they came with. */
	controller->status &= (uint8_t)~(STATUS_OUTPUT_FULL | STATUS_AUXILIARY | STATUS_TIMEOUT);
	i8042_drive(controller);
	return controller->output;
}

static void i8042_write(void *device, const struct device_access *access, uint64_t value)
{
	struct i8042 *controller = device;

	if (access->region == I8042_COMMAND)
		i8042_run_command(controller, (uint8_t)value);
	else
		i8042_take_data(controller, (uint8_t)value);
	i8042_drive(controller);
}

void i8042_init(struct i8042 *controller, const struct device_board *board)
{
	controller->board = board;
}

static void i8042_reset(void *device, uint64_t now)
{
	struct i8042 *controller = device;

	(void)now;
	/* As PC firmware leaves it: self-test passed, interfaces and interrupts off. */
	*controller = (struct i8042){
		.board = controller->board,
		.status = STATUS_SYSTEM | STATUS_UNLOCKED,
		.mode = MODE_SYSTEM | MODE_KEYBOARD_DISABLED | MODE_AUXILIARY_DISABLED,
		.output_port = PIN_A20 | PIN_NOT_RESET,
	};
	i8042_drive(controller);
}

static void i8042_save(const void *device, struct bytes_writer *writer)
{
	const struct i8042 *controller = device;

	bytes_put_u8(writer, controller->status);
	bytes_put_u8(writer, controller->mode);
	bytes_put_u8(writer, controller->output);
	bytes_put_u8(writer, controller->command);
	bytes_put_u8(writer, controller->output_port);
}

static result i8042_load(void *device, struct bytes_reader *reader, uint64_t now)
{
	struct i8042 *controller = device;

	(void)now;
	controller->status = bytes_get_u8(reader);
	controller->mode = bytes_get_u8(reader);
	controller->output = bytes_get_u8(reader);
	controller->command = bytes_get_u8(reader);
	controller->output_port = bytes_get_u8(reader);
	if ((controller->status & ~(STATUS_OUTPUT_FULL | STATUS_SYSTEM | STATUS_COMMAND | STATUS_UNLOCKED |
				    STATUS_AUXILIARY | STATUS_TIMEOUT)) ||
	    (controller->mode & ~MODE_WRITABLE) || (controller->output_port & ~(PIN_A20 | PIN_NOT_RESET)))
		return fail(STATUS_INPUT, "keyboard controller state is not valid");
	return OK;
}

const struct device_model i8042_model = {
	.name = "i8042",
	.reset = i8042_reset,
	.read = i8042_read,
	.write = i8042_write,
	.save = i8042_save,
	.load = i8042_load,
};
