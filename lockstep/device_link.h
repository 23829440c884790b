/*
 * What a replica's devices see of the world: its memory, its outbox, fetches, and what the inbox has for them.
 */
#ifndef TERCET_LOCKSTEP_DEVICE_LINK_H
#define TERCET_LOCKSTEP_DEVICE_LINK_H

#include "devices/device.h"
#include "lockstep/replica_state.h"
#include "lockstep/source.h"

/* What the board calls, but for `request`; the context is the replica. */
struct device_board device_link_board(struct replica *replica);

/* For the replica's source. */
struct source_devices device_link_devices(struct replica *replica);

/* Hands an entry that fits to its device. */
void device_link_input(struct replica *replica, const struct inbox_entry *entry);

/* At each position of a leader: makes fetches again of which it was told, or found out itself, that they were lost. */
void device_link_attend(struct replica *replica);

/* All fetches are to be made again: another leads from here on. */
void device_link_lead(struct replica *replica);

#endif
