/*
 * The machine's DSDT: what devices/board.c has that an operating system cannot find by itself. The power button
 * is fixed hardware, announced by the FADT; the 8042 is not announced, because nothing is plugged into it.
 */
#include "devices/acpi_pm.h"

DefinitionBlock ("", "DSDT", 2, "TERCET", "TERCET", 1)
{
	Name (\_S5, Package (4) { ACPI_PM_SLEEP_TYPE_S5, 0, 0, 0 })

	Scope (\_SB)
	{
		Device (PIC)
		{
			Name (_HID, EisaId ("PNP0000"))
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, 0x0020, 0x0020, 1, 2)
				IO (Decode16, 0x00A0, 0x00A0, 1, 2)
				IO (Decode16, 0x04D0, 0x04D0, 1, 2)
				IRQNoFlags () { 2 }
			})
		}

		Device (PIT)
		{
			Name (_HID, EisaId ("PNP0100"))
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, 0x0040, 0x0040, 1, 4)
				IRQNoFlags () { 0 }
			})
		}

		Device (RTC)
		{
			Name (_HID, EisaId ("PNP0B00"))
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, 0x0070, 0x0070, 1, 2)
				IRQNoFlags () { 8 }
			})
		}

		Device (COM1)
		{
			Name (_HID, EisaId ("PNP0501"))
			Name (_UID, 1)
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, 0x03F8, 0x03F8, 8, 8)
				IRQNoFlags () { 4 }
			})
		}

		/* Ports that no driver is to take for free. */
		Device (SYSR)
		{
			Name (_HID, EisaId ("PNP0C02"))
			Name (_UID, 1)
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, 0x0061, 0x0061, 1, 1)
				IO (Decode16, 0x0080, 0x0080, 1, 4)
				IO (Decode16, 0x0092, 0x0092, 1, 1)
				IO (Decode16, 0x00F4, 0x00F4, 1, 4)
				IO (Decode16, 0x0CF9, 0x0CF9, 1, 1)
				IO (Decode16, ACPI_PM_EVENT_PORT, ACPI_PM_EVENT_PORT, 1, 12)
			})
		}
	}
}
