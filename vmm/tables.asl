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

		/* The PCI bus, devices/pci.c: configuration mechanism 1, I/O alone, interrupt lines that do not move. */
		Device (PCI0)
		{
			Name (_HID, EisaId ("PNP0A03"))
			Name (_UID, 0)
			Name (_BBN, 0)
			Name (_CRS, ResourceTemplate ()
			{
				WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode, 0, 0, 0, 0, 1)
				IO (Decode16, 0x0CF8, 0x0CF8, 1, 8)
				WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,
					0, 0x0000, 0x0CF7, 0, 0x0CF8)
				WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,
					0, 0x0D00, 0xFFFF, 0, 0xF300)
			})
			/* Device and any function, pin INTA, no link device, the IRQ. */
			Name (_PRT, Package ()
			{
				Package () { 0x0001FFFF, 0, 0, 10 },
				Package () { 0x0002FFFF, 0, 0, 11 },
				Package () { 0x0003FFFF, 0, 0, 10 },
				Package () { 0x0004FFFF, 0, 0, 11 },
				Package () { 0x0005FFFF, 0, 0, 10 },
				Package () { 0x0006FFFF, 0, 0, 11 },
				Package () { 0x0007FFFF, 0, 0, 10 },
				Package () { 0x0008FFFF, 0, 0, 11 }
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
				IO (Decode16, ACPI_PM_EVENT_PORT, ACPI_PM_EVENT_PORT, 1, 12)
			})
		}
	}
}
