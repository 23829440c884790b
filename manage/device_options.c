#include "manage/device_options.h"

#include <string.h>

static result add(struct backends_options *options, const char *option, enum board_pci_kind kind,
		  struct backend_option **device)
{
	if (options->count == BOARD_PCI_MAX)
		return fail(STATUS_USAGE, "%s: a machine has at most %d devices", option, BOARD_PCI_MAX);
	*device = &options->device[options->count++];
	**device = (struct backend_option){ .kind = kind };
	return OK;
}

/* The text's next part, up to a comma that is alone, is moved to its beginning; gives what follows, or NULL. */
static char *cut(char *text)
{
	char *to = text;

	for (char *from = text; *from != '\0'; from++) {
		if (*from == ',' && from[1] != ',') {
			*to = '\0';
			return from + 1;
		}
		from += *from == ',';
		*to++ = *from;
	}
	*to = '\0';
	return NULL;
}

static result take_serial(const char *value, const char *serial, struct backend_option *device)
{
	size_t length = strlen(serial);

	for (size_t i = 0; i < length; i++)
		if (serial[i] < ' ' || serial[i] > '~')
			length = 0;
	if (length == 0 || length > sizeof(device->serial))
		return fail(STATUS_USAGE, "--disk %s: a serial number is 1 to %zu printable characters", value,
			    sizeof(device->serial));
	memcpy(device->serial, serial, length);
	return OK;
}

static result take_disk_property(const char *value, const char *property, struct backend_option *device)
{
	static const char serial[] = "serial=";

	if (strcmp(property, "readonly") == 0) {
		device->read_only = true;
		return OK;
	}
	if (strncmp(property, serial, strlen(serial)) == 0)
		return take_serial(value, property + strlen(serial), device);
	return fail(STATUS_USAGE, "--disk %s: what is \"%s\"? Give FILE[,readonly][,serial=TEXT]", value, property);
}

result device_options_disk(struct backends_options *options, const char *value)
{
	struct backend_option *device;

	TRY(add(options, "--disk", BOARD_PCI_DISK, &device));
	if (strlen(value) >= sizeof(device->place))
		return fail(STATUS_USAGE, "--disk %.40s...: that is too long", value);
	memcpy(device->place, value, strlen(value) + 1);
	for (char *next = cut(device->place); next;) {
		char *property = next;

		next = cut(property);
		TRY(take_disk_property(value, property, device));
	}
	return device->place[0] ? OK : fail(STATUS_USAGE, "--disk %s: give a file", value);
}

result device_options_rng(struct backends_options *options)
{
	struct backend_option *device;

	return add(options, "--rng", BOARD_PCI_RNG, &device);
}
