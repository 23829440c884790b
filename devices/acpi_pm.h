/*
 * ACPI fixed hardware: PM1a event and control blocks, power management timer.
 * Source: ACPI specification 6.4, sections 4.8.2 (PM timer), 4.8.3 (PM1 blocks), 4.8.2.2 (power button).
 *
 * There is no SMI_CMD, so the machine is always in ACPI mode and SCI_EN reads as 1. The SCI is IRQ 9,
 * level-triggered. The power button is fixed hardware; sleep button and RTC wake-up are not there. The only
 * sleeping state is S5. This header is also read by the ASL compiler, which takes the definitions only.
 */
#ifndef TERCET_DEVICES_ACPI_PM_H
#define TERCET_DEVICES_ACPI_PM_H

/* Ports (told to the operating system by the FADT) and block lengths in bytes. */
#define ACPI_PM_EVENT_PORT 0x600
#define ACPI_PM_EVENT_LENGTH 4
#define ACPI_PM_CONTROL_PORT 0x604
#define ACPI_PM_CONTROL_LENGTH 2
#define ACPI_PM_TIMER_PORT 0x608
#define ACPI_PM_TIMER_LENGTH 4
#define ACPI_PM_IRQ 9
/* SLP_TYPa of \_S5. */
#define ACPI_PM_SLEEP_TYPE_S5 5

#ifndef __IASL__

#include <stdbool.h>
#include <stdint.h>

#include "devices/device.h"

#define ACPI_PM_TIMER_FREQUENCY 3579545U /* Hz, section 4.8.2.1 */

enum acpi_pm_region {
	ACPI_PM_EVENT = 0,   /* 4 bytes: status, enable; 16 bits each */
	ACPI_PM_CONTROL = 1, /* 2 bytes */
	ACPI_PM_TIMER = 2,   /* 4 bytes, read only: 32 bits wide (TMR_VAL_EXT) */
};

struct acpi_pm {
	uint16_t status;
	uint16_t enable;
	uint16_t control; /* without SCI_EN, which is always 1, and SLP_EN, which is write-only */
	uint64_t ticks;   /* of the timer since guest time 0 */
	const struct device_board *board;
};

extern const struct device_model acpi_pm_model;

/* To be called once, before the first reset, on zeroed memory. */
void acpi_pm_init(struct acpi_pm *pm, const struct device_board *board);

/* Presses the power button. */
void acpi_pm_power_button(struct acpi_pm *pm);

#endif
#endif
