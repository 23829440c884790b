#include "manage/device_options.h"

#include <netinet/ether.h>
#include <string.h>

#include "devices/host/console.h"
#include "devices/host/entropy.h"
#include "devices/host/net.h"

static result add(struct backends_options *options, const char *option, enum board_pci_kind kind,
		  struct backend_option **device)
{
	if (options->count == BOARD_PCI_MAX)
		return fail(STATUS_USAGE, "%s: a machine has at most %d devices", option, BOARD_PCI_MAX);
	*device = &options->device[options->count++];
	**device = (struct backend_option){ .kind = kind };
	return OK;
}

char *device_options_cut(char *text)
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
	for (char *next = device_options_cut(device->place); next;) {
		char *property = next;

		next = device_options_cut(property);
		TRY(take_disk_property(value, property, device));
	}
	return device->place[0] ? OK : fail(STATUS_USAGE, "--disk %s: give a file", value);
}

/* Six bytes in hexadecimal, with colons between them; of one card, not of many (IEEE 802, the lowest bit of the
 * first). */
static result take_mac(const char *what, const char *text, uint8_t mac[BOARD_MAC_SIZE])
{
	struct ether_addr address;

	if (strlen(text) != 3 * BOARD_MAC_SIZE - 1 || strspn(text, "0123456789abcdefABCDEF:") != strlen(text) ||
	    !ether_aton_r(text, &address) || (address.ether_addr_octet[0] & 1))
		return fail(STATUS_USAGE, "%s: an address is six bytes such as 52:54:00:12:34:56", what);
	memcpy(mac, address.ether_addr_octet, BOARD_MAC_SIZE);
	return OK;
}

result device_options_mac(const char *what, const char *text, uint8_t mac[BOARD_MAC_SIZE])
{
	if (text)
		return take_mac(what, text, mac);
	/* An address of nobody's in particular (IEEE 802, 8.4: locally administered). */
	TRY(entropy_read(mac, BOARD_MAC_SIZE));
	mac[0] = (uint8_t)((mac[0] & 0xFC) | 2);
	return OK;
}

result device_options_net(struct backends_options *options, const char *value)
{
	static const char mac[] = "mac=";
	struct backend_option *device;

	TRY(add(options, "--net", BOARD_PCI_NET, &device));
	if (strlen(value) >= sizeof(device->place))
		return fail(STATUS_USAGE, "--net %.40s...: that is too long", value);
	memcpy(device->place, value, strlen(value) + 1);
	TRY(device_options_mac("--net", NULL, device->mac));
	for (char *next = device_options_cut(device->place); next;) {
		char *property = next;

		next = device_options_cut(property);
		if (strncmp(property, mac, strlen(mac)) != 0)
			return fail(STATUS_USAGE, "--net %s: what is \"%s\"?", value, property);
		TRY(in_context(take_mac(value, property + strlen(mac), device->mac), "--net"));
	}
	return net_check(device->place);
}

result device_options_rng(struct backends_options *options)
{
	struct backend_option *device;

	return add(options, "--rng", BOARD_PCI_RNG, &device);
}

result device_options_console(struct backends_options *options, const char *value)
{
	struct backend_option *device;

	TRY(add(options, "--virtio-console", BOARD_PCI_CONSOLE, &device));
	if (strlen(value) >= sizeof(device->place))
		return fail(STATUS_USAGE, "--virtio-console %.40s...: that is too long", value);
	memcpy(device->place, value, strlen(value) + 1);
	return in_context(console_check(value), "--virtio-console");
}

result device_options_check(const struct backends_options *options, const char *console)
{
	unsigned users = strcmp(console, "stdio") == 0;

	for (size_t i = 0; i < options->count; i++)
		users += options->device[i].kind == BOARD_PCI_CONSOLE && strcmp(options->device[i].place, "stdio") == 0;
	if (users > 1)
		return fail(STATUS_USAGE, "--virtio-console stdio: another console has it; give that one another "
			    "place, such as --console file:serial.log");
	return OK;
}
