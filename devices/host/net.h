/*
 * A network card's backend: frames to and from a tap of the host's, or a passt that gives user-mode networking.
 *
 *   tap=NAME      a tap interface of that name, made if there is none and the user may (Linux, tuntap.rst)
 *   fd=NUMBER     a tap that was opened before, inherited
 *   passt=PATH    the UNIX socket of a passt: a stream of frames, each behind its length, u32 big-endian (passt(1))
 *
 * A network may lose frames: what cannot be sent at once, or does not fit, is dropped and counted.
 */
#ifndef TERCET_DEVICES_HOST_NET_H
#define TERCET_DEVICES_HOST_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/result.h"

enum {
	NET_FRAME_MAX = 1514,   /* bytes: 1500 behind an Ethernet header */
	NET_LENGTH = 4,         /* bytes of a length in a stream */
	NET_PENDING = 64 << 10, /* bytes that wait for a stream's reader, at most */
};

struct net {
	int fd;         /* -1: its other side is gone; nothing is sent and nothing comes */
	bool stream;
	uint64_t dropped;
	size_t skip;    /* bytes of a frame that is too long and still to come */
	size_t received, pending;
	uint8_t in[NET_LENGTH + NET_FRAME_MAX];
	uint8_t out[NET_PENDING];
};

/* Checks a backend's words without opening it. Errors: STATUS_USAGE. */
must_check result net_check(const char *place);

/* Opens it. Errors: STATUS_USAGE; STATUS_INPUT it cannot be had. */
must_check result net_open(struct net *net, const char *place);
void net_close(struct net *net);

/* Sends a frame of at most NET_FRAME_MAX bytes. */
void net_send(struct net *net, const void *frame, size_t length);

/* Gives the next frame that has come, and its length; 0 where there is none. */
size_t net_receive(struct net *net, uint8_t frame[NET_FRAME_MAX]);

#endif
