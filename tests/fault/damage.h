/*
 * Ways to make a value wrong: bytes by the bit, numbers by what a reader may stumble over.
 */
#ifndef TERCET_TESTS_FAULT_DAMAGE_H
#define TERCET_TESTS_FAULT_DAMAGE_H

#include <stddef.h>
#include <stdint.h>

enum { DAMAGE_BYTE_WAYS = 11, DAMAGE_NUMBER_WAYS = 24 };

/* A byte, damaged in way 0 to DAMAGE_BYTE_WAYS - 1: all zeros, all ones, each bit flipped, or `random`. */
uint8_t damage_byte(uint8_t byte, unsigned way, uint64_t random);

/* A number, damaged in way 0 to DAMAGE_NUMBER_WAYS - 1: small ones, neighbours, far ones, the ends of types. */
uint64_t damage_number(uint64_t number, unsigned way, uint64_t random);

#endif
