/*
 * Fact: the wire gets what was sent, once and in order. Sends frames to the first virtio network card on the PCI bus,
 * eight at a time, and checks those that come: the other side (tests/payload/buffers) sends each back with its words
 * inverted. `scale` is the number of rounds - 0: until something is typed. A frame that does not come back is missed by
 * nobody here, since a network may lose it.
 *
 * A frame: an Ethernet header of a type for experiments (IEEE 802: 88B5), two zeros, its number u64, and words that are
 * a function of the seed and of it. The device: Virtual I/O Device (VIRTIO) 1.2, chapter 5.1.
 */
#include "guest-tools/payloads/driver.h"
#include "guest-tools/payloads/payload.h"

enum {
	CARD_ID = 0x10411AF4, /* vendor and device */
	RECEIVE = 0,
	SEND = 1,
	HEADER = 12,          /* bytes before a frame (5.1.6) */
	TOGETHER = 8,
	BUFFERS = 16,         /* for what comes */
	FRAME = 1024,
	FIRST_WORD = 2,       /* behind the Ethernet header and the zeros */
	WORDS = FRAME / 8,
	PATIENCE = 200,       /* looks for what comes, in a round */
};

static struct driver_queue queues[2];
static uint8_t headers[TOGETHER + BUFFERS][HEADER];
static _Alignas(4096) uint64_t sent[TOGETHER][WORDS];
static _Alignas(4096) volatile uint64_t received[BUFFERS][WORDS];

const char payload_name[] = "frames";

static uint16_t bar;

/* splitmix64's mixing. */
static uint64_t word_of(const struct payload *payload, uint64_t number, uint64_t word)
{
	uint64_t x = payload->seed * 0x9E3779B97F4A7C15u + number * WORDS + word;

	x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
	x = (x ^ x >> 27) * 0x94D049BB133111EBu;
	return word == FIRST_WORD ? number : x ^ x >> 31;
}

static void put(unsigned queue, unsigned slot, unsigned header, uintptr_t frame, uint16_t flags)
{
	struct descriptor *chain = &queues[queue].descriptors[2 * slot];

	chain[0] = (struct descriptor){ (uintptr_t)headers[header], HEADER, (uint16_t)(flags | DRIVER_NEXT),
					(uint16_t)(2 * slot + 1) };
	chain[1] = (struct descriptor){ frame, FRAME, flags, 0 };
	driver_put(&queues[queue], 2 * slot);
}

static void expect_frame(unsigned slot)
{
	put(RECEIVE, slot, TOGETHER + slot, (uintptr_t)received[slot], DRIVER_WRITE);
}

static void send_round(const struct payload *payload, uint64_t round)
{
	for (unsigned slot = 0; slot < TOGETHER; slot++) {
		uint64_t number = round * TOGETHER + slot;

		/* To everybody, from a card of nobody's; little-endian. */
		sent[slot][0] = 0x5452FFFFFFFFFFFFu;
		sent[slot][1] = 0x0000B58801005400u;
		for (uint64_t word = FIRST_WORD; word < WORDS; word++)
			sent[slot][word] = word_of(payload, number, word);
		put(SEND, slot, slot, (uintptr_t)sent[slot], 0);
	}
	driver_linger();
	/* What becomes of a buffer behind the notification is no business of the card's. */
	driver_notify(bar, SEND);
	for (unsigned slot = 0; slot < TOGETHER; slot++)
		sent[slot][FIRST_WORD + round % (WORDS - FIRST_WORD)] = ~UINT64_C(0);
	while (queues[SEND].used.index != queues[SEND].available.index)
		driver_look(bar);
}

static bool is_good(const struct payload *payload, unsigned slot, uint32_t length)
{
	uint64_t number = ~received[slot][FIRST_WORD];

	if (length != HEADER + FRAME)
		return false;
	for (uint64_t word = FIRST_WORD + 1; word < WORDS; word++)
		if (received[slot][word] != ~word_of(payload, number, word))
			return false;
	return true;
}

/* Takes what comes, for a while. */
static bool receive_round(const struct payload *payload, uint16_t *taken)
{
	unsigned count = 0;

	for (unsigned looks = 0; looks < PATIENCE && count < TOGETHER; looks++) {
		driver_look(bar);
		for (; *taken != queues[RECEIVE].used.index; *taken = (uint16_t)(*taken + 1)) {
			unsigned at = *taken % DRIVER_QUEUE;
			unsigned slot = queues[RECEIVE].used.ring[at].id / 2;

			if (slot >= BUFFERS || !is_good(payload, slot, queues[RECEIVE].used.ring[at].length))
				return false;
			expect_frame(slot);
			count++;
		}
	}
	return true;
}

uint32_t payload_main(struct payload *payload)
{
	uint16_t taken = 0;

	bar = driver_find(CARD_ID);
	if (bar == 0 || !driver_start(bar, 0, queues, 2)) {
		payload_print("there is no network card\n");
		return PAYLOAD_WRONG;
	}
	for (unsigned slot = 0; slot < BUFFERS; slot++)
		expect_frame(slot);
	for (uint64_t round = 0; payload_goes_on(payload, round); round++) {
		send_round(payload, round);
		if (!receive_round(payload, &taken)) {
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
