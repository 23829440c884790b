#include "devices/reset_control.h"

#define FAST_RESET 0x01U
#define FAST_A20 0x02U
#define CONTROL_RESET_CPU 0x04U
#define CONTROL_WRITABLE 0x0EU
#define CONTROL_OFFSET 1U /* of 0xCF9 in its region */

static bool is_control_access(const struct device_access *access)
{
	return access->offset == CONTROL_OFFSET && access->size == 1;
}

static uint64_t reset_control_read(void *device, const struct device_access *access)
{
	const struct reset_control *control = device;

	if (access->region == RESET_CONTROL_FAST)
		return control->fast;
	return is_control_access(access) ? control->control : UINT64_MAX;
}

/* Either register resets when its reset bit goes from 0 to 1. */
static void reset_control_write(void *device, const struct device_access *access, uint64_t value)
{
	struct reset_control *control = device;
	bool reset = false;

	if (access->region == RESET_CONTROL_FAST) {
		reset = value & ~control->fast & FAST_RESET;
		control->fast = (uint8_t)(value & (FAST_RESET | FAST_A20));
	} else if (is_control_access(access)) {
		reset = value & ~control->control & CONTROL_RESET_CPU;
		control->control = (uint8_t)(value & CONTROL_WRITABLE);
	}
	if (reset)
		control->board->request(control->board->context, BOARD_REQUEST_RESET, 0);
}

void reset_control_init(struct reset_control *control, const struct device_board *board)
{
	control->board = board;
}

static void reset_control_reset(void *device, uint64_t now)
{
	struct reset_control *control = device;

	(void)now;
	control->fast = FAST_A20;
	control->control = 0;
}

static void reset_control_save(const void *device, struct bytes_writer *writer)
{
	const struct reset_control *control = device;

	bytes_put_u8(writer, control->fast);
	bytes_put_u8(writer, control->control);
}

static result reset_control_load(void *device, struct bytes_reader *reader, uint64_t now)
{
	struct reset_control *control = device;

	(void)now;
	control->fast = bytes_get_u8(reader);
	control->control = bytes_get_u8(reader);
	if ((control->fast & ~(FAST_RESET | FAST_A20)) || (control->control & ~CONTROL_WRITABLE))
		return fail(STATUS_INPUT, "reset register state is not valid");
	return OK;
}

const struct device_model reset_control_model = {
	.name = "reset_control",
	.reset = reset_control_reset,
	.read = reset_control_read,
	.write = reset_control_write,
	.save = reset_control_save,
	.load = reset_control_load,
};
