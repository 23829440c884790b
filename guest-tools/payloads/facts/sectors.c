/*
 * Fact: what a disk has confirmed is on it. Writes blocks of 4 KiB to the first virtio disk on the PCI bus, eight at a
 * time, flushes, reads back what it wrote before, and says on the console which round is on the disk.
 * tests/payload/check-sectors knows what each block has to hold. `scale` is the number of rounds, `bytes` the size of
 * the area that is written over and over.
 *
 * The device: Virtual I/O Device (VIRTIO) 1.2, chapters 2.7 (split virtqueues), 4.1 (PCI; here with one I/O BAR, see
 * devices/virtio_pci.h) and 5.2 (block device). PCI by configuration mechanism 1 (PCI Local Bus 3.0, 3.2.2.3.2).
 */
#include <stdbool.h>

#include "guest-tools/payloads/payload.h"

enum {
	CONFIG_ADDRESS = 0xCF8,
	CONFIG_DATA = 0xCFC,
	DISK_ID = 0x10421AF4, /* vendor and device */
	FUNCTIONS = 32,

	/* In the BAR. */
	DEVICE_SELECT = 0x00,
	DEVICE_FEATURES = 0x04,
	DRIVER_SELECT = 0x08,
	DRIVER_FEATURES = 0x0C,
	STATUS = 0x14,
	QUEUE_SELECT = 0x16,
	QUEUE_ENABLE = 0x1C,
	QUEUE_DESCRIPTORS = 0x20,
	QUEUE_AVAILABLE = 0x28,
	QUEUE_USED = 0x30,
	ISR = 0x40,
	NOTIFY = 0x44,

	FEATURE_FLUSH = 1 << 9,
	FEATURE_VERSION_1 = 1 << 0, /* of the upper half */
	STATUS_ACKNOWLEDGE = 1,
	STATUS_DRIVER = 2,
	STATUS_DRIVER_OK = 4,
	STATUS_FEATURES_OK = 8,

	QUEUE = 64,
	NEXT = 1,
	WRITE = 2,
	TYPE_IN = 0,
	TYPE_OUT = 1,
	TYPE_FLUSH = 4,

	BLOCK = 4096,
	SECTORS = BLOCK / 512,
	TOGETHER = 8,
};

struct descriptor {
	uint64_t address;
	uint32_t length;
	uint16_t flags;
	uint16_t next;
};

struct available {
	uint16_t flags;
	uint16_t index;
	uint16_t ring[QUEUE];
};

struct used {
	uint16_t flags;
	uint16_t index;
	struct {
		uint32_t id;
		uint32_t length;
	} ring[QUEUE];
};

struct header {
	uint32_t type;
	uint32_t reserved;
	uint64_t sector;
};

static _Alignas(BLOCK) struct descriptor descriptors[QUEUE];
static _Alignas(BLOCK) volatile struct available available;
static _Alignas(BLOCK) volatile struct used used;
static struct header headers[TOGETHER];
static volatile uint8_t statuses[TOGETHER];
static _Alignas(BLOCK) uint64_t blocks[TOGETHER][BLOCK / 8];

const char payload_name[] = "sectors";

static uint16_t bar;

static void port_out16(uint16_t port, uint16_t value)
{
	__asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static uint32_t config_read(uint32_t function, uint32_t offset)
{
	port_out32(CONFIG_ADDRESS, 0x80000000u | function << 11 | offset);
	return port_in32(CONFIG_DATA);
}

static bool find_disk(void)
{
	for (uint32_t function = 0; function < FUNCTIONS; function++) {
		if (config_read(function, 0) != DISK_ID)
			continue;
		bar = (uint16_t)(config_read(function, 0x10) & 0xFF00);
		return true;
	}
	return false;
}

static void set_address(uint16_t at, volatile const void *address)
{
	port_out32((uint16_t)(bar + at), (uint32_t)(uintptr_t)address);
	port_out32((uint16_t)(bar + at + 4), (uint32_t)((uint64_t)(uintptr_t)address >> 32));
}

static void set_status(uint8_t status)
{
	port_out8((uint16_t)(bar + STATUS), status);
}

static bool start_disk(void)
{
	set_status(0);
	set_status(STATUS_ACKNOWLEDGE | STATUS_DRIVER);
	port_out32((uint16_t)(bar + DRIVER_SELECT), 0);
	port_out32((uint16_t)(bar + DEVICE_SELECT), 0);
	port_out32((uint16_t)(bar + DRIVER_FEATURES),
		   port_in32((uint16_t)(bar + DEVICE_FEATURES)) & FEATURE_FLUSH);
	port_out32((uint16_t)(bar + DRIVER_SELECT), 1);
	port_out32((uint16_t)(bar + DRIVER_FEATURES), FEATURE_VERSION_1);
	set_status(STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK);
	if (!(port_in8((uint16_t)(bar + STATUS)) & STATUS_FEATURES_OK))
		return false;
	port_out16((uint16_t)(bar + QUEUE_SELECT), 0);
	set_address(QUEUE_DESCRIPTORS, descriptors);
	set_address(QUEUE_AVAILABLE, &available);
	set_address(QUEUE_USED, &used);
	port_out16((uint16_t)(bar + QUEUE_ENABLE), 1);
	set_status(STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK | STATUS_DRIVER_OK);
	return true;
}

/* Puts request `slot` into the ring; it is not told of yet. */
static void put(unsigned slot, uint32_t type, uint64_t block)
{
	struct descriptor *chain = &descriptors[3 * slot];
	unsigned next = 0;

	headers[slot] = (struct header){ .type = type, .sector = block * SECTORS };
	statuses[slot] = 0xFF;
	chain[next++] = (struct descriptor){ (uintptr_t)&headers[slot], sizeof(headers[slot]), NEXT,
					     (uint16_t)(3 * slot + 1) };
	if (type != TYPE_FLUSH)
		chain[next++] = (struct descriptor){ (uintptr_t)blocks[slot], BLOCK,
						     type == TYPE_IN ? NEXT | WRITE : NEXT, (uint16_t)(3 * slot + 2) };
	chain[next] = (struct descriptor){ (uintptr_t)&statuses[slot], 1, WRITE, 0 };
	available.ring[available.index % QUEUE] = (uint16_t)(3 * slot);
	available.index = (uint16_t)(available.index + 1);
}

/* Tells the disk, and waits until it has done all of it. */
static bool run(unsigned count)
{
	port_out16((uint16_t)(bar + NOTIFY), 0);
	while (used.index != available.index)
		(void)port_in8((uint16_t)(bar + ISR));
	for (unsigned slot = 0; slot < count; slot++)
		if (statuses[slot] != 0)
			return false;
	return true;
}

/* What word `word` of the block that is written as number `number` holds (splitmix64's mixing). */
static uint64_t word_of(const struct payload *payload, uint64_t number, uint64_t word)
{
	uint64_t x = payload->seed * 0x9E3779B97F4A7C15u + number * (BLOCK / 8) + word;

	x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
	x = (x ^ x >> 27) * 0x94D049BB133111EBu;
	return word == 0 ? number : x ^ x >> 31;
}

static bool write_round(const struct payload *payload, uint64_t round, uint64_t area)
{
	for (unsigned slot = 0; slot < TOGETHER; slot++) {
		uint64_t number = round * TOGETHER + slot;

		for (uint64_t word = 0; word < BLOCK / 8; word++)
			blocks[slot][word] = word_of(payload, number, word);
		put(slot, TYPE_OUT, number % area);
	}
	/* What becomes of a buffer behind the notification is no business of the disk's. */
	port_out16((uint16_t)(bar + NOTIFY), 0);
	for (unsigned slot = 0; slot < TOGETHER; slot++)
		blocks[slot][round % (BLOCK / 8)] = ~UINT64_C(0);
	if (!run(TOGETHER))
		return false;
	put(0, TYPE_FLUSH, 0);
	return run(1);
}

/* The blocks of a round before, as long as they are there. */
static bool read_round(struct payload *payload, uint64_t round, uint64_t area)
{
	for (unsigned slot = 0; slot < TOGETHER; slot++)
		put(slot, TYPE_IN, (round * TOGETHER + slot) % area);
	if (!run(TOGETHER))
		return false;
	for (unsigned slot = 0; slot < TOGETHER; slot++)
		for (uint64_t word = 0; word < BLOCK / 8; word++) {
			if (blocks[slot][word] != word_of(payload, round * TOGETHER + slot, word))
				return false;
			payload_check(payload, blocks[slot][word]);
		}
	return true;
}

uint32_t payload_main(struct payload *payload)
{
	uint64_t area = payload->bytes / BLOCK / TOGETHER * TOGETHER;

	if (area == 0)
		return PAYLOAD_ARGUMENTS;
	if (!find_disk() || !start_disk()) {
		payload_print("there is no disk\n");
		return PAYLOAD_WRONG;
	}
	for (uint64_t round = 0; round < payload->scale; round++) {
		uint64_t before = round < area / TOGETHER / 2 ? 0 : round - area / TOGETHER / 2;

		if (!write_round(payload, round, area) || !read_round(payload, before, area)) {
			payload_print("wrong in round ");
			payload_print_decimal(round);
			payload_print("\n");
			return PAYLOAD_WRONG;
		}
		payload_print("round ");
		payload_print_decimal(round);
		payload_print("\n");
	}
	return PAYLOAD_GOOD;
}
