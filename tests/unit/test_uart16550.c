/* Behaviour from the PC16550D data sheet, and what Linux's 8250 driver looks for when it probes. */
#include "devices/uart16550.h"

#include <string.h>

#include "tests/unit/fixture.h"

enum { RBR = 0, THR = 0, IER = 1, IIR = 2, FCR = 2, LCR = 3, MCR = 4, LSR = 5, MSR = 6, SCR = 7 };

static struct fixture fixture;
static struct uart16550 uart;

static void setup(void)
{
	fixture_init(&fixture);
	uart = (struct uart16550){ 0 };
	uart16550_init(&uart, &fixture.board);
	uart16550_model.reset(&uart, 0);
}

static void out(unsigned offset, unsigned value)
{
	fixture_write(&uart16550_model, &uart, 0, offset, 1, value, 0);
}

static unsigned in(unsigned offset)
{
	return (unsigned)fixture_read(&uart16550_model, &uart, 0, offset, 1, 0);
}

static void receive(const char *text)
{
	uart16550_receive(&uart, (const uint8_t *)text, strlen(text));
}

START_TEST(at_reset)
{
	ck_assert_uint_eq(in(IER), 0);
	ck_assert_uint_eq(in(IIR), 0x01);
	ck_assert_uint_eq(in(LCR), 0);
	ck_assert_uint_eq(in(MCR), 0);
	ck_assert_uint_eq(in(LSR), 0x60);
	ck_assert_uint_eq(in(MSR), 0xB0);
	ck_assert_uint_eq(in(RBR), 0);
	ck_assert(!fixture.lines[4]);
}
END_TEST

START_TEST(transmits_at_once)
{
	for (const char *c = "tercet\n"; *c; c++) {
		ck_assert_uint_eq(in(LSR) & 0x60, 0x60);
		out(THR, (unsigned char)*c);
	}
	ck_assert_uint_eq(fixture.output_length, 7);
	ck_assert_mem_eq(fixture.output, "tercet\n", 7);
}
END_TEST

START_TEST(divisor)
{
	out(LCR, 0x83);
	out(0, 0x34);
	out(1, 0x12);
	ck_assert_uint_eq(in(0), 0x34);
	ck_assert_uint_eq(in(1), 0x12);
	out(LCR, 0x03);
	ck_assert_uint_eq(fixture.output_length, 0);
	ck_assert_uint_eq(in(IER), 0);
	ck_assert_uint_eq(in(RBR), 0);
}
END_TEST

START_TEST(linux_probes_a_16550a)
{
	/* autoconfig(): only four bits of IER, modem lines in loopback, FIFOs, no EFR, no 64-byte FIFO, scratch. */
	out(IER, 0);
	ck_assert_uint_eq(in(IER) & 0x0F, 0);
	out(IER, 0xFF);
	ck_assert_uint_eq(in(IER), 0x0F);
	out(IER, 0);
	out(MCR, 0x1A);
	ck_assert_uint_eq(in(MSR) & 0xF0, 0x90);
	out(MCR, 0);
	out(LCR, 0xBF);
	out(FCR, 0);
	out(LCR, 0);
	out(FCR, 0x01);
	ck_assert_uint_eq(in(IIR) >> 6, 3);
	out(LCR, 0x80);
	ck_assert_uint_ne(in(IIR), 0);
	out(FCR, 0x21);
	ck_assert_uint_eq(in(IIR) >> 5, 6);
	out(LCR, 0);
	out(SCR, 0x5A);
	ck_assert_uint_eq(in(SCR), 0x5A);
	/* size_fifo(): what comes back in loopback counts as the FIFO's size. */
	out(FCR, 0x07);
	out(MCR, 0x10);
	for (unsigned i = 0; i < 256; i++)
		out(THR, i);
	unsigned count = 0;

	while (in(LSR) & 0x01)
		ck_assert_uint_eq(in(RBR), count++);
	ck_assert_uint_eq(count, 16);
	out(MCR, 0);
	ck_assert_uint_eq(fixture.output_length, 0);
}
END_TEST

START_TEST(linux_tests_the_transmitter_interrupt)
{
	out(IER, 0x02);
	ck_assert_uint_eq(in(IIR), 0x02);
	ck_assert_uint_eq(in(IIR), 0x01);
	out(IER, 0);
	out(IER, 0x02);
	ck_assert_uint_eq(in(IIR), 0x02);
	/* Enabled already, it is not raised again by the same write. */
	out(IER, 0x03);
	ck_assert_uint_eq(in(IIR), 0x01);
}
END_TEST

START_TEST(transmitter_interrupt)
{
	out(MCR, 0x08);
	out(IER, 0x02);
	ck_assert(fixture.lines[4]);
	ck_assert_uint_eq(in(IIR), 0x02);
	ck_assert(!fixture.lines[4]);
	out(THR, 'a');
	ck_assert(fixture.lines[4]);
	ck_assert_uint_eq(fixture.rises[4], 2);
	/* Each character is an edge, also while the line is up. */
	out(THR, 'b');
	ck_assert(fixture.lines[4]);
	ck_assert_uint_eq(fixture.rises[4], 3);
}
END_TEST

START_TEST(out2_is_the_gate)
{
	out(IER, 0x02);
	ck_assert(!fixture.lines[4]);
	out(MCR, 0x08);
	ck_assert(fixture.lines[4]);
	out(MCR, 0x18);
	ck_assert(!fixture.lines[4]);
	out(MCR, 0x08);
	ck_assert(fixture.lines[4]);
	out(MCR, 0);
	ck_assert(!fixture.lines[4]);
}
END_TEST

START_TEST(receives_without_fifo)
{
	out(MCR, 0x08);
	out(IER, 0x01);
	ck_assert_uint_eq(uart16550_room(&uart), 1);
	receive("x");
	ck_assert_uint_eq(uart16550_room(&uart), 0);
	ck_assert(fixture.lines[4]);
	ck_assert_uint_eq(in(IIR), 0x04);
	ck_assert_uint_eq(in(LSR), 0x61);
	ck_assert_uint_eq(in(RBR), 'x');
	ck_assert(!fixture.lines[4]);
	ck_assert_uint_eq(in(IIR), 0x01);
	/* Overrun: the newer character stays, and the read of LSR clears the error. */
	receive("yz");
	ck_assert_uint_eq(in(LSR), 0x63);
	ck_assert_uint_eq(in(LSR), 0x61);
	ck_assert_uint_eq(in(RBR), 'z');
}
END_TEST

START_TEST(fifo_trigger_and_timeout)
{
	static const unsigned levels[4] = { 1, 4, 8, 14 };
	unsigned trigger = (unsigned)_i;

	out(IER, 0x01);
	out(FCR, trigger << 6 | 0x01);
	for (unsigned i = 1; i <= 16; i++) {
		ck_assert_uint_eq(uart16550_room(&uart), 17 - i);
		receive("q");
		ck_assert_uint_eq(in(IIR), i >= levels[trigger] ? 0xC4 : 0xCC);
	}
	ck_assert_uint_eq(uart16550_room(&uart), 0);
	for (unsigned i = 16; i-- > 0;) {
		ck_assert_uint_eq(in(RBR), 'q');
		ck_assert_uint_eq(in(IIR), i == 0 ? 0xC1 : i >= levels[trigger] ? 0xC4 : 0xCC);
	}
}
END_TEST

START_TEST(fifo_overrun_keeps_the_older)
{
	out(FCR, 0x01);
	out(IER, 0x05);
	receive("0123456789abcdefX");
	ck_assert_uint_eq(in(IIR), 0xC6);
	ck_assert_uint_eq(in(LSR), 0x63);
	ck_assert_uint_eq(in(IIR), 0xC4);
	for (const char *c = "0123456789abcdef"; *c; c++)
		ck_assert_uint_eq(in(RBR), (unsigned char)*c);
	ck_assert_uint_eq(in(LSR), 0x60);
}
END_TEST

START_TEST(fifo_control)
{
	out(FCR, 0x01);
	receive("abc");
	out(FCR, 0x03);
	ck_assert_uint_eq(in(LSR) & 1, 0);
	receive("abc");
	/* Switching the FIFOs on or off empties them; without enable nothing else is programmed. */
	out(FCR, 0xC0);
	ck_assert_uint_eq(in(LSR) & 1, 0);
	ck_assert_uint_eq(in(IIR), 0x01);
	out(FCR, 0x01);
	out(IER, 0x01);
	receive("a");
	ck_assert_uint_eq(in(IIR), 0xC4);
}
END_TEST

START_TEST(modem_status)
{
	out(MCR, 0x18); /* loopback: OUT2 -> DCD, and CTS, DSR fall */
	ck_assert_uint_eq(in(MSR), 0x80 | 0x03);
	ck_assert_uint_eq(in(MSR), 0x80);
	out(MCR, 0x1F);
	ck_assert_uint_eq(in(MSR), 0xF0 | 0x03);
	/* The ring indicator's delta is its trailing edge. */
	out(MCR, 0x1B);
	ck_assert_uint_eq(in(MSR), 0xB0 | 0x04);
	out(IER, 0x08);
	out(MCR, 0x0B);
	ck_assert_uint_eq(in(MSR), 0xB0);
	out(MCR, 0x1A);
	out(MCR, 0x08);
	ck_assert(fixture.lines[4]);
	ck_assert_uint_eq(in(IIR), 0x00);
	ck_assert_uint_eq(in(MSR), 0xB1 + 1);
	ck_assert(!fixture.lines[4]);
}
END_TEST

START_TEST(interrupt_priorities)
{
	out(FCR, 0x01);
	out(IER, 0x0F);
	out(MCR, 0x1B);
	out(MCR, 0x10);
	(void)in(RBR);
	for (unsigned i = 0; i < 17; i++)
		out(THR, i);
	ck_assert_uint_eq(in(IIR), 0xC6);
	(void)in(LSR);
	ck_assert_uint_eq(in(IIR), 0xC4);
	while (in(LSR) & 1)
		(void)in(RBR);
	ck_assert_uint_eq(in(IIR), 0xC2);
	ck_assert_uint_eq(in(IIR), 0xC0);
	(void)in(MSR);
	ck_assert_uint_eq(in(IIR), 0xC1);
}
END_TEST

START_TEST(break_in_loopback)
{
	out(FCR, 0x01);
	out(MCR, 0x10);
	out(THR, 'a');
	out(LCR, 0x43);
	/* An error inside the FIFO shows in bit 7; its own bit when the character is at the top. */
	ck_assert_uint_eq(in(LSR), 0xE1);
	ck_assert_uint_eq(in(RBR), 'a');
	ck_assert_uint_eq(in(LSR), 0xF1);
	ck_assert_uint_eq(in(LSR), 0x61);
	ck_assert_uint_eq(in(RBR), 0);
	/* A break to the terminal is no character. */
	out(MCR, 0);
	out(LCR, 0);
	out(LCR, 0x40);
	ck_assert_uint_eq(fixture.output_length, 0);
	ck_assert_uint_eq(in(LSR), 0x60);
}
END_TEST

START_TEST(nothing_from_outside_in_loopback)
{
	out(MCR, 0x10);
	ck_assert_uint_eq(uart16550_room(&uart), 0);
	receive("abc");
	ck_assert_uint_eq(in(LSR), 0x60);
}
END_TEST

START_TEST(read_only_registers)
{
	out(LSR, 0xFF);
	out(MSR, 0xFF);
	ck_assert_uint_eq(in(LSR), 0x60);
	ck_assert_uint_eq(in(MSR), 0xB0);
}
END_TEST

START_TEST(state)
{
	struct uart16550 other = { 0 };
	uint64_t seed = 5;

	uart16550_init(&other, &fixture.board);
	for (unsigned i = 0; i < 20000; i++) {
		uint64_t r = fixture_random(&seed);
		uint8_t byte = r >> 16 & 0xFF;

		fixture.output_length = 0;
		if (r >> 60 == 0)
			uart16550_receive(&uart, &byte, 1);
		else if (r >> 59 & 1)
			out(r & 7, byte);
		else
			(void)in(r & 7);
		fixture_copy_state(&uart16550_model, &uart, &other, 0);
		ck_assert_mem_eq(&uart, &other, sizeof(uart));
	}
	fixture_hostile_states(&uart16550_model, &uart, &other, 0);
}
END_TEST

START_TEST(invalid_states)
{
	static const struct fixture_damage damages[] = {
		{ 0, 0x10 },  /* interrupt enable */
		{ 1, 0x40 },  /* trigger level without FIFOs */
		{ 1, 0x03 },  /* a command that is not kept */
		{ 3, 0x20 },  /* modem control */
		{ 8, 2 },     /* not a boolean */
		{ 10, 2 },    /* two characters without FIFOs */
		{ 11, 1 },    /* a character beyond the count */
		{ 27, 0x10 }, /* its error */
	};
	struct uart16550 other = { 0 };

	fixture_expect_rejected(&uart16550_model, &uart, &other, 0, damages, ARRAY_SIZE(damages));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("uart16550");
	TCase *tests = tcase_create("data sheet");

	tcase_add_checked_fixture(tests, setup, NULL);
	tcase_add_test(tests, at_reset);
	tcase_add_test(tests, transmits_at_once);
	tcase_add_test(tests, divisor);
	tcase_add_test(tests, linux_probes_a_16550a);
	tcase_add_test(tests, linux_tests_the_transmitter_interrupt);
	tcase_add_test(tests, transmitter_interrupt);
	tcase_add_test(tests, out2_is_the_gate);
	tcase_add_test(tests, receives_without_fifo);
	tcase_add_loop_test(tests, fifo_trigger_and_timeout, 0, 4);
	tcase_add_test(tests, fifo_overrun_keeps_the_older);
	tcase_add_test(tests, fifo_control);
	tcase_add_test(tests, modem_status);
	tcase_add_test(tests, interrupt_priorities);
	tcase_add_test(tests, break_in_loopback);
	tcase_add_test(tests, nothing_from_outside_in_loopback);
	tcase_add_test(tests, read_only_registers);
	tcase_add_test(tests, state);
	tcase_add_test(tests, invalid_states);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
