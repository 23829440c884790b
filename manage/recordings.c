#include "manage/recordings.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/futex.h"
#include "base/log.h"
#include "lockstep/recording_diff.h"
#include "lockstep/replay.h"
#include "manage/options.h"

/* A guest that computes for long is no hang; replays are nobody's service. */
#define DEFAULT_WATCHDOG (60 * NS_PER_S)

enum { DIFF_SAME, DIFF_DIFFERENT, DIFF_TROUBLE };

enum option_id {
	OPTION_KERNEL = 256,
	OPTION_PAYLOAD,
	OPTION_INITRD,
	OPTION_UNTIL,
	OPTION_STOP_AT,
	OPTION_DUMP,
	OPTION_WATCHDOG,
	OPTION_VERBOSE,
};

static const struct option long_options[] = {
	{ "kernel", required_argument, NULL, OPTION_KERNEL },
	{ "payload", required_argument, NULL, OPTION_PAYLOAD },
	{ "initrd", required_argument, NULL, OPTION_INITRD },
	{ "until", required_argument, NULL, OPTION_UNTIL },
	{ "stop-at", required_argument, NULL, OPTION_STOP_AT },
	{ "dump", no_argument, NULL, OPTION_DUMP },
	{ "watchdog", required_argument, NULL, OPTION_WATCHDOG },
	{ "verbose", no_argument, NULL, OPTION_VERBOSE },
	{ NULL, 0, NULL, 0 },
};

static result take_position(const char *option, const char *text, struct replay_options *options)
{
	char *end;
	unsigned long long position;

	if (options->until != REPLAY_TO_THE_END)
		return fail(STATUS_USAGE, "give one --until or one --stop-at");
	errno = 0;
	position = strtoull(text, &end, 10);
	if (*text < '0' || *text > '9' || *end != '\0' || errno != 0 || position == REPLAY_TO_THE_END)
		return fail(STATUS_USAGE, "%s %s: give a position, a number", option, text);
	options->until = position;
	return OK;
}

static result take_option(int id, const char *value, struct replay_options *options)
{
	switch (id) {
	case OPTION_KERNEL:
	case OPTION_PAYLOAD:
		options->kernel = value;
		return OK;
	case OPTION_INITRD:
		options->initrd = value;
		return OK;
	case OPTION_UNTIL:
		return take_position("--until", value, options);
	case OPTION_STOP_AT:
		TRY(take_position("--stop-at", value, options));
		options->look = true;
		return OK;
	case OPTION_DUMP:
		options->dump = true;
		return OK;
	case OPTION_WATCHDOG:
		return options_duration("--watchdog", value, &options->watchdog);
	case OPTION_VERBOSE:
		options->verbose = true;
		return OK;
	default:
		return fail(STATUS_USAGE, "unknown option");
	}
}

static result parse_replay(int argc, char **argv, struct replay_options *options)
{
	int id;

	*options = (struct replay_options){ .until = REPLAY_TO_THE_END, .watchdog = DEFAULT_WATCHDOG };
	opterr = 0;
	optind = 1;
	while ((id = getopt_long(argc, argv, ":", long_options, NULL)) != -1) {
		if (id == '?')
			return fail(STATUS_USAGE, "unknown option %s (`tercet help` lists them)", argv[optind - 1]);
		if (id == ':')
			return fail(STATUS_USAGE, "%s needs a value (`tercet help` tells which)", argv[optind - 1]);
		TRY(take_option(id, optarg, options));
	}
	if (optind != argc - 1)
		return fail(STATUS_USAGE, "give one recording: tercet replay FILE");
	options->path = argv[optind];
	return OK;
}

int recordings_replay_main(int argc, char **argv)
{
	struct replay_options options;
	result r = parse_replay(argc, argv, &options);

	if (!failed(r)) {
		log_set_verbose(options.verbose);
		r = replay_run(&options);
	}
	if (!failed(r))
		return STATUS_OK;
	log_error("%s", r.failure->message);
	return (int)r.failure->status;
}

int recordings_diff_main(int argc, char **argv)
{
	bool differ;
	result r;

	if (argc != 3 || argv[1][0] == '-' || argv[2][0] == '-') {
		log_error("give two recordings: tercet diff FILE FILE");
		return DIFF_TROUBLE;
	}
	r = recording_diff(argv[1], argv[2], &differ);
	if (!failed(r))
		return differ ? DIFF_DIFFERENT : DIFF_SAME;
	log_error("%s", r.failure->message);
	return DIFF_TROUBLE;
}
