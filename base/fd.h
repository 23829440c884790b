/*
 * Descriptors and the memory behind them: sealed memfds, mappings, read-only views.
 */
#ifndef TERCET_BASE_FD_H
#define TERCET_BASE_FD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/result.h"

/* Closes `*fd` if it is open and sets it to -1. */
void fd_close(int *fd);

/* Makes a memfd of `size` bytes whose size is sealed (memfd_create(2), F_SEAL_SHRINK | F_SEAL_GROW |
 * F_SEAL_SEAL), close-on-exec. Opened again by /proc it cannot be written, except by who may override files' modes
 * (CAP_DAC_OVERRIDE). Errors: no memory or descriptors. */
must_check result fd_sealed_memory(int *fd, const char *name, uint64_t size);

/* The same, mapped writable at `*memory`, and never writable again by anybody, whatever he opens it by
 * (F_SEAL_FUTURE_WRITE). Errors: as above. */
must_check result fd_exclusive_memory(int *fd, const char *name, uint64_t size, void **memory);

/* Checks that `fd` is a memory of exactly `size` bytes whose size is sealed. */
must_check result fd_check_sealed(int fd, const char *what, uint64_t size);

/* Makes the first `size` bytes of a memory zero, in every mapping of it, and gives the host's memory back. Errors: the
 * host cannot. */
must_check result fd_clear(int fd, const char *what, uint64_t size);

/* A second descriptor of the same memory that cannot be mapped writable. */
must_check result fd_read_only_view(int fd, const char *what, int *view);

/* Maps `size` bytes of `fd` shared. Errors: no memory, or no right to write. */
must_check result fd_map(int fd, const char *what, uint64_t size, bool writable, void **memory);
void fd_unmap(void *memory, uint64_t size);

/* Reads or writes exactly `length` bytes at `offset`; a short file is an error that names `what`. */
must_check result fd_read_at(int fd, const char *what, uint64_t offset, void *data, size_t length);
must_check result fd_write_all(int fd, const char *what, const void *data, size_t length);

/* Adds one to an eventfd (eventfd(2)), so that whoever waits for it wakes. One that takes no more has been rung
 * already; it must not block (EFD_NONBLOCK). */
void fd_ring(int fd);

/* Size of a regular file or memory in bytes; anything else is an input error. */
must_check result fd_size(int fd, const char *what, uint64_t *size);

#endif
