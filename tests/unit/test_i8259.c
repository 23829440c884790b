/* Behaviour from the Intel 8259A data sheet; section names as there. */
#include "devices/i8259.h"
#include "tests/unit/fixture.h"

static struct i8259 pic;

static void command(unsigned chip, uint8_t value)
{
	fixture_write(&i8259_model, &pic, chip, 0, 1, value, 0);
}

static void data(unsigned chip, uint8_t value)
{
	fixture_write(&i8259_model, &pic, chip, 1, 1, value, 0);
}

static unsigned status(unsigned chip)
{
	return (unsigned)fixture_read(&i8259_model, &pic, chip, 0, 1, 0);
}

static unsigned mask(unsigned chip)
{
	return (unsigned)fixture_read(&i8259_model, &pic, chip, 1, 1, 0);
}

static void initialise(uint8_t icw1, uint8_t icw4)
{
	command(I8259_MASTER, icw1);
	data(I8259_MASTER, 0x30);
	data(I8259_MASTER, 0x04);
	data(I8259_MASTER, icw4);
	command(I8259_SLAVE, icw1);
	data(I8259_SLAVE, 0x38);
	data(I8259_SLAVE, 0x02);
	data(I8259_SLAVE, icw4 & 0x0F);
}

static void setup(void)
{
	pic = (struct i8259){ 0 };
	i8259_model.reset(&pic, 0);
	initialise(0x11, 0x01);
}

static void pulse(unsigned line)
{
	i8259_set_line(&pic, line, true);
	i8259_set_line(&pic, line, false);
}

static unsigned in_service(unsigned chip)
{
	command(chip, 0x0B);
	unsigned value = status(chip);

	command(chip, 0x0A);
	return value;
}

START_TEST(silent_before_initialisation)
{
	pic = (struct i8259){ 0 };
	i8259_model.reset(&pic, 0);
	i8259_set_line(&pic, 1, true);
	ck_assert(!i8259_interrupt_pending(&pic));
	/* The mask register works before the first ICW1: Linux probes for it so. */
	data(I8259_MASTER, 0xFB);
	ck_assert_uint_eq(mask(I8259_MASTER), 0xFB);
	/* And during the sequence nothing gets out either. */
	command(I8259_MASTER, 0x11);
	i8259_set_line(&pic, 1, false);
	i8259_set_line(&pic, 1, true);
	data(I8259_MASTER, 0x30);
	data(I8259_MASTER, 0x04);
	ck_assert(!i8259_interrupt_pending(&pic));
	data(I8259_MASTER, 0x01);
	ck_assert(i8259_interrupt_pending(&pic));
}
END_TEST

START_TEST(every_line_has_its_vector)
{
	unsigned line = (unsigned)_i;

	if (line == 2) {
		i8259_set_line(&pic, 2, true);
		ck_assert(!i8259_interrupt_pending(&pic));
		return;
	}
	i8259_set_line(&pic, line, true);
	ck_assert(i8259_interrupt_pending(&pic));
	ck_assert_uint_eq(i8259_acknowledge(&pic), 0x30 + line);
	ck_assert(!i8259_interrupt_pending(&pic));
	ck_assert_uint_eq(in_service(I8259_MASTER), line < 8 ? 1U << line : 4U);
	ck_assert_uint_eq(in_service(I8259_SLAVE), line < 8 ? 0 : 1U << (line - 8));
}
END_TEST

START_TEST(icw1_clears)
{
	i8259_set_line(&pic, 3, true);
	data(I8259_MASTER, 0xFF);
	command(I8259_MASTER, 0xC6); /* lowest priority 6 */
	initialise(0x11, 0x01);
	ck_assert_uint_eq(mask(I8259_MASTER), 0);
	/* The edge sense is reset: a high input must fall and rise again. */
	ck_assert_uint_eq(status(I8259_MASTER), 0);
	ck_assert(!i8259_interrupt_pending(&pic));
	i8259_set_line(&pic, 3, false);
	i8259_set_line(&pic, 3, true);
	i8259_set_line(&pic, 7, true);
	i8259_set_line(&pic, 0, true);
	ck_assert_uint_eq(i8259_acknowledge(&pic), 0x30);
}
END_TEST

START_TEST(priorities_nest)
{
	i8259_set_line(&pic, 5, true);
	ck_assert_uint_eq(i8259_acknowledge(&pic), 0x35);
	i8259_set_line(&pic, 6, true);
	ck_assert(!i8259_interrupt_pending(&pic));
	i8259_set_line(&pic, 1, true);
	ck_assert_uint_eq(i8259_acknowledge(&pic), 0x31);
	/* The non-specific end of interrupt ends the highest level in service. */
	command(I8259_MASTER, 0x20);
	ck_assert_uint_eq(in_service(I8259_MASTER), 0x20);
	ck_assert(!i8259_interrupt_pending(&pic));
	command(I8259_MASTER, 0x20);
	ck_assert_uint_eq(i8259_acknowledge(&pic), 0x36);
	command(I8259_MASTER, 0x66);
	ck_assert_uint_eq(in_service(I8259_MASTER), 0);
}
END_TEST

START_TEST(specific_end_of_interrupt)
{
	i8259_set_line(&pic, 4, true);
	(void)i8259_acknowledge(&pic);
	i8259_set_line(&pic, 1, true);
	(void)i8259_acknowledge(&pic);
	command(I8259_MASTER, 0x64);
	ck_assert_uint_eq(in_service(I8259_MASTER), 0x02);
	command(I8259_MASTER, 0x40); /* no operation */
	ck_assert_uint_eq(in_service(I8259_MASTER), 0x02);
}
END_TEST

START_TEST(masks)
{
	data(I8259_MASTER, 0x08);
	i8259_set_line(&pic, 3, true);
	ck_assert(!i8259_interrupt_pending(&pic));
	ck_assert_uint_eq(status(I8259_MASTER), 0x08);
	data(I8259_MASTER, 0);
	ck_assert(i8259_interrupt_pending(&pic));
	/* The cascade's mask holds back the whole slave. */
	(void)i8259_acknowledge(&pic);
	command(I8259_MASTER, 0x20);
	data(I8259_MASTER, 0x04);
	i8259_set_line(&pic, 8, true);
	ck_assert(!i8259_interrupt_pending(&pic));
	data(I8259_MASTER, 0);
	ck_assert_uint_eq(i8259_acknowledge(&pic), 0x38);
}
END_TEST

START_TEST(edge_is_latched_once)
{
	pulse(3);
	ck_assert_uint_eq(i8259_acknowledge(&pic), 0x33);
	command(I8259_MASTER, 0x20);
	ck_assert(!i8259_interrupt_pending(&pic));
	i8259_set_line(&pic, 3, true);
	(void)i8259_acknowledge(&pic);
	command(I8259_MASTER, 0x20);
	/* Held high, it does not ask again. */
	ck_assert(!i8259_interrupt_pending(&pic));
	/* While one is in service one more edge is kept, and only one. */
	pulse(4);
	(void)i8259_acknowledge(&pic);
	pulse(4);
	pulse(4);
	command(I8259_MASTER, 0x20);
	ck_assert_uint_eq(i8259_acknowledge(&pic), 0x34);
	command(I8259_MASTER, 0x20);
	ck_assert(!i8259_interrupt_pending(&pic));
}
END_TEST

START_TEST(level_follows_the_line)
{
	fixture_write(&i8259_model, &pic, I8259_ELCR, 1, 1, 0x02, 0);
	i8259_set_line(&pic, 9, true);
	ck_assert_uint_eq(i8259_acknowledge(&pic), 0x39);
	command(I8259_SLAVE, 0x20);
	command(I8259_MASTER, 0x20);
	/* Still high: it asks again. */
	ck_assert(i8259_interrupt_pending(&pic));
	ck_assert_uint_eq(i8259_acknowledge(&pic), 0x39);
	i8259_set_line(&pic, 9, false);
	command(I8259_SLAVE, 0x20);
	command(I8259_MASTER, 0x20);
	ck_assert(!i8259_interrupt_pending(&pic));
	/* The bit of ICW1 makes all of a chip's inputs level-triggered. */
	initialise(0x19, 0x01);
	i8259_set_line(&pic, 5, true);
	(void)i8259_acknowledge(&pic);
	command(I8259_MASTER, 0x20);
	ck_assert(i8259_interrupt_pending(&pic));
}
END_TEST

START_TEST(elcr_keeps_what_a_pc_can_switch)
{
	fixture_write(&i8259_model, &pic, I8259_ELCR, 0, 1, 0xFF, 0);
	fixture_write(&i8259_model, &pic, I8259_ELCR, 1, 1, 0xFF, 0);
	ck_assert_uint_eq(fixture_read(&i8259_model, &pic, I8259_ELCR, 0, 1, 0), 0xF8);
	ck_assert_uint_eq(fixture_read(&i8259_model, &pic, I8259_ELCR, 1, 1, 0), 0xDE);
}
END_TEST

START_TEST(spurious_7)
{
	ck_assert_uint_eq(i8259_acknowledge(&pic), 0x37);
	ck_assert_uint_eq(in_service(I8259_MASTER), 0);
	fixture_write(&i8259_model, &pic, I8259_ELCR, 0, 1, 0x20, 0);
	i8259_set_line(&pic, 5, true);
	ck_assert(i8259_interrupt_pending(&pic));
	i8259_set_line(&pic, 5, false);
	ck_assert(!i8259_interrupt_pending(&pic));
	ck_assert_uint_eq(i8259_acknowledge(&pic), 0x37);
	ck_assert_uint_eq(in_service(I8259_MASTER), 0);
}
END_TEST

START_TEST(spurious_15)
{
	fixture_write(&i8259_model, &pic, I8259_ELCR, 1, 1, 0x02, 0);
	i8259_set_line(&pic, 9, true);
	i8259_set_line(&pic, 9, false);
	/* The master has seen the slave's edge, the slave has nothing left to say. */
	ck_assert(i8259_interrupt_pending(&pic));
	ck_assert_uint_eq(i8259_acknowledge(&pic), 0x3F);
	ck_assert_uint_eq(in_service(I8259_SLAVE), 0);
	ck_assert_uint_eq(in_service(I8259_MASTER), 0x04);
	command(I8259_MASTER, 0x20);
	ck_assert(!i8259_interrupt_pending(&pic));
}
END_TEST

START_TEST(slave_requests_one_after_another)
{
	i8259_set_line(&pic, 12, true);
	i8259_set_line(&pic, 14, true);
	ck_assert_uint_eq(i8259_acknowledge(&pic), 0x3C);
	ck_assert(!i8259_interrupt_pending(&pic));
	command(I8259_SLAVE, 0x20);
	ck_assert(!i8259_interrupt_pending(&pic));
	command(I8259_MASTER, 0x20);
	ck_assert_uint_eq(i8259_acknowledge(&pic), 0x3E);
	/* IRQ 8 outranks IRQ 14 in the slave, but the master's input 2 is in service ... */
	i8259_set_line(&pic, 8, true);
	ck_assert(!i8259_interrupt_pending(&pic));
	command(I8259_MASTER, 0x62);
	ck_assert_uint_eq(i8259_acknowledge(&pic), 0x38);
}
END_TEST

START_TEST(special_fully_nested)
{
	initialise(0x11, 0x11);
	i8259_set_line(&pic, 14, true);
	ck_assert_uint_eq(i8259_acknowledge(&pic), 0x3E);
	i8259_set_line(&pic, 3, true);
	ck_assert(!i8259_interrupt_pending(&pic));
	/* ... except in this mode. */
	i8259_set_line(&pic, 8, true);
	ck_assert_uint_eq(i8259_acknowledge(&pic), 0x38);
}
END_TEST

START_TEST(automatic_end_of_interrupt)
{
	initialise(0x11, 0x03);
	i8259_set_line(&pic, 12, true);
	i8259_set_line(&pic, 14, true);
	i8259_set_line(&pic, 6, true);
	ck_assert_uint_eq(i8259_acknowledge(&pic), 0x3C);
	ck_assert_uint_eq(in_service(I8259_MASTER), 0);
	ck_assert_uint_eq(i8259_acknowledge(&pic), 0x3E);
	ck_assert_uint_eq(i8259_acknowledge(&pic), 0x36);
	ck_assert(!i8259_interrupt_pending(&pic));
}
END_TEST

START_TEST(rotation)
{
	/* Rotate on non-specific end of interrupt: the served level becomes the lowest. */
	i8259_set_line(&pic, 3, true);
	(void)i8259_acknowledge(&pic);
	command(I8259_MASTER, 0xA0);
	i8259_set_line(&pic, 3, false);
	i8259_set_line(&pic, 3, true);
	i8259_set_line(&pic, 7, true);
	ck_assert_uint_eq(i8259_acknowledge(&pic), 0x37);
	/* Rotate on specific end of interrupt. */
	command(I8259_MASTER, 0xE7);
	i8259_set_line(&pic, 0, true);
	ck_assert_uint_eq(i8259_acknowledge(&pic), 0x30);
	command(I8259_MASTER, 0x20);
	/* Set priority. */
	command(I8259_MASTER, 0xC2);
	i8259_set_line(&pic, 0, false);
	i8259_set_line(&pic, 0, true);
	ck_assert_uint_eq(i8259_acknowledge(&pic), 0x33);
}
END_TEST

START_TEST(rotation_on_automatic_end)
{
	initialise(0x11, 0x03);
	command(I8259_MASTER, 0x80);
	pulse(1);
	ck_assert_uint_eq(i8259_acknowledge(&pic), 0x31);
	pulse(1);
	pulse(5);
	ck_assert_uint_eq(i8259_acknowledge(&pic), 0x35);
	command(I8259_MASTER, 0x00);
	ck_assert_uint_eq(i8259_acknowledge(&pic), 0x31);
	pulse(6);
	pulse(7);
	ck_assert_uint_eq(i8259_acknowledge(&pic), 0x36);
}
END_TEST

START_TEST(special_mask_mode)
{
	i8259_set_line(&pic, 3, true);
	(void)i8259_acknowledge(&pic);
	i8259_set_line(&pic, 6, true);
	data(I8259_MASTER, 0x08);
	ck_assert(!i8259_interrupt_pending(&pic));
	command(I8259_MASTER, 0x68);
	ck_assert_uint_eq(i8259_acknowledge(&pic), 0x36);
	/* A masked level is not ended by the non-specific command. */
	command(I8259_MASTER, 0x20);
	command(I8259_MASTER, 0x20);
	ck_assert_uint_eq(in_service(I8259_MASTER), 0x08);
	command(I8259_MASTER, 0x48);
	command(I8259_MASTER, 0x20);
	ck_assert_uint_eq(in_service(I8259_MASTER), 0);
}
END_TEST

START_TEST(poll)
{
	command(I8259_MASTER, 0x0C);
	ck_assert_uint_eq(status(I8259_MASTER), 0);
	i8259_set_line(&pic, 4, true);
	ck_assert_uint_eq(status(I8259_MASTER), 0x10);
	command(I8259_MASTER, 0x0C);
	ck_assert_uint_eq(status(I8259_MASTER), 0x84);
	ck_assert_uint_eq(in_service(I8259_MASTER), 0x10);
	ck_assert(!i8259_interrupt_pending(&pic));
	/* One read is one poll. */
	ck_assert_uint_eq(status(I8259_MASTER), 0);
}
END_TEST

START_TEST(single_mode)
{
	command(I8259_MASTER, 0x12); /* single, no ICW4 */
	data(I8259_MASTER, 0x47);
	data(I8259_MASTER, 0xF0); /* already the mask */
	ck_assert_uint_eq(mask(I8259_MASTER), 0xF0);
	i8259_set_line(&pic, 3, true);
	ck_assert_uint_eq(i8259_acknowledge(&pic), 0x43);
}
END_TEST

START_TEST(listens)
{
	ck_assert(i8259_listens(&pic, 0));
	ck_assert(i8259_listens(&pic, 8));
	data(I8259_MASTER, 0x01);
	ck_assert(!i8259_listens(&pic, 0));
	data(I8259_MASTER, 0x04);
	ck_assert(!i8259_listens(&pic, 8));
	data(I8259_MASTER, 0);
	data(I8259_SLAVE, 0x01);
	ck_assert(!i8259_listens(&pic, 8));
	ck_assert(i8259_listens(&pic, 9));
	data(I8259_SLAVE, 0);
	i8259_set_line(&pic, 0, true);
	ck_assert(!i8259_listens(&pic, 0));
	(void)i8259_acknowledge(&pic);
	ck_assert(!i8259_listens(&pic, 0));
	command(I8259_MASTER, 0x20);
	ck_assert(i8259_listens(&pic, 0));
}
END_TEST

START_TEST(reset_keeps_the_inputs)
{
	i8259_set_line(&pic, 3, true);
	i8259_model.reset(&pic, 0);
	initialise(0x11, 0x01);
	i8259_set_line(&pic, 3, true);
	ck_assert(!i8259_interrupt_pending(&pic));
}
END_TEST

START_TEST(no_line_beyond_15)
{
	struct i8259 before = pic;

	i8259_set_line(&pic, 16, true);
	i8259_set_line(&pic, UINT32_MAX, true);
	ck_assert_mem_eq(&before, &pic, sizeof(pic));
}
END_TEST

START_TEST(state)
{
	uint64_t seed = 1;
	struct i8259 other = { 0 };

	for (unsigned i = 0; i < 20000; i++) {
		uint64_t r = fixture_random(&seed);

		switch (r >> 60) {
		case 0:
			(void)i8259_acknowledge(&pic);
			break;
		case 1:
		case 2:
		case 3:
			fixture_write(&i8259_model, &pic, (unsigned)(r & 3) % 3, r >> 8 & 1, 1, r >> 16 & 0xFF, 0);
			break;
		case 4:
			(void)fixture_read(&i8259_model, &pic, (unsigned)(r & 3) % 3, r >> 8 & 1, 1, 0);
			break;
		case 5:
			initialise(0x11, 0x01);
			break;
		default:
			i8259_set_line(&pic, (unsigned)(r & 15), r >> 8 & 1);
			break;
		}
		fixture_copy_state(&i8259_model, &pic, &other, 0);
		ck_assert_mem_eq(&pic, &other, sizeof(pic));
		ck_assert_int_eq(i8259_interrupt_pending(&pic), i8259_interrupt_pending(&other));
	}
	fixture_hostile_states(&i8259_model, &pic, &other, 0);
}
END_TEST

START_TEST(invalid_states)
{
	static const struct fixture_damage damages[] = {
		{ 4, 0x01 },  /* ELCR: the timer cannot be level-triggered */
		{ 5, 8 },     /* priority */
		{ 6, 0x31 },  /* vector base */
		{ 10, 4 },    /* initialisation step */
		{ 11, 2 },    /* not a boolean */
		{ 20, 0x01 }, /* the slave's ELCR */
		{ 21, 8 },
	};
	struct i8259 other = { 0 };

	fixture_expect_rejected(&i8259_model, &pic, &other, 0, damages, ARRAY_SIZE(damages));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("i8259");
	TCase *tests = tcase_create("data sheet");

	tcase_add_checked_fixture(tests, setup, NULL);
	tcase_add_test(tests, silent_before_initialisation);
	tcase_add_loop_test(tests, every_line_has_its_vector, 0, 16);
	tcase_add_test(tests, icw1_clears);
	tcase_add_test(tests, priorities_nest);
	tcase_add_test(tests, specific_end_of_interrupt);
	tcase_add_test(tests, masks);
	tcase_add_test(tests, edge_is_latched_once);
	tcase_add_test(tests, level_follows_the_line);
	tcase_add_test(tests, elcr_keeps_what_a_pc_can_switch);
	tcase_add_test(tests, spurious_7);
	tcase_add_test(tests, spurious_15);
	tcase_add_test(tests, slave_requests_one_after_another);
	tcase_add_test(tests, special_fully_nested);
	tcase_add_test(tests, automatic_end_of_interrupt);
	tcase_add_test(tests, rotation);
	tcase_add_test(tests, rotation_on_automatic_end);
	tcase_add_test(tests, special_mask_mode);
	tcase_add_test(tests, poll);
	tcase_add_test(tests, single_mode);
	tcase_add_test(tests, listens);
	tcase_add_test(tests, reset_keeps_the_inputs);
	tcase_add_test(tests, no_line_beyond_15);
	tcase_add_test(tests, state);
	tcase_add_test(tests, invalid_states);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
