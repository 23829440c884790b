#include "devices/debug_exit.h"

static uint64_t debug_exit_read(void *device, const struct device_access *access)
{
	const struct debug_exit *port = device;

	return access->region == DEBUG_EXIT_POST ? port->post >> (8 * access->offset) : UINT64_MAX;
}

static void debug_exit_write(void *device, const struct device_access *access, uint64_t value)
{
	struct debug_exit *port = device;
	uint32_t ones = access->size == 4 ? UINT32_MAX : (1U << (8 * access->size)) - 1;
	uint32_t bits = (uint32_t)value & ones;

	if (access->region == DEBUG_EXIT_POST)
		port->post = (port->post & ~(ones << (8 * access->offset))) | bits << (8 * access->offset);
	else if (access->offset == 0)
		port->board->request(port->board->context, BOARD_REQUEST_EXIT, bits);
}

void debug_exit_init(struct debug_exit *port, const struct device_board *board)
{
	port->board = board;
}

static void debug_exit_reset(void *device, uint64_t now)
{
	struct debug_exit *port = device;

	(void)now;
	port->post = 0;
}

static void debug_exit_save(const void *device, struct bytes_writer *writer)
{
	const struct debug_exit *port = device;

	bytes_put_u32(writer, port->post);
}

static result debug_exit_load(void *device, struct bytes_reader *reader, uint64_t now)
{
	struct debug_exit *port = device;

	(void)now;
	port->post = bytes_get_u32(reader);
	return OK;
}

const struct device_model debug_exit_model = {
	.name = "debug_exit",
	.reset = debug_exit_reset,
	.read = debug_exit_read,
	.write = debug_exit_write,
	.save = debug_exit_save,
	.load = debug_exit_load,
};
