/*
 * What a host's facts mean for tercet: feature by feature, what it is for, whether it is there, and what to do
 * about it if it is not. A pure function of the facts, so that every kind of host can be judged in a test.
 */
#ifndef TERCET_VMM_HOST_PROBE_H
#define TERCET_VMM_HOST_PROBE_H

#include <stdbool.h>
#include <stddef.h>

#include "vmm/host_facts.h"

enum host_state {
	HOST_MISSING = 0,
	HOST_PRESENT,
	HOST_UNKNOWN, /* could not be found out, usually because something before it is missing */
};

/* Who cannot do without a feature. */
enum host_need {
	HOST_NEED_EVERY_GUEST = 0,
	HOST_NEED_LINUX_GUESTS,
	HOST_NEED_NOBODY, /* optional: makes something faster or exact */
};

struct host_feature {
	const char *name;
	const char *purpose;
	enum host_state state;
	enum host_need need;
	const char *remedy; /* what to do; NULL when the feature is present */
	char detail[64];    /* what was seen, "" if the state says it all */
};

enum { HOST_FEATURES_MAX = 32 };

struct host_probe {
	size_t count;
	struct host_feature features[HOST_FEATURES_MAX];
};

/* Judges the facts. The order of the features is the order in which they are worth repairing. */
void host_probe_judge(struct host_probe *probe, const struct host_facts *facts);

/* Whether everything is present that payload guests (freestanding programs in ring 3) need. */
bool host_probe_payload_ok(const struct host_probe *probe);

/* Whether everything is present that replicated Linux guests need. */
bool host_probe_linux_ok(const struct host_probe *probe);

/* The first feature that keeps guests of this kind from running, or NULL. */
const struct host_feature *host_probe_obstacle(const struct host_probe *probe, bool linux_guests);

/* "present", "missing", "unknown"; "every guest", "Linux guests", "optional". */
const char *host_probe_state_name(enum host_state state);
const char *host_probe_need_name(enum host_need need);

#endif
