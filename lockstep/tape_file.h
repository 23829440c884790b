/*
 * The tape on disk: the byte format of recordings (docs/recording.md). Pure: bytes in, bytes out. All numbers are
 * little-endian.
 *
 *   file:   header, records
 *   header: 8 bytes TAPE_FILE_MAGIC, u32 version, u32 CRC-32 of these 12 bytes
 *   record: u32 crc, u16 kind, u16 zero, u32 length, u32 number, `length` bytes of payload, zeros up to 8 bytes
 *   the CRC-32 is over everything behind it, the zeros too; numbers are 0, 1, 2, ...
 *
 * What is read is untrusted: every function below that reads checks all of it.
 */
#ifndef TERCET_LOCKSTEP_TAPE_FILE_H
#define TERCET_LOCKSTEP_TAPE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/result.h"
#include "lockstep/control.h"
#include "lockstep/digest.h"
#include "lockstep/file_hash.h"
#include "lockstep/vote.h"
#include "vmm/boot.h"

/* As PNG's: no text, a name, and bytes that a transfer as text would change. */
#define TAPE_FILE_MAGIC "\x89" "TRCT\r\n\x1a"
#define TAPE_FILE_VERSION 5u

enum {
	TAPE_FILE_HEADER_SIZE = 16,
	TAPE_FILE_HEAD_SIZE = 16,        /* of each record */
	TAPE_FILE_PAYLOAD_MAX = 1 << 20, /* bytes of one record */
	TAPE_FILE_NAME_MAX = 32,
	TAPE_FILE_PATH_MAX = 4096,
	TAPE_FILE_HASH_SIZE = FILE_HASH_SIZE,
};

enum tape_file_kind {
	TAPE_FILE_MACHINE = 1, /* what was recorded; the first record */
	TAPE_FILE_TAPE = 2,    /* the tape's entries up to the next vote, as lockstep/tape.h has them */
	TAPE_FILE_VOTE = 3,    /* what was voted there */
	TAPE_FILE_END = 4,     /* the last record of a recording that was closed in good order */
	TAPE_FILE_KINDS
};

/* The head of a record. */
struct tape_file_record {
	enum tape_file_kind kind;
	uint32_t length; /* bytes of payload */
	uint32_t number;
};

/* A file that the machine was started from; no path: there was none. */
struct tape_file_image {
	char path[TAPE_FILE_PATH_MAX];
	uint64_t size; /* bytes */
	uint8_t hash[TAPE_FILE_HASH_SIZE];
};

struct tape_file_machine {
	char version[TAPE_FILE_NAME_MAX]; /* of the tercet that recorded it */
	int64_t recorded;                 /* Unix time */
	uint32_t replicas;
	uint32_t kind;                    /* enum boot_kind */
	uint64_t memory;                  /* bytes of guest RAM */
	int64_t rtc_epoch;                /* Unix time at guest time 0 */
	uint8_t digest_key[DIGEST_KEY_SIZE];
	uint8_t seed[BOOT_SEED_SIZE];
	struct tape_file_image kernel;
	struct tape_file_image initrd;
	char command_line[BOOT_COMMAND_LINE_MAX]; /* that the guest got */
	uint32_t pci_count;
	struct board_pci_device pci[BOARD_PCI_MAX];
};

/* What was voted, and where the guest was: members as in struct vote_record and struct cpu_state. */
struct tape_file_vote {
	uint64_t number;
	uint64_t position;
	uint32_t cause;
	uint32_t end;
	uint64_t end_value;
	uint64_t guest_ns;
	uint64_t output_end;
	uint64_t console_taken;
	uint64_t buttons_taken;
	uint64_t inbox_taken;
	uint64_t halted;
	uint64_t resets_taken;
	uint64_t boots;
	struct vote_ballot ballot;
	uint64_t gpr[GPR_COUNT];
	uint64_t rip;
	uint64_t rflags;
};

/* How the recording ended. */
struct tape_file_end {
	uint32_t end;       /* enum machine_end; END_RUNNING: the machine was stopped, or its recording was */
	uint64_t end_value;
	uint64_t position;  /* of the last vote */
	uint64_t votes;
	uint64_t entries;   /* of the tape */
};

/* Appends the file's header. */
void tape_file_put_header(struct bytes_writer *out);

/* Errors: STATUS_INPUT this is no recording; another version's; damaged. */
must_check result tape_file_check_header(const uint8_t header[TAPE_FILE_HEADER_SIZE]);

/* Bytes of a whole record with so much payload. */
size_t tape_file_record_size(uint32_t length);

/* Appends a record. */
void tape_file_put_record(struct bytes_writer *out, const struct tape_file_record *record, const void *payload);

/* Reads a record's head, by which the rest is read. Errors: STATUS_INPUT of a kind that does not exist, too long,
 * something where zeros should be. */
must_check result tape_file_read_head(const uint8_t head[TAPE_FILE_HEAD_SIZE], struct tape_file_record *record);

/* Checks a whole record, `size` bytes of it: tape_file_record_size. Errors: STATUS_INPUT its checksum is wrong. */
must_check result tape_file_check_record(const uint8_t *bytes, size_t size);

/* What stands in the records, to and from bytes. Loads want just the bytes that a save wrote. Errors: STATUS_INPUT
 * bytes are missing or left over, or have values that no save writes. */
void tape_file_save_machine(const struct tape_file_machine *machine, struct bytes_writer *out);
must_check result tape_file_load_machine(struct tape_file_machine *machine, const uint8_t *data, size_t size);
void tape_file_save_vote(const struct tape_file_vote *vote, struct bytes_writer *out);
must_check result tape_file_load_vote(struct tape_file_vote *vote, const uint8_t *data, size_t size);
void tape_file_save_end(const struct tape_file_end *end, struct bytes_writer *out);
must_check result tape_file_load_end(struct tape_file_end *end, const uint8_t *data, size_t size);

/* What is kept of a replica's vote. */
struct tape_file_vote tape_file_vote_of(const struct vote_record *record);

/* Says in `text` what differs between two votes, "" for nothing: digests by name (only `with_digests`: different
 * machines have different keys), numbers, registers. Each difference reads "NAME is A, not B". Returns whether there
 * is one. */
bool tape_file_compare_votes(const struct tape_file_vote *a, const struct tape_file_vote *b, bool with_digests,
			     char *text, size_t size);

#endif
