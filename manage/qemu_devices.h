/*
 * -blockdev, -netdev, -object and -device: what stands on the guest's PCI bus, and what behind it.
 */
#ifndef TERCET_MANAGE_QEMU_DEVICES_H
#define TERCET_MANAGE_QEMU_DEVICES_H

#include "manage/qemu_options.h"

/* Each option's value is kept until qemu_devices_end. Errors: STATUS_USAGE. */
must_check result qemu_devices_blockdev(struct qemu_options *options, const char *value);
must_check result qemu_devices_netdev(struct qemu_options *options, const char *value);
must_check result qemu_devices_object(struct qemu_options *options, const char *value);
must_check result qemu_devices_device(struct qemu_options *options, const char *value);

/* Puts the devices on the bus, in the order of their addresses, and behind them those without one. Errors:
 * STATUS_USAGE. */
must_check result qemu_devices_end(struct qemu_options *options);

#endif
