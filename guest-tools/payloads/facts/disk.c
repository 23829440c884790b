/*
 * The first disk on the PCI bus, driven by port I/O with many requests at a time: `bytes` bytes of a pattern are
 * written from its start, flushed block by block, read back and compared. `bytes` is rounded up to whole blocks of
 * 64 KiB, which the disk must hold.
 *
 * The pattern: the 64-bit word at byte `offset` of the disk is x ^ (x >> 32), little-endian, with
 * x = (offset + seed) * 0x9E3779B97F4A7C15 modulo 2^64.
 * Output: "flushed N" behind each block, once its flush is done: the first N bytes are on the disk for good. At the end
 * "read N, crc HEX", with the CRC-32 (as in zlib) of what was read back.
 */
#include <stdbool.h>

#include "guest-tools/payloads/payload.h"

enum {
	CONFIG_ADDRESS = 0xCF8,
	CONFIG_DATA = 0xCFC,
	SLOTS = 32,
	DISK_ID = 0x10421AF4, /* vendor and device of a virtio disk */

	/* The BAR, as devices/virtio_pci.h lays it out; a guest that is not bound to tercet reads the capabilities. */
	REGISTER_ACCEPTED_SELECT = 0x08,
	REGISTER_ACCEPTED = 0x0C,
	REGISTER_STATUS = 0x14,
	REGISTER_QUEUE_SELECT = 0x16,
	REGISTER_QUEUE_SIZE = 0x18,
	REGISTER_QUEUE_ENABLE = 0x1C,
	REGISTER_DESCRIPTORS = 0x20,
	REGISTER_AVAILABLE = 0x28,
	REGISTER_USED = 0x30,
	REGISTER_ISR = 0x40,
	REGISTER_NOTIFY = 0x44,
	REGISTER_CAPACITY = 0x80,

	F_FLUSH = 1 << 9,
	F_VERSION_1 = 1, /* of the upper half */
	STATUS_DRIVER = 3,
	STATUS_FEATURES = 11,
	STATUS_READY = 15,

	TYPE_IN = 0,
	TYPE_OUT = 1,
	TYPE_FLUSH = 4,
	DESCRIPTOR_NEXT = 1,
	DESCRIPTOR_WRITE = 2,

	QUEUE = 64,
	REQUEST = 4096,           /* bytes of data */
	DEPTH = 16,               /* requests in flight */
	BLOCK = DEPTH * REQUEST,
	SECTOR = 512,
};

const char payload_name[] = "disk";

struct descriptor {
	uint64_t address;
	uint32_t length;
	uint16_t flags;
	uint16_t next;
};

struct header {
	uint32_t type;
	uint32_t reserved;
	uint64_t sector;
};

static struct {
	_Alignas(16) struct descriptor descriptors[QUEUE];
	struct {
		uint16_t flags, index, ring[QUEUE];
	} available;
	_Alignas(4) struct {
		uint16_t flags, index;
		struct {
			uint32_t head, length;
		} ring[QUEUE];
	} used;
	struct header headers[DEPTH];
	uint8_t status[DEPTH];
} shared;

static uint16_t base;  /* of the BAR */
static uint16_t taken; /* used entries that were seen */

static void out16(unsigned at, uint16_t value)
{
	port_out16((uint16_t)(base + at), value);
}

static uint16_t in16(unsigned at)
{
	return port_in16((uint16_t)(base + at));
}

static void out8(unsigned at, uint8_t value)
{
	port_out8((uint16_t)(base + at), value);
}

static uint8_t in8(unsigned at)
{
	return port_in8((uint16_t)(base + at));
}

static void out32(unsigned at, uint32_t value)
{
	port_out32((uint16_t)(base + at), value);
}

static void out_address(unsigned at, const volatile void *address)
{
	out32(at, (uint32_t)(uintptr_t)address);
	out32(at + 4, (uint32_t)((uint64_t)(uintptr_t)address >> 32));
}

static uint32_t config_read(unsigned slot, unsigned offset)
{
	port_out32(CONFIG_ADDRESS, 0x80000000U | slot << 11 | offset);
	return port_in32(CONFIG_DATA);
}

static bool find_disk(void)
{
	for (unsigned slot = 1; slot < SLOTS; slot++) {
		if (config_read(slot, 0) == DISK_ID) {
			base = (uint16_t)(config_read(slot, 0x10) & 0xFFFC);
			return true;
		}
	}
	return false;
}

static bool start_disk(void)
{
	out8(REGISTER_STATUS, 0);
	out8(REGISTER_STATUS, STATUS_DRIVER);
	out32(REGISTER_ACCEPTED_SELECT, 0);
	out32(REGISTER_ACCEPTED, F_FLUSH);
	out32(REGISTER_ACCEPTED_SELECT, 1);
	out32(REGISTER_ACCEPTED, F_VERSION_1);
	out8(REGISTER_STATUS, STATUS_FEATURES);
	out16(REGISTER_QUEUE_SELECT, 0);
	if (in16(REGISTER_QUEUE_SIZE) < QUEUE)
		return false;
	out16(REGISTER_QUEUE_SIZE, QUEUE);
	out_address(REGISTER_DESCRIPTORS, shared.descriptors);
	out_address(REGISTER_AVAILABLE, &shared.available);
	out_address(REGISTER_USED, &shared.used);
	out16(REGISTER_QUEUE_ENABLE, 1);
	shared.available.flags = 1; /* this guest takes no interrupts */
	out8(REGISTER_STATUS, STATUS_READY);
	return in8(REGISTER_STATUS) == STATUS_READY;
}

static void describe(unsigned index, const void *address, uint32_t length, unsigned flags)
{
	shared.descriptors[index] = (struct descriptor){
		.address = (uintptr_t)address,
		.length = length,
		.flags = (uint16_t)flags,
		.next = (uint16_t)(index + 1),
	};
}

/* Request number `number`, of three descriptors, or two without data. The device is not told. */
static void put_request(unsigned number, uint32_t type, uint64_t offset, void *data)
{
	unsigned first = 3 * number;
	unsigned at = first;

	shared.headers[number] = (struct header){ .type = type, .sector = offset / SECTOR };
	shared.status[number] = 0xFF;
	describe(at++, &shared.headers[number], sizeof(struct header), DESCRIPTOR_NEXT);
	if (data)
		describe(at++, data, REQUEST, type == TYPE_IN ? DESCRIPTOR_NEXT | DESCRIPTOR_WRITE : DESCRIPTOR_NEXT);
	describe(at, &shared.status[number], 1, DESCRIPTOR_WRITE);
	shared.available.ring[shared.available.index % QUEUE] = (uint16_t)first;
	__atomic_thread_fence(__ATOMIC_RELEASE);
	__atomic_store_n(&shared.available.index, (uint16_t)(shared.available.index + 1), __ATOMIC_RELEASE);
}

/* Waits until `count` requests more are done. Reading a register is an exit, at which answers are delivered. */
static bool wait_for(unsigned count)
{
	while ((uint16_t)(__atomic_load_n(&shared.used.index, __ATOMIC_ACQUIRE) - taken) < count) {
		(void)in8(REGISTER_ISR);
		if (in8(REGISTER_STATUS) != STATUS_READY)
			return false;
	}
	taken = (uint16_t)(taken + count);
	return true;
}

static bool all_good(unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (__atomic_load_n(&shared.status[i], __ATOMIC_ACQUIRE) != 0)
			return false;
	return true;
}

/* All requests of a block at once. */
static bool transfer(uint32_t type, uint64_t offset, uint8_t *data)
{
	for (unsigned i = 0; i < DEPTH; i++)
		put_request(i, type, offset + (uint64_t)i * REQUEST, data + (size_t)i * REQUEST);
	out16(REGISTER_NOTIFY, 0);
	return wait_for(DEPTH) && all_good(DEPTH);
}

static bool flush(void)
{
	put_request(0, TYPE_FLUSH, 0, NULL);
	out16(REGISTER_NOTIFY, 0);
	return wait_for(1) && all_good(1);
}

static uint64_t pattern(const struct payload *payload, uint64_t offset)
{
	uint64_t x = (offset + payload->seed) * 0x9E3779B97F4A7C15;

	return x ^ x >> 32;
}

static void fill(const struct payload *payload, uint8_t *data, uint64_t offset)
{
	for (size_t i = 0; i < BLOCK; i += sizeof(uint64_t)) {
		uint64_t word = pattern(payload, offset + i);

		for (size_t byte = 0; byte < sizeof(word); byte++)
			data[i + byte] = (uint8_t)(word >> 8 * byte);
	}
}

static bool holds(const struct payload *payload, const uint8_t *data, uint64_t offset)
{
	for (size_t i = 0; i < BLOCK; i += sizeof(uint64_t)) {
		uint64_t word = 0;

		for (size_t byte = 0; byte < sizeof(word); byte++)
			word |= (uint64_t)data[i + byte] << 8 * byte;
		if (word != pattern(payload, offset + i))
			return false;
	}
	return true;
}

static uint32_t crc(uint32_t value, const uint8_t *data, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		value ^= data[i];
		for (int bit = 0; bit < 8; bit++)
			value = value & 1 ? value >> 1 ^ 0xEDB88320U : value >> 1;
	}
	return value;
}

static void say(const char *what, uint64_t number)
{
	payload_print(what);
	payload_print_decimal(number);
}

static uint32_t complain(const char *what, uint64_t offset)
{
	payload_print(what);
	say(" at byte ", offset);
	payload_print("\n");
	return PAYLOAD_WRONG;
}

uint32_t payload_main(struct payload *payload)
{
	uint8_t *data = payload->memory;
	uint64_t bytes = (payload->bytes + BLOCK - 1) / BLOCK * BLOCK;
	uint32_t value = 0xFFFFFFFF;

	if (!find_disk() || !start_disk())
		return complain("no disk", 0);

	uint64_t capacity = (port_in32((uint16_t)(base + REGISTER_CAPACITY)) |
			     (uint64_t)port_in32((uint16_t)(base + REGISTER_CAPACITY + 4)) << 32) *
			    SECTOR;

	if (bytes == 0 || bytes > capacity || payload->memory_size < BLOCK)
		return PAYLOAD_ARGUMENTS;
	for (uint64_t offset = 0; offset < bytes; offset += BLOCK) {
		fill(payload, data, offset);
		if (!transfer(TYPE_OUT, offset, data))
			return complain("a write failed", offset);
		if (!flush())
			return complain("a flush failed", offset);
		say("flushed ", offset + BLOCK);
		payload_print("\n");
	}
	for (uint64_t offset = 0; offset < bytes; offset += BLOCK) {
		for (size_t i = 0; i < BLOCK; i++)
			data[i] = 0;
		if (!transfer(TYPE_IN, offset, data))
			return complain("a read failed", offset);
		if (!holds(payload, data, offset))
			return complain("something else was read", offset);
		value = crc(value, data, BLOCK);
	}
	value = ~value;
	payload_check(payload, value);
	say("read ", bytes);
	payload_print(", crc ");
	payload_print_hex(value);
	payload_print("\n");
	return PAYLOAD_GOOD;
}
