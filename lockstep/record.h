/*
 * `--record FILE`: writes down what the replicas agreed about (docs/recording.md). At each verdict with a majority the
 * tape that led there is taken from whoever led, and the vote from one of the majority.
 *
 * A recording that cannot go on - a full disk, a tape that is gone - stops with an event; the machine goes on, and the
 * file is good up to its last whole record.
 */
#ifndef TERCET_LOCKSTEP_RECORD_H
#define TERCET_LOCKSTEP_RECORD_H

#include "base/result.h"
#include "lockstep/control.h"

struct record;
struct supervisor;

/* Creates the file, or empties it, and hashes what the machine is started from. Without `path` there is no recording:
 * `*record` is NULL, which the functions below take for that. Errors: STATUS_INPUT the file cannot be written, or a
 * file that the machine is started from cannot be read. */
must_check result record_open(struct record **record, const char *path, const struct supervisor *supervisor);

/* A vote has its verdict; `vote` is the record of one of the majority. Before anybody goes on from there. */
void record_vote(struct supervisor *supervisor, const struct vote_record *vote);

/* The area of a member that has died is about to be emptied: what is still wanted of its tape is kept. */
void record_keep(struct supervisor *supervisor);

/* The machine has ended, or is stopped. */
void record_end(struct supervisor *supervisor);

/* Closes the file. */
void record_close(struct record *record);

#endif
