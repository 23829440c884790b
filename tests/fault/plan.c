#include "tests/fault/plan.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/ram.h"

/* Verdicts between two strikes that wait for everybody to be healthy. */
enum { SETTLING_VERDICTS = 2, STATE_SIZE = 4096 };

const char *plan_usage(void)
{
	return "HOSTILE=MODE[,KEY=NUMBER]... where KEY is\n"
	       "  replica  who is hostile; 100: whoever leads, 101: whoever follows the leader (1)\n"
	       "  variant  of the mode (0); 100: one after the other, where there are several\n"
	       "  first, step, count   numbers of strikes (0, 1, all)\n"
	       "  every    votes or tape entries between strikes (3)\n"
	       "  hold     us for which a value is kept (300)\n"
	       "  settle   1: strike only while everybody is healthy (0)\n"
	       "  after    vote at which it begins (2)\n"
	       "  seed     of what is random (1)\n"
	       "  victim   a replica that kills itself at vote `after` (none)\n";
}

struct key {
	const char *name;
	size_t offset;
};

static const struct key keys[] = {
	{ "replica", offsetof(struct plan, replica) }, { "variant", offsetof(struct plan, variant) },
	{ "first", offsetof(struct plan, first) },     { "step", offsetof(struct plan, step) },
	{ "count", offsetof(struct plan, count) },     { "every", offsetof(struct plan, every) },
	{ "hold", offsetof(struct plan, hold) },       { "settle", offsetof(struct plan, settle) },
	{ "after", offsetof(struct plan, after) },     { "seed", offsetof(struct plan, seed) },
	{ "victim", offsetof(struct plan, victim) },
};

static result take_key(struct plan *plan, const char *text, size_t length)
{
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		size_t name = strlen(keys[i].name);
		char *end;
		uint64_t value;

		if (length <= name + 1 || memcmp(text, keys[i].name, name) != 0 || text[name] != '=')
			continue;
		value = strtoull(text + name + 1, &end, 0);
		if (end != text + length)
			break;
		memcpy((uint8_t *)plan + keys[i].offset, &value, sizeof(value));
		return OK;
	}
	return fail(STATUS_USAGE, "HOSTILE: what is \"%.*s\"?\n%s", (int)length, text, plan_usage());
}

static result parse(struct plan *plan, const char *text)
{
	size_t length = strcspn(text, ",");

	if (length == 0 || length >= sizeof(plan->mode))
		return fail(STATUS_USAGE, "%s", plan_usage());
	memcpy(plan->mode, text, length);
	plan->mode[length] = '\0';
	for (text += length; *text == ','; text += length) {
		text++;
		length = strcspn(text, ",");
		TRY(take_key(plan, text, length));
	}
	if (plan->step == 0 || plan->every == 0)
		return fail(STATUS_USAGE, "HOSTILE: step and every are at least 1");
	return OK;
}

static result open_state(struct plan *plan)
{
	const char *path = getenv("HOSTILE_STATE");
	const char *log = getenv("HOSTILE_LOG");
	int fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
	void *memory;

	if (fd < 0 || ftruncate(fd, STATE_SIZE) < 0)
		return fail_errno(STATUS_INPUT, errno, "HOSTILE_STATE: cannot use %s", path ? path : "no file");
	memory = mmap(NULL, STATE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	(void)close(fd);
	if (memory == MAP_FAILED)
		return fail_errno(STATUS_FAILED, errno, "cannot map %s", path);
	plan->state = memory;
	plan->log_fd = log ? open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
	if (plan->log_fd < 0)
		return fail_errno(STATUS_INPUT, errno, "HOSTILE_LOG: cannot write %s", log ? log : "no file");
	return OK;
}

result plan_take(struct plan *plan, int config_fd)
{
	const char *text = getenv("HOSTILE");

	*plan = (struct plan){ .replica = 1, .step = 1, .count = UINT64_MAX, .every = 3, .hold = 300, .after = 2,
			       .seed = 1, .victim = 100 };
	TRY(parse(plan, text ? text : ""));
	TRY(replica_config_take(&plan->config, config_fd));
	TRY(area_map(&plan->own, plan->config.own_area_fd, plan->config.memory / RAM_PAGE_SIZE, true));
	TRY(supervisor_page_map(&plan->page, plan->config.supervisor_fd, false));
	TRY(open_state(plan));
	/* A machine that begins counts its verdicts anew. */
	if (!plan->config.joins)
		atomic_store(&plan->state->settled_at, 0);
	/* What happens after a new start should not be what happened before. */
	plan->random = plan->seed * 0x9E3779B97F4A7C15u + atomic_load(&plan->state->strikes);
	return OK;
}

bool plan_is(const struct plan *plan, const char *mode)
{
	return strcmp(plan->mode, mode) == 0;
}

static unsigned leader_of(const struct plan *plan)
{
	uint32_t epoch = atomic_load(&plan->page->epoch);

	return plan->page->leaderships[epoch % CONTROL_LEADERSHIPS].leader;
}

bool plan_leads(const struct plan *plan)
{
	return leader_of(plan) == plan->config.index;
}

bool plan_is_mine(const struct plan *plan)
{
	unsigned hostile = (unsigned)plan->replica;

	if (atomic_load(&plan->page->verdicts) < plan->after)
		return false;
	if (plan->replica == PLAN_LEADER)
		hostile = leader_of(plan);
	else if (plan->replica == PLAN_FOLLOWER)
		hostile = (leader_of(plan) + 1) % plan->config.replicas;
	return hostile == plan->config.index;
}

static bool settled(const struct plan *plan)
{
	uint32_t all = (1u << plan->config.replicas) - 1;

	return atomic_load(&plan->page->live) == all && atomic_load(&plan->page->hold) == 0 &&
	       atomic_load(&plan->page->verdicts) >= atomic_load(&plan->state->settled_at);
}

bool plan_strike(struct plan *plan, uint64_t space, uint64_t *number)
{
	uint64_t most = plan->first < space ? (space - plan->first + plan->step - 1) / plan->step : 0;
	uint64_t strike;

	if (!plan_is_mine(plan) || (plan->settle && !settled(plan)))
		return false;
	most = most < plan->count ? most : plan->count;
	strike = atomic_load(&plan->state->strikes);
	if (strike >= most)
		return false;
	atomic_store(&plan->state->strikes, strike + 1);
	atomic_store(&plan->state->settled_at, atomic_load(&plan->page->verdicts) + SETTLING_VERDICTS);
	*number = plan->first + strike * plan->step;
	if (strike + 1 == most)
		plan_log(plan, "complete: %llu strikes", (unsigned long long)most);
	return true;
}

uint64_t plan_variant(const struct plan *plan, uint64_t strike, uint64_t count)
{
	return plan->variant == PLAN_EACH ? strike % count : plan->variant;
}

void plan_log(const struct plan *plan, const char *format, ...)
{
	char text[512];
	va_list arguments;
	int used = snprintf(text, sizeof(text), "replica %u, verdict %llu, epoch %u: ", plan->config.index,
			    (unsigned long long)atomic_load(&plan->page->verdicts), atomic_load(&plan->page->epoch));

	va_start(arguments, format);
	used += vsnprintf(text + used, sizeof(text) - (size_t)used - 1, format, arguments);
	va_end(arguments);
	if (used > (int)sizeof(text) - 2)
		used = (int)sizeof(text) - 2;
	text[used] = '\n';
	ssize_t written = write(plan->log_fd, text, (size_t)used + 1);

	(void)written;
}

/* xorshift64* (Vigna 2016, "An experimental exploration of Marsaglia's xorshift generators, scrambled"). */
uint64_t plan_random(struct plan *plan)
{
	plan->random = plan->random ? plan->random : 1;
	plan->random ^= plan->random >> 12;
	plan->random ^= plan->random << 25;
	plan->random ^= plan->random >> 27;
	return plan->random * 0x2545F4914F6CDD1Du;
}
