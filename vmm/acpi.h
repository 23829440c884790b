/*
 * ACPI tables of the machine: RSDP, XSDT, FADT, FACS and DSDT. Source: ACPI specification 6.4, chapter 5.
 *
 * There is no MADT and no HPET: one processor, its interrupts from the 8259 pair. The DSDT is compiled from
 * tables.asl.
 */
#ifndef TERCET_VMM_ACPI_H
#define TERCET_VMM_ACPI_H

#include <stddef.h>
#include <stdint.h>

#include "base/result.h"

#define ACPI_TABLES_MAX 4096U
/* Where acpi_build must be told to put the tables: a multiple of this (the FACS needs it, section 5.2.10). */
#define ACPI_TABLES_ALIGN 64U

struct acpi_tables {
	uint8_t data[ACPI_TABLES_MAX];
	size_t size;           /* bytes of `data` that belong to the tables, and of guest memory to reserve for them */
	uint64_t rsdp_address; /* guest-physical address of the RSDP, for the boot protocol */
};

/*
 * Lays out the tables for guest-physical address `base`. The caller copies `data` there and reserves it
 * (E820 type 3, ACPI reclaimable, or 2). Errors: base is not aligned, or the tables would not end below 4 GiB.
 */
must_check result acpi_build(struct acpi_tables *tables, uint64_t base);

#endif
