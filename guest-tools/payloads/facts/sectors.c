/*
 * Fact: what a disk has confirmed is on it. Writes blocks of 4 KiB to the first virtio disk on the PCI bus, eight at a
 * time, flushes, reads back what it wrote before, and says on the console which round is on the disk.
 * tests/payload/check-sectors knows what each block has to hold. `scale` is the number of rounds - 0: until something
 * is typed -, `bytes` the size of the area that is written over and over.
 *
 * The device: Virtual I/O Device (VIRTIO) 1.2, chapter 5.2 (block device).
 */
#include "guest-tools/payloads/driver.h"
#include "guest-tools/payloads/payload.h"

enum {
	DISK_ID = 0x10421AF4, /* vendor and device */
	FEATURE_FLUSH = 1 << 9,
	TYPE_IN = 0,
	TYPE_OUT = 1,
	TYPE_FLUSH = 4,

	BLOCK = 4096,
	SECTORS = BLOCK / 512,
	TOGETHER = 8,
};

struct header {
	uint32_t type;
	uint32_t reserved;
	uint64_t sector;
};

static struct driver_queue queue;
static struct header headers[TOGETHER];
static volatile uint8_t statuses[TOGETHER];
static _Alignas(BLOCK) uint64_t blocks[TOGETHER][BLOCK / 8];

const char payload_name[] = "sectors";

static uint16_t bar;

/* Puts request `slot` into the ring; it is not told of yet. */
static void put(unsigned slot, uint32_t type, uint64_t block)
{
	struct descriptor *chain = &queue.descriptors[3 * slot];
	unsigned next = 0;

	headers[slot] = (struct header){ .type = type, .sector = block * SECTORS };
	statuses[slot] = 0xFF;
	chain[next++] = (struct descriptor){ (uintptr_t)&headers[slot], sizeof(headers[slot]), DRIVER_NEXT,
					     (uint16_t)(3 * slot + 1) };
	if (type != TYPE_FLUSH)
		chain[next++] = (struct descriptor){ (uintptr_t)blocks[slot], BLOCK,
						     type == TYPE_IN ? DRIVER_NEXT | DRIVER_WRITE : DRIVER_NEXT,
						     (uint16_t)(3 * slot + 2) };
	chain[next] = (struct descriptor){ (uintptr_t)&statuses[slot], 1, DRIVER_WRITE, 0 };
	driver_put(&queue, 3 * slot);
}

/* Tells the disk, and waits until it has done all of it. */
static bool run(unsigned count)
{
	driver_notify(bar, 0);
	while (queue.used.index != queue.available.index)
		driver_look(bar);
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
	driver_linger();
	/* What becomes of a buffer behind the notification is no business of the disk's. */
	driver_notify(bar, 0);
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
	bar = driver_find(DISK_ID);
	if (bar == 0 || !driver_start(bar, FEATURE_FLUSH, &queue, 1)) {
		payload_print("there is no disk\n");
		return PAYLOAD_WRONG;
	}
	for (uint64_t round = 0; payload_goes_on(payload, round); round++) {
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
