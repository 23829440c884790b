/*
 * A memory for machine code that is made at run time. It is written through one mapping and executed through another;
 * no mapping is both.
 */
#ifndef TERCET_VMM_NATIVE_CODE_H
#define TERCET_VMM_NATIVE_CODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/result.h"
#include "vmm/native_writer.h"

struct native_code {
	int fd;
	uint8_t *written; /* where it is written */
	uint8_t *run;     /* the same memory, where it is executed */
	size_t size, used;
};

/* Makes room for `size` bytes. Errors: no memory; the host does not let us execute what we write; a CPU without LAHF in
 * 64-bit mode. */
must_check result native_code_create(struct native_code *code, size_t size);
void native_code_destroy(struct native_code *code);

/* Whether so many bytes more find room. */
bool native_code_has_room(const struct native_code *code, size_t bytes);

/* Throws all away. */
void native_code_clear(struct native_code *code);

/* Puts what was written into the memory, where there must be room for it, and gives where it is executed. */
const uint8_t *native_code_add(struct native_code *code, const struct native_writer *writer);

#endif
