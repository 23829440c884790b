/*
 * What every device model looks like to the board, and what it may ask of the board.
 *
 * A device is a deterministic machine: its state changes only in the calls below, as a function of their
 * arguments. It reads no clock, file or socket. Times are guest nanoseconds since power-on and never go back.
 */
#ifndef TERCET_DEVICES_DEVICE_H
#define TERCET_DEVICES_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/result.h"

#define DEVICE_NO_DEADLINE UINT64_MAX

/* Where output goes. The numbers are part of the outbox's byte format. Each channel is a stream of bytes, which the
 * outbox may cut anywhere; what is said behind a name is what one record of the stream is, little-endian. */
enum output_channel {
	OUTPUT_CONSOLE = 1,  /* COM1: bytes */
	OUTPUT_DISK = 2,     /* struct device_disk_request's DEVICE_DISK_HEADER bytes; behind a write's, its data */
	OUTPUT_NET = 3,      /* device u32, length u32, a frame from its Ethernet header on, without checksum */
	OUTPUT_VCONSOLE = 4, /* device u32, length u32, bytes */
};

enum {
	DEVICE_DISK_HEADER = 40,   /* bytes of a disk request in its stream */
	DEVICE_STREAM_HEADER = 8,  /* bytes before a frame, or the bytes of a virtual console, in their streams */
	DEVICE_FRAME_MAX = 1514,   /* bytes of a frame: 1500 behind an Ethernet header */
	DEVICE_INPUT_MAX = 4096,   /* bytes of data in one input */
	DEVICE_INPUT_HEADER = 48,  /* bytes before them */
};

enum device_disk_op {
	DEVICE_DISK_WRITE = 1,
	DEVICE_DISK_FLUSH = 2, /* `offset` and `length` are 0 */
	DEVICE_DISK_DISCARD = 3,
	DEVICE_DISK_WRITE_ZEROES = 4,
};

/* What a disk is asked to do, once it was voted on. Answered by one INPUT_DISK_DONE with the same `id`. */
struct device_disk_request {
	uint32_t device; /* index of the PCI function, from 0 */
	uint32_t op;     /* enum device_disk_op */
	uint64_t id;     /* not 0; of one device, never used twice */
	uint64_t offset; /* bytes from the disk's start; it and `length` are multiples of 512, within the disk */
	uint64_t length; /* bytes concerned */
	uint64_t flags;  /* 0; or DEVICE_DISK_UNMAP of zeroes that need not take space */
};

#define DEVICE_DISK_UNMAP UINT64_C(1)

/* Something that is asked of the outside and changes nothing there: it is served before any vote. Answered by inputs
 * with the same `id`. */
enum device_fetch_kind {
	FETCH_DISK = 1,    /* by INPUT_DISK_READ */
	FETCH_ENTROPY = 2, /* by one INPUT_ENTROPY; `offset` is 0 and `length` at most DEVICE_INPUT_MAX */
};

struct device_fetch {
	uint32_t device;
	uint32_t kind;
	uint64_t id;     /* not 0; of one device, never used twice */
	uint64_t offset; /* bytes from the disk's start; a multiple of 512 */
	uint32_t length; /* bytes wanted, at least 1; of a disk a multiple of 512, and all of it on the disk */
};

enum device_input_kind {
	/* Bytes `offset` to `offset + length` of the `total` bytes of fetch `id`, cut at multiples of
	 * DEVICE_INPUT_MAX. A failure has the offset of the piece that it stands for, and ends the answer. */
	INPUT_DISK_READ = 1,
	INPUT_DISK_DONE = 2, /* the released disk request `id` is done; no data */
	INPUT_ENTROPY = 3,   /* all the bytes of fetch `id`; `offset` 0, `total` = `length` */
	INPUT_NET = 4,       /* a frame of at most DEVICE_FRAME_MAX bytes; `id` and `offset` 0, `total` = `length` */
	INPUT_VCONSOLE = 5,  /* bytes; likewise */
};

/* What the outside tells a device. */
struct device_input {
	uint32_t device; /* index of the PCI function, from 0 */
	uint32_t kind;
	uint32_t epoch;  /* the leadership whose fetch this answers; 0 where it answers none. Nothing to the device */
	uint32_t status; /* 0; else the outside failed (an errno): `length` is 0 */
	uint64_t id;     /* of the fetch or disk request */
	uint64_t offset; /* of the data in the whole answer, whose `total` bytes come in order */
	uint32_t total;
	uint32_t length; /* at most DEVICE_INPUT_MAX */
	uint8_t data[DEVICE_INPUT_MAX];
};

/* Whether a device takes an input. */
enum device_input_fit {
	DEVICE_INPUT_FITS,  /* now */
	DEVICE_INPUT_WAIT,  /* later, when the guest has made room */
	DEVICE_INPUT_NEVER, /* it asked for no such thing, or no longer */
};

/* What a device can ask the machine to do, after the exit at hand is complete. */
enum board_request {
	BOARD_REQUEST_NONE = 0,
	BOARD_REQUEST_POWER_OFF, /* ACPI S5 */
	BOARD_REQUEST_RESET,     /* i8042 pulse, port 0xCF9, ACPI reset register */
	BOARD_REQUEST_EXIT,      /* debug exit port; the argument is the guest's status */
};

/* The board as a device sees it: implemented by board.c, and by unit tests. */
struct device_board {
	void *context;
	/* Sets the level of an ISA interrupt line, 0 to 15. */
	void (*set_irq)(void *context, unsigned line, bool level);
	/* Hands bytes to the outside; they leave the machine only after a vote. */
	void (*output)(void *context, enum output_channel channel, const void *data, size_t length);
	void (*request)(void *context, enum board_request request, uint32_t argument);
	/* Guest-physical memory. False if not all of it is RAM: then nothing was done. */
	bool (*memory_read)(void *context, uint64_t address, void *data, size_t length);
	bool (*memory_write)(void *context, uint64_t address, const void *data, size_t length);
	/* How many bytes `output` takes at this position, a function of what every replica has at it. A device
	 * that needs more waits: it is asked again, by board_resume. */
	size_t (*output_room)(void *context);
	/* Asks the outside for something. Only a leader's goes anywhere. */
	void (*fetch)(void *context, const struct device_fetch *fetch);
};

/* One access to a device, after the bus has cut it to what the range can take (see devices/bus.h). */
struct device_access {
	unsigned region; /* which of the device's own regions, in its own numbering (its header lists them) */
	uint64_t offset; /* bytes from the region's start */
	unsigned size;   /* 1, 2, 4 or 8; offset + size is within the region */
	uint64_t now;    /* guest time; the present only where the board's table says `timed` */
};

/* What a device model is to the board. `device` is its state structure, zero before the first reset. */
struct device_model {
	const char *name;
	/* Power-on reset; what a battery keeps alive stays. */
	void (*reset)(void *device, uint64_t now);
	/* The value is in the low 8 * size bits; the bus ignores the rest. */
	uint64_t (*read)(void *device, const struct device_access *access);
	void (*write)(void *device, const struct device_access *access, uint64_t value);
	/* Moves the device's time to `now`. NULL for a device to which time means nothing. */
	void (*advance)(void *device, uint64_t now);
	/* When the device would raise its interrupt line next by itself, or DEVICE_NO_DEADLINE. May lie in the
	 * past: then it is due. NULL with `advance` NULL. */
	uint64_t (*deadline)(const void *device);
	/* All state that the guest can notice, little-endian and without padding. */
	void (*save)(const void *device, struct bytes_writer *writer);
	/* Replaces all state by what `save` wrote at guest time `now`. Calls nobody on the board. After a
	 * failure the state is undefined: load into a copy. */
	must_check result (*load)(void *device, struct bytes_reader *reader, uint64_t now);
};

/* An input as bytes, for shared memory, the tape and recordings: crc u32 (CRC-32 as in zlib, of all that is behind it),
 * device, kind, epoch u32, id, offset u64, total, status, length, zero u32, and the data.
 * device_input_get takes one from untrusted bytes: they must be whole, of a known kind, within the limits above and
 * of the form that the kind has, with a right checksum. What is behind them is left to the reader.
 * Errors: STATUS_INPUT. */
size_t device_input_size(const struct device_input *input);
void device_input_put(struct bytes_writer *writer, const struct device_input *input);
must_check result device_input_get(struct bytes_reader *reader, struct device_input *input);

/* A disk request as bytes: device, op u32, id, offset, length, flags u64. The data of a write stands behind them.
 * device_disk_get takes untrusted bytes: the request must have a known op, an id and a form that fits the op; who
 * serves it checks that it lies on the disk. Errors: STATUS_INPUT. */
void device_disk_put(struct bytes_writer *writer, const struct device_disk_request *request);
must_check result device_disk_get(struct bytes_reader *reader, struct device_disk_request *request);

#endif
