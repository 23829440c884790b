/* Shortest ways through a grid of hills, as routers and planners look for them: Dijkstra, with a binary heap. */
#include "guest-tools/payloads/payload.h"

enum {
	SIDE = 128,
	FIELDS = SIDE * SIDE,
	HEIGHT = 64,
	HEAP_ROOM = 4 * FIELDS, /* each field is put in once for each neighbour at most */
	FIELD_COST = 65,
	FIELDS_PACED = 64,
};

const char payload_name[] = "paths";

static uint8_t height[FIELDS];
static uint32_t distance[FIELDS];
static uint64_t heap[HEAP_ROOM + 1]; /* distance << 32 | field, the least at 0 */
static size_t heap_size;

static void push(uint64_t entry)
{
	size_t at = heap_size++;

	for (; at > 0 && heap[(at - 1) / 2] > entry; at = (at - 1) / 2)
		heap[at] = heap[(at - 1) / 2];
	heap[at] = entry;
}

static uint64_t pop(void)
{
	const uint64_t least = heap[0], last = heap[--heap_size];
	size_t at = 0;

	for (;;) {
		size_t child = 2 * at + 1;

		if (child >= heap_size)
			break;
		if (child + 1 < heap_size && heap[child + 1] < heap[child])
			child++;
		if (heap[child] >= last)
			break;
		heap[at] = heap[child];
		at = child;
	}
	heap[at] = last;
	return least;
}

/* A step costs 1, and what it climbs. */
static void step(uint32_t from, uint32_t to)
{
	const uint32_t climb = height[to] > height[from] ? (uint32_t)(height[to] - height[from]) : 0;
	const uint32_t way = distance[from] + 1 + climb;

	if (way >= distance[to])
		return;
	distance[to] = way;
	push((uint64_t)way << 32 | to);
}

static void find_ways(struct payload *payload, uint32_t from)
{
	uint64_t fields = 0;

	for (size_t i = 0; i < FIELDS; i++)
		distance[i] = UINT32_MAX;
	distance[from] = 0;
	heap_size = 0;
	push(from);
	while (heap_size > 0) {
		const uint64_t entry = pop();
		const uint32_t at = (uint32_t)entry;

		if (distance[at] != entry >> 32)
			continue;
		if (at % SIDE > 0)
			step(at, at - 1);
		if (at % SIDE < SIDE - 1)
			step(at, at + 1);
		if (at >= SIDE)
			step(at, at - SIDE);
		if (at < FIELDS - SIDE)
			step(at, at + SIDE);
		if (++fields % FIELDS_PACED == 0)
			payload_pace(payload, (uint64_t)FIELDS_PACED * FIELD_COST);
	}
}

uint32_t payload_main(struct payload *payload)
{
	const uint64_t rounds = 1 + payload->scale * 20000 * 1000 / ((uint64_t)FIELDS * FIELD_COST);

	for (size_t i = 0; i < FIELDS; i++)
		height[i] = (uint8_t)(payload_random(payload) % HEIGHT);
	for (uint64_t round = 0; round < rounds; round++) {
		const uint32_t from = (uint32_t)(payload_random(payload) % FIELDS);

		find_ways(payload, from);
		for (size_t i = 0; i < FIELDS; i += 61)
			payload_check(payload, distance[i]);
		height[from] = (uint8_t)(payload_random(payload) % HEIGHT);
	}
	return PAYLOAD_GOOD;
}
