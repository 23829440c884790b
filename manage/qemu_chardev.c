#include "manage/qemu_chardev.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "devices/host/console.h"
#include "manage/qemu_value.h"

static const char fd_set_prefix[] = "/dev/fdset/";

/* Keys that mean nothing where nobody waits for anybody. */
static const char *const keys[] = {
	"backend", "id",      "fd",	   "path", "server", "wait", "nowait",
	"append",  "logfile", "logappend", "mux",  "signal", NULL,
};

result qemu_chardev_add(struct qemu_options *options, const char *value)
{
	const char *id = NULL;
	json_t *object;

	TRY(qemu_options_value(options, "-chardev", value, "backend", &object));
	TRY(qemu_value_text("-chardev", object, "id", &id));
	if (!id || !json_object_get(object, "backend"))
		return fail(STATUS_USAGE, "-chardev %s: give its kind and its id", value);
	if (json_object_get(options->chardevs, id))
		return fail(STATUS_USAGE, "-chardev: there are two with the id \"%s\"", id);
	TRY(in_context(qemu_value_known("-chardev", object, keys), "%s", id));
	return json_object_set(options->chardevs, id, object) < 0 ? fail(STATUS_FAILED, "no memory") : OK;
}

result qemu_chardev_add_fd(struct qemu_options *options, const char *value)
{
	static const char *const known[] = { "set", "fd", "opaque", NULL };
	uint64_t set = UINT64_MAX, fd = UINT64_MAX;
	char name[24];
	json_t *object;

	TRY(qemu_options_value(options, "-add-fd", value, NULL, &object));
	TRY(qemu_value_known("-add-fd", object, known));
	TRY(qemu_value_number("-add-fd", object, "set", &set));
	TRY(qemu_value_number("-add-fd", object, "fd", &fd));
	if (set > INT32_MAX || fd > INT32_MAX)
		return fail(STATUS_USAGE, "-add-fd %s: give set=NUMBER,fd=NUMBER", value);
	(void)snprintf(name, sizeof(name), "%" PRIu64, set);
	return json_object_set_new(options->fd_sets, name, json_integer((json_int_t)fd)) < 0
		       ? fail(STATUS_FAILED, "no memory")
		       : OK;
}

result qemu_chardev_monitor(struct qemu_options *options, const char *value)
{
	static const char *const known[] = { "chardev", "id", "mode", "pretty", NULL };
	const char *id = "", *backend = "", *path = NULL;
	uint64_t fd = UINT64_MAX;
	json_t *object, *chardev;

	TRY(qemu_options_value(options, "-mon", value, "chardev", &object));
	TRY(qemu_value_known("-mon", object, known));
	TRY(qemu_value_expect("-mon", object, "mode", "control", "the monitor speaks QMP alone"));
	TRY(qemu_value_text("-mon", object, "chardev", &id));
	chardev = json_object_get(options->chardevs, id);
	if (!chardev)
		return fail(STATUS_USAGE, "-mon: there is no chardev \"%s\" before it", id);
	TRY(qemu_value_text("-chardev", chardev, "backend", &backend));
	if (strcmp(backend, "socket") != 0)
		return fail(STATUS_USAGE, "-mon: its chardev \"%s\" must be a socket, not %s", id, backend);
	TRY(qemu_value_expect("-chardev", chardev, "server", "on", "a monitor is talked to"));
	TRY(qemu_value_number("-chardev", chardev, "fd", &fd));
	TRY(qemu_value_text("-chardev", chardev, "path", &path));
	if (fd <= INT32_MAX)
		options->monitor.fd = (int)fd;
	else if (path)
		options->monitor.place = path;
	else
		return fail(STATUS_USAGE, "-chardev socket,id=%s: give fd=NUMBER or path=PATH", id);
	return OK;
}

/* "/dev/fdset/0" is a descriptor that we were given, anything else a file. */
static result place_of(const struct qemu_options *options, const char *path, bool append, char *place)
{
	const json_t *fd = NULL;
	int length;

	if (strncmp(path, fd_set_prefix, strlen(fd_set_prefix)) == 0) {
		fd = json_object_get(options->fd_sets, path + strlen(fd_set_prefix));
		if (!fd)
			return fail(STATUS_USAGE, "%s: there is no -add-fd for it", path);
		length = snprintf(place, BACKEND_PLACE_MAX, "fd:%d", (int)json_integer_value(fd));
	} else {
		length = snprintf(place, BACKEND_PLACE_MAX, "%s:%s", append ? "append" : "file", path);
	}
	return length < 0 || length >= BACKEND_PLACE_MAX ? fail(STATUS_USAGE, "%s: that is too long", path)
							 : OK;
}

static result take_file(struct qemu_options *options, const json_t *chardev)
{
	const char *path = NULL;
	bool append = false;

	TRY(qemu_value_text("-chardev", chardev, "path", &path));
	TRY(qemu_value_switch("-chardev", chardev, "append", &append));
	if (!path)
		return fail(STATUS_USAGE, "-chardev file: give path=FILE");
	return place_of(options, path, append, options->console);
}

static result take_socket(struct qemu_options *options, const json_t *chardev)
{
	const char *path = NULL;
	uint64_t fd = UINT64_MAX;
	bool server = false;

	TRY(qemu_value_switch("-chardev", chardev, "server", &server));
	TRY(qemu_value_number("-chardev", chardev, "fd", &fd));
	TRY(qemu_value_text("-chardev", chardev, "path", &path));
	if (!server)
		return fail(STATUS_USAGE,
			    "-chardev socket: the serial port listens (mode='bind'), it does not connect");
	if (fd <= INT32_MAX)
		(void)snprintf(options->console, sizeof(options->console), "unix-fd:%d", (int)fd);
	else if (!path || snprintf(options->console, sizeof(options->console), "unix:%s", path) >=
				  (int)sizeof(options->console))
		return fail(STATUS_USAGE, "-chardev socket: give fd=NUMBER or path=PATH");
	return OK;
}

static result take_console(struct qemu_options *options, const json_t *chardev)
{
	const char *backend = "";

	TRY(qemu_value_text("-chardev", chardev, "backend", &backend));
	if (strcmp(backend, "file") == 0)
		return take_file(options, chardev);
	if (strcmp(backend, "socket") == 0)
		return take_socket(options, chardev);
	if (strcmp(backend, "pty") != 0 && strcmp(backend, "null") != 0 && strcmp(backend, "stdio") != 0)
		return fail(STATUS_USAGE,
			    "-chardev %s: the serial port can be pty, socket (unix), file, null or stdio",
			    backend);
	(void)snprintf(options->console, sizeof(options->console), "%s", backend);
	return OK;
}

result qemu_chardev_end(struct qemu_options *options)
{
	const char *log = NULL;
	bool append = false;

	if (!options->serial)
		return OK;
	TRY(take_console(options, options->serial));
	options->machine.console = options->console;
	options->machine.console_lossy = true;
	TRY(qemu_value_text("-chardev", options->serial, "logfile", &log));
	TRY(qemu_value_switch("-chardev", options->serial, "logappend", &append));
	if (log) {
		TRY(place_of(options, log, append, options->console_log));
		options->machine.console_log = options->console_log;
	}
	return in_context(console_check(options->console), "-chardev");
}
