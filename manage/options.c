#include "manage/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "base/futex.h"
#include "devices/host/console.h"
#include "lockstep/guest_time.h"
#include "manage/device_options.h"
#include "manage/places.h"

#define DEFAULT_MEMORY (256ull << 20)
#define DEFAULT_REPLICAS 3
#define DEFAULT_VOTE_INTERVAL (10 * NS_PER_MS)
#define DEFAULT_WATCHDOG (5 * NS_PER_S)
#define DEFAULT_PREEMPT_GRACE NS_PER_MS
#define DEFAULT_PREEMPT_BUDGET 50 /* thousandths */
#define DEFAULT_SEGMENT_MAX (2 * NS_PER_S)
#define DEFAULT_SCRUB (64ull << 20)
#define DEFAULT_REPORTS "."
#define DEFAULT_COMMAND_LINE "console=ttyS0"
#define VOTE_INTERVAL_MIN (100 * NS_PER_US)
#define VOTE_INTERVAL_MAX (10 * NS_PER_S)
#define PREEMPT_GRACE_MIN (100 * NS_PER_US)
#define PREEMPT_GRACE_MAX (10 * NS_PER_S)
#define SEGMENT_MAX_MIN NS_PER_MS
#define SEGMENT_MAX_MAX (60 * NS_PER_S)
#define WATCHDOG_MIN (100 * NS_PER_MS)
#define WATCHDOG_MAX (86400 * NS_PER_S)

enum option_id {
	OPTION_KERNEL = 256,
	OPTION_INITRD,
	OPTION_APPEND,
	OPTION_PAYLOAD,
	OPTION_MEMORY,
	OPTION_REPLICAS,
	OPTION_VOTE_INTERVAL,
	OPTION_WATCHDOG,
	OPTION_PREEMPT_GRACE,
	OPTION_PREEMPT_BUDGET,
	OPTION_MAX_SEGMENT,
	OPTION_SYNC,
	OPTION_CONSOLE,
	OPTION_DISK,
	OPTION_NET,
	OPTION_RNG,
	OPTION_VIRTIO_CONSOLE,
	OPTION_STATS,
	OPTION_RECORD,
	OPTION_NAME,
	OPTION_MONITOR,
	OPTION_SEED,
	OPTION_INJECT,
	OPTION_SCRUB,
	OPTION_PIN,
	OPTION_CORE_FAULTS,
	OPTION_REPORTS,
	OPTION_TIME_DILATION,
	OPTION_PAUSED,
	OPTION_NO_SHUTDOWN,
	OPTION_NO_REBOOT,
	OPTION_SANDBOX,
	OPTION_VERBOSE,
};

static const struct option long_options[] = {
	{ "kernel", required_argument, NULL, OPTION_KERNEL },
	{ "initrd", required_argument, NULL, OPTION_INITRD },
	{ "append", required_argument, NULL, OPTION_APPEND },
	{ "payload", required_argument, NULL, OPTION_PAYLOAD },
	{ "memory", required_argument, NULL, OPTION_MEMORY },
	{ "replicas", required_argument, NULL, OPTION_REPLICAS },
	{ "vote-interval", required_argument, NULL, OPTION_VOTE_INTERVAL },
	{ "watchdog", required_argument, NULL, OPTION_WATCHDOG },
	{ "preempt-grace", required_argument, NULL, OPTION_PREEMPT_GRACE },
	{ "preempt-budget", required_argument, NULL, OPTION_PREEMPT_BUDGET },
	{ "max-segment", required_argument, NULL, OPTION_MAX_SEGMENT },
	{ "sync", required_argument, NULL, OPTION_SYNC },
	{ "console", required_argument, NULL, OPTION_CONSOLE },
	{ "disk", required_argument, NULL, OPTION_DISK },
	{ "net", required_argument, NULL, OPTION_NET },
	{ "rng", no_argument, NULL, OPTION_RNG },
	{ "virtio-console", required_argument, NULL, OPTION_VIRTIO_CONSOLE },
	{ "stats", required_argument, NULL, OPTION_STATS },
	{ "record", required_argument, NULL, OPTION_RECORD },
	{ "name", required_argument, NULL, OPTION_NAME },
	{ "monitor", required_argument, NULL, OPTION_MONITOR },
	{ "seed", required_argument, NULL, OPTION_SEED },
	{ "inject", required_argument, NULL, OPTION_INJECT },
	{ "scrub", required_argument, NULL, OPTION_SCRUB },
	{ "pin", required_argument, NULL, OPTION_PIN },
	{ "core-faults", required_argument, NULL, OPTION_CORE_FAULTS },
	{ "reports", required_argument, NULL, OPTION_REPORTS },
	{ "time-dilation", required_argument, NULL, OPTION_TIME_DILATION },
	{ "paused", no_argument, NULL, OPTION_PAUSED },
	{ "no-shutdown", no_argument, NULL, OPTION_NO_SHUTDOWN },
	{ "no-reboot", no_argument, NULL, OPTION_NO_REBOOT },
	{ "sandbox", required_argument, NULL, OPTION_SANDBOX },
	{ "verbose", no_argument, NULL, OPTION_VERBOSE },
	{ NULL, 0, NULL, 0 },
};

const char *options_help(void)
{
	return "  --kernel FILE            Linux kernel: a bzImage (/boot/vmlinuz-*) or an ELF vmlinux\n"
	       "  --initrd FILE            its initial RAM disk\n"
	       "  --append TEXT            its command line (default: console=ttyS0); a payload's arguments\n"
	       "  --payload FILE           run a payload instead of a kernel\n"
	       "  --memory SIZE            guest memory, 16M to 64G (default: 256M)\n"
	       "  --replicas 1|2|3|5       1: no voting, 2: detection, 3: one may be wrong, 5: two (default: 3)\n"
	       "  --vote-interval TIME     100us to 10s (default: 10ms)\n"
	       "  --watchdog TIME          a replica without a sign of life for so long hangs, 100ms to 86400s\n"
	       "                           (default: 5s)\n"
	       "  --preempt-grace TIME     a guest that computes for so long without an exit is preempted if there is\n"
	       "                           something for it: 100us to 10s, or none (default: 1ms)\n"
	       "  --preempt-budget PERCENT of the time that preemptions may take, 0.1 to 100 (default: 5)\n"
	       "  --max-segment TIME       in code that never exits votes take no longer, 1ms to 60s (default: 2s)\n"
	       "  --sync votes|strict      strict: replicas wait for one another at every exit and compare it;\n"
	       "                           slow, to compare with; without preemption (default: votes)\n"
	       "  --scrub RATE             memory that nobody writes is hashed again at this rate, to find what rots:\n"
	       "                           64M/s, or none (default: 64M/s)\n"
	       "  --pin auto|none|LIST     replicas have their own cores, or take turns on too few; never; or those\n"
	       "                           of a list such as 0,2,4-6 (default: auto)\n"
	       "  --core-faults NUMBER     a core that loses so many votes in an hour is left, 0: never (default: 3)\n"
	       "  --reports FOLDER         where a report is left when the machine is stopped (default: .)\n"
	       "  --console WHERE          stdio, pty, file:PATH, append:PATH, unix:PATH or null (default: stdio;\n"
	       "                           Ctrl-A x ends tercet)\n"
	       "  --disk FILE[,readonly][,serial=TEXT]\n"
	       "                           a disk: a raw image or a block device (at most 8\n"
	       "                           devices, on the guest's PCI bus in this order)\n"
	       "  --net tap=NAME|fd=NUMBER|passt=SOCKET[,mac=ADDRESS]\n"
	       "                           a network card: a tap of that name, an open one, or user-mode networking\n"
	       "                           by the socket of a passt\n"
	       "  --rng                    a device that gives the guest the host's random numbers\n"
	       "  --virtio-console WHERE   a console that is faster than the serial one (the guest's hvc0):\n"
	       "                           stdio, pty or file:PATH\n"
	       "  --stats FILE             write statistics as JSON when the run ends\n"
	       "  --record FILE            write down what happens to the machine, for `tercet replay`\n"
	       "  --name NAME              the machine's name, for `tercet status NAME` (default: tercet)\n"
	       "  --monitor PATH|none      the socket of its monitor (default: NAME.sock in /run/tercet, or in\n"
	       "                           $XDG_RUNTIME_DIR/tercet for users)\n"
	       "  --seed NUMBER            make the guest's random seed from this instead of the host's entropy\n"
	       "  --inject SPEC            damage a replica on purpose: REPLICA:TARGET@POSITION (up to 16 times);\n"
	       "                           `tercet inject --list` names the targets\n"
	       "  --time-dilation NUMBER   the guest's clocks go so many times slower than the host's, 1 to 1000: to\n"
	       "                           the guest this machine is so many times as fast (default: 1)\n"
	       "  --paused                 stand still before the first instruction, until `tercet resume`\n"
	       "  --no-shutdown            stay after the guest's power-off, until `tercet quit`, or `tercet reset`\n"
	       "                           and `tercet resume`\n"
	       "  --no-reboot              a guest that resets its machine ends it\n"
	       "  --sandbox on|off         processes give up system calls and rights that they do not need (default:\n"
	       "                           on)\n"
	       "  --verbose                say more\n";
}

/* A number with a unit of `units` ("k" = 1024, ...) behind it, or the default unit. */
struct unit {
	const char *name;
	uint64_t factor;
};

static bool parse_scaled(const char *text, const struct unit *units, uint64_t *value)
{
	char *end;
	unsigned long long number;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	number = strtoull(text, &end, 10);
	if (errno != 0)
		return false;
	for (; units->name; units++)
		if (strcasecmp(end, units->name) == 0)
			return !__builtin_mul_overflow((uint64_t)number, units->factor, value);
	return false;
}

result options_size(const char *option, const char *text, uint64_t *bytes)
{
	static const struct unit units[] = {
		{ "", 1 },
		{ "k", 1ull << 10 },
		{ "kib", 1ull << 10 },
		{ "m", 1ull << 20 },
		{ "mib", 1ull << 20 },
		{ "g", 1ull << 30 },
		{ "gib", 1ull << 30 },
		{ "t", 1ull << 40 },
		{ "tib", 1ull << 40 },
		{ NULL, 0 },
	};

	if (!parse_scaled(text, units, bytes))
		return fail(STATUS_USAGE, "%s %s: give a size such as 256M or 2G", option, text);
	return OK;
}

result options_duration(const char *option, const char *text, uint64_t *ns)
{
	static const struct unit units[] = {
		{ "ns", 1 }, { "us", NS_PER_US }, { "ms", NS_PER_MS }, { "s", NS_PER_S }, { NULL, 0 },
	};

	if (!parse_scaled(text, units, ns))
		return fail(STATUS_USAGE, "%s %s: give a time such as 10ms, 500us or 2s", option, text);
	return OK;
}

static result parse_range(const char *option, const char *text, uint64_t least, uint64_t most, uint64_t *ns)
{
	const bool whole = least >= NS_PER_MS;

	TRY(options_duration(option, text, ns));
	if (*ns < least || *ns > most)
		return fail(STATUS_USAGE, "%s %s: give %llu%s to %llus", option, text,
			    (unsigned long long)(least / (whole ? NS_PER_MS : NS_PER_US)), whole ? "ms" : "us",
			    (unsigned long long)(most / NS_PER_S));
	return OK;
}

/* A percentage with at most one digit behind the point, as thousandths. */
static result parse_budget(const char *text, unsigned *thousandths)
{
	/* What may stand behind the whole number: nothing, or a tenth. */
	static const struct unit units[] = { { "", 10 }, { NULL, 0 } };
	const char *point = strchr(text, '.');
	char whole[8] = "";
	uint64_t value = 0;
	bool tenth = point && point[1] >= '0' && point[1] <= '9' && point[2] == '\0';
	size_t length = point ? (size_t)(point - text) : strlen(text);

	if (length < sizeof(whole) && (!point || tenth)) {
		memcpy(whole, text, length);
		if (parse_scaled(whole, units, &value))
			value += tenth ? (unsigned)(point[1] - '0') : 0;
	}
	if (value < 1 || value > 1000)
		return fail(STATUS_USAGE, "--preempt-budget %s: give a percentage, 0.1 to 100", text);
	*thousandths = (unsigned)value;
	return OK;
}

static result parse_dilation(const char *text, uint32_t *dilation)
{
	static const struct unit units[] = { { "", 1 }, { NULL, 0 } };
	uint64_t value;

	if (!parse_scaled(text, units, &value) || value < 1 || value > GUEST_TIME_DILATION_MAX)
		return fail(STATUS_USAGE, "--time-dilation %s: give a whole number, 1 to %d", text,
			    GUEST_TIME_DILATION_MAX);
	*dilation = (uint32_t)value;
	return OK;
}

result options_switch(const char *option, const char *text, bool *on)
{
	*on = strcmp(text, "on") == 0;
	if (!*on && strcmp(text, "off") != 0)
		return fail(STATUS_USAGE, "%s %s: give on or off", option, text);
	return OK;
}

static result parse_replicas(const char *text, unsigned *replicas)
{
	static const char *const possible[] = { "1", "2", "3", "5" };

	for (size_t i = 0; i < ARRAY_SIZE(possible); i++) {
		if (strcmp(text, possible[i]) == 0) {
			*replicas = (unsigned)(text[0] - '0');
			return OK;
		}
	}
	return fail(STATUS_USAGE, "--replicas %s: give 1 (no voting), 2 (detection), 3 or 5", text);
}

static result parse_seed(const char *text, struct machine_options *options)
{
	static const struct unit units[] = { { "", 1 }, { NULL, 0 } };

	if (!parse_scaled(text, units, &options->seed))
		return fail(STATUS_USAGE, "--seed %s: give a number", text);
	options->seeded = true;
	return OK;
}

static result parse_memory(const char *text, struct machine_options *options)
{
	TRY(options_size("--memory", text, &options->memory));
	return ram_check_size(options->memory);
}

/* "64M/s", "64M" or "none". */
static result parse_scrub(const char *text, uint64_t *rate)
{
	char size[32];
	size_t length = strlen(text);

	if (strcmp(text, "none") == 0 || strcmp(text, "0") == 0) {
		*rate = 0;
		return OK;
	}
	if (length > 2 && strcmp(text + length - 2, "/s") == 0)
		length -= 2;
	if (length >= sizeof(size))
		return fail(STATUS_USAGE, "--scrub %s: give a rate such as 64M/s, or none", text);
	memcpy(size, text, length);
	size[length] = '\0';
	if (failed(options_size("--scrub", size, rate)))
		return fail(STATUS_USAGE, "--scrub %s: give a rate such as 64M/s, or none", text);
	return OK;
}

static result take_monitor(const char *value, struct monitor_options *monitor)
{
	struct place place;

	monitor->place = value;
	return strcmp(value, "none") == 0 ? OK : places_take_path("--monitor", value, &place);
}

static result take_option(struct options_reader *reader, int id, const char *value)
{
	struct machine_options *options = reader->machine;

	switch (id) {
	case OPTION_KERNEL:
	case OPTION_PAYLOAD:
		if (options->kernel)
			return fail(STATUS_USAGE, "give one --kernel or one --payload, not %s and %s", options->kernel,
				    value);
		options->kernel = value;
		options->kind = id == OPTION_KERNEL ? BOOT_LINUX : BOOT_PAYLOAD;
		return OK;
	case OPTION_INITRD:
		options->initrd = value;
		return OK;
	case OPTION_APPEND:
		options->command_line = value;
		return OK;
	case OPTION_MEMORY:
		return parse_memory(value, options);
	case OPTION_REPLICAS:
		return parse_replicas(value, &options->replicas);
	case OPTION_VOTE_INTERVAL:
		return parse_range("--vote-interval", value, VOTE_INTERVAL_MIN, VOTE_INTERVAL_MAX,
				   &options->vote_interval);
	case OPTION_WATCHDOG:
		return parse_range("--watchdog", value, WATCHDOG_MIN, WATCHDOG_MAX, &options->watchdog);
	case OPTION_PREEMPT_GRACE:
		reader->preempt_given = true;
		if (strcmp(value, "none") == 0) {
			options->preempt_grace = 0;
			return OK;
		}
		return parse_range("--preempt-grace", value, PREEMPT_GRACE_MIN, PREEMPT_GRACE_MAX,
				   &options->preempt_grace);
	case OPTION_TIME_DILATION:
		return parse_dilation(value, &options->time_dilation);
	case OPTION_PREEMPT_BUDGET:
		return parse_budget(value, &options->preempt_budget);
	case OPTION_MAX_SEGMENT:
		return parse_range("--max-segment", value, SEGMENT_MAX_MIN, SEGMENT_MAX_MAX, &options->segment_max);
	case OPTION_SYNC:
		options->strict = strcmp(value, "strict") == 0;
		return options->strict || strcmp(value, "votes") == 0 ?
			       OK :
			       fail(STATUS_USAGE, "--sync %s: give votes or strict", value);
	case OPTION_SCRUB:
		return parse_scrub(value, &options->scrub);
	case OPTION_PIN:
		return cores_parse(value, &options->cores);
	case OPTION_CORE_FAULTS:
		return cores_parse_faults(value, &options->cores);
	case OPTION_REPORTS:
		options->reports = value;
		return OK;
	case OPTION_CONSOLE:
		options->console = value;
		return in_context(console_check(value), "--console");
	case OPTION_DISK:
		return device_options_disk(&options->devices, value);
	case OPTION_NET:
		return device_options_net(&options->devices, value);
	case OPTION_RNG:
		return device_options_rng(&options->devices);
	case OPTION_VIRTIO_CONSOLE:
		return device_options_console(&options->devices, value);
	case OPTION_STATS:
		options->statistics = value;
		return OK;
	case OPTION_RECORD:
		options->record = value;
		return OK;
	case OPTION_NAME:
		options->name = value;
		reader->monitor->named = true;
		return places_check_name("--name", value);
	case OPTION_MONITOR:
		return take_monitor(value, reader->monitor);
	case OPTION_SEED:
		return parse_seed(value, options);
	case OPTION_INJECT:
		if (reader->faults == ARRAY_SIZE(reader->fault))
			return fail(STATUS_USAGE, "--inject: at most %zu faults", ARRAY_SIZE(reader->fault));
		reader->fault[reader->faults++] = value;
		return OK;
	case OPTION_PAUSED:
		options->paused = true;
		return OK;
	case OPTION_NO_SHUTDOWN:
		options->hold = true;
		return OK;
	case OPTION_NO_REBOOT:
		options->no_reboot = true;
		return OK;
	case OPTION_SANDBOX:
		return options_switch("--sandbox", value, &options->sandbox);
	case OPTION_VERBOSE:
		options->verbose = true;
		return OK;
	default:
		return fail(STATUS_USAGE, "unknown option");
	}
}

result options_end(struct options_reader *reader)
{
	struct machine_options *options = reader->machine;

	if (!options->kernel)
		return fail(STATUS_USAGE, "nothing to run: give --kernel FILE or --payload FILE");
	if (options->kind == BOOT_PAYLOAD && options->initrd)
		return fail(STATUS_USAGE, "--initrd: a payload takes no initrd");
	if (options->strict && options->preempt_grace != 0 && reader->preempt_given)
		return fail(STATUS_USAGE, "--sync strict: replicas that meet at every exit cannot be preempted between "
					  "exits; leave out --preempt-grace");
	if (options->strict)
		options->preempt_grace = 0;
	options->preempt_unasked = !reader->preempt_given;
	if (!options->command_line)
		options->command_line = options->kind == BOOT_LINUX ? DEFAULT_COMMAND_LINE : "";
	for (unsigned i = 0; i < reader->faults; i++)
		TRY(inject_parse(reader->fault[i], options->replicas, &options->fault[i]));
	options->faults = reader->faults;
	return device_options_check(&options->devices, options->console);
}

void options_begin(struct options_reader *reader, struct machine_options *machine, struct monitor_options *monitor)
{
	*reader = (struct options_reader){ .machine = machine, .monitor = monitor };
	*machine = (struct machine_options){
		.name = "tercet",
		.memory = DEFAULT_MEMORY,
		.replicas = DEFAULT_REPLICAS,
		.vote_interval = DEFAULT_VOTE_INTERVAL,
		.time_dilation = 1,
		.preempt_grace = DEFAULT_PREEMPT_GRACE,
		.preempt_budget = DEFAULT_PREEMPT_BUDGET,
		.segment_max = DEFAULT_SEGMENT_MAX,
		.watchdog = DEFAULT_WATCHDOG,
		.scrub = DEFAULT_SCRUB,
		.cores = CORES_POLICY_DEFAULT,
		.reports = DEFAULT_REPORTS,
		.console = "stdio",
		.check_ram = true,
		.sandbox = true,
	};
	*monitor = (struct monitor_options){ .place = NULL, .fd = -1 };
}

result options_set(struct options_reader *reader, const char *name, const char *value)
{
	for (const struct option *option = long_options; option->name; option++)
		if (strcmp(option->name, name) == 0)
			return take_option(reader, option->val, value);
	return fail(STATUS_USAGE, "unknown option %s", name);
}

result options_parse(int argc, char **argv, struct machine_options *options, struct monitor_options *monitor)
{
	struct options_reader reader;
	int id;

	options_begin(&reader, options, monitor);
	opterr = 0;
	optind = 1;
	while ((id = getopt_long_only(argc, argv, ":", long_options, NULL)) != -1) {
		if (id == '?')
			return fail(STATUS_USAGE, "unknown option %s (`tercet help` lists them)", argv[optind - 1]);
		if (id == ':')
			return fail(STATUS_USAGE, "%s needs a value (`tercet help` tells which)", argv[optind - 1]);
		TRY(take_option(&reader, id, optarg));
	}
	if (optind < argc)
		return fail(STATUS_USAGE, "what is \"%s\"? Options begin with -- (`tercet help` lists them)",
			    argv[optind]);
	return options_end(&reader);
}
