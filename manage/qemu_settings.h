/*
 * tercet's own settings on QEMU's command line: "-fw_cfg name=opt/tercet/replicas,string=3" (libvirt's
 * <sysinfo type='fwcfg'>) and "-tercet replicas=3,vote-interval=10ms". They are options of `tercet run`.
 */
#ifndef TERCET_MANAGE_QEMU_SETTINGS_H
#define TERCET_MANAGE_QEMU_SETTINGS_H

#include "manage/qemu_options.h"

/* Errors: STATUS_USAGE no such setting, or not its value. */
must_check result qemu_settings_fw_cfg(struct qemu_options *options, const char *value);
must_check result qemu_settings_own(struct qemu_options *options, const char *value);

#endif
