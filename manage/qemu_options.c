#include "manage/qemu_options.h"

#include <stdio.h>
#include <string.h>

#include "manage/qemu_chardev.h"
#include "manage/qemu_devices.h"
#include "manage/qemu_settings.h"
#include "manage/qemu_value.h"
#include "manage/qmp_probe.h"

static const char words[] = "tercet has no such thing";

result qemu_options_value(struct qemu_options *options, const char *option, const char *text,
			  const char *implied, json_t **object)
{
	TRY(qemu_value_parse(option, text, implied, object));
	if (json_array_append_new(options->values, *object) < 0)
		return fail(STATUS_FAILED, "no memory for an option");
	return OK;
}

/* --- the machine --- */

static result take_accelerator(struct qemu_options *options, const char *option, const char *text)
{
	/* "kvm:tcg" means: the first that can be had. */
	if (strncmp(text, "kvm", 3) == 0 && (text[3] == '\0' || text[3] == ':')) {
		options->kvm = true;
		return OK;
	}
	if (options->role == QEMU_PROBE)
		return OK;
	return fail(STATUS_USAGE, "%s: there is no accelerator \"%s\": tercet needs KVM (<domain type='kvm'>)",
		    option, text);
}

static bool is_machine(const char *name)
{
	bool found = false;

	for (size_t i = 0; i < QMP_PROBE_MACHINES; i++)
		found |= strcmp(name, qmp_probe_machines[i].name) == 0 ||
			 strcmp(name, qmp_probe_machines[i].alias) == 0;
	return found;
}

static result take_machine(struct qemu_options *options, const char *value)
{
	static const char *const keys[] = {
		"type", "accel", "usb",	     "dump-guest-core", "mem-merge",	  "vmport", "smm",
		"hpet", "acpi",	 "graphics", "kernel_irqchip",	"kernel-irqchip", "pit",    "suppress-vmdesc",
		NULL,
	};
	const char *type = qmp_probe_machines[0].name, *accelerator = NULL;
	json_t *object;

	TRY(qemu_options_value(options, "-machine", value, "type", &object));
	TRY(qemu_value_text("-machine", object, "type", &type));
	if (strcmp(type, "none") == 0)
		options->role = QEMU_PROBE;
	else if (!is_machine(type))
		return fail(STATUS_USAGE, "-machine %s: there is no such machine, only tercet-1.0", type);
	TRY(qemu_value_known("-machine", object, keys));
	TRY(qemu_value_expect("-machine", object, "usb", "off", words));
	TRY(qemu_value_text("-machine", object, "accel", &accelerator));
	return accelerator ? take_accelerator(options, "-machine", accelerator) : OK;
}

static result take_accel(struct qemu_options *options, const char *value)
{
	const char *accelerator = "";
	json_t *object;

	TRY(qemu_options_value(options, "-accel", value, "accel", &object));
	TRY(qemu_value_text("-accel", object, "accel", &accelerator));
	return take_accelerator(options, "-accel", accelerator);
}

static result take_cpu(struct qemu_options *options, const char *value)
{
	(void)options;
	if (strcmp(value, "host") == 0 || strncmp(value, "host,", 5) == 0)
		return OK;
	return fail(STATUS_USAGE,
		    "-cpu %s: tercet's guests have a processor model of its own: leave <cpu> out, or say "
		    "<cpu mode='host-passthrough'/>",
		    value);
}

static result take_memory(struct qemu_options *options, const char *value)
{
	static const char *const keys[] = { "size", NULL };
	const char *size = "";
	char text[32];
	json_t *object;

	TRY(qemu_options_value(options, "-m", value, "size", &object));
	TRY(qemu_value_known("-m", object, keys));
	TRY(qemu_value_text("-m", object, "size", &size));
	/* Without a unit it counts MiB. */
	bool bare = size[0] != '\0' && strspn(size, "0123456789") == strlen(size);
	int length = snprintf(text, sizeof(text), "%s%s", size, bare ? "M" : "");

	if (length < 0 || (size_t)length >= sizeof(text))
		return fail(STATUS_USAGE, "-m %s: this is no size", value);
	TRY(options_size("-m", text, &options->machine.memory));
	return in_context(ram_check_size(options->machine.memory), "-m %s", value);
}

static result take_processors(struct qemu_options *options, const char *value)
{
	static const char *const keys[] = {
		"cpus", "maxcpus", "sockets", "dies", "clusters", "cores", "threads", NULL,
	};
	json_t *object;

	TRY(qemu_options_value(options, "-smp", value, "cpus", &object));
	TRY(qemu_value_known("-smp", object, keys));
	for (const char *const *key = keys; *key; key++)
		TRY(qemu_value_expect("-smp", object, *key, "1", "a guest of tercet's has one virtual CPU"));
	return OK;
}

static result take_clock(struct qemu_options *options, const char *value)
{
	static const char *const keys[] = { "base", "clock", "driftfix", NULL };
	json_t *object;

	TRY(qemu_options_value(options, "-rtc", value, NULL, &object));
	TRY(qemu_value_known("-rtc", object, keys));
	TRY(qemu_value_expect("-rtc", object, "clock", "host", words));
	return qemu_value_expect("-rtc", object, "base", "utc",
				 "the guest's clock shows UTC (<clock offset='utc'/>)");
}

static result take_kernel(struct qemu_options *options, const char *value)
{
	return options_set(&options->reader, "kernel", value);
}

static result take_initrd(struct qemu_options *options, const char *value)
{
	options->machine.initrd = value;
	return OK;
}

static result take_append(struct qemu_options *options, const char *value)
{
	options->machine.command_line = value;
	return OK;
}

/* libvirt allows any character in a name; tercet names folders and sockets after it. */
static result take_name(struct qemu_options *options, const char *value)
{
	const char *name = "";
	size_t length = 0;
	json_t *object;

	TRY(qemu_options_value(options, "-name", value, "guest", &object));
	TRY(qemu_value_text("-name", object, "guest", &name));
	for (; length < PLACES_NAME_MAX && name[length] != '\0'; length++) {
		char one[2] = { name[length], '\0' };

		if (failed(places_check_name("-name", one)))
			one[0] = '_';
		options->name[length] = one[0];
	}
	options->name[length] = '\0';
	if (length > 0)
		options->machine.name = options->name;
	return OK;
}

static result take_uuid(struct qemu_options *options, const char *value)
{
	options->uuid = value;
	return OK;
}

static result take_display(struct qemu_options *options, const char *value)
{
	(void)options;
	if (strcmp(value, "none") == 0)
		return OK;
	return fail(STATUS_USAGE,
		    "there is no display or graphics card (%s): a guest of tercet's has a serial console",
		    value);
}

static result take_graphics(struct qemu_options *options, const char *value)
{
	return take_display(options, value);
}

static result take_incoming(struct qemu_options *options, const char *value)
{
	(void)options;
	return fail(STATUS_USAGE, "-incoming %s: a guest of tercet's cannot be migrated or restored", value);
}

/* --- how it runs --- */

static result take_qmp(struct qemu_options *options, const char *value)
{
	static const char *const keys[] = { "path", "server", "wait", "nowait", NULL };
	static const char prefix[] = "unix:";
	json_t *object;

	if (strncmp(value, prefix, strlen(prefix)) != 0)
		return fail(STATUS_USAGE, "-qmp %s: give unix:PATH,server=on,wait=off", value);
	TRY(qemu_options_value(options, "-qmp", value + strlen(prefix), "path", &object));
	TRY(qemu_value_known("-qmp", object, keys));
	TRY(qemu_value_expect("-qmp", object, "wait", "off", "tercet never waits for a client"));
	TRY(qemu_value_text("-qmp", object, "path", &options->qmp_path));
	options->monitor.place = options->qmp_path;
	return OK;
}

static result take_pid_file(struct qemu_options *options, const char *value)
{
	options->pid_file = value;
	return OK;
}

static result take_daemonize(struct qemu_options *options, const char *value)
{
	(void)value;
	options->daemonize = true;
	return OK;
}

static result take_pause(struct qemu_options *options, const char *value)
{
	(void)value;
	options->machine.paused = true;
	return OK;
}

static result take_no_shutdown(struct qemu_options *options, const char *value)
{
	(void)value;
	options->machine.hold = true;
	return OK;
}

static result take_no_reboot(struct qemu_options *options, const char *value)
{
	(void)value;
	options->machine.no_reboot = true;
	return OK;
}

static result take_serial(struct qemu_options *options, const char *value)
{
	(void)options;
	if (strcmp(value, "none") == 0)
		return OK;
	return fail(STATUS_USAGE, "-serial %s: give -chardev and -device isa-serial", value);
}

static result take_help(struct qemu_options *options, const char *value)
{
	(void)value;
	options->role = QEMU_HELP;
	return OK;
}

static result take_version(struct qemu_options *options, const char *value)
{
	(void)value;
	options->role = QEMU_VERSION;
	return OK;
}

/* What makes no difference here. */
static result pass_over(struct qemu_options *options, const char *value)
{
	(void)options;
	(void)value;
	return OK;
}

/* --- all of them --- */

struct qemu_option {
	const char *name;
	bool has_value;
	result (*take)(struct qemu_options *options, const char *value);
};

static const struct qemu_option known[] = {
	{ "S", false, take_pause },
	{ "accel", true, take_accel },
	{ "add-fd", true, qemu_chardev_add_fd },
	{ "append", true, take_append },
	{ "audiodev", true, pass_over }, /* no sound card uses it */
	{ "blockdev", true, qemu_devices_blockdev },
	{ "boot", true, pass_over }, /* the kernel is given, there is nothing to choose */
	{ "chardev", true, qemu_chardev_add },
	{ "cpu", true, take_cpu },
	{ "daemonize", false, take_daemonize },
	{ "device", true, qemu_devices_device },
	{ "display", true, take_display },
	{ "enable-kvm", false, pass_over },
	{ "fw_cfg", true, qemu_settings_fw_cfg },
	{ "global", true, pass_over }, /* of devices that are not there */
	{ "h", false, take_help },
	{ "help", false, take_help },
	{ "incoming", true, take_incoming },
	{ "initrd", true, take_initrd },
	{ "kernel", true, take_kernel },
	{ "m", true, take_memory },
	{ "machine", true, take_machine },
	{ "M", true, take_machine },
	{ "mon", true, qemu_chardev_monitor },
	{ "msg", true, pass_over },
	{ "name", true, take_name },
	{ "netdev", true, qemu_devices_netdev },
	{ "no-acpi", false, pass_over }, /* its ACPI has the power button, and is always there */
	{ "no-hpet", false, pass_over },
	{ "no-reboot", false, take_no_reboot },
	{ "no-shutdown", false, take_no_shutdown },
	{ "no-user-config", false, pass_over },
	{ "nodefaults", false, pass_over },
	{ "nographic", false, pass_over },
	{ "object", true, qemu_devices_object },
	{ "overcommit", true, pass_over },
	{ "pidfile", true, take_pid_file },
	{ "qmp", true, take_qmp },
	{ "rtc", true, take_clock },
	{ "sandbox", true, pass_over }, /* tercet has its own */
	{ "serial", true, take_serial },
	{ "smp", true, take_processors },
	{ "spice", true, take_graphics },
	{ "tercet", true, qemu_settings_own },
	{ "usb", false, pass_over }, /* libvirt's default, a controller to which nothing is plugged */
	{ "uuid", true, take_uuid },
	{ "version", false, take_version },
	{ "vga", true, take_graphics },
	{ "vnc", true, take_graphics },
};

static const struct qemu_option *find(const char *argument)
{
	if (argument[0] != '-')
		return NULL;
	argument += argument[1] == '-' ? 2 : 1;
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (strcmp(known[i].name, argument) == 0)
			return &known[i];
	return NULL;
}

static result take_all(int argc, char **argv, struct qemu_options *options)
{
	for (int i = 1; i < argc; i++) {
		const struct qemu_option *option = find(argv[i]);

		if (!option)
			return fail(STATUS_USAGE, "%s: this option of QEMU's is not supported by tercet",
				    argv[i]);
		if (option->has_value && i + 1 == argc)
			return fail(STATUS_USAGE, "%s needs a value", argv[i]);
		TRY(option->take(options, option->has_value ? argv[++i] : NULL));
	}
	return OK;
}

static result finish(struct qemu_options *options)
{
	if (options->role != QEMU_RUN)
		return OK;
	if (!options->machine.kernel)
		return fail(
			STATUS_USAGE,
			"there is no -kernel: tercet boots a Linux kernel directly, without firmware or a boot "
			"loader (<os><kernel>/path/vmlinuz</kernel> and <initrd>, see docs/libvirt.md)");
	if (options->daemonize)
		return fail(STATUS_USAGE, "-daemonize: only with -machine none");
	if (options->payload)
		options->machine.kind = BOOT_PAYLOAD;
	if (!options->machine.command_line)
		options->machine.command_line = "";
	TRY(qemu_devices_end(options));
	TRY(qemu_chardev_end(options));
	return options_end(&options->reader);
}

result qemu_options_parse(int argc, char **argv, struct qemu_options *options)
{
	*options = (struct qemu_options){ .role = QEMU_RUN };
	options_begin(&options->reader, &options->machine, &options->monitor);
	options->monitor.place = "none";
	options->monitor.fd = -1;
	options->machine.console = "null";
	options->values = json_array();
	options->chardevs = json_object();
	options->nodes = json_object();
	options->netdevs = json_object();
	options->objects = json_object();
	options->fd_sets = json_object();
	options->devices = json_array();
	options->disks = json_array();
	if (!options->values || !options->chardevs || !options->nodes || !options->netdevs ||
	    !options->objects || !options->fd_sets || !options->devices || !options->disks)
		return fail(STATUS_FAILED, "no memory for options");
	TRY(take_all(argc, argv, options));
	return finish(options);
}

void qemu_options_free(struct qemu_options *options)
{
	json_decref(options->values);
	json_decref(options->chardevs);
	json_decref(options->nodes);
	json_decref(options->netdevs);
	json_decref(options->objects);
	json_decref(options->fd_sets);
	json_decref(options->devices);
	json_decref(options->disks);
}
