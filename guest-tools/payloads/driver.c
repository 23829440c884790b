#include "guest-tools/payloads/driver.h"

#include "guest-tools/payloads/payload.h"

enum {
	CONFIG_ADDRESS = 0xCF8,
	CONFIG_DATA = 0xCFC,
	FUNCTIONS = 32,
	LINGER = 32, /* exits */

	/* In the BAR. */
	DEVICE_SELECT = 0x00,
	DEVICE_FEATURES = 0x04,
	DRIVER_SELECT = 0x08,
	DRIVER_FEATURES = 0x0C,
	STATUS = 0x14,
	QUEUE_SELECT = 0x16,
	QUEUE_SIZE = 0x18,
	QUEUE_ENABLE = 0x1C,
	QUEUE_DESCRIPTORS = 0x20,
	QUEUE_AVAILABLE = 0x28,
	QUEUE_USED = 0x30,
	ISR = 0x40,
	NOTIFY = 0x44,

	FEATURE_VERSION_1 = 1 << 0, /* of the upper half */
	STATUS_ACKNOWLEDGE = 1,
	STATUS_DRIVER = 2,
	STATUS_DRIVER_OK = 4,
	STATUS_FEATURES_OK = 8,
};

static uint32_t config_read(uint32_t function, uint32_t offset)
{
	port_out32(CONFIG_ADDRESS, 0x80000000u | function << 11 | offset);
	return port_in32(CONFIG_DATA);
}

uint16_t driver_find(uint32_t id)
{
	for (uint32_t function = 0; function < FUNCTIONS; function++)
		if (config_read(function, 0) == id)
			return (uint16_t)(config_read(function, 0x10) & 0xFF00);
	return 0;
}

static void set_address(uint16_t at, volatile const void *address)
{
	port_out32(at, (uint32_t)(uintptr_t)address);
	port_out32((uint16_t)(at + 4), (uint32_t)((uint64_t)(uintptr_t)address >> 32));
}

static void set_status(uint16_t bar, uint8_t status)
{
	port_out8((uint16_t)(bar + STATUS), status);
}

bool driver_start(uint16_t bar, uint32_t features, struct driver_queue *queues, unsigned count)
{
	set_status(bar, 0);
	set_status(bar, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
	port_out32((uint16_t)(bar + DRIVER_SELECT), 0);
	port_out32((uint16_t)(bar + DEVICE_SELECT), 0);
	port_out32((uint16_t)(bar + DRIVER_FEATURES), port_in32((uint16_t)(bar + DEVICE_FEATURES)) & features);
	port_out32((uint16_t)(bar + DRIVER_SELECT), 1);
	port_out32((uint16_t)(bar + DRIVER_FEATURES), FEATURE_VERSION_1);
	set_status(bar, STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK);
	if (!(port_in8((uint16_t)(bar + STATUS)) & STATUS_FEATURES_OK))
		return false;
	for (unsigned i = 0; i < count; i++) {
		port_out16((uint16_t)(bar + QUEUE_SELECT), (uint16_t)i);
		port_out16((uint16_t)(bar + QUEUE_SIZE), DRIVER_QUEUE);
		set_address((uint16_t)(bar + QUEUE_DESCRIPTORS), queues[i].descriptors);
		set_address((uint16_t)(bar + QUEUE_AVAILABLE), &queues[i].available);
		set_address((uint16_t)(bar + QUEUE_USED), &queues[i].used);
		port_out16((uint16_t)(bar + QUEUE_ENABLE), 1);
	}
	set_status(bar, STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK | STATUS_DRIVER_OK);
	return true;
}

void driver_put(struct driver_queue *queue, unsigned head)
{
	queue->available.ring[queue->available.index % DRIVER_QUEUE] = (uint16_t)head;
	queue->available.index = (uint16_t)(queue->available.index + 1);
}

void driver_notify(uint16_t bar, unsigned queue)
{
	port_out16((uint16_t)(bar + NOTIFY), (uint16_t)queue);
}

void driver_linger(void)
{
	for (unsigned i = 0; i < LINGER; i++)
		(void)port_in8(PORT_LATCH);
}

void driver_look(uint16_t bar)
{
	(void)port_in8((uint16_t)(bar + ISR));
}
