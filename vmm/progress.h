/*
 * Progress: how far a vCPU has come inside a segment, so that another one can be brought near the same place. One
 * interface, two backends:
 *
 *   time    the processor time of the vCPU's thread: always there, and as exact as the host is calm
 *   perf    what the guest has retired, counted by the CPU while it is in its guest (perf_event_open(2),
 *           exclude_host): branches, or instructions. Tried at the start on a guest whose way is known; where that goes
 *           wrong, or the counter fails later, it is turned off, with the reason, and time is used
 *
 * A count need not be exact: what decides is equality of states. It must not be so wrong that a follower passes the
 * stop; how wrong it was in the trial makes the margin.
 *
 * What is asked of perf goes through a table of functions, in whose place a test puts its own.
 */
#ifndef TERCET_VMM_PROGRESS_H
#define TERCET_VMM_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/result.h"

/* What is counted; the numbers stand on the tape. */
enum progress_unit {
	PROGRESS_TIME = 0,         /* nothing but time */
	PROGRESS_BRANCHES = 1,     /* that the guest retired */
	PROGRESS_INSTRUCTIONS = 2, /* likewise */
	PROGRESS_UNITS
};

/* "time", "branches", "instructions". */
const char *progress_unit_name(enum progress_unit unit);

/* What perf says of a counter, all since it was opened. */
struct progress_reading {
	uint64_t count;
	uint64_t enabled_ns; /* the thread ran */
	uint64_t running_ns; /* and the counter counted; less: it was shared with other counters */
};

/* What is asked of the host. All but the clock give 0, or an errno. */
struct progress_calls {
	/* A counter of the calling thread's, that counts from here on. EACCES, EPERM: not permitted; ENOENT and its
	 * like: this host has none. */
	int (*open)(void *context, enum progress_unit unit);
	/* ENODATA: it has lost its place on the CPU, and counts no longer. */
	int (*read)(void *context, struct progress_reading *reading);
	/* The calling thread gets a signal when so many more have been counted, or a little later. */
	int (*arm)(void *context, uint64_t after);
	int (*disarm)(void *context);
	void (*close)(void *context);
	/* The calling thread's processor time in ns. */
	uint64_t (*thread_ns)(void *context);
};

/* What the calls to perf need, and remember (progress_perf.c). */
struct progress_perf {
	int signal;  /* that takes the vCPU out of its guest */
	bool kernel; /* what the guest does in ring 0 counts, too: more is permitted to who does not ask for it */
	int fd;
};

extern const struct progress_calls progress_perf_calls;

/* How wrong a counter was in its trial, at most; in its unit. */
struct progress_quality {
	uint64_t error; /* of a count */
	uint64_t skid;  /* from where it was to stop to where it did */
};

/* A place inside a segment, as it is told to others. */
struct progress_mark {
	uint64_t run_ns; /* processor time from the segment's beginning; or less, never more */
	uint64_t count;  /* from the segment's beginning; 0 with PROGRESS_TIME */
	enum progress_unit unit;
};

struct progress {
	enum progress_unit unit; /* that is in use */
	const struct progress_calls *calls;
	void *context;
	struct progress_perf perf;       /* the context, unless it is a test's */
	struct progress_quality quality; /* of the counter */
	int open_error;                  /* errno with which a counter was refused, or 0 */
	char reason[160];                /* why the time is used; "": a counter is */

	struct progress_reading begin; /* where the segment began */
	uint64_t begin_ns;
	struct progress_mark goal; /* see progress_head_for */
	uint64_t blind_ns;
	bool armed;
};

/*
 * Opens a counter for the calling thread, which runs the vCPU, and tries it: branches, or if these do not work,
 * instructions. Where neither works progress->reason tells why, and time is used. `signal` takes vCPUs out of their
 * guests; it may be ignored, or have its default action. With `kernel` guests have a ring 0. The trial takes some
 * milliseconds, and does not take place where the host has no counter.
 */
void progress_create(struct progress *progress, int signal, bool kernel);

/* Time, and why. */
void progress_create_time(struct progress *progress, const char *reason);
void progress_destroy(struct progress *progress);

/* A segment begins. Costs a system call where a counter is in use, and next to nothing elsewhere. */
void progress_begin(struct progress *progress);

/* Starts the clock for the segment at hand; what ran before is left out of run_ns. */
void progress_start_clock(struct progress *progress);

/* Where the vCPU, which is outside its guest, stands. */
void progress_mark(struct progress *progress, struct progress_mark *mark);

/*
 * Heads for `goal`, which somebody else marked in the same segment, which has just begun. Where both count the same,
 * a signal comes the margin before it, and `blind_percent` does not matter; else so many percent of its run time are
 * to be run without looking. Nothing in `goal` is believed further than that it costs time.
 */
void progress_head_for(struct progress *progress, const struct progress_mark *goal, unsigned blind_percent);

enum progress_place {
	PROGRESS_BEFORE, /* run on; `*left_ns` of processor time at most, then look again */
	PROGRESS_NEAR,   /* the goal may come at once: look for it from here on */
	PROGRESS_PAST,   /* the goal is passed. Time alone never says so */
};

/* Where the vCPU is, which is outside its guest. */
enum progress_place progress_look(struct progress *progress, uint64_t *left_ns);

/* Whether the count says, while the goal is looked for, that it was passed. */
bool progress_past(struct progress *progress);

/* No signal comes any more. */
void progress_halt(struct progress *progress);

/* How far before the goal one begins to look for it, in its unit. */
uint64_t progress_margin(const struct progress *progress, uint64_t count);

/* A guest whose way is known: rounds of one branch and two instructions each. */
struct progress_track {
	void *context;
	/* Begins anew; the guest ends after so many rounds. */
	result (*begin)(void *context, uint64_t rounds);
	/* Runs until a signal comes or the guest ends. */
	result (*run)(void *context, bool *ended);
	/* Rounds that were completed. */
	result (*completed)(void *context, uint64_t *rounds);
};

/* progress_create with other calls and another guest: for tests, and what progress_create does. */
void progress_create_with(struct progress *progress, const struct progress_calls *calls, void *context,
			  const struct progress_track *track);

/* Tries the counter that is open, for `unit`; fills in its quality. Errors: what is wrong with it, or the guest's. */
must_check result progress_try(struct progress *progress, enum progress_unit unit,
			       const struct progress_track *track);

/* The track on KVM, in ring 3. A run that takes longer than two seconds fails. Close what was opened. */
must_check result progress_track_open(struct progress_track *track, int signal);
void progress_track_close(struct progress_track *track);

#endif
