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

/* A network card's address, or a random one where `text` is NULL. `what` is named in the message. Errors:
 * STATUS_USAGE; the host has no random numbers. */
must_check result device_options_mac(const char *what, const char *text, uint8_t mac[BOARD_MAC_SIZE]);

/* Moves the text's next part, up to a comma that is alone, to its beginning, with one comma where two were; gives what
 * follows, or NULL. */
char *device_options_cut(char *text);

/* --virtio-console WHERE, a place as those of --console. Errors: STATUS_USAGE. */
must_check result device_options_console(struct backends_options *options, const char *value);

/* Whether consoles can be where they are asked for; `console` is where COM1 is. Errors: STATUS_USAGE two have the
 * standard descriptors. */
must_check result device_options_check(const struct backends_options *options, const char *console);

#endif
