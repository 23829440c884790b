/*
 * One conversation in QMP, the protocol of QEMU's monitor (QEMU's docs/interop/qmp-spec.txt): greeting, negotiation,
 * commands, replies and events. Bytes in, bytes out: no descriptor, no clock, and nothing about machines, which is
 * the commands' business.
 *
 * Commands may be sent without waiting for replies, in as many pieces as it takes; each is answered, in order. What
 * is sent ends in CR LF, as libvirt expects.
 */
#ifndef TERCET_MANAGE_QMP_H
#define TERCET_MANAGE_QMP_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/result.h"
#include "manage/qmp_stream.h"

/* The bytes that may wait for a peer that does not read; a peer with more is to be dropped. Twice the longest message,
 * whose `id` comes back in its reply. */
#define QMP_OUTPUT_MAX ((size_t)2 << 20)
/* With so many waiting, no more commands are taken from it. */
#define QMP_OUTPUT_CALM ((size_t)1 << 16)

struct qmp_answer {
	json_t *value;           /* what the command returns: {} unless it is replaced (and released) */
	const char *error_class; /* of a failure: "GenericError" unless it is replaced */
};

struct qmp_command {
	const char *name;
	/* The arguments that it knows, with NULL behind them; NULL: none. Others are refused before it is run. */
	const char *const *parameters;
	/* `arguments` is an object, perhaps an empty one. A failure's message is told to the peer. */
	result (*run)(void *context, json_t *arguments, struct qmp_answer *answer);
};

/* What a peer can ask for. It does not name qmp_capabilities, which every conversation has. */
struct qmp_interface {
	const struct qmp_command *commands;
	size_t count;
	void *context; /* of every command, those of `next` too */
	const struct qmp_interface *next; /* what else can be asked for, or NULL */
};

/* Replaces what a command returns; takes over `value`, which may be NULL for want of memory. */
must_check result qmp_answer(struct qmp_answer *answer, json_t *value);

/* Of one's that are not there: the class DeviceNotFound, on which libvirt relies, with a message. */
must_check result qmp_not_found(struct qmp_answer *answer, const char *what, const char *name);

struct qmp {
	const struct qmp_interface *interface;
	struct qmp_stream input;
	char *output;
	size_t output_begin, output_end, output_room;
	bool negotiated; /* qmp_capabilities has been run */
	bool broken;     /* the peer read too little, or there is no memory: drop it */
};

/* Begins a conversation, with the greeting in the output. `interface` outlives it. */
void qmp_begin(struct qmp *qmp, const struct qmp_interface *interface);
void qmp_end(struct qmp *qmp);

/* Takes bytes from the peer; runs the commands that are complete, and puts their replies into the output. */
void qmp_receive(struct qmp *qmp, const char *data, size_t length);

/* Puts a message into the output if the peer has negotiated, and nothing otherwise, as QMP wants it for events. */
void qmp_tell(struct qmp *qmp, const json_t *message);

/* False while so much output waits that no more commands should be taken from the peer. */
bool qmp_wants_input(const struct qmp *qmp);

/* The output: its first byte and its length; and that the first `length` bytes of it have left. */
const char *qmp_output(const struct qmp *qmp, size_t *length);
void qmp_output_taken(struct qmp *qmp, size_t length);

/* The version object of the greeting and of query-version; new. The numbers are those of the first QEMU whose QMP
 * libvirt 9 still speaks; tercet's own version is the package. */
json_t *qmp_version(void);

/* A new JSON string of any bytes: where they are not UTF-8, what is not ASCII is replaced by question marks. */
json_t *qmp_text(const char *text);

#endif
