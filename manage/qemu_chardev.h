/*
 * -chardev, -mon, -add-fd: the serial port's other side, and where the monitor listens.
 */
#ifndef TERCET_MANAGE_QEMU_CHARDEV_H
#define TERCET_MANAGE_QEMU_CHARDEV_H

#include "manage/qemu_options.h"

/* Errors: STATUS_USAGE. */
must_check result qemu_chardev_add(struct qemu_options *options, const char *value);
must_check result qemu_chardev_add_fd(struct qemu_options *options, const char *value);
must_check result qemu_chardev_monitor(struct qemu_options *options, const char *value);

/* Makes the serial port's chardev the machine's console. Errors: STATUS_USAGE. */
must_check result qemu_chardev_end(struct qemu_options *options);

#endif
