/*
 * The options of devices on the guest's PCI bus: --disk and its like. Each adds a device behind those that are there.
 */
#ifndef TERCET_MANAGE_DEVICE_OPTIONS_H
#define TERCET_MANAGE_DEVICE_OPTIONS_H

#include "base/result.h"
#include "lockstep/backends.h"

/* --disk FILE[,readonly][,serial=TEXT]: a comma within a file's name is written twice. Errors: STATUS_USAGE. */
must_check result device_options_disk(struct backends_options *options, const char *value);

/* --net tap=NAME|fd=NUMBER|passt=SOCKET[,mac=XX:XX:XX:XX:XX:XX]: without an address it gets a random one. Errors:
 * STATUS_USAGE. */
must_check result device_options_net(struct backends_options *options, const char *value);

/* --rng. Errors: STATUS_USAGE too many devices. */
must_check result device_options_rng(struct backends_options *options);

#endif
