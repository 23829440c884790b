/*
 * Intel 8259A, the cascaded pair of a PC/AT, with the edge/level control registers of the EISA bus.
 * Source: Intel 8259A data sheet (order 231468); ELCR: Intel 82371AB (PIIX4) data sheet, section 4.2.5.
 *
 * Inputs 0 to 7 are the master's, 8 to 15 the slave's; the slave's INT is wired to the master's input 2. An
 * edge is latched until it is acknowledged, also when the line falls first: guest time goes in leaps, and an
 * edge that came and went within one must not be lost. A level-triggered request that goes away before its
 * acknowledge cycle gives the data sheet's spurious IR7 (of the master, or of the slave: IRQ 15).
 */
#ifndef TERCET_DEVICES_I8259_H
#define TERCET_DEVICES_I8259_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/device.h"

#define I8259_LINES 16

enum i8259_region {
	I8259_MASTER = 0, /* 2 bytes: A0 = 0, A0 = 1 */
	I8259_SLAVE = 1,  /* likewise */
	I8259_ELCR = 2,   /* 2 bytes: master, slave; a 1 makes an input level-triggered */
};

/* Which initialisation command word the chip expects at A0 = 1. */
enum i8259_expect {
	I8259_EXPECT_OCW1 = 0,
	I8259_EXPECT_ICW2,
	I8259_EXPECT_ICW3,
	I8259_EXPECT_ICW4,
};

struct i8259_chip {
	uint8_t lines;       /* input levels */
	uint8_t edges;       /* edges latched and not yet acknowledged */
	uint8_t in_service;  /* ISR */
	uint8_t masked;      /* IMR */
	uint8_t level;       /* ELCR */
	uint8_t lowest;      /* the input with the lowest priority, 0 to 7 */
	uint8_t vector_base; /* ICW2, low three bits 0 */
	uint8_t icw1, icw3, icw4;
	uint8_t expect;          /* enum i8259_expect */
	bool initialised;        /* went through ICW1 to its end since reset: INT is silent before that */
	bool read_in_service;    /* OCW3: reads at A0 = 0 give the ISR, not the IRR */
	bool poll;               /* OCW3: the next read is an acknowledge cycle */
	bool special_mask;       /* OCW3 */
	bool rotate_on_auto_eoi; /* OCW2 */
};

struct i8259 {
	struct i8259_chip master;
	struct i8259_chip slave;
};

extern const struct device_model i8259_model;

/* Sets the level of input `line` (0 to 15; 2 is the cascade and cannot be driven from outside: ignored). */
void i8259_set_line(struct i8259 *pic, unsigned line, bool level);

/* The master's INT output. */
bool i8259_interrupt_pending(const struct i8259 *pic);

/* The two INTA cycles: puts the request in service and gives its vector. Without a request, IR7's. */
uint8_t i8259_acknowledge(struct i8259 *pic);

/* Whether a rising edge on `line` now would be a new interrupt: it is neither masked, nor requested, nor in
 * service. Where it would not, nobody needs to know the time of the edge exactly. */
bool i8259_listens(const struct i8259 *pic, unsigned line);

#endif
