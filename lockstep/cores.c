#include "lockstep/cores.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"

/* --- lists and sets of cores --- */

enum { WORD_BITS = 64, NOT_PINNED = -1 };

/* As cpu_set_t, which ends at 1024 cores. */
struct core_set {
	uint64_t words[CORES_MAX / WORD_BITS];
};

static bool set_has(const struct core_set *set, unsigned core)
{
	return set->words[core / WORD_BITS] >> core % WORD_BITS & 1;
}

static void set_add(struct core_set *set, unsigned core)
{
	set->words[core / WORD_BITS] |= UINT64_C(1) << core % WORD_BITS;
}

static bool take_number(const char **text, unsigned *core)
{
	char *end;

	if (**text < '0' || **text > '9')
		return false;
	errno = 0;
	unsigned long number = strtoul(*text, &end, 10);

	if (errno != 0 || number >= CORES_MAX)
		return false;
	*core = (unsigned)number;
	*text = end;
	return true;
}

/* "3" or "4-6" */
static bool take_range(const char **text, unsigned *first, unsigned *last)
{
	if (!take_number(text, first))
		return false;
	*last = *first;
	if (**text != '-')
		return true;
	++*text;
	return take_number(text, last) && *last >= *first;
}

/* "0-3, 7": for messages, so what is too long is cut. */
static void set_text(const struct core_set *set, char *text, size_t size)
{
	size_t used = 0;

	text[0] = '\0';
	for (unsigned core = 0; core < CORES_MAX; core++) {
		unsigned first = core;

		if (!set_has(set, core))
			continue;
		while (core + 1 < CORES_MAX && set_has(set, core + 1))
			core++;
		if (size - used < 32) {
			(void)snprintf(text + used, size - used, ", ...");
			return;
		}
		if (used > 0)
			used += (size_t)snprintf(text + used, size - used, ", ");
		used += (size_t)snprintf(text + used, size - used, first == core ? "%u" : "%u-%u", first, core);
	}
}

/* --- what the user wants --- */

static result parse_list(const char *text, struct cores_policy *policy)
{
	struct core_set seen = { .words = { 0 } };
	const char *at = text;
	unsigned first, last;

	policy->count = 0;
	for (;;) {
		if (!take_range(&at, &first, &last) || (*at != '\0' && *at != ','))
			return fail(STATUS_USAGE, "--pin %s: give auto, none or a list of cores such as 0,2,4-6",
				    text);
		for (unsigned core = first; core <= last; core++) {
			if (set_has(&seen, core))
				return fail(STATUS_USAGE, "--pin %s: core %u is named twice", text, core);
			if (policy->count == CORES_LIST_MAX)
				return fail(STATUS_USAGE, "--pin %s: at most %d cores", text, CORES_LIST_MAX);
			set_add(&seen, core);
			policy->list[policy->count++] = (uint16_t)core;
		}
		if (*at++ == '\0')
			return OK;
	}
}

result cores_parse(const char *text, struct cores_policy *policy)
{
	struct cores_policy wanted = { .mode = CORES_AUTO, .threshold = policy->threshold };

	if (strcmp(text, "none") == 0) {
		wanted.mode = CORES_NONE;
	} else if (strcmp(text, "auto") != 0) {
		wanted.mode = CORES_LIST;
		TRY(parse_list(text, &wanted));
	}
	*policy = wanted;
	return OK;
}

result cores_parse_faults(const char *text, struct cores_policy *policy)
{
	char *end;

	errno = 0;
	unsigned long number = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end != '\0' || errno != 0 || number > CORES_FAULTS_MAX)
		return fail(STATUS_USAGE, "--core-faults %s: give a number up to %d, 0 for never", text,
			    CORES_FAULTS_MAX);
	policy->threshold = (unsigned)number;
	return OK;
}

/* --- decisions --- */

static unsigned cores_left_over(const struct cores *cores)
{
	unsigned count = 0;

	for (unsigned i = 0; i < cores->count; i++)
		count += !cores->core[i].left;
	return count;
}

static bool in_use(const struct cores *cores, unsigned index)
{
	for (unsigned r = 0; r < cores->replicas; r++)
		if (cores->of[r] == (int)index)
			return true;
	return false;
}

/* How bad a core is for one more replica: other replicas on the same physical core weigh most, since they would
 * share a defect; then defects that showed up next to it; then its own faults. */
struct badness {
	unsigned shared;
	unsigned suspect;
	uint64_t faults;
};

static struct badness badness_of(const struct cores *cores, unsigned index)
{
	const struct cores_state *core = &cores->core[index];
	struct badness badness = { .faults = core->faults };

	for (unsigned i = 0; i < cores->count; i++) {
		if (cores->core[i].place.physical != core->place.physical)
			continue;
		badness.shared += in_use(cores, i);
		badness.suspect += cores->core[i].left;
	}
	return badness;
}

static bool worse(const struct badness *a, const struct badness *b)
{
	if (a->shared != b->shared)
		return a->shared > b->shared;
	if (a->suspect != b->suspect)
		return a->suspect > b->suspect;
	return a->faults > b->faults;
}

static int best_free(const struct cores *cores)
{
	struct badness least = { .shared = 0 };
	int best = NOT_PINNED;

	for (unsigned i = 0; i < cores->count; i++) {
		if (cores->core[i].left || in_use(cores, i))
			continue;
		struct badness badness = badness_of(cores, i);

		if (best != NOT_PINNED && !worse(&least, &badness))
			continue;
		best = (int)i;
		least = badness;
	}
	return best;
}

/* Gives a core to each replica that has none, or one that has been left; who has a good one keeps it. */
static void settle(struct cores *cores)
{
	/* One alone shares its core with no replica, and the scheduler knows better where it is free. */
	const enum cores_mode mode = cores->policy.mode;
	const bool wanted = mode == CORES_LIST || (mode == CORES_AUTO && cores->replicas > 1);

	cores->pinned = wanted && cores_left_over(cores) >= cores->replicas;
	for (unsigned r = 0; r < cores->replicas; r++)
		if (!cores->pinned || (cores->of[r] != NOT_PINNED && cores->core[cores->of[r]].left))
			cores->of[r] = NOT_PINNED;
	for (unsigned r = 0; cores->pinned && r < cores->replicas; r++)
		if (cores->of[r] == NOT_PINNED)
			cores->of[r] = best_free(cores);
}

static const struct cores_place *place_of(const struct cores_place *places, unsigned count, unsigned core)
{
	for (unsigned i = 0; i < count; i++)
		if (places[i].number == core)
			return &places[i];
	return NULL;
}

static result check_list(const struct cores_policy *policy, unsigned replicas,
			 const struct cores_place *places, unsigned count)
{
	struct core_set allowed = { .words = { 0 } };
	char text[256];

	for (unsigned i = 0; i < count; i++)
		set_add(&allowed, places[i].number);
	set_text(&allowed, text, sizeof(text));
	for (unsigned i = 0; i < policy->count; i++)
		if (!set_has(&allowed, policy->list[i]))
			return fail(STATUS_USAGE, "--pin: core %u is not among those that this process may use: %s",
				    policy->list[i], text);
	if (policy->count < replicas)
		return fail(STATUS_USAGE, "--pin: %u replicas need as many cores, and the list has %u; there are %s",
			    replicas, policy->count, text);
	return OK;
}

/* The cores that may be used, in order of preference. */
static void take_places(struct cores *cores, const struct cores_place *places, unsigned count)
{
	for (unsigned i = 0; i < cores->count; i++) {
		if (cores->policy.mode == CORES_LIST)
			cores->core[i].place = *place_of(places, count, cores->policy.list[i]);
		else
			cores->core[i].place = places[i];
	}
}

result cores_open_on(struct cores *cores, const struct cores_policy *policy, unsigned replicas,
		     const struct cores_place *places, unsigned count)
{
	const bool listed = policy->mode == CORES_LIST;

	invariant(replicas > 0 && replicas <= VOTE_REPLICAS_MAX && count > 0 && count <= CORES_MAX);
	*cores = (struct cores){ .policy = *policy, .replicas = replicas };
	for (unsigned r = 0; r < VOTE_REPLICAS_MAX; r++)
		cores->of[r] = NOT_PINNED;
	if (listed)
		TRY(check_list(policy, replicas, places, count));
	cores->count = listed ? policy->count : count;
	cores->core = calloc(cores->count, sizeof(*cores->core));
	/* One more than is needed, so that a threshold of 0 is no allocation of nothing. */
	cores->fault_at = calloc((size_t)cores->count * policy->threshold + 1, sizeof(*cores->fault_at));
	if (!cores->core || !cores->fault_at) {
		cores_close(cores);
		return fail(STATUS_FAILED, "no memory for a table of %u cores", count);
	}
	take_places(cores, places, count);
	for (unsigned r = 0; listed && r < replicas; r++)
		cores->of[r] = (int)r;
	settle(cores);
	return OK;
}

void cores_close(struct cores *cores)
{
	free(cores->core);
	free(cores->fault_at);
	*cores = (struct cores){ .core = NULL };
}

unsigned cores_crowding(const struct cores *cores)
{
	const unsigned left = cores_left_over(cores);

	return (cores->replicas + left - 1) / left;
}

unsigned cores_shared(const struct cores *cores)
{
	const unsigned left = cores_left_over(cores);

	return cores->policy.mode == CORES_NONE || left >= cores->replicas ? 0 : left;
}

int cores_of(const struct cores *cores, unsigned replica)
{
	int index = replica < VOTE_REPLICAS_MAX ? cores->of[replica] : NOT_PINNED;

	return index == NOT_PINNED ? -1 : cores->core[index].place.number;
}

static struct cores_state *find_core(struct cores *cores, int core)
{
	for (unsigned i = 0; i < cores->count; i++)
		if (cores->core[i].place.number == core)
			return &cores->core[i];
	return NULL;
}

/* Whether this fault and the threshold's others before it lie within the window. */
static bool faults_are_dense(struct cores *cores, const struct cores_state *core, uint64_t now)
{
	const unsigned threshold = cores->policy.threshold;

	if (threshold == 0)
		return false;
	uint64_t *ring = &cores->fault_at[(size_t)(core - cores->core) * threshold];

	ring[(core->faults - 1) % threshold] = now;
	/* The place that the next fault will overwrite has the oldest. */
	return core->faults >= threshold && now - ring[core->faults % threshold] <= CORES_WINDOW_NS;
}

bool cores_book_fault(struct cores *cores, int core, uint64_t now_ns)
{
	struct cores_state *state = find_core(cores, core);

	if (!state)
		return false;
	state->faults++;
	if (!faults_are_dense(cores, state, now_ns) || state->left || cores_left_over(cores) < 2)
		return false;
	state->left = true;
	settle(cores);
	return true;
}

/* --- the host --- */

/* Without a sibling list (a container without sysfs) a core is taken to be alone. */
static unsigned physical_of(unsigned core)
{
	char path[96];
	char text[256];
	unsigned first = core;
	const char *at = text;
	int fd;

	(void)snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%u/topology/thread_siblings_list", core);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return core;
	ssize_t length = read(fd, text, sizeof(text) - 1);

	fd_close(&fd);
	text[length > 0 ? length : 0] = '\0';
	/* The kernel writes them in ascending order. */
	return take_number(&at, &first) && first <= core ? first : core;
}

static unsigned places_of(const struct core_set *allowed, struct cores_place *places)
{
	unsigned count = 0;

	for (unsigned core = 0; core < CORES_MAX; core++)
		if (set_has(allowed, core))
			places[count++] = (struct cores_place){ (uint16_t)core, (uint16_t)physical_of(core) };
	return count;
}

result cores_open(struct cores *cores, const struct cores_policy *policy, unsigned replicas)
{
	struct core_set allowed = { .words = { 0 } };

	*cores = (struct cores){ .core = NULL };
	if (sched_getaffinity(0, sizeof(allowed), (cpu_set_t *)(void *)allowed.words) < 0)
		return fail_errno(STATUS_HOST, errno, "cannot tell which cores this process may use");
	/* Twice the list, to begin anywhere: machines that all began with the first core would share it. */
	struct cores_place *places = calloc(2 * (size_t)CORES_MAX, sizeof(*places));

	if (!places)
		return fail(STATUS_FAILED, "no memory for a table of cores");
	const unsigned count = places_of(&allowed, places);

	memcpy(places + count, places, count * sizeof(*places));
	result r = cores_open_on(cores, policy, replicas, places + (unsigned)getpid() % count, count);

	free(places);
	return r;
}

static result move(pid_t pid, const struct core_set *set)
{
	char text[256];

	if (sched_setaffinity(pid, sizeof(*set), (const cpu_set_t *)(const void *)set->words) == 0)
		return OK;
	int error = errno;

	set_text(set, text, sizeof(text));
	return fail_errno(STATUS_FAILED, error, "cannot let process %ld run on core %s", (long)pid, text);
}

result cores_unseat(const struct cores *cores, pid_t pid)
{
	struct core_set set = { .words = { 0 } };

	for (unsigned i = 0; i < cores->count; i++)
		if (!cores->core[i].left)
			set_add(&set, cores->core[i].place.number);
	return move(pid, &set);
}

result cores_seat(const struct cores *cores, unsigned index, pid_t pid)
{
	struct core_set set = { .words = { 0 } };
	unsigned at = 0;

	invariant(index < cores_shared(cores));
	while (cores->core[at].left || index-- > 0)
		at++;
	set_add(&set, cores->core[at].place.number);
	return move(pid, &set);
}

result cores_apply(const struct cores *cores, unsigned replica, pid_t pid)
{
	struct core_set set = { .words = { 0 } };
	int core = cores_of(cores, replica);

	/* Nothing happened yet, so nothing is forbidden: the process's own set may grow and shrink as it likes. */
	if (core < 0 && cores_left_over(cores) == cores->count)
		return OK;
	if (core < 0)
		return cores_unseat(cores, pid);
	set_add(&set, (unsigned)core);
	return move(pid, &set);
}

/* --- status --- */

json_t *cores_json(const struct cores *cores)
{
	static const char *const names[] = {
		[CORES_AUTO] = "auto", [CORES_NONE] = "none", [CORES_LIST] = "list"
	};
	json_t *replica = json_array();
	json_t *left = json_array();
	json_t *faults = json_array();

	for (unsigned r = 0; r < cores->replicas; r++) {
		int core = cores_of(cores, r);

		(void)json_array_append_new(replica, core < 0 ? json_null() : json_integer(core));
	}
	for (unsigned i = 0; i < cores->count; i++) {
		const struct cores_state *core = &cores->core[i];

		if (core->left)
			(void)json_array_append_new(left, json_integer(core->place.number));
		if (core->faults > 0)
			(void)json_array_append_new(faults,
						    json_pack("{s:i, s:I}", "core", (int)core->place.number, "faults",
							      (json_int_t)core->faults));
	}
	return json_pack("{s:s, s:b, s:i, s:o, s:o, s:o}", "pin", names[cores->policy.mode], "pinned",
			 (int)cores->pinned, "core_faults", (int)cores->policy.threshold, "replica", replica, "left",
			 left, "faults", faults);
}
