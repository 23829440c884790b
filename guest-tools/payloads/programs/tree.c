/* Looks up, inserts and removes keys in a search tree, as databases do: a treap of 64 Ki nodes, 2 MiB. */
#include "guest-tools/payloads/payload.h"

enum {
	NODES = 1 << 16,
	KEYS = 2 * NODES,      /* so many there are; about half of them are in the tree */
	OPERATION_COST = 160,
	OPERATIONS_PACED = 32,
};

const char payload_name[] = "tree";

/* Sorted by key, and a heap by priority. Nodes are numbered from 1; 0 is none. */
struct node {
	uint64_t key, priority, value;
	uint32_t left, right;
};

struct tree {
	struct node *nodes;
	uint32_t root, free, count; /* free nodes are linked by `left` */
};

static uint32_t rotate_right(struct tree *tree, uint32_t at)
{
	const uint32_t up = tree->nodes[at].left;

	tree->nodes[at].left = tree->nodes[up].right;
	tree->nodes[up].right = at;
	return up;
}

static uint32_t rotate_left(struct tree *tree, uint32_t at)
{
	const uint32_t up = tree->nodes[at].right;

	tree->nodes[at].right = tree->nodes[up].left;
	tree->nodes[up].left = at;
	return up;
}

static uint64_t look_up(const struct tree *tree, uint64_t key)
{
	uint32_t at = tree->root;

	while (at != 0 && tree->nodes[at].key != key)
		at = key < tree->nodes[at].key ? tree->nodes[at].left : tree->nodes[at].right;
	return at != 0 ? tree->nodes[at].value : 0;
}

/* Gives the root of what was below `at`. NOLINTNEXTLINE(misc-no-recursion): a tree of a hundred levels at most. */
static uint32_t insert(struct tree *tree, uint32_t at, uint32_t node)
{
	struct node *nodes = tree->nodes;

	if (at == 0)
		return node;
	if (nodes[node].key < nodes[at].key) {
		nodes[at].left = insert(tree, nodes[at].left, node);
		return nodes[nodes[at].left].priority > nodes[at].priority ? rotate_right(tree, at) : at;
	}
	nodes[at].right = insert(tree, nodes[at].right, node);
	return nodes[nodes[at].right].priority > nodes[at].priority ? rotate_left(tree, at) : at;
}

static void add(struct tree *tree, struct payload *payload, uint64_t key)
{
	const uint32_t node = tree->free;

	if (node == 0)
		return;
	tree->free = tree->nodes[node].left;
	tree->nodes[node] = (struct node){ .key = key, .priority = payload_random(payload), .value = ~key };
	tree->root = insert(tree, tree->root, node);
	tree->count++;
}

/* Turns the node downwards until there is nothing below it. */
static void remove_key(struct tree *tree, uint64_t key)
{
	struct node *nodes = tree->nodes;
	uint32_t *link = &tree->root, node;

	while (nodes[*link].key != key)
		link = key < nodes[*link].key ? &nodes[*link].left : &nodes[*link].right;
	node = *link;
	while (nodes[node].left != 0 || nodes[node].right != 0) {
		if (nodes[nodes[node].left].priority > nodes[nodes[node].right].priority) {
			*link = rotate_right(tree, node);
			link = &nodes[*link].right;
		} else {
			*link = rotate_left(tree, node);
			link = &nodes[*link].left;
		}
	}
	*link = 0;
	nodes[node].left = tree->free;
	tree->free = node;
	tree->count--;
}

/* What is below `at` is sorted, within bounds, and a heap. NOLINTNEXTLINE(misc-no-recursion): as above. */
static bool is_right(const struct tree *tree, uint32_t at, uint64_t low, uint64_t high, uint64_t priority)
{
	const struct node *node = &tree->nodes[at];

	return at == 0 || (node->key >= low && node->key <= high && node->priority <= priority &&
			   is_right(tree, node->left, low, node->key, node->priority) &&
			   is_right(tree, node->right, node->key, high, node->priority));
}

uint32_t payload_main(struct payload *payload)
{
	const uint64_t operations = payload->scale * 20000 * 1000 / OPERATION_COST;
	struct tree tree = { .nodes = (struct node *)(void *)payload->memory, .free = 1 };

	if (payload->memory_size < (NODES + 1) * sizeof(struct node)) {
		payload_print("tree: needs 8 MiB of RAM\n");
		return PAYLOAD_ARGUMENTS;
	}
	tree.nodes[0] = (struct node){ 0 };
	for (uint32_t i = 1; i <= NODES; i++)
		tree.nodes[i] = (struct node){ .left = i < NODES ? i + 1 : 0 };
	for (uint64_t i = 1; i <= operations; i++) {
		/* No key is 0, which is none's. */
		const uint64_t random = payload_random(payload), key = 1 + (random >> 8) % KEYS;
		const uint64_t value = look_up(&tree, key);

		/* Three of four only look. */
		payload_check(payload, value);
		if (random % 4 == 0 && value != 0)
			remove_key(&tree, key);
		else if (random % 4 == 0)
			add(&tree, payload, key);
		if (i % OPERATIONS_PACED == 0)
			payload_pace(payload, (uint64_t)OPERATIONS_PACED * OPERATION_COST);
	}
	payload_check(payload, tree.count);
	if (!is_right(&tree, tree.root, 0, UINT64_MAX, UINT64_MAX)) {
		payload_print("tree: not sorted\n");
		return PAYLOAD_WRONG;
	}
	return PAYLOAD_GOOD;
}
