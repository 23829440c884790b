#include "devices/i8254.h"

#define NANOSECONDS 1000000000U

/* Control word: SC 7:6, RW 5:4, M 3:1, BCD 0. */
#define CONTROL_READ_BACK 3U
#define READ_BACK_NO_COUNT 0x20U
#define READ_BACK_NO_STATUS 0x10U

/* Port 0x61. */
#define SPEAKER_GATE2 0x01U
#define SPEAKER_WRITABLE 0x0FU
#define SPEAKER_REFRESH 0x10U
#define SPEAKER_OUT2 0x20U
/* A PC's channel 1 is programmed to refresh a row every 18 pulses, and bit 4 toggles with each. */
#define REFRESH_CLOCKS 18U

uint64_t i8254_clocks_at(uint64_t now)
{
	return (uint64_t)((unsigned __int128)now * I8254_FREQUENCY / NANOSECONDS);
}

uint64_t i8254_time_of(uint64_t clocks)
{
	unsigned __int128 time = ((unsigned __int128)clocks * NANOSECONDS + (I8254_FREQUENCY - 1)) /
				 I8254_FREQUENCY;

	return time > DEVICE_NO_DEADLINE ? DEVICE_NO_DEADLINE : (uint64_t)time;
}

/* Modes 6 and 7 are 2 and 3. */
static unsigned channel_mode(const struct i8254_channel *channel)
{
	return channel->control > 5 ? channel->control - 4U : channel->control;
}

static uint32_t channel_modulus(const struct i8254_channel *channel)
{
	return channel->bcd ? 10000 : 65536;
}

/* What a count as written stands for: 1 to the modulus. A guest can write digits that are none; they count by
 * their place. */
static uint32_t channel_count(const struct i8254_channel *channel, uint16_t written)
{
	uint32_t count = written;

	if (channel->bcd)
		count = (uint32_t)(written >> 12) * 1000U + (written >> 8 & 0xFU) * 100U +
			(written >> 4 & 0xFU) * 10U + (written & 0xFU);
	count %= channel_modulus(channel);
	return count == 0 ? channel_modulus(channel) : count;
}

/* In modes 2 and 3 a count of 1 is illegal; it counts as the shortest legal one. */
static uint32_t channel_period(const struct i8254_channel *channel)
{
	uint32_t count = channel_count(channel, channel->count);

	return count < 2 ? 2 : count;
}

/* Mode 3: an odd period's extra pulse is spent high. */
static uint32_t channel_half(const struct i8254_channel *channel, bool out)
{
	uint32_t period = channel_period(channel);

	return out ? (period + 1) / 2 : period / 2;
}

/* The CLK pulse that copies the count register into the counting element. True when OUT rises with it. */
static bool channel_load(struct i8254_channel *channel)
{
	bool was_out = channel->out;

	channel->load_next = false;
	channel->loaded = true;
	channel->done = false;
	channel->null_count = false;
	channel->element = channel_count(channel, channel->count);
	switch (channel_mode(channel)) {
	case 0:
		return false;
	case 1:
		channel->out = false;
		return false;
	case 2:
		channel->element = channel_period(channel);
		break;
	case 3:
		channel->period = channel->count;
		channel->element = channel_half(channel, true);
		break;
	default:
		break;
	}
	channel->out = true;
	return !was_out;
}

/* Modes 0, 1, 4 and 5 count on round the modulus after the terminal count. */
static void channel_count_down(struct i8254_channel *channel, uint64_t clocks)
{
	uint32_t modulus = channel_modulus(channel);

	channel->element = (uint32_t)((channel->element + modulus - clocks % modulus) % modulus);
}

/* Modes 0 and 1: OUT rises at the terminal count. */
static bool channel_run_one_shot(struct i8254_channel *channel, uint64_t clocks)
{
	bool rises = !channel->done && clocks >= channel->element;

	if (rises) {
		channel->done = true;
		channel->out = true;
	}
	channel_count_down(channel, clocks);
	return rises;
}

/* Modes 4 and 5: at the terminal count OUT is low for one pulse. */
static bool channel_run_strobe(struct i8254_channel *channel, uint64_t clocks)
{
	bool rises = false;

	if (!channel->done) {
		if (clocks > channel->element) {
			channel->done = true;
			rises = true;
		} else if (clocks == channel->element) {
			channel->out = false;
		}
	}
	channel_count_down(channel, clocks);
	return rises;
}

/* Mode 2: OUT is low while the element is 1; the next pulse reloads it. */
static bool channel_run_rate(struct i8254_channel *channel, uint64_t clocks)
{
	bool rises = clocks >= channel->element;

	if (rises) {
		uint32_t period = channel_period(channel);

		channel->null_count = false;
		channel->element = period - (uint32_t)((clocks - channel->element) % period);
	} else {
		channel->element -= (uint32_t)clocks;
	}
	channel->out = channel->element > 1;
	return rises;
}

/* Mode 3: a new count is taken at the end of each half-period. */
static bool channel_run_square(struct i8254_channel *channel, uint64_t clocks)
{
	if (clocks < channel->element) {
		channel->element -= (uint32_t)clocks;
		return false;
	}
	clocks -= channel->element;
	channel->null_count = false;
	channel->period = channel->count;
	channel->out = !channel->out;

	uint32_t period = channel_period(channel);
	bool rises = channel->out || clocks >= period;

	clocks %= period;
	if (clocks >= channel_half(channel, channel->out)) {
		clocks -= channel_half(channel, channel->out);
		channel->out = !channel->out;
		rises = rises || channel->out;
	}
	channel->element = channel_half(channel, channel->out) - (uint32_t)clocks;
	return rises;
}

/* Lets CLK pulses pass. True when OUT rose at one of them. */
static bool channel_run(struct i8254_channel *channel, uint64_t clocks)
{
	unsigned mode = channel_mode(channel);
	bool rises = false;

	if (clocks > 0 && channel->load_next) {
		rises = channel_load(channel);
		clocks--;
	}
	if (clocks == 0 || !channel->loaded)
		return rises;
	if ((mode == 4 || mode == 5) && !channel->out) {
		channel->out = true;
		channel->done = true;
		rises = true;
	}
	/* In modes 1 and 5 the gate triggers and does not hold. */
	if (!channel->gate && mode != 1 && mode != 5)
		return rises;
	switch (mode) {
	case 0:
	case 1:
		return channel_run_one_shot(channel, clocks) || rises;
	case 2:
		return channel_run_rate(channel, clocks) || rises;
	case 3:
		return channel_run_square(channel, clocks) || rises;
	default:
		return channel_run_strobe(channel, clocks) || rises;
	}
}

/* CLK pulses until OUT rises, 0 for never. */
static uint64_t channel_until_rise(const struct i8254_channel *channel)
{
	unsigned mode = channel_mode(channel);
	uint64_t count = channel_count(channel, channel->count);

	if (channel->load_next && mode != 1) {
		if (mode != 0 && !channel->out)
			return 1;
		if (mode == 0)
			return channel->gate ? 1 + count : 0;
		if (mode == 2 || mode == 3)
			return channel->gate ? 1 + (uint64_t)channel_period(channel) : 0;
		return channel->gate || mode == 5 ? 1 + count + 1 : 0;
	}
	if (channel->load_next)
		return 1 + count;
	if (!channel->loaded)
		return 0;
	if ((mode == 4 || mode == 5) && !channel->out)
		return 1;
	if (!channel->gate && mode != 1 && mode != 5)
		return 0;
	switch (mode) {
	case 0:
	case 1:
		return channel->done ? 0 : channel->element;
	case 2:
		return channel->element;
	case 3:
		return channel->element + (uint64_t)(channel->out ? channel_half(channel, false) : 0);
	default:
		return channel->done ? 0 : (uint64_t)channel->element + 1;
	}
}

/* What a read of the counting element gives. */
static uint16_t channel_value(const struct i8254_channel *channel)
{
	uint32_t value = channel->element;

	if (channel_mode(channel) == 3 && channel->loaded) {
		/* The element goes down by two; an odd count is loaded less one. */
		bool odd = channel_count(channel, channel->period) & 1U;

		value = 2 * (channel->element - (odd && channel->out ? 1U : 0U));
	}
	value %= channel_modulus(channel);
	if (!channel->bcd)
		return (uint16_t)value;
	return (uint16_t)(value / 1000 << 12 | value / 100 % 10 << 8 | value / 10 % 10 << 4 | value % 10);
}

static void channel_set_control(struct i8254_channel *channel, uint8_t value)
{
	bool gate = channel->gate;

	*channel = (struct i8254_channel){
		.control = value >> 1 & 7,
		.access = value >> 4 & 3,
		.bcd = value & 1,
		.gate = gate,
		.null_count = true,
		/* The element keeps what it held: a read finds it until the first load. */
		.element = channel_mode(channel) == 3 ? 0 : channel->element,
	};
	channel->element %= channel_modulus(channel);
	channel->out = channel_mode(channel) != 0;
}

static void channel_latch_count(struct i8254_channel *channel)
{
	if (channel->latched_bytes > 0)
		return;
	channel->latched = channel_value(channel);
	channel->latched_bytes = channel->access == 3 ? 2 : 1;
}

static void channel_latch_status(struct i8254_channel *channel)
{
	if (channel->status_latched)
		return;
	channel->status = (uint8_t)((channel->out ? 0x80U : 0U) | (channel->null_count ? 0x40U : 0U) |
				    (uint32_t)channel->access << 4 | (uint32_t)channel->control << 1 |
				    (channel->bcd ? 1U : 0U));
	channel->status_latched = true;
}

static uint8_t channel_read(struct i8254_channel *channel)
{
	uint16_t value = channel_value(channel);
	bool high = channel->access == 2;

	if (channel->status_latched) {
		channel->status_latched = false;
		return channel->status;
	}
	if (channel->latched_bytes > 0) {
		value = channel->latched;
		channel->latched_bytes--;
	}
	if (channel->access == 3) {
		high = channel->read_high;
		channel->read_high = !high;
	}
	return (uint8_t)(high ? value >> 8 : value);
}

static void channel_set_count(struct i8254_channel *channel, uint16_t count)
{
	unsigned mode = channel_mode(channel);

	channel->count = count;
	channel->programmed = true;
	channel->null_count = true;
	/* Modes 1 and 5 wait for the gate's trigger; 2 and 3 take a later count when a period ends. */
	if (mode == 0 || mode == 4 || ((mode == 2 || mode == 3) && !channel->loaded))
		channel->load_next = true;
	if (mode == 0)
		channel->out = false;
}

static void channel_write(struct i8254_channel *channel, uint8_t value)
{
	switch (channel->access) {
	case 1:
		channel_set_count(channel, value);
		break;
	case 2:
		channel_set_count(channel, (uint16_t)(value << 8));
		break;
	case 3:
		if (channel->write_high) {
			channel->write_high = false;
			channel_set_count(channel, (uint16_t)(value << 8 | channel->low_byte));
			break;
		}
		channel->write_high = true;
		channel->low_byte = value;
		if (channel_mode(channel) == 0) {
			/* The first byte stops the count, the second starts it again. */
			channel->load_next = false;
			channel->loaded = false;
			channel->out = false;
		}
		break;
	default:
		break; /* before the first control word: the data sheet leaves it open, here nothing happens */
	}
}

static void channel_set_gate(struct i8254_channel *channel, bool gate)
{
	unsigned mode = channel_mode(channel);
	bool rises = gate && !channel->gate;

	channel->gate = gate;
	if (mode == 0 || mode == 4)
		return;
	if (rises && channel->programmed)
		channel->load_next = true;
	if (!gate && (mode == 2 || mode == 3))
		channel->out = true;
}

/* Tells IRQ 0 about channel 0's OUT; `rose` when it rose since the last time, whatever it is now. */
static void pit_drive(const struct i8254 *pit, bool rose)
{
	const struct device_board *board = pit->board;

	if (rose) {
		board->set_irq(board->context, I8254_IRQ, false);
		board->set_irq(board->context, I8254_IRQ, true);
	}
	board->set_irq(board->context, I8254_IRQ, pit->channels[0].out);
}

static void i8254_advance(void *device, uint64_t now)
{
	struct i8254 *pit = device;
	uint64_t clocks = i8254_clocks_at(now);

	if (clocks <= pit->clocks)
		return;
	bool rose = channel_run(&pit->channels[0], clocks - pit->clocks);

	(void)channel_run(&pit->channels[1], clocks - pit->clocks);
	(void)channel_run(&pit->channels[2], clocks - pit->clocks);
	pit->clocks = clocks;
	pit_drive(pit, rose);
}

static uint64_t i8254_deadline(const void *device)
{
	const struct i8254 *pit = device;
	uint64_t clocks = channel_until_rise(&pit->channels[0]);

	return clocks == 0 ? DEVICE_NO_DEADLINE : i8254_time_of(pit->clocks + clocks);
}

static void pit_write_control(struct i8254 *pit, uint8_t value)
{
	unsigned select = value >> 6;

	if (select != CONTROL_READ_BACK) {
		if ((value >> 4 & 3) == 0)
			channel_latch_count(&pit->channels[select]);
		else
			channel_set_control(&pit->channels[select], value);
		return;
	}
	for (unsigned i = 0; i < I8254_CHANNELS; i++) {
		if (!(value & 2U << i))
			continue;
		if (!(value & READ_BACK_NO_COUNT))
			channel_latch_count(&pit->channels[i]);
		if (!(value & READ_BACK_NO_STATUS))
			channel_latch_status(&pit->channels[i]);
	}
}

static uint64_t i8254_read(void *device, const struct device_access *access)
{
	struct i8254 *pit = device;

	i8254_advance(pit, access->now);
	if (access->region == I8254_PORTS)
		return access->offset < I8254_CHANNELS ? channel_read(&pit->channels[access->offset]) : 0xFF;
	return pit->speaker | (pit->clocks / REFRESH_CLOCKS & 1U ? SPEAKER_REFRESH : 0U) |
	       (pit->channels[2].out ? SPEAKER_OUT2 : 0U);
}

static void i8254_write(void *device, const struct device_access *access, uint64_t value)
{
	struct i8254 *pit = device;

	i8254_advance(pit, access->now);
	if (access->region == I8254_SPEAKER) {
		pit->speaker = (uint8_t)(value & SPEAKER_WRITABLE);
		channel_set_gate(&pit->channels[2], value & SPEAKER_GATE2);
		return;
	}
	if (access->offset < I8254_CHANNELS)
		channel_write(&pit->channels[access->offset], (uint8_t)value);
	else
		pit_write_control(pit, (uint8_t)value);
	pit_drive(pit, false);
}

void i8254_init(struct i8254 *pit, const struct device_board *board)
{
	pit->board = board;
}

static void i8254_reset(void *device, uint64_t now)
{
	struct i8254 *pit = device;

	/* The data sheet leaves the state at power-on open: here nothing counts and OUT is high. */
	for (unsigned i = 0; i < I8254_CHANNELS; i++)
		pit->channels[i] = (struct i8254_channel){ .out = true, .gate = i < 2 };
	pit->clocks = i8254_clocks_at(now);
	pit->speaker = 0;
	pit_drive(pit, false);
}

static void channel_save(const struct i8254_channel *channel, struct bytes_writer *writer)
{
	bytes_put_u8(writer, channel->control);
	bytes_put_u8(writer, channel->access);
	bytes_put_bool(writer, channel->bcd);
	bytes_put_bool(writer, channel->gate);
	bytes_put_bool(writer, channel->out);
	bytes_put_bool(writer, channel->programmed);
	bytes_put_bool(writer, channel->null_count);
	bytes_put_bool(writer, channel->load_next);
	bytes_put_bool(writer, channel->loaded);
	bytes_put_bool(writer, channel->done);
	bytes_put_u16(writer, channel->count);
	bytes_put_u16(writer, channel->period);
	bytes_put_u32(writer, channel->element);
	bytes_put_u8(writer, channel->low_byte);
	bytes_put_bool(writer, channel->write_high);
	bytes_put_bool(writer, channel->read_high);
	bytes_put_bool(writer, channel->status_latched);
	bytes_put_u8(writer, channel->status);
	bytes_put_u8(writer, channel->latched_bytes);
	bytes_put_u16(writer, channel->latched);
}

static bool channel_load_state(struct i8254_channel *channel, struct bytes_reader *reader)
{
	channel->control = bytes_get_u8(reader);
	channel->access = bytes_get_u8(reader);
	channel->bcd = bytes_get_bool(reader);
	channel->gate = bytes_get_bool(reader);
	channel->out = bytes_get_bool(reader);
	channel->programmed = bytes_get_bool(reader);
	channel->null_count = bytes_get_bool(reader);
	channel->load_next = bytes_get_bool(reader);
	channel->loaded = bytes_get_bool(reader);
	channel->done = bytes_get_bool(reader);
	channel->count = bytes_get_u16(reader);
	channel->period = bytes_get_u16(reader);
	channel->element = bytes_get_u32(reader);
	channel->low_byte = bytes_get_u8(reader);
	channel->write_high = bytes_get_bool(reader);
	channel->read_high = bytes_get_bool(reader);
	channel->status_latched = bytes_get_bool(reader);
	channel->status = bytes_get_u8(reader);
	channel->latched_bytes = bytes_get_u8(reader);
	channel->latched = bytes_get_u16(reader);
	if (channel->control > 7 || channel->access > 3 || channel->latched_bytes > 2 ||
	    channel->element > channel_modulus(channel))
		return false;
	/* The periodic modes divide their time by the element's way down to 1. */
	return !channel->loaded || channel->element > 0 ||
	       (channel_mode(channel) != 2 && channel_mode(channel) != 3);
}

static void i8254_save(const void *device, struct bytes_writer *writer)
{
	const struct i8254 *pit = device;

	for (unsigned i = 0; i < I8254_CHANNELS; i++)
		channel_save(&pit->channels[i], writer);
	bytes_put_u64(writer, pit->clocks);
	bytes_put_u8(writer, pit->speaker);
}

static result i8254_load(void *device, struct bytes_reader *reader, uint64_t now)
{
	struct i8254 *pit = device;
	bool valid = true;

	for (unsigned i = 0; i < I8254_CHANNELS; i++)
		valid = channel_load_state(&pit->channels[i], reader) && valid;
	pit->clocks = bytes_get_u64(reader);
	pit->speaker = bytes_get_u8(reader);
	if (!valid || pit->clocks > i8254_clocks_at(now) || (pit->speaker & ~SPEAKER_WRITABLE))
		return fail(STATUS_INPUT, "interval timer state is not valid");
	return OK;
}

const struct device_model i8254_model = {
	.name = "i8254",
	.reset = i8254_reset,
	.read = i8254_read,
	.write = i8254_write,
	.advance = i8254_advance,
	.deadline = i8254_deadline,
	.save = i8254_save,
	.load = i8254_load,
};
