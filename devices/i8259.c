#include "devices/i8259.h"

#define I8259_CASCADE 2U /* the master's input that the slave's INT drives */

/* ICW1 (A0 = 0, bit 4 set). */
#define ICW1_IC4 0x01U
#define ICW1_SINGLE 0x02U
#define ICW1_LEVEL 0x08U
#define ICW1_SELECT 0x10U
/* ICW4. */
#define ICW4_AUTO_EOI 0x02U
#define ICW4_SPECIAL_FULLY_NESTED 0x10U
/* OCW3 (A0 = 0, bits 4:3 = 01). */
#define OCW3_SELECT 0x08U
#define OCW3_READ_ISR 0x01U
#define OCW3_READ 0x02U
#define OCW3_POLL 0x04U
#define OCW3_SPECIAL_MASK 0x20U
#define OCW3_SPECIAL_MASK_ENABLE 0x40U

/* Inputs that a PC's ELCR can make level-triggered: not the timer, keyboard, cascade, RTC and FPU. */
#define ELCR_MASTER_MASK 0xF8U
#define ELCR_SLAVE_MASK 0xDEU

static uint8_t chip_level_mask(const struct i8259_chip *chip)
{
	return chip->icw1 & ICW1_LEVEL ? 0xFF : chip->level;
}

/* The IRR. */
static uint8_t chip_requests(const struct i8259_chip *chip)
{
	uint8_t level = chip_level_mask(chip);

	return (uint8_t)((chip->edges & ~level) | (chip->lines & level));
}

/* 0 is the highest priority. */
static unsigned chip_priority(const struct i8259_chip *chip, unsigned input)
{
	return (input - chip->lowest - 1U) & 7U;
}

/* The input of the highest priority in `inputs`, or 8 if there is none. */
static unsigned chip_first(const struct i8259_chip *chip, uint8_t inputs)
{
	for (unsigned i = 0; i < 8; i++) {
		unsigned input = (chip->lowest + 1U + i) & 7U;

		if (inputs & (1U << input))
			return input;
	}
	return 8;
}

/* The input that makes INT active, or 8. */
static unsigned chip_winner(const struct i8259_chip *chip)
{
	if (!chip->initialised || chip->expect != I8259_EXPECT_OCW1)
		return 8;

	unsigned request = chip_first(chip, (uint8_t)(chip_requests(chip) & ~chip->masked));
	/* In special mask mode a masked level that is in service holds nobody back. */
	uint8_t blocking = chip->special_mask ? (uint8_t)(chip->in_service & ~chip->masked) : chip->in_service;
	unsigned service = chip_first(chip, blocking);

	if (request == 8 || service == 8)
		return request;
	if (chip_priority(chip, request) < chip_priority(chip, service))
		return request;
	/* Special fully nested mode: a slave in service may interrupt again, by a higher input of its own. */
	if (request == service && (chip->icw4 & ICW4_SPECIAL_FULLY_NESTED) && !(chip->icw1 & ICW1_SINGLE) &&
	    (chip->icw3 & (1U << request)))
		return request;
	return 8;
}

static void chip_set_line(struct i8259_chip *chip, unsigned input, bool level)
{
	uint8_t bit = (uint8_t)(1U << input);

	if (level) {
		if (!(chip->lines & bit))
			chip->edges |= bit;
		chip->lines |= bit;
	} else {
		chip->lines &= (uint8_t)~bit;
	}
}

/* To be called after every change to the slave. */
static void pic_cascade(struct i8259 *pic)
{
	chip_set_line(&pic->master, I8259_CASCADE, chip_winner(&pic->slave) != 8);
}

static void chip_acknowledge(struct i8259_chip *chip, unsigned input)
{
	uint8_t bit = (uint8_t)(1U << input);

	chip->edges &= (uint8_t)~bit;
	if (!(chip->icw4 & ICW4_AUTO_EOI))
		chip->in_service |= bit;
	else if (chip->rotate_on_auto_eoi)
		chip->lowest = (uint8_t)input;
}

static void chip_initialise(struct i8259_chip *chip, uint8_t icw1)
{
	chip->icw1 = icw1;
	chip->icw3 = 0;
	chip->icw4 = 0;
	chip->edges = 0;
	chip->in_service = 0;
	chip->masked = 0;
	chip->lowest = 7;
	chip->read_in_service = false;
	chip->poll = false;
	chip->special_mask = false;
	chip->rotate_on_auto_eoi = false;
	chip->initialised = false;
	chip->expect = I8259_EXPECT_ICW2;
}

static void chip_end_of_interrupt(struct i8259_chip *chip, uint8_t ocw2)
{
	bool rotate = ocw2 & 0x80;
	bool specific = ocw2 & 0x40;
	bool end = ocw2 & 0x20;
	unsigned input = ocw2 & 7U;

	if (!end) {
		if (!specific)
			chip->rotate_on_auto_eoi = rotate;
		else if (rotate)
			chip->lowest = (uint8_t)input;
		return;
	}
	if (!specific) {
		/* In special mask mode the non-specific command does not see masked levels. */
		input = chip_first(chip, chip->special_mask ? (uint8_t)(chip->in_service & ~chip->masked)
							    : chip->in_service);
		if (input == 8)
			return;
	}
	chip->in_service &= (uint8_t)~(1U << input);
	if (rotate)
		chip->lowest = (uint8_t)input;
}

static void chip_write_command(struct i8259_chip *chip, uint8_t value)
{
	if (value & ICW1_SELECT) {
		chip_initialise(chip, value);
	} else if (value & OCW3_SELECT) {
		if (value & OCW3_READ)
			chip->read_in_service = value & OCW3_READ_ISR;
		if (value & OCW3_SPECIAL_MASK_ENABLE)
			chip->special_mask = value & OCW3_SPECIAL_MASK;
		chip->poll = value & OCW3_POLL;
	} else {
		chip_end_of_interrupt(chip, value);
	}
}

static void chip_write_data(struct i8259_chip *chip, uint8_t value)
{
	switch ((enum i8259_expect)chip->expect) {
	case I8259_EXPECT_OCW1:
		chip->masked = value;
		return;
	case I8259_EXPECT_ICW2:
		chip->vector_base = value & 0xF8;
		if (!(chip->icw1 & ICW1_SINGLE))
			chip->expect = I8259_EXPECT_ICW3;
		else
			chip->expect = chip->icw1 & ICW1_IC4 ? I8259_EXPECT_ICW4 : I8259_EXPECT_OCW1;
		break;
	case I8259_EXPECT_ICW3:
		chip->icw3 = value;
		chip->expect = chip->icw1 & ICW1_IC4 ? I8259_EXPECT_ICW4 : I8259_EXPECT_OCW1;
		break;
	case I8259_EXPECT_ICW4:
		chip->icw4 = value;
		chip->expect = I8259_EXPECT_OCW1;
		break;
	}
	chip->initialised = chip->expect == I8259_EXPECT_OCW1;
}

static uint8_t chip_read(struct i8259_chip *chip, bool data_port)
{
	if (chip->poll) {
		unsigned input = chip_winner(chip);

		chip->poll = false;
		if (input == 8)
			return 0;
		chip_acknowledge(chip, input);
		return (uint8_t)(0x80U | input);
	}
	if (data_port)
		return chip->masked;
	return chip->read_in_service ? chip->in_service : chip_requests(chip);
}

void i8259_set_line(struct i8259 *pic, unsigned line, bool level)
{
	if (line >= I8259_LINES || line == I8259_CASCADE)
		return;
	if (line < 8) {
		chip_set_line(&pic->master, line, level);
	} else {
		chip_set_line(&pic->slave, line - 8, level);
		pic_cascade(pic);
	}
}

bool i8259_interrupt_pending(const struct i8259 *pic)
{
	return chip_winner(&pic->master) != 8;
}

uint8_t i8259_acknowledge(struct i8259 *pic)
{
	struct i8259_chip *master = &pic->master;
	struct i8259_chip *slave = &pic->slave;
	unsigned input = chip_winner(master);

	if (input == 8)
		return (uint8_t)(master->vector_base | 7U);
	chip_acknowledge(master, input);
	if (input != I8259_CASCADE || (master->icw1 & ICW1_SINGLE) || !(master->icw3 & (1U << I8259_CASCADE)))
		return (uint8_t)(master->vector_base | input);

	unsigned slave_input = chip_winner(slave);

	if (slave_input == 8)
		return (uint8_t)(slave->vector_base | 7U);
	chip_acknowledge(slave, slave_input);
	/* The slave takes INT back during INTA, so what it still wants is a new edge for the master. */
	chip_set_line(master, I8259_CASCADE, false);
	pic_cascade(pic);
	return (uint8_t)(slave->vector_base | slave_input);
}

bool i8259_listens(const struct i8259 *pic, unsigned line)
{
	const struct i8259_chip *chip = line < 8 ? &pic->master : &pic->slave;
	uint8_t bit = (uint8_t)(1U << (line & 7U));

	if (line >= 8 && (pic->master.masked & (1U << I8259_CASCADE)))
		return false;
	return chip->initialised && !((chip->masked | chip_requests(chip) | chip->in_service) & bit);
}

static void i8259_reset(void *device, uint64_t now)
{
	struct i8259 *pic = device;
	/* The inputs are other chips' outputs. */
	uint8_t master_lines = pic->master.lines & (uint8_t)~(1U << I8259_CASCADE);
	uint8_t slave_lines = pic->slave.lines;

	(void)now;
	*pic = (struct i8259){
		.master = { .lowest = 7, .lines = master_lines },
		.slave = { .lowest = 7, .lines = slave_lines },
	};
}

static uint64_t i8259_read(void *device, const struct device_access *access)
{
	struct i8259 *pic = device;
	uint8_t value;

	if (access->region == I8259_ELCR)
		return access->offset == 0 ? pic->master.level : pic->slave.level;
	value = chip_read(access->region == I8259_MASTER ? &pic->master : &pic->slave, access->offset == 1);
	pic_cascade(pic);
	return value;
}

static void i8259_write(void *device, const struct device_access *access, uint64_t value)
{
	struct i8259 *pic = device;
	struct i8259_chip *chip = access->region == I8259_MASTER ? &pic->master : &pic->slave;

	if (access->region == I8259_ELCR) {
		if (access->offset == 0)
			pic->master.level = (uint8_t)(value & ELCR_MASTER_MASK);
		else
			pic->slave.level = (uint8_t)(value & ELCR_SLAVE_MASK);
	} else if (access->offset == 0) {
		chip_write_command(chip, (uint8_t)value);
	} else {
		chip_write_data(chip, (uint8_t)value);
	}
	pic_cascade(pic);
}

static void chip_save(const struct i8259_chip *chip, struct bytes_writer *writer)
{
	bytes_put_u8(writer, chip->lines);
	bytes_put_u8(writer, chip->edges);
	bytes_put_u8(writer, chip->in_service);
	bytes_put_u8(writer, chip->masked);
	bytes_put_u8(writer, chip->level);
	bytes_put_u8(writer, chip->lowest);
	bytes_put_u8(writer, chip->vector_base);
	bytes_put_u8(writer, chip->icw1);
	bytes_put_u8(writer, chip->icw3);
	bytes_put_u8(writer, chip->icw4);
	bytes_put_u8(writer, chip->expect);
	bytes_put_bool(writer, chip->initialised);
	bytes_put_bool(writer, chip->read_in_service);
	bytes_put_bool(writer, chip->poll);
	bytes_put_bool(writer, chip->special_mask);
	bytes_put_bool(writer, chip->rotate_on_auto_eoi);
}

static result chip_load(struct i8259_chip *chip, struct bytes_reader *reader, uint8_t level_mask)
{
	chip->lines = bytes_get_u8(reader);
	chip->edges = bytes_get_u8(reader);
	chip->in_service = bytes_get_u8(reader);
	chip->masked = bytes_get_u8(reader);
	chip->level = bytes_get_u8(reader);
	chip->lowest = bytes_get_u8(reader);
	chip->vector_base = bytes_get_u8(reader);
	chip->icw1 = bytes_get_u8(reader);
	chip->icw3 = bytes_get_u8(reader);
	chip->icw4 = bytes_get_u8(reader);
	chip->expect = bytes_get_u8(reader);
	chip->initialised = bytes_get_bool(reader);
	chip->read_in_service = bytes_get_bool(reader);
	chip->poll = bytes_get_bool(reader);
	chip->special_mask = bytes_get_bool(reader);
	chip->rotate_on_auto_eoi = bytes_get_bool(reader);
	if (chip->lowest > 7 || (chip->vector_base & 7) || chip->expect > I8259_EXPECT_ICW4 ||
	    (chip->level & ~level_mask))
		return fail(STATUS_INPUT, "interrupt controller state is not valid");
	return OK;
}

static void i8259_save(const void *device, struct bytes_writer *writer)
{
	const struct i8259 *pic = device;

	chip_save(&pic->master, writer);
	chip_save(&pic->slave, writer);
}

static result i8259_load(void *device, struct bytes_reader *reader, uint64_t now)
{
	struct i8259 *pic = device;

	(void)now;
	TRY(chip_load(&pic->master, reader, ELCR_MASTER_MASK));
	return chip_load(&pic->slave, reader, ELCR_SLAVE_MASK);
}

const struct device_model i8259_model = {
	.name = "i8259",
	.reset = i8259_reset,
	.read = i8259_read,
	.write = i8259_write,
	.save = i8259_save,
	.load = i8259_load,
};
