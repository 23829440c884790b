/* Searches a game tree, as chess programs do: four in a row on a board of 7 by 6, alpha-beta, from random positions. */
#include "guest-tools/payloads/payload.h"

enum {
	COLUMNS = 7,
	ROWS = 6,
	COLUMN_BITS = ROWS + 1, /* one more, always empty, so that lines do not wrap */
	RANDOM_MOVES = 10,
	DEPTH = 9,
	NODE_COST = 6,          /* nanoseconds; docs/performance.md tells of what machine */
	NODES_PACED = 256,
	WON = 100,
};

const char payload_name[] = "game";

struct board {
	uint64_t own, all; /* bit column * COLUMN_BITS + row */
};

struct search {
	struct payload *payload;
	uint64_t nodes;
};

static uint64_t column_mask(unsigned column)
{
	return ((UINT64_C(1) << ROWS) - 1) << (column * COLUMN_BITS);
}

static bool has_four(uint64_t stones)
{
	static const unsigned steps[] = { 1, COLUMN_BITS, COLUMN_BITS - 1, COLUMN_BITS + 1 };

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		uint64_t pairs = stones & (stones >> steps[i]);

		if (pairs & (pairs >> (2 * steps[i])))
			return true;
	}
	return false;
}

static bool has_room(const struct board *board, unsigned column)
{
	return (board->all & column_mask(column)) != column_mask(column);
}

/* Whose turn it is changes with each move, and so does whose stones are `own`. */
static struct board move(const struct board *board, unsigned column)
{
	const uint64_t lowest = UINT64_C(1) << (column * COLUMN_BITS);

	return (struct board){
		.own = board->own ^ board->all,
		.all = board->all | ((board->all + lowest) & column_mask(column)),
	};
}

/* Of whoever has to move; a win in few moves is worth more. The one before has not won.
 * NOLINTNEXTLINE(misc-no-recursion): DEPTH levels at most. */
static int value_of(struct search *search, const struct board *board, int depth, int alpha, int beta)
{
	static const unsigned order[COLUMNS] = { 3, 2, 4, 1, 5, 0, 6 };
	bool moved = false;

	if (++search->nodes % NODES_PACED == 0)
		payload_pace(search->payload, (uint64_t)NODES_PACED * NODE_COST);
	if (depth == 0)
		return 0;
	for (size_t i = 0; i < COLUMNS && alpha < beta; i++) {
		struct board next;
		int value;

		if (!has_room(board, order[i]))
			continue;
		moved = true;
		next = move(board, order[i]);
		value = has_four(next.own ^ next.all) ? WON + depth :
							-value_of(search, &next, depth - 1, -beta, -alpha);
		if (value > alpha)
			alpha = value;
	}
	return moved ? alpha : 0;
}

static struct board random_board(struct payload *payload)
{
	struct board board = { 0, 0 };

	for (unsigned moves = 0; moves < RANDOM_MOVES;) {
		const unsigned column = (unsigned)(payload_random(payload) >> 32) % COLUMNS;
		struct board next;

		if (!has_room(&board, column))
			continue;
		next = move(&board, column);
		if (has_four(next.own ^ next.all)) {
			board = (struct board){ 0, 0 };
			moves = 0;
			continue;
		}
		board = next;
		moves++;
	}
	return board;
}

uint32_t payload_main(struct payload *payload)
{
	const uint64_t nodes = payload->scale * 20000 * 1000 / NODE_COST;
	struct search search = { .payload = payload };

	while (search.nodes < nodes) {
		const struct board board = random_board(payload);
		const int64_t value = value_of(&search, &board, DEPTH, -2 * WON, 2 * WON);

		payload_check(payload, (uint64_t)value);
	}
	payload_check(payload, search.nodes);
	return PAYLOAD_GOOD;
}
