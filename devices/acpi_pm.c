#include "devices/acpi_pm.h"

#define NANOSECONDS 1000000000U

/* PM1 status and enable have the same bits at the same places. */
#define PM1_TIMER 0x0001U
#define PM1_GLOBAL 0x0020U
#define PM1_POWER_BUTTON 0x0100U
#define PM1_EVENTS (PM1_TIMER | PM1_GLOBAL | PM1_POWER_BUTTON)

#define PM1_SCI_ENABLE 0x0001U
#define PM1_BUS_MASTER_RELOAD 0x0002U
#define PM1_SLEEP_TYPE 0x1C00U
#define PM1_SLEEP_TYPE_SHIFT 10U
#define PM1_SLEEP_ENABLE 0x2000U
#define PM1_CONTROL_KEPT (PM1_BUS_MASTER_RELOAD | PM1_SLEEP_TYPE)

/* TMR_STS is set when the timer's highest bit changes. */
#define TIMER_HALF_PERIOD (UINT64_C(1) << 31)

static uint64_t timer_ticks(uint64_t now)
{
	return (uint64_t)((unsigned __int128)now * ACPI_PM_TIMER_FREQUENCY / NANOSECONDS);
}

static uint64_t timer_time_of(uint64_t ticks)
{
	unsigned __int128 time = ((unsigned __int128)ticks * NANOSECONDS + (ACPI_PM_TIMER_FREQUENCY - 1)) /
				 ACPI_PM_TIMER_FREQUENCY;

	return time > DEVICE_NO_DEADLINE ? DEVICE_NO_DEADLINE : (uint64_t)time;
}

static void pm_drive(const struct acpi_pm *pm)
{
	pm->board->set_irq(pm->board->context, ACPI_PM_IRQ, pm->status & pm->enable);
}

static void acpi_pm_advance(void *device, uint64_t now)
{
	struct acpi_pm *pm = device;
	uint64_t ticks = timer_ticks(now);

	if (ticks <= pm->ticks)
		return;
	if (ticks / TIMER_HALF_PERIOD != pm->ticks / TIMER_HALF_PERIOD) {
		pm->status |= PM1_TIMER;
		pm_drive(pm);
	}
	pm->ticks = ticks;
}

static uint64_t acpi_pm_deadline(const void *device)
{
	const struct acpi_pm *pm = device;

	if (!(pm->enable & PM1_TIMER) || (pm->status & pm->enable))
		return DEVICE_NO_DEADLINE;
	return timer_time_of((pm->ticks / TIMER_HALF_PERIOD + 1) * TIMER_HALF_PERIOD);
}

static uint64_t acpi_pm_read(void *device, const struct device_access *access)
{
	struct acpi_pm *pm = device;
	uint32_t value;

	switch (access->region) {
	case ACPI_PM_EVENT:
		acpi_pm_advance(pm, access->now);
		value = pm->status | (uint32_t)pm->enable << 16;
		break;
	case ACPI_PM_CONTROL:
		value = pm->control | PM1_SCI_ENABLE;
		break;
	default:
		acpi_pm_advance(pm, access->now);
		value = (uint32_t)pm->ticks;
		break;
	}
	return value >> (8 * access->offset);
}

static void pm_write_control(struct acpi_pm *pm, uint32_t value, uint32_t written)
{
	uint32_t control = (pm->control & ~written) | value;

	pm->control = (uint16_t)(control & PM1_CONTROL_KEPT);
	if ((value & PM1_SLEEP_ENABLE) &&
	    (control & PM1_SLEEP_TYPE) >> PM1_SLEEP_TYPE_SHIFT == ACPI_PM_SLEEP_TYPE_S5)
		pm->board->request(pm->board->context, BOARD_REQUEST_POWER_OFF, 0);
}

static void acpi_pm_write(void *device, const struct device_access *access, uint64_t value)
{
	struct acpi_pm *pm = device;
	uint32_t ones = access->size == 4 ? UINT32_MAX : (1U << (8 * access->size)) - 1;
	uint32_t written = ones << (8 * access->offset);
	uint32_t bits = ((uint32_t)value & ones) << (8 * access->offset);

	switch (access->region) {
	case ACPI_PM_EVENT:
		acpi_pm_advance(pm, access->now);
		/* Status bits are cleared by writing ones. */
		pm->status &= (uint16_t)~bits;
		pm->enable = (uint16_t)(((pm->enable & ~(written >> 16)) | bits >> 16) & PM1_EVENTS);
		pm_drive(pm);
		break;
	case ACPI_PM_CONTROL:
		pm_write_control(pm, bits, written);
		break;
	default:
		break; /* the timer is read only */
	}
}

void acpi_pm_init(struct acpi_pm *pm, const struct device_board *board)
{
	pm->board = board;
}

void acpi_pm_power_button(struct acpi_pm *pm)
{
	pm->status |= PM1_POWER_BUTTON;
	pm_drive(pm);
}

static void acpi_pm_reset(void *device, uint64_t now)
{
	struct acpi_pm *pm = device;

	*pm = (struct acpi_pm){ .board = pm->board, .ticks = timer_ticks(now) };
	pm_drive(pm);
}

static void acpi_pm_save(const void *device, struct bytes_writer *writer)
{
	const struct acpi_pm *pm = device;

	bytes_put_u16(writer, pm->status);
	bytes_put_u16(writer, pm->enable);
	bytes_put_u16(writer, pm->control);
	bytes_put_u64(writer, pm->ticks);
}

static result acpi_pm_load(void *device, struct bytes_reader *reader, uint64_t now)
{
	struct acpi_pm *pm = device;

	pm->status = bytes_get_u16(reader);
	pm->enable = bytes_get_u16(reader);
	pm->control = bytes_get_u16(reader);
	pm->ticks = bytes_get_u64(reader);
	if ((pm->status & ~PM1_EVENTS) || (pm->enable & ~PM1_EVENTS) || (pm->control & ~PM1_CONTROL_KEPT) ||
	    pm->ticks > timer_ticks(now))
		return fail(STATUS_INPUT, "ACPI power management state is not valid");
	return OK;
}

const struct device_model acpi_pm_model = {
	.name = "acpi_pm",
	.reset = acpi_pm_reset,
	.read = acpi_pm_read,
	.write = acpi_pm_write,
	.advance = acpi_pm_advance,
	.deadline = acpi_pm_deadline,
	.save = acpi_pm_save,
	.load = acpi_pm_load,
};
