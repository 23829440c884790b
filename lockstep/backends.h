/*
 * Backends: what stands behind the guest's devices outside of the machine. They take what was voted on
 * (lockstep/commit.h) and fetches (lockstep/fetches.h), and bring answers to the inbox (lockstep/inbox.h).
 */
#ifndef TERCET_LOCKSTEP_BACKENDS_H
#define TERCET_LOCKSTEP_BACKENDS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/result.h"
#include "devices/board.h"
#include "devices/device.h"

struct control;
struct supervisor_page;

enum { BACKEND_PLACE_MAX = 512 };

/* One device, as a user asked for it. */
struct backend_option {
	enum board_pci_kind kind;
	char place[BACKEND_PLACE_MAX];  /* of a disk: its file; of others: what their option says */
	bool read_only;
	char serial[BOARD_SERIAL_SIZE];
	uint8_t mac[BOARD_MAC_SIZE];
};

struct backends_options {
	size_t count;
	struct backend_option device[BOARD_PCI_MAX]; /* in the order in which they are on the guest's bus */
};

struct backends;

/* Opens everything. Errors: STATUS_INPUT a file that cannot be used; the host cannot. */
must_check result backends_open(struct backends **backends, const struct backends_options *options);

/* Waits until everything that was let out is done, and closes. NULL: nothing. */
void backends_close(struct backends *backends);

/* What the guest's board has; gives its number. */
size_t backends_describe(const struct backends *backends, struct board_pci_device pci[BOARD_PCI_MAX]);

/* Readable when backends_exchange has something to do. */
int backends_fd(const struct backends *backends);

/* Takes output of a channel that was voted on: a piece of the channel's stream. Errors: it is none that a device
 * makes; no memory. */
must_check result backends_output(struct backends *backends, enum output_channel channel, const void *data,
				  size_t length);

/* Whether so much waits to get out that the guest should. */
bool backends_behind(const struct backends *backends);

/* Whether something that was let out is not done yet. */
bool backends_busy(const struct backends *backends);

/* Who asks: replica `index`, whose area begins with `control`, leads in `epoch`. What the inbox has from offset `kept`
 * on must stay. */
struct backends_client {
	const struct control *control;
	unsigned index;
	uint32_t epoch;
	struct supervisor_page *page;
	uint64_t kept;
};

/* Takes fetches, and brings to the inbox what is there. Returns whether replicas have something new to look at. */
must_check bool backends_exchange(struct backends *backends, const struct backends_client *client);

/* The machine begins anew: whatever was fetched for it is void. Nothing must have been let out. */
void backends_restart(struct backends *backends);

/* An array with what each device did, for the statistics (docs/statistics.md). */
json_t *backends_statistics(const struct backends *backends);

#endif
