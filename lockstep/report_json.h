/*
 * Reports' building blocks in JSON: numbers, lists and bits as people want to read them.
 */
#ifndef TERCET_LOCKSTEP_REPORT_JSON_H
#define TERCET_LOCKSTEP_REPORT_JSON_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

/* A number as hexadecimal text ("0x1f"), since JSON's own numbers end at 2^53. NULL without memory. */
json_t *report_json_hex(uint64_t value);

/* Up to 16 bytes, least significant first, as one hexadecimal number with all its digits. */
json_t *report_json_bytes(const uint8_t *bytes, size_t length);

/* Appends and takes over `item`, up to REPORT_LIST_MAX entries; what is more is dropped. */
void report_json_append(json_t *list, json_t *item);

/* The numbers of the bits in which two byte strings differ (bit 0 of byte 1 is 8), as far as a list goes; `*count` is
 * how many there are. */
json_t *report_json_bits(const uint8_t *a, const uint8_t *b, size_t length, uint64_t *count);

#endif
