#include "tests/unit/native_pair.h"

#include <Zydis/Zydis.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "vmm/boot_paging.h"

/* The middle is not at a page's border. */
enum { MIDDLE = PAIR_ROOM / 2 + 0x800, CODE_ROOM = 0x2000, OUT_LENGTH = 2, CODES = 4096 };
#define RFLAGS_IOPL UINT64_C(0x3000)
/* lea 0x80(%r14), %rsp */
static const uint8_t restore_stack[] = { 0x49, 0x8D, 0xA6, 0x80, 0, 0, 0 };
static const uint8_t out[OUT_LENGTH] = { 0xE6, 0x80 };

void native_pair_make(struct native_pair *pair)
{
	memset(pair, 0, sizeof(*pair));
	guest_machine_make(&pair->guest, out, out + OUT_LENGTH);
	guest_memory_make(&pair->ram, GUEST_MACHINE_MEMORY);
	must_succeed(ram_write(&pair->ram, 0, ram_page(&pair->guest.ram, 0), GUEST_MACHINE_MEMORY));
	must_succeed(native_step_create(&pair->native, &pair->ram));
	pair->random = 88172645463325252u;
}

void native_pair_destroy(struct native_pair *pair)
{
	native_step_destroy(pair->native);
	ram_unmap(&pair->ram);
	guest_machine_destroy(&pair->guest);
}

static uint64_t random_word(struct native_pair *pair)
{
	static const uint64_t special[] = { 0,          1,          2,      0x7F,       0x80,
					    0xFF,       0x7FFF,     0x8000, 0xFFFF,     0x7FFFFFFF,
					    0x80000000, UINT32_MAX, 31,     INT64_MAX,  UINT64_C(1) << 63,
					    UINT64_MAX, 63,         64,     UINT64_MAX - 1 };
	uint64_t word = fixture_random(&pair->random);

	switch (fixture_random(&pair->random) % 4) {
	case 0:
		return special[word % ARRAY_SIZE(special)];
	case 1:
		return word & 0xFF;
	default:
		return word;
	}
}

/* Floating-point numbers of one sort now and then: random bits seldom make two that have much to do with each other. */
static void random_xmm(struct native_pair *pair, uint8_t *xmm)
{
	static const double doubles[] = { 0.0, -0.0, 1.0, -1.5, 3.0, 1e300, 1e-310, 0.1, 1e10, -7.75 };
	static const float singles[] = { 0.0f, -0.0f, 1.0f, -1.5f, 3.0f, 1e38f, 1e-40f, 0.1f, 1e10f, -7.75f };
	uint64_t words[2] = { random_word(pair), random_word(pair) };
	uint64_t sort = fixture_random(&pair->random);

	memcpy(xmm, words, 16);
	for (unsigned i = 0; i < 2 && sort % 3 == 1; i++)
		memcpy(xmm + 8 * i, &doubles[words[i] % ARRAY_SIZE(doubles)], 8);
	for (unsigned i = 0; i < 4 && sort % 3 == 2; i++)
		memcpy(xmm + 4 * i, &singles[(words[i / 2] >> 8 * i) % ARRAY_SIZE(singles)], 4);
}

void native_pair_state(struct native_pair *pair, struct cpu_state *state)
{
	enum { MXCSR_MASKS = 0x1F80, MXCSR_FLAGS = 0x3F, MXCSR_MODES = 0xE040 };

	must_succeed(boot_paging_enter(&pair->ram, true, state));
	for (unsigned i = 0; i < GPR_COUNT; i++)
		state->gpr[i] = random_word(pair);
	for (unsigned i = 0; i < 16; i++)
		random_xmm(pair, state->xmm[i]);
	state->rip = GUEST_MACHINE_CODE;
	state->rflags |= fixture_random(&pair->random) & 0x8D5;
	state->gpr[GPR_RSP] = PAIR_STACK + MIDDLE;
	state->gpr[GPR_R14] = PAIR_DATA + MIDDLE;
	state->gpr[GPR_RSI] = PAIR_DATA + MIDDLE + 8 * (fixture_random(&pair->random) % 64);
	state->gpr[GPR_RDI] = PAIR_DATA + MIDDLE - 8 * (fixture_random(&pair->random) % 64);
	state->gpr[GPR_R15] = fixture_random(&pair->random) % 16;
	state->segment[SEG_FS].base = PAIR_DATA + 0x100;
	state->segment[SEG_GS].base = PAIR_DATA + MIDDLE + 0x40;
	state->mxcsr = MXCSR_MASKS | (fixture_random(&pair->random) & (MXCSR_FLAGS | MXCSR_MODES));
}

/* --- running --- */

static void put(struct native_pair *pair, uint64_t address, const void *data, size_t length)
{
	must_succeed(ram_write(&pair->guest.ram, address, data, length));
	must_succeed(ram_write(&pair->ram, address, data, length));
}

static void put_random(struct native_pair *pair, uint64_t address)
{
	uint64_t words[PAIR_ROOM / 8];

	for (unsigned i = 0; i < ARRAY_SIZE(words); i++)
		words[i] = i % 2 == 0 ? fixture_random(&pair->random) : random_word(pair);
	put(pair, address, words, sizeof(words));
}

struct differences {
	char text[1024];
	size_t length;
};

static void note_difference(void *context, const struct register_info *info, const uint8_t *a, const uint8_t *b)
{
	struct differences *differences = context;
	size_t room = sizeof(differences->text) - differences->length;
	uint64_t left = 0, right = 0;

	memcpy(&left, a, info->width < 8 ? info->width : 8);
	memcpy(&right, b, info->width < 8 ? info->width : 8);
	int written = snprintf(differences->text + differences->length, room, " %s %#" PRIx64 " %#" PRIx64, info->name,
			       left, right);

	if (written > 0 && (size_t)written < room)
		differences->length += (size_t)written;
}

static void must_be_same_memory(struct native_pair *pair, const char *name, uint64_t address, size_t length)
{
	const uint8_t *vcpu = pair->guest.ram.memory + address, *native = pair->ram.memory + address;

	for (size_t i = 0; i < length && memcmp(vcpu, native, length) != 0; i++)
		ck_assert_msg(vcpu[i] == native[i], "%s: memory at %#" PRIx64 " is %#x, not %#x", name, address + i,
			      native[i], vcpu[i]);
}

void native_pair_run(struct native_pair *pair, const char *name, const uint8_t *code, size_t length,
		     const struct cpu_state *state, uint64_t count)
{
	struct differences differences = { .length = 0 };
	struct native_outcome outcome;
	struct cpu_state vcpu, native = *state;

	ck_assert_uint_lt(length + OUT_LENGTH, CODE_ROOM);
	put(pair, GUEST_MACHINE_CODE, code, length);
	put(pair, GUEST_MACHINE_CODE + length, out, OUT_LENGTH);
	put_random(pair, PAIR_DATA);
	put_random(pair, PAIR_STACK);
	must_succeed(machine_import(&pair->guest.machine, state, false));
	must_succeed(machine_export(&pair->guest.machine, &native)); /* canonical */
	ck_assert_int_eq(guest_machine_step(&pair->guest), OUTCOME_RUN);
	guest_machine_settle(&pair->guest);
	must_succeed(machine_export(&pair->guest.machine, &vcpu));
	vcpu.rip -= OUT_LENGTH;
	/* Not every host's KVM keeps the I/O privilege level of ring 3; nothing here changes it. */
	vcpu.rflags |= native.rflags & RFLAGS_IOPL;
	native_step_run(pair->native, &native, NULL, UINT64_MAX, &outcome);
	ck_assert_msg(outcome.end == NATIVE_STOPPED && strcmp(outcome.why, "out") == 0, "%s: %s after %" PRIu64, name,
		      outcome.why, outcome.executed);
	ck_assert_msg(registers_compare(&vcpu, &native, note_difference, &differences) == 0,
		      "%s: vCPU and native differ:%s", name, differences.text);
	ck_assert_msg(count == 0 || outcome.executed == count, "%s: %" PRIu64 " instructions", name, outcome.executed);
	must_be_same_memory(pair, name, PAIR_DATA, PAIR_ROOM);
	must_be_same_memory(pair, name, PAIR_STACK, PAIR_ROOM);
	must_be_same_memory(pair, name, GUEST_MACHINE_CODE, CODE_ROOM);
}

/* --- lists of instructions --- */

struct code_list {
	unsigned count;
	struct {
		const uint8_t *bytes;
		size_t length;
		char name[80];
	} codes[CODES];
};

/* Emulators there are (QEMU 7.2) in which CMPXCHG8B changes flags that it must leave alone, each time to others. */
static bool keeps_flags_at_cmpxchg8b(void)
{
	uint64_t memory = 0, sum = INT64_MAX;
	uint32_t low = 0, high = 0;
	volatile bool overflow = false, sign = false; /* only the assembler knows */

	__asm__ volatile("xor %%ebx, %%ebx\n"
			 "xor %%ecx, %%ecx\n"
			 "jmp 1f\n"
			 "1: add $1, %[sum]\n"
			 "cmpxchg8b %[memory]\n"
			 "seto %[overflow]\n"
			 "sets %[sign]\n"
			 : [memory] "+m"(memory), [sum] "+r"(sum), [overflow] "+m"(overflow), [sign] "+m"(sign),
			   "+a"(low), "+d"(high)
			 :
			 : "rbx", "rcx", "cc");
	return overflow && sign;
}

/* And in which the flags that BT and its like leave undefined depend on where blocks of translated code begin: OF
 * behind SAR by 1, which is 0, in one block with it and in another. */
static bool keeps_flags_at_bits(void)
{
	uint8_t value = 0x80;
	uint16_t word = 0;
	volatile bool together = false, apart = false; /* likewise */

	__asm__ volatile("jmp 1f\n"
			 "1: sarb $1, %[value]\n"
			 "btcw $0, %[word]\n"
			 "seto %[together]\n"
			 "movb $0x80, %[value]\n"
			 "movw $0, %[word]\n"
			 "sarb $1, %[value]\n"
			 "jmp 2f\n"
			 "2: btcw $0, %[word]\n"
			 "seto %[apart]\n"
			 : [value] "+m"(value), [word] "+m"(word), [together] "+m"(together), [apart] "+m"(apart)
			 :
			 : "cc");
	return together == apart;
}

/* Whether an instruction is not compared: alone, or behind others. */
static bool is_left_out(ZydisMnemonic mnemonic, bool alone)
{
	switch (mnemonic) {
	case ZYDIS_MNEMONIC_CMPXCHG8B:
		return !keeps_flags_at_cmpxchg8b();
	case ZYDIS_MNEMONIC_BT:
	case ZYDIS_MNEMONIC_BTC:
	case ZYDIS_MNEMONIC_BTR:
	case ZYDIS_MNEMONIC_BTS:
		return !alone && !keeps_flags_at_bits();
	default:
		return false;
	}
}

static void take_apart(struct code_list *list, const uint8_t *code, const uint8_t *code_end, bool alone)
{
	ZydisDecoder decoder;
	ZydisFormatter formatter;
	ZydisDecodedInstruction decoded;
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
	unsigned left_out = 0;

	list->count = 0;
	ck_assert(ZYAN_SUCCESS(ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)));
	ck_assert(ZYAN_SUCCESS(ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_ATT)));
	for (const uint8_t *at = code; at < code_end; at += decoded.length) {
		ck_assert_uint_lt(list->count, CODES);
		ck_assert(ZYAN_SUCCESS(
			ZydisDecoderDecodeFull(&decoder, at, (size_t)(code_end - at), &decoded, operands)));
		if (is_left_out(decoded.mnemonic, alone)) {
			left_out++;
			continue;
		}
		list->codes[list->count].bytes = at;
		list->codes[list->count].length = decoded.length;
		(void)ZydisFormatterFormatInstruction(&formatter, &decoded, operands, decoded.operand_count_visible,
						      list->codes[list->count].name,
						      sizeof(list->codes[0].name), 0, NULL);
		list->count++;
	}
	if (left_out > 0)
		printf("skip instructions: flags behind %u of them depend on more than the guest on this processor\n",
		       left_out);
}

void native_pair_run_each(struct native_pair *pair, const uint8_t *code, const uint8_t *code_end, unsigned rounds)
{
	static struct code_list list;
	struct cpu_state state;

	take_apart(&list, code, code_end, true);
	for (unsigned i = 0; i < list.count * rounds; i++) {
		unsigned chosen = i % list.count;

		native_pair_state(pair, &state);
		native_pair_run(pair, list.codes[chosen].name, list.codes[chosen].bytes, list.codes[chosen].length,
				&state, 1);
	}
}

void native_pair_run_mixed(struct native_pair *pair, const uint8_t *code, const uint8_t *code_end, unsigned length,
			   unsigned rounds)
{
	static struct code_list list;
	static uint8_t bytes[CODE_ROOM];
	struct cpu_state state;

	take_apart(&list, code, code_end, false);
	for (unsigned round = 0; round < rounds; round++) {
		size_t used = 0;
		unsigned last = 0;

		for (unsigned i = 0; i < length; i++) {
			last = (unsigned)(fixture_random(&pair->random) % list.count);
			ck_assert_uint_lt(used + sizeof(restore_stack) + list.codes[last].length, sizeof(bytes));
			memcpy(bytes + used, restore_stack, sizeof(restore_stack));
			used += sizeof(restore_stack);
			memcpy(bytes + used, list.codes[last].bytes, list.codes[last].length);
			used += list.codes[last].length;
		}
		native_pair_state(pair, &state);
		native_pair_run(pair, list.codes[last].name, bytes, used, &state, 2 * length);
	}
}
