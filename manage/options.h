/*
 * The command line of `tercet run`: what was asked for, checked as far as words go. Files are opened later.
 */
#ifndef TERCET_MANAGE_OPTIONS_H
#define TERCET_MANAGE_OPTIONS_H

#include "base/result.h"
#include "lockstep/machine_options.h"
#include "manage/monitor.h"

/* Reads the options behind `tercet run` (argv[0] is "run"). Strings in `options` and `monitor` are those of argv.
 * Errors: STATUS_USAGE, with the option and what would be right. */
must_check result options_parse(int argc, char **argv, struct machine_options *options,
				struct monitor_options *monitor);

/* The same, option by option, for those who get them in another way. */
struct options_reader {
	struct machine_options *machine;
	struct monitor_options *monitor;
	bool preempt_given; /* whether there is to be preemption was said */
	unsigned faults; /* taken last: they need the number of replicas */
	const char *fault[INJECT_FAULTS_MAX];
};

/* Begins with what holds if nothing is said. */
void options_begin(struct options_reader *reader, struct machine_options *machine, struct monitor_options *monitor);

/* Takes the option called `name`, without dashes ("vote-interval"). `value` is kept, not copied; it is of no meaning
 * to an option without a value. Errors: STATUS_USAGE. */
must_check result options_set(struct options_reader *reader, const char *name, const char *value);

/* Looks at the whole. Errors: STATUS_USAGE. */
must_check result options_end(struct options_reader *reader);

/* The options as `tercet help` prints them. */
const char *options_help(void);

/* "256M", "1G", "4096k", "1048576" in bytes. */
must_check result options_size(const char *option, const char *text, uint64_t *bytes);

/* "10ms", "500us", "2s", "100ns" in ns. */
must_check result options_duration(const char *option, const char *text, uint64_t *ns);

/* "on" or "off". */
must_check result options_switch(const char *option, const char *text, bool *on);

#endif
