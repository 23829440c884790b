#include "tests/unit/timer.h"

struct fixture fixture;
struct i8254 pit;
uint64_t clock_now;

uint64_t now(void)
{
	return i8254_time_of(clock_now);
}

void timer_begin(void)
{
	fixture_init(&fixture);
	pit = (struct i8254){ 0 };
	clock_now = 1000;
	i8254_init(&pit, &fixture.board);
	i8254_model.reset(&pit, now());
}

void out(unsigned port, unsigned value)
{
	fixture_write(&i8254_model, &pit, I8254_PORTS, port, 1, value, now());
}

unsigned in(unsigned port)
{
	return (unsigned)fixture_read(&i8254_model, &pit, I8254_PORTS, port, 1, now());
}

void speaker(unsigned value)
{
	fixture_write(&i8254_model, &pit, I8254_SPEAKER, 0, 1, value, now());
}

void pass(uint64_t clocks)
{
	clock_now += clocks;
	i8254_model.advance(&pit, now());
}

void program(unsigned channel, unsigned mode, unsigned count)
{
	out(3, channel << 6 | 0x30 | mode << 1);
	out(channel, count & 0xFF);
	out(channel, count >> 8);
}
