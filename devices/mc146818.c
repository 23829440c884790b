#include "devices/mc146818.h"

#include <string.h>

#define SECOND INT64_C(1000000000) /* ns */
#define DAY INT64_C(86400)         /* s */
#define OSCILLATOR 32768           /* Hz */
/* Leaving the divider's reset, the first update comes half a second later. */
#define DIVIDER_RELEASE 500000000U
/* UIP is set 244 us before the update cycle, which takes 1984 us with the 32 kHz time base. */
#define UPDATE_WINDOW 2228000U

enum {
	CELL_SECONDS = 0x00,
	CELL_SECONDS_ALARM = 0x01,
	CELL_MINUTES = 0x02,
	CELL_MINUTES_ALARM = 0x03,
	CELL_HOURS = 0x04,
	CELL_HOURS_ALARM = 0x05,
	CELL_WEEKDAY = 0x06,
	CELL_DAY = 0x07,
	CELL_MONTH = 0x08,
	CELL_YEAR = 0x09,
	CELL_A = 0x0A,
	CELL_B = 0x0B,
	CELL_C = 0x0C,
	CELL_D = 0x0D,
};

#define A_UPDATE_IN_PROGRESS 0x80U
#define A_DIVIDER 0x70U
#define A_DIVIDER_32KHZ 0x20U
#define A_DIVIDER_HELD 0x60U /* with DV0 either way */
#define A_RATE 0x0FU
#define B_SET 0x80U
#define B_PERIODIC 0x40U
#define B_ALARM 0x20U
#define B_UPDATE 0x10U
#define B_SQUARE_WAVE 0x08U
#define B_BINARY 0x04U
#define B_24_HOURS 0x02U
#define C_IRQF 0x80U
#define C_FLAGS 0x70U /* PF, AF, UF: at the places of their enables in B */
#define D_VALID 0x80U
#define HOURS_PM 0x80U
#define ALARM_ANY 0xC0U

/* Days before each month of a common year. */
static const uint16_t days_before_month[13] = { 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365 };

/* Days from 0000-01-01 to 1970-01-01, and in 400 years, in the Gregorian calendar. */
#define DAYS_TO_1970 719528
#define DAYS_IN_400_YEARS 146097

static int64_t floor_divide(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

static int64_t floor_modulo(int64_t a, int64_t b)
{
	return a - floor_divide(a, b) * b;
}

static bool is_leap(int64_t year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

/* Days from a year that 400 divides to the start of the year `year` after it, 0 to 400. */
static int64_t days_before_year(int64_t year)
{
	return 365 * year + (year + 3) / 4 - (year + 99) / 100 + (year + 399) / 400;
}

/* Days from 1970-01-01; month 1 to 12, any day. */
static int64_t days_from_date(int64_t year, unsigned month, int64_t day)
{
	int64_t in_era = floor_modulo(year, 400);

	return floor_divide(year, 400) * DAYS_IN_400_YEARS + days_before_year(in_era) +
	       days_before_month[month - 1] + (month > 2 && is_leap(in_era)) + day - 1 - DAYS_TO_1970;
}

static void date_from_days(int64_t days, int64_t *year, unsigned *month, unsigned *day)
{
	int64_t since_0 = days + DAYS_TO_1970;
	int64_t in_era = floor_modulo(since_0, DAYS_IN_400_YEARS);
	int64_t y = in_era / 366;

	while (days_before_year(y + 1) <= in_era)
		y++;

	int64_t in_year = in_era - days_before_year(y);
	unsigned m = 1;

	while (days_before_month[m] + (m >= 2 && is_leap(y)) <= in_year)
		m++;
	*year = floor_divide(since_0, DAYS_IN_400_YEARS) * 400 + y;
	*month = m;
	*day = (unsigned)(in_year - days_before_month[m - 1] - (m > 2 && is_leap(y))) + 1;
}

static uint8_t rtc_encode(const struct mc146818 *rtc, unsigned value)
{
	if (rtc->cells[CELL_B] & B_BINARY)
		return (uint8_t)value;
	return (uint8_t)(value / 10 << 4 | value % 10);
}

static unsigned rtc_decode(const struct mc146818 *rtc, uint8_t cell)
{
	if (rtc->cells[CELL_B] & B_BINARY)
		return cell;
	return (cell >> 4) * 10U + (cell & 0xFU);
}

static uint8_t rtc_encode_hours(const struct mc146818 *rtc, unsigned hours)
{
	if (rtc->cells[CELL_B] & B_24_HOURS)
		return rtc_encode(rtc, hours);
	return (uint8_t)(rtc_encode(rtc, hours % 12 == 0 ? 12 : hours % 12) | (hours >= 12 ? HOURS_PM : 0U));
}

static unsigned rtc_decode_hours(const struct mc146818 *rtc, uint8_t cell)
{
	if (rtc->cells[CELL_B] & B_24_HOURS)
		return rtc_decode(rtc, cell);
	return rtc_decode(rtc, cell & (uint8_t)~HOURS_PM) % 12 + (cell & HOURS_PM ? 12 : 0);
}

/* The time registers for the time shown. */
static void rtc_fill_time(struct mc146818 *rtc)
{
	int64_t days = floor_divide(rtc->seconds, DAY);
	unsigned second = (unsigned)floor_modulo(rtc->seconds, DAY);
	int64_t year;
	unsigned month, day;

	date_from_days(days, &year, &month, &day);
	rtc->cells[CELL_SECONDS] = rtc_encode(rtc, second % 60);
	rtc->cells[CELL_MINUTES] = rtc_encode(rtc, second / 60 % 60);
	rtc->cells[CELL_HOURS] = rtc_encode_hours(rtc, second / 3600);
	/* 1970-01-01 was a Thursday, the fifth day of a week that starts with Sunday as 1. */
	rtc->cells[CELL_WEEKDAY] =
		rtc_encode(rtc, (unsigned)floor_modulo(days + 4 + rtc->weekday_shift, 7) + 1);
	rtc->cells[CELL_DAY] = rtc_encode(rtc, day);
	rtc->cells[CELL_MONTH] = rtc_encode(rtc, month);
	rtc->cells[CELL_YEAR] = rtc_encode(rtc, (unsigned)floor_modulo(year, 100));
	rtc->cells[MC146818_CENTURY] = rtc_encode(rtc, (unsigned)floor_modulo(floor_divide(year, 100), 100));
}

/* The time shown from the time registers. Values that no clock shows carry into the next field. */
static void rtc_take_time(struct mc146818 *rtc)
{
	int64_t year = (int64_t)rtc_decode(rtc, rtc->cells[MC146818_CENTURY]) * 100 +
		       rtc_decode(rtc, rtc->cells[CELL_YEAR]);
	int64_t month = (int64_t)rtc_decode(rtc, rtc->cells[CELL_MONTH]) - 1;
	int64_t days = days_from_date(year + floor_divide(month, 12), (unsigned)floor_modulo(month, 12) + 1,
				      rtc_decode(rtc, rtc->cells[CELL_DAY]));

	rtc->seconds = days * DAY + rtc_decode_hours(rtc, rtc->cells[CELL_HOURS]) * INT64_C(3600) +
		       rtc_decode(rtc, rtc->cells[CELL_MINUTES]) * INT64_C(60) +
		       rtc_decode(rtc, rtc->cells[CELL_SECONDS]);
	days = floor_divide(rtc->seconds, DAY);
	rtc->weekday_shift = (uint8_t)floor_modulo(
		(int64_t)rtc_decode(rtc, rtc->cells[CELL_WEEKDAY]) - 1 - (days + 4), 7);
}

static bool rtc_divider_held(const struct mc146818 *rtc)
{
	return (rtc->cells[CELL_A] & A_DIVIDER_HELD) == A_DIVIDER_HELD;
}

static bool rtc_updates(const struct mc146818 *rtc)
{
	return !(rtc->cells[CELL_B] & B_SET) && !rtc_divider_held(rtc);
}

static bool rtc_matches(uint8_t alarm, unsigned decoded, unsigned value)
{
	return alarm >= ALARM_ANY || decoded == value;
}

/* Finds the first second after `after` at which the alarm registers match. Looks at hours, then at minutes of an
 * hour that matches, then at seconds of a minute that does. */
static bool rtc_next_alarm(const struct mc146818 *rtc, int64_t after, int64_t *found)
{
	const uint8_t *cells = rtc->cells;
	uint8_t hours_alarm = cells[CELL_HOURS_ALARM];
	uint8_t minutes_alarm = cells[CELL_MINUTES_ALARM];
	uint8_t seconds_alarm = cells[CELL_SECONDS_ALARM];
	int64_t start = after + 1;
	unsigned in_day = (unsigned)floor_modulo(start, DAY);
	unsigned first_hour = in_day / 3600;

	for (unsigned hour = first_hour; hour <= first_hour + 24; hour++) {
		unsigned minute = hour == first_hour ? in_day / 60 % 60 : 0;
		bool in_first_minute = hour == first_hour;

		if (!rtc_matches(hours_alarm, rtc_decode_hours(rtc, hours_alarm), hour % 24))
			continue;
		for (; minute < 60; minute++, in_first_minute = false) {
			if (!rtc_matches(minutes_alarm, rtc_decode(rtc, minutes_alarm), minute))
				continue;
			for (unsigned second = in_first_minute ? in_day % 60 : 0; second < 60; second++) {
				if (!rtc_matches(seconds_alarm, rtc_decode(rtc, seconds_alarm), second))
					continue;
				*found = start - in_day +
					 (int64_t)(hour * 3600U + minute * 60U + second);
				return true;
			}
		}
	}
	return false;
}

/* Pulses of the 32 kHz chain from one periodic interrupt to the next, 0 for none. */
static uint32_t rtc_period(const struct mc146818 *rtc)
{
	unsigned rate = rtc->cells[CELL_A] & A_RATE;

	if (rate == 0)
		return 0;
	/* Rates 1 and 2 repeat 8 and 9. */
	return 1U << (rate < 3 ? rate + 6 : rate - 1);
}

/* ns from the start of the second at hand to the last synchronisation. */
static uint64_t rtc_phase(const struct mc146818 *rtc)
{
	return (uint64_t)SECOND - (rtc->next_update - rtc->synced);
}

static uint64_t rtc_pulses(uint64_t nanoseconds)
{
	return (uint64_t)((unsigned __int128)nanoseconds * OSCILLATOR / (unsigned)SECOND);
}

static void rtc_drive(struct mc146818 *rtc)
{
	uint8_t flags = rtc->cells[CELL_C] & C_FLAGS;
	bool active = flags & rtc->cells[CELL_B];

	rtc->cells[CELL_C] = (uint8_t)(flags | (active ? C_IRQF : 0U));
	rtc->board->set_irq(rtc->board->context, MC146818_IRQ, active);
}

static void mc146818_advance(void *device, uint64_t now)
{
	struct mc146818 *rtc = device;
	uint32_t period = rtc_period(rtc);

	if (now <= rtc->synced)
		return;
	if (rtc_divider_held(rtc)) {
		rtc->synced = now;
		return;
	}
	if (period > 0) {
		uint64_t phase = rtc_phase(rtc);

		if (rtc_pulses(phase) / period != rtc_pulses(phase + (now - rtc->synced)) / period)
			rtc->cells[CELL_C] |= B_PERIODIC;
	}
	rtc->synced = now;
	if (now >= rtc->next_update) {
		int64_t seconds = 1 + (int64_t)((now - rtc->next_update) / (uint64_t)SECOND);
		int64_t alarm;

		rtc->next_update += (uint64_t)(seconds * SECOND);
		if (rtc_updates(rtc)) {
			if (rtc_next_alarm(rtc, rtc->seconds, &alarm) && alarm <= rtc->seconds + seconds)
				rtc->cells[CELL_C] |= B_ALARM;
			rtc->seconds += seconds;
			rtc->cells[CELL_C] |= B_UPDATE;
		}
	}
	rtc_drive(rtc);
}

static uint64_t mc146818_deadline(const void *device)
{
	const struct mc146818 *rtc = device;
	uint8_t enabled = rtc->cells[CELL_B];
	uint64_t deadline = DEVICE_NO_DEADLINE;
	uint32_t period = rtc_period(rtc);

	/* With IRQF set the line is up already. */
	if (rtc_divider_held(rtc) || (rtc->cells[CELL_C] & C_IRQF))
		return DEVICE_NO_DEADLINE;
	if ((enabled & B_PERIODIC) && period > 0) {
		uint64_t phase = rtc_phase(rtc);
		uint64_t pulse = (rtc_pulses(phase) / period + 1) * period;

		deadline = rtc->synced + ((pulse * (uint64_t)SECOND + OSCILLATOR - 1) / OSCILLATOR - phase);
	}
	if (!rtc_updates(rtc))
		return deadline;
	if ((enabled & B_UPDATE) && rtc->next_update < deadline)
		deadline = rtc->next_update;
	if (enabled & B_ALARM) {
		int64_t alarm;

		if (rtc_next_alarm(rtc, rtc->seconds, &alarm)) {
			uint64_t at = rtc->next_update + (uint64_t)((alarm - rtc->seconds - 1) * SECOND);

			if (at < deadline)
				deadline = at;
		}
	}
	return deadline;
}

static bool rtc_is_time(unsigned cell)
{
	switch (cell) {
	case CELL_SECONDS:
	case CELL_MINUTES:
	case CELL_HOURS:
	case CELL_WEEKDAY:
	case CELL_DAY:
	case CELL_MONTH:
	case CELL_YEAR:
	case MC146818_CENTURY:
		return true;
	default:
		return false;
	}
}

static void rtc_write_a(struct mc146818 *rtc, uint8_t value, uint64_t now)
{
	bool was_held = rtc_divider_held(rtc);

	rtc->cells[CELL_A] = value & (uint8_t)~A_UPDATE_IN_PROGRESS;
	if (rtc_divider_held(rtc))
		rtc->next_update = 0;
	else if (was_held)
		rtc->next_update = now + DIVIDER_RELEASE;
}

static void rtc_write_b(struct mc146818 *rtc, uint8_t value)
{
	bool was_set = rtc->cells[CELL_B] & B_SET;

	/* SET going high clears the update interrupt's enable. */
	if ((value & B_SET) && !was_set)
		value &= (uint8_t)~B_UPDATE;
	rtc->cells[CELL_B] = value;
	if ((value & B_SET) && !was_set)
		rtc_fill_time(rtc);
	else if (!(value & B_SET) && was_set)
		rtc_take_time(rtc);
	rtc_drive(rtc);
}

static uint8_t rtc_read_cell(struct mc146818 *rtc, unsigned cell)
{
	uint8_t value;

	switch (cell) {
	case CELL_A:
		value = rtc->cells[CELL_A];
		if (rtc_updates(rtc) && rtc->next_update - rtc->synced <= UPDATE_WINDOW)
			value |= A_UPDATE_IN_PROGRESS;
		return value;
	case CELL_C:
		value = rtc->cells[CELL_C];
		rtc->cells[CELL_C] = 0;
		rtc_drive(rtc);
		return value;
	case CELL_D:
		return D_VALID;
	default:
		if (rtc_is_time(cell) && !(rtc->cells[CELL_B] & B_SET))
			rtc_fill_time(rtc);
		return rtc->cells[cell];
	}
}

static void rtc_write_cell(struct mc146818 *rtc, unsigned cell, uint8_t value)
{
	switch (cell) {
	case CELL_A:
		rtc_write_a(rtc, value, rtc->synced);
		break;
	case CELL_B:
		rtc_write_b(rtc, value);
		break;
	case CELL_C:
	case CELL_D:
		break; /* read only */
	default:
		if (rtc_is_time(cell) && !(rtc->cells[CELL_B] & B_SET)) {
			rtc_fill_time(rtc);
			rtc->cells[cell] = value;
			rtc_take_time(rtc);
		} else {
			rtc->cells[cell] = value;
		}
		break;
	}
}

static uint64_t mc146818_read(void *device, const struct device_access *access)
{
	struct mc146818 *rtc = device;

	if (access->region == MC146818_INDEX)
		return 0xFF;
	mc146818_advance(rtc, access->now);
	return rtc_read_cell(rtc, rtc->index);
}

static void mc146818_write(void *device, const struct device_access *access, uint64_t value)
{
	struct mc146818 *rtc = device;

	if (access->region == MC146818_INDEX) {
		rtc->index = value & (MC146818_CELLS - 1);
		return;
	}
	mc146818_advance(rtc, access->now);
	rtc_write_cell(rtc, rtc->index, (uint8_t)value);
}

/* A little-endian CMOS value of `bytes` cells; larger ones show as the largest. */
static void rtc_put_size(struct mc146818 *rtc, unsigned cell, unsigned bytes, uint64_t value)
{
	uint64_t largest = (UINT64_C(1) << (8 * bytes)) - 1;

	if (value > largest)
		value = largest;
	memcpy(&rtc->cells[cell], &value, bytes);
}

void mc146818_init(struct mc146818 *rtc, const struct device_board *board, int64_t epoch, uint64_t low_ram,
		   uint64_t high_ram)
{
	const uint64_t kib = 1024;
	const uint64_t mib = 1024 * kib;
	uint16_t sum = 0;

	rtc->board = board;
	rtc->seconds = epoch;
	rtc->next_update = (uint64_t)SECOND;
	rtc->cells[CELL_A] = A_DIVIDER_32KHZ | 6; /* as PC firmware leaves it: 1024 Hz */
	rtc->cells[CELL_B] = B_24_HOURS;
	rtc_put_size(rtc, 0x15, 2, low_ram < mib ? low_ram / kib : 640); /* base memory in KiB */
	rtc_put_size(rtc, 0x17, 2, low_ram > mib ? (low_ram - mib) / kib : 0); /* from 1 MiB, in KiB */
	rtc_put_size(rtc, 0x30, 2, low_ram > mib ? (low_ram - mib) / kib : 0);
	rtc_put_size(rtc, 0x34, 2, low_ram > 16 * mib ? (low_ram - 16 * mib) / (64 * kib) : 0);
	rtc_put_size(rtc, 0x5B, 3, high_ram / (64 * kib));
	/* Cells 0x10 to 0x2D have their sum behind them, high byte first. */
	for (unsigned cell = 0x10; cell <= 0x2D; cell++)
		sum = (uint16_t)(sum + rtc->cells[cell]);
	rtc->cells[0x2E] = (uint8_t)(sum >> 8);
	rtc->cells[0x2F] = (uint8_t)sum;
}

static void mc146818_reset(void *device, uint64_t now)
{
	struct mc146818 *rtc = device;

	/* The battery keeps the time and the cells; RESET clears enables and flags. */
	mc146818_advance(rtc, now);
	rtc->index = 0;
	rtc->cells[CELL_B] &= (uint8_t)~(B_PERIODIC | B_ALARM | B_UPDATE | B_SQUARE_WAVE);
	rtc->cells[CELL_C] = 0;
	rtc_drive(rtc);
}

static void mc146818_save(const void *device, struct bytes_writer *writer)
{
	const struct mc146818 *rtc = device;

	bytes_put_u8(writer, rtc->index);
	bytes_put(writer, rtc->cells, sizeof(rtc->cells));
	bytes_put_u8(writer, rtc->weekday_shift);
	bytes_put_u64(writer, (uint64_t)rtc->seconds);
	bytes_put_u64(writer, rtc->next_update);
	bytes_put_u64(writer, rtc->synced);
}

static result mc146818_load(void *device, struct bytes_reader *reader, uint64_t now)
{
	struct mc146818 *rtc = device;

	rtc->index = bytes_get_u8(reader);
	bytes_get(reader, rtc->cells, sizeof(rtc->cells));
	rtc->weekday_shift = bytes_get_u8(reader);
	rtc->seconds = (int64_t)bytes_get_u64(reader);
	rtc->next_update = bytes_get_u64(reader);
	rtc->synced = bytes_get_u64(reader);

	/* Years -10,000 to 30,000: what the registers can be set to and 292 years on are well within. */
	const int64_t bound = INT64_C(1000000000000);
	bool valid = rtc->index < MC146818_CELLS && rtc->weekday_shift < 7 && rtc->synced <= now &&
		     rtc->seconds > -bound && rtc->seconds < bound &&
		     !(rtc->cells[CELL_A] & A_UPDATE_IN_PROGRESS) && !(rtc->cells[CELL_C] & ~(C_IRQF | C_FLAGS));

	if (rtc_divider_held(rtc))
		valid = valid && rtc->next_update == 0;
	else
		valid = valid && rtc->next_update > rtc->synced &&
			rtc->next_update - rtc->synced <= (uint64_t)SECOND;
	if (!valid)
		return fail(STATUS_INPUT, "real-time clock state is not valid");
	return OK;
}

const struct device_model mc146818_model = {
	.name = "mc146818",
	.reset = mc146818_reset,
	.read = mc146818_read,
	.write = mc146818_write,
	.advance = mc146818_advance,
	.deadline = mc146818_deadline,
	.save = mc146818_save,
	.load = mc146818_load,
};
