#include "manage/qemu_devices.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devices/host/net.h"
#include "manage/device_options.h"
#include "manage/qemu_value.h"

/* Devices of PCI bus 0 have numbers to 31 (PCI Local Bus Specification 3.0, 3.2.2.3.2). */
enum { SLOTS = 32, SLOT_NONE = SLOTS };

static const char transport[] = "tercet's virtio devices are modern ones on PCI, without extras";

static result keep_by_id(const char *option, json_t *where, const char *id, json_t *object)
{
	if (!id)
		return fail(STATUS_USAGE, "%s: it has no id", option);
	if (json_object_get(where, id))
		return fail(STATUS_USAGE, "%s: there are two with the id \"%s\"", option, id);
	return json_object_set(where, id, object) < 0 ? fail(STATUS_FAILED, "no memory for an option") : OK;
}

/* --- what stands behind devices --- */

result qemu_devices_blockdev(struct qemu_options *options, const char *value)
{
	const char *name = NULL;
	json_t *object;

	TRY(qemu_options_value(options, "-blockdev", value, "driver", &object));
	TRY(qemu_value_text("-blockdev", object, "node-name", &name));
	return keep_by_id("-blockdev", options->nodes, name, object);
}

result qemu_devices_netdev(struct qemu_options *options, const char *value)
{
	const char *id = NULL;
	json_t *object;

	TRY(qemu_options_value(options, "-netdev", value, "type", &object));
	TRY(qemu_value_text("-netdev", object, "id", &id));
	return keep_by_id("-netdev", options->netdevs, id, object);
}

result qemu_devices_object(struct qemu_options *options, const char *value)
{
	static const char *const keys[] = { "qom-type", "id", "filename", NULL };
	const char *id = NULL, *type = "", *file = "/dev/urandom";
	json_t *object;

	TRY(qemu_options_value(options, "-object", value, "qom-type", &object));
	TRY(qemu_value_text("-object", object, "id", &id));
	TRY(qemu_value_text("-object", object, "qom-type", &type));
	/* libvirt always gives a master key, with which secrets would be encrypted. */
	if (strcmp(type, "secret") == 0)
		return OK;
	if (strcmp(type, "rng-random") != 0 && strcmp(type, "rng-builtin") != 0)
		return fail(STATUS_USAGE, "-object %s: there is no such thing in tercet", type);
	TRY(qemu_value_known("-object rng-random", object, keys));
	TRY(qemu_value_text("-object rng-random", object, "filename", &file));
	if (strcmp(file, "/dev/urandom") != 0 && strcmp(file, "/dev/random") != 0)
		return fail(STATUS_USAGE, "-object rng-random: random numbers come from /dev/urandom, not %s",
			    file);
	return keep_by_id("-object", options->objects, id, object);
}

/* --- devices --- */

/* A device that is to be on the bus. */
struct placed {
	unsigned slot;
	size_t order;
	json_t *object;
	const struct driver *driver;
};

struct driver {
	const char *name; /* without "-pci" or "-pci-non-transitional" behind it */
	const char *const *keys;
	result (*take)(struct qemu_options *options, json_t *device, struct backend_option *backend);
	enum board_pci_kind kind;
};

/* What every driver can have; the first are without consequence. */
static const char *const common_keys[] = {
	"driver",  "id",     "bus",	  "addr",      "multifunction",	 "bootindex",	   "acpi-index",
	"romfile", "rombar", "ioeventfd", "event_idx", "disable-legacy", "disable-modern", "iommu_platform",
	"ats",	   "packed", "failover",  NULL,
};

static result check_common(const char *what, json_t *device)
{
	TRY(qemu_value_expect(what, device, "multifunction", "off", transport));
	TRY(qemu_value_expect(what, device, "disable-modern", "off", transport));
	TRY(qemu_value_expect(what, device, "iommu_platform", "off", transport));
	TRY(qemu_value_expect(what, device, "ats", "off", transport));
	TRY(qemu_value_expect(what, device, "packed", "off", transport));
	return qemu_value_expect(what, device, "failover", "off", transport);
}

/* The file below a node, and whether what is above it may write. */
static result find_file(struct qemu_options *options, const char *name, const char **storage, const char **file,
			bool *read_only)
{
	static const char *const keys[] = {
		"driver", "node-name", "read-only", "auto-read-only", "discard", "detect-zeroes", "cache",
		"file",	  "filename",  "aio",	    "locking",	      NULL,
	};
	json_t *node = json_object_get(options->nodes, name);

	for (unsigned depth = 0; node && depth < 4; depth++) {
		const char *driver = "";
		json_t *below = json_object_get(node, "file");

		TRY(qemu_value_text("-blockdev", node, "driver", &driver));
		if (strcmp(driver, "raw") != 0 && strcmp(driver, "file") != 0 &&
		    strcmp(driver, "host_device") != 0)
			return fail(STATUS_USAGE,
				    "-blockdev %s: the format or protocol \"%s\" is not supported: tercet's "
				    "disks are "
				    "raw files or block devices (qemu-img convert -O raw makes one)",
				    name, driver);
		TRY(in_context(qemu_value_known("-blockdev", node, keys), "%s", name));
		if (depth == 0)
			TRY(qemu_value_switch("-blockdev", node, "read-only", read_only));
		if (strcmp(driver, "raw") != 0) {
			TRY(qemu_value_text("-blockdev", node, "filename", file));
			TRY(qemu_value_text("-blockdev", node, "node-name", storage));
			return *file ? OK : fail(STATUS_USAGE, "-blockdev %s: it has no filename", name);
		}
		node = json_is_string(below) ? json_object_get(options->nodes, json_string_value(below))
					     : below;
	}
	return fail(STATUS_USAGE, "-blockdev %s: there is no file below it", name);
}

static result take_disk(struct qemu_options *options, json_t *device, struct backend_option *backend)
{
	static const char what[] = "-device virtio-blk-pci";
	const char *drive = NULL, *id = "", *serial = NULL, *file = NULL, *storage = "";

	TRY(qemu_value_text(what, device, "drive", &drive));
	TRY(qemu_value_text(what, device, "id", &id));
	TRY(qemu_value_text(what, device, "serial", &serial));
	TRY(qemu_value_expect(what, device, "scsi", "off", transport));
	TRY(qemu_value_expect(what, device, "num-queues", "1", transport));
	TRY(qemu_value_expect(what, device, "logical_block_size", "512", "a disk's sectors have 512 bytes"));
	TRY(qemu_value_expect(what, device, "werror", "report", "the guest hears of a disk's errors"));
	TRY(qemu_value_expect(what, device, "rerror", "report", "the guest hears of a disk's errors"));
	TRY(qemu_value_expect(what, device, "write-cache", "on",
			      "what is not flushed is in the host's page cache"));
	if (!drive)
		return fail(STATUS_USAGE, "%s: it has no drive", what);
	TRY(find_file(options, drive, &storage, &file, &backend->read_only));
	if (strlen(file) >= sizeof(backend->place))
		return fail(STATUS_USAGE, "-blockdev %s: the file's name is too long", drive);
	memcpy(backend->place, file, strlen(file) + 1);
	if (serial) {
		if (strlen(serial) > sizeof(backend->serial))
			return fail(STATUS_USAGE, "%s: a serial number has at most %zu characters", what,
				    sizeof(backend->serial));
		memcpy(backend->serial, serial, strlen(serial));
	}
	json_t *disk = json_pack("{s:i, s:s, s:s, s:s, s:s, s:b}", "device",
				 (int)options->machine.devices.count - 1, "id", id, "node", drive, "storage",
				 storage, "file", file, "read_only", backend->read_only);

	return json_array_append_new(options->disks, disk) < 0 ? fail(STATUS_FAILED, "no memory for a disk")
							       : OK;
}

/* A tap that libvirt opened, or the socket of a passt that it started. vhost's descriptor is left alone:
 * packets go by way of the vote. */
static result take_netdev(json_t *netdev, struct backend_option *backend)
{
	static const char *const tap_keys[] = { "type", "id", "fd", "vhost", "vhostfd", "sndbuf", NULL };
	static const char *const stream_keys[] = { "type",	"id",	     "server", "addr",
						   "addr.type", "addr.path", NULL };
	const char *type = "", *path = NULL;
	uint64_t fd = UINT64_MAX;

	TRY(qemu_value_text("-netdev", netdev, "type", &type));
	if (strcmp(type, "tap") == 0) {
		TRY(qemu_value_known("-netdev tap", netdev, tap_keys));
		TRY(qemu_value_number("-netdev tap", netdev, "fd", &fd));
		if (fd > INT32_MAX)
			return fail(STATUS_USAGE, "-netdev tap: give fd=NUMBER, an open tap");
		(void)snprintf(backend->place, sizeof(backend->place), "fd=%d", (int)fd);
	} else if (strcmp(type, "stream") == 0) {
		TRY(qemu_value_known("-netdev stream", netdev, stream_keys));
		TRY(qemu_value_expect("-netdev stream", netdev, "addr.type", "unix", "passt's socket is one"));
		TRY(qemu_value_expect("-netdev stream", netdev, "server", "off", "passt listens"));
		TRY(qemu_value_text("-netdev stream", netdev, "addr.path", &path));
		if (!path || strlen(path) > sizeof(backend->place) - sizeof("passt="))
			return fail(STATUS_USAGE, "-netdev stream: give addr.path=PATH, the socket of a passt");
		(void)snprintf(backend->place, sizeof(backend->place), "passt=%.500s", path);
	} else {
		return fail(STATUS_USAGE,
			    "-netdev %s: this is not supported: tercet's network cards have a tap (a bridge or "
			    "network of libvirt's) or a passt behind them",
			    type);
	}
	return net_check(backend->place);
}

static result take_network(struct qemu_options *options, json_t *device, struct backend_option *backend)
{
	static const char what[] = "-device virtio-net-pci";
	const char *id = NULL, *mac = NULL;
	json_t *netdev;

	TRY(qemu_value_text(what, device, "netdev", &id));
	TRY(qemu_value_text(what, device, "mac", &mac));
	TRY(qemu_value_expect(what, device, "mq", "off", transport));
	netdev = id ? json_object_get(options->netdevs, id) : NULL;
	if (!netdev)
		return fail(STATUS_USAGE, "%s: there is no -netdev %s", what, id ? id : "for it");
	TRY(device_options_mac(what, mac, backend->mac));
	return take_netdev(netdev, backend);
}

static result take_random(struct qemu_options *options, json_t *device, struct backend_option *backend)
{
	static const char what[] = "-device virtio-rng-pci";
	const char *id = NULL;

	(void)backend;
	TRY(qemu_value_text(what, device, "rng", &id));
	if (id && !json_object_get(options->objects, id))
		return fail(STATUS_USAGE, "%s: there is no -object %s", what, id);
	if (json_object_get(device, "max-bytes") || json_object_get(device, "period"))
		return fail(STATUS_USAGE, "%s: there is no limit for its rate (<rate>)", what);
	return OK;
}

static const char *const disk_keys[] = {
	"drive",  "serial", "write-cache", "scsi",    "num-queues", "logical_block_size", "physical_block_size",
	"werror", "rerror", "share-rw",	   "discard", NULL,
};
static const char *const net_keys[] = { "netdev", "mac", "mq", NULL };
static const char *const rng_keys[] = { "rng", "max-bytes", "period", NULL };

static const struct driver drivers[] = {
	{ "virtio-blk", disk_keys, take_disk, BOARD_PCI_DISK },
	{ "virtio-net", net_keys, take_network, BOARD_PCI_NET },
	{ "virtio-rng", rng_keys, take_random, BOARD_PCI_RNG },
};

/* What libvirt adds to every machine unasked, and a guest does without. */
static bool is_unasked(const char *name)
{
	return strcmp(name, "virtio-balloon-pci") == 0 || strcmp(name, "piix3-usb-uhci") == 0;
}

static const struct driver *find_driver(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(drivers); i++) {
		size_t length = strlen(drivers[i].name);

		if (strncmp(name, drivers[i].name, length) == 0 &&
		    (strcmp(name + length, "-pci") == 0 || strcmp(name + length, "-pci-non-transitional") == 0))
			return &drivers[i];
	}
	return NULL;
}

static result find_slot(const char *what, json_t *device, unsigned *slot)
{
	const char *bus = "pci.0", *text = NULL;
	unsigned long number;
	char *end;

	*slot = SLOT_NONE;
	TRY(qemu_value_text(what, device, "bus", &bus));
	if (strcmp(bus, "pci.0") != 0)
		return fail(STATUS_USAGE, "%s: there is no bus \"%s\", only pci.0", what, bus);
	TRY(qemu_value_text(what, device, "addr", &text));
	if (!text)
		return OK;
	number = strtoul(text, &end, 16);
	if (end == text || number == 0 || number >= SLOTS ||
	    (*end != '\0' && strcmp(end, ".0") != 0 && strcmp(end, ".0x0") != 0))
		return fail(STATUS_USAGE,
			    "%s: the address \"%s\" is none of pci.0's: 0x1 to 0x1f, and function 0", what,
			    text);
	*slot = (unsigned)number;
	return OK;
}

static result check_keys(const char *what, const struct driver *driver, json_t *device)
{
	const char *key;
	const json_t *value;

	json_object_foreach (device, key, value) {
		bool known = false;

		for (const char *const *k = common_keys; *k; k++)
			known |= strcmp(*k, key) == 0;
		for (const char *const *k = driver->keys; *k; k++)
			known |= strcmp(*k, key) == 0;
		if (!known)
			return fail(STATUS_USAGE, "%s: \"%s\" is not supported", what, key);
	}
	return check_common(what, device);
}

static result take_serial(struct qemu_options *options, json_t *device)
{
	static const char *const keys[] = { "driver", "id", "chardev", "index", NULL };
	const char *id = NULL;

	TRY(qemu_value_known("-device isa-serial", device, keys));
	TRY(qemu_value_text("-device isa-serial", device, "chardev", &id));
	TRY(qemu_value_expect("-device isa-serial", device, "index", "0", "there is one serial port"));
	if (options->serial)
		return fail(STATUS_USAGE, "-device isa-serial: there is one serial port");
	options->serial = id ? json_object_get(options->chardevs, id) : NULL;
	return options->serial
		       ? OK
		       : fail(STATUS_USAGE, "-device isa-serial: there is no chardev \"%s\"", id ? id : "");
}

result qemu_devices_device(struct qemu_options *options, const char *value)
{
	const char *name = "";
	json_t *object;

	TRY(qemu_options_value(options, "-device", value, "driver", &object));
	TRY(qemu_value_text("-device", object, "driver", &name));
	if (is_unasked(name))
		return OK;
	if (strcmp(name, "isa-serial") == 0)
		return take_serial(options, object);
	if (!find_driver(name))
		return fail(STATUS_USAGE,
			    "-device %s: there is no such device: tercet has virtio-blk-pci, virtio-net-pci, "
			    "virtio-rng-pci and isa-serial",
			    name);
	return json_array_append(options->devices, object) < 0 ? fail(STATUS_FAILED, "no memory for a device")
							       : OK;
}

static int compare(const void *a, const void *b)
{
	const struct placed *one = a, *other = b;

	if (one->slot != other->slot)
		return one->slot < other->slot ? -1 : 1;
	return one->order < other->order ? -1 : 1;
}

static result put_on_bus(struct qemu_options *options, const struct placed *placed)
{
	struct backends_options *devices = &options->machine.devices;
	struct backend_option *backend = &devices->device[devices->count++];

	*backend = (struct backend_option){ .kind = placed->driver->kind };
	return placed->driver->take(options, placed->object, backend);
}

result qemu_devices_end(struct qemu_options *options)
{
	struct placed placed[BOARD_PCI_MAX];
	size_t count = json_array_size(options->devices);

	if (count > ARRAY_SIZE(placed))
		return fail(STATUS_USAGE, "-device: a machine has at most %d devices, not %zu", BOARD_PCI_MAX,
			    count);
	for (size_t i = 0; i < count; i++) {
		char what[64];
		const char *name = "";

		placed[i] = (struct placed){ .order = i, .object = json_array_get(options->devices, i) };
		TRY(qemu_value_text("-device", placed[i].object, "driver", &name));
		placed[i].driver = find_driver(name);
		(void)snprintf(what, sizeof(what), "-device %.40s", name);
		TRY(check_keys(what, placed[i].driver, placed[i].object));
		TRY(find_slot(what, placed[i].object, &placed[i].slot));
	}
	qsort(placed, count, sizeof(placed[0]), compare);
	for (size_t i = 0; i < count; i++) {
		if (i > 0 && placed[i].slot != SLOT_NONE && placed[i].slot == placed[i - 1].slot)
			return fail(STATUS_USAGE, "-device: two devices have the address 0x%x", placed[i].slot);
		TRY(put_on_bus(options, &placed[i]));
	}
	return OK;
}
