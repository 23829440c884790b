#include "vmm/acpi.h"

#include <string.h>

#include "base/bytes.h"
#include "devices/acpi_pm.h"
#include "devices/mc146818.h"
#include "devices/reset_control.h"
#include "vmm/tables_dsdt.h"

/* Common table header, section 5.2.6. */
#define HEADER_SIZE 36U
#define HEADER_LENGTH 4U
#define HEADER_REVISION 8U
#define HEADER_CHECKSUM 9U
#define HEADER_OEM_ID 10U
#define HEADER_OEM_TABLE_ID 16U
#define HEADER_OEM_REVISION 24U
#define HEADER_CREATOR_ID 28U
#define HEADER_CREATOR_REVISION 32U

/* RSDP, section 5.2.5.3. */
#define RSDP_SIZE 36U
#define RSDP_V1_SIZE 20U
#define RSDP_CHECKSUM 8U
#define RSDP_OEM_ID 9U
#define RSDP_REVISION 15U
#define RSDP_LENGTH 20U
#define RSDP_XSDT 24U
#define RSDP_EXTENDED_CHECKSUM 32U

/* FACS, section 5.2.10. */
#define FACS_SIZE 64U
#define FACS_LENGTH 4U
#define FACS_VERSION 32U

/* FADT revision 6, section 5.2.9. */
#define FADT_SIZE 276U
#define FADT_REVISION 6U
#define FADT_FACS 36U
#define FADT_DSDT 40U
#define FADT_SCI_INTERRUPT 46U
#define FADT_PM1A_EVENT 56U
#define FADT_PM1A_CONTROL 64U
#define FADT_PM_TIMER 76U
#define FADT_PM1_EVENT_LENGTH 88U
#define FADT_PM1_CONTROL_LENGTH 89U
#define FADT_PM_TIMER_LENGTH 91U
#define FADT_C2_LATENCY 96U
#define FADT_C3_LATENCY 98U
#define FADT_CENTURY 108U
#define FADT_BOOT_ARCHITECTURE 109U
#define FADT_FLAGS 112U
#define FADT_RESET_REGISTER 116U
#define FADT_RESET_VALUE 128U
#define FADT_X_DSDT 140U
#define FADT_X_PM1A_EVENT 148U
#define FADT_X_PM1A_CONTROL 172U
#define FADT_X_PM_TIMER 208U

/* Latencies that mean "not supported", section 5.2.9. */
#define NO_C2 101U
#define NO_C3 1001U

/* IA-PC boot architecture flags, section 5.2.9.3. Bit 1 (8042) is clear: an operating system need not probe it. */
#define BOOT_LEGACY_DEVICES 0x0001U
#define BOOT_NO_VGA 0x0004U
#define BOOT_NO_MSI 0x0008U
#define BOOT_NO_ASPM 0x0010U

/* Fixed feature flags, section 5.2.9, table 5-10. */
#define FIXED_WBINVD (1U << 0)
#define FIXED_C1 (1U << 2)
#define FIXED_NO_SLEEP_BUTTON (1U << 5)
#define FIXED_NO_RTC_WAKE (1U << 6)
#define FIXED_TIMER_32_BITS (1U << 8)
#define FIXED_RESET_REGISTER (1U << 10)
#define FIXED_HEADLESS (1U << 12)

/* Generic address structure, section 5.2.3.1. */
#define ADDRESS_SPACE_IO 1U
#define ACCESS_BYTE 1U
#define ACCESS_WORD 2U
#define ACCESS_DWORD 3U

#define OEM_ID "TERCET"
#define OEM_TABLE_ID "TERCET  "
#define CREATOR_ID "TRCT"

static size_t align_up(size_t value, size_t alignment)
{
	return (value + alignment - 1) / alignment * alignment;
}

/* Makes the sum of `length` bytes zero by the one at `checksum`. */
static void put_checksum(uint8_t *table, size_t length, size_t checksum)
{
	uint8_t sum = 0;

	table[checksum] = 0;
	for (size_t i = 0; i < length; i++)
		sum = (uint8_t)(sum + table[i]);
	table[checksum] = (uint8_t)(0U - sum);
}

static void put_header(uint8_t *table, const char *signature, uint32_t length, uint8_t revision)
{
	memcpy(table, signature, 4);
	bytes_store_u32(table + HEADER_LENGTH, length);
	table[HEADER_REVISION] = revision;
	memcpy(table + HEADER_OEM_ID, OEM_ID, 6);
	memcpy(table + HEADER_OEM_TABLE_ID, OEM_TABLE_ID, 8);
	bytes_store_u32(table + HEADER_OEM_REVISION, 1);
	memcpy(table + HEADER_CREATOR_ID, CREATOR_ID, 4);
	bytes_store_u32(table + HEADER_CREATOR_REVISION, 1);
}

static void put_port(uint8_t *address, uint8_t bits, uint8_t access, uint16_t port)
{
	address[0] = ADDRESS_SPACE_IO;
	address[1] = bits;
	address[2] = 0;
	address[3] = access;
	bytes_store_u64(address + 4, port);
}

static void put_rsdp(uint8_t *rsdp, uint64_t xsdt)
{
	memcpy(rsdp, "RSD PTR ", 8);
	memcpy(rsdp + RSDP_OEM_ID, OEM_ID, 6);
	rsdp[RSDP_REVISION] = 2;
	bytes_store_u32(rsdp + RSDP_LENGTH, RSDP_SIZE);
	bytes_store_u64(rsdp + RSDP_XSDT, xsdt);
	put_checksum(rsdp, RSDP_V1_SIZE, RSDP_CHECKSUM);
	put_checksum(rsdp, RSDP_SIZE, RSDP_EXTENDED_CHECKSUM);
}

static void put_fadt(uint8_t *fadt, uint64_t facs, uint64_t dsdt)
{
	put_header(fadt, "FACP", FADT_SIZE, FADT_REVISION);
	/* Only one of the FACS pointers may be set; the DSDT's two must agree. */
	bytes_store_u32(fadt + FADT_FACS, (uint32_t)facs);
	bytes_store_u32(fadt + FADT_DSDT, (uint32_t)dsdt);
	bytes_store_u64(fadt + FADT_X_DSDT, dsdt);
	bytes_store_u16(fadt + FADT_SCI_INTERRUPT, ACPI_PM_IRQ);
	bytes_store_u32(fadt + FADT_PM1A_EVENT, ACPI_PM_EVENT_PORT);
	bytes_store_u32(fadt + FADT_PM1A_CONTROL, ACPI_PM_CONTROL_PORT);
	bytes_store_u32(fadt + FADT_PM_TIMER, ACPI_PM_TIMER_PORT);
	fadt[FADT_PM1_EVENT_LENGTH] = ACPI_PM_EVENT_LENGTH;
	fadt[FADT_PM1_CONTROL_LENGTH] = ACPI_PM_CONTROL_LENGTH;
	fadt[FADT_PM_TIMER_LENGTH] = ACPI_PM_TIMER_LENGTH;
	bytes_store_u16(fadt + FADT_C2_LATENCY, NO_C2);
	bytes_store_u16(fadt + FADT_C3_LATENCY, NO_C3);
	fadt[FADT_CENTURY] = MC146818_CENTURY;
	bytes_store_u16(fadt + FADT_BOOT_ARCHITECTURE,
			BOOT_LEGACY_DEVICES | BOOT_NO_VGA | BOOT_NO_MSI | BOOT_NO_ASPM);
	bytes_store_u32(fadt + FADT_FLAGS, FIXED_WBINVD | FIXED_C1 | FIXED_NO_SLEEP_BUTTON | FIXED_NO_RTC_WAKE |
						   FIXED_TIMER_32_BITS | FIXED_RESET_REGISTER | FIXED_HEADLESS);
	put_port(fadt + FADT_RESET_REGISTER, 8, ACCESS_BYTE, RESET_CONTROL_PORT);
	fadt[FADT_RESET_VALUE] = RESET_CONTROL_FULL_RESET;
	put_port(fadt + FADT_X_PM1A_EVENT, 8 * ACPI_PM_EVENT_LENGTH, ACCESS_WORD, ACPI_PM_EVENT_PORT);
	put_port(fadt + FADT_X_PM1A_CONTROL, 8 * ACPI_PM_CONTROL_LENGTH, ACCESS_WORD, ACPI_PM_CONTROL_PORT);
	put_port(fadt + FADT_X_PM_TIMER, 8 * ACPI_PM_TIMER_LENGTH, ACCESS_DWORD, ACPI_PM_TIMER_PORT);
	put_checksum(fadt, FADT_SIZE, HEADER_CHECKSUM);
}

result acpi_build(struct acpi_tables *tables, uint64_t base)
{
	const size_t xsdt_size = HEADER_SIZE + sizeof(uint64_t);
	const size_t facs_at = align_up(RSDP_SIZE, ACPI_TABLES_ALIGN);
	const size_t xsdt_at = facs_at + FACS_SIZE;
	const size_t fadt_at = align_up(xsdt_at + xsdt_size, 16);
	const size_t dsdt_at = align_up(fadt_at + FADT_SIZE, 16);
	const size_t size = dsdt_at + sizeof(tables_dsdt_aml_code);
	uint8_t *data = tables->data;

	if (base % ACPI_TABLES_ALIGN != 0 || base > UINT32_MAX || size - 1 > UINT32_MAX - base)
		return fail(STATUS_FAILED, "ACPI tables cannot lie at guest-physical address 0x%llx",
			    (unsigned long long)base);
	_Static_assert(sizeof(tables_dsdt_aml_code) <= ACPI_TABLES_MAX - 512, "ACPI_TABLES_MAX is too small");
	invariant(size <= sizeof(tables->data));

	memset(tables, 0, sizeof(*tables));
	tables->size = size;
	tables->rsdp_address = base;
	put_rsdp(data, base + xsdt_at);

	memcpy(data + facs_at, "FACS", 4);
	bytes_store_u32(data + facs_at + FACS_LENGTH, FACS_SIZE);
	data[facs_at + FACS_VERSION] = 2;

	put_header(data + xsdt_at, "XSDT", (uint32_t)xsdt_size, 1);
	bytes_store_u64(data + xsdt_at + HEADER_SIZE, base + fadt_at);
	put_checksum(data + xsdt_at, xsdt_size, HEADER_CHECKSUM);

	put_fadt(data + fadt_at, base + facs_at, base + dsdt_at);

	memcpy(data + dsdt_at, tables_dsdt_aml_code, sizeof(tables_dsdt_aml_code));
	return OK;
}
