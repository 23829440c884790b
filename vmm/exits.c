#include "vmm/exits.h"

#include <string.h>

/* MSRs (AMD64 APM vol. 2, appendix A). */
enum {
	MSR_TSC = 0x10,
	MSR_PATCH_LEVEL = 0x8B,
	MSR_SYSENTER_ESP = 0x175,
	MSR_SYSENTER_EIP = 0x176,
};
#define MSR_EFER 0xC0000080u
#define MSR_HWCR 0xC0010015u

/* What the guest may set of EFER: SCE, LME, NXE, FFXSR; LMA follows LME and is kept as it is. */
#define EFER_WRITABLE 0x4901ull
#define EFER_LMA 0x400ull
#define EFER_LME 0x100ull

static enum exit_outcome answer_port_in(const struct exit_context *context, struct machine_exit *exit)
{
	for (uint32_t i = 0; i < exit->count; i++)
		board_port_read(context->board, (uint16_t)exit->record.address, exit->record.size,
				exit->data + (size_t)i * exit->record.size);
	return OUTCOME_RUN;
}

static enum exit_outcome answer_port_out(const struct exit_context *context, struct machine_exit *exit)
{
	for (uint32_t i = 0; i < exit->count; i++)
		board_port_write(context->board, (uint16_t)exit->record.address, exit->record.size,
				 exit->data + (size_t)i * exit->record.size);
	return OUTCOME_RUN;
}

static enum exit_outcome answer_mmio_read(const struct exit_context *context, struct machine_exit *exit)
{
	board_mmio_read(context->board, exit->record.address, exit->record.size, exit->data);
	return OUTCOME_RUN;
}

static enum exit_outcome answer_mmio_write(const struct exit_context *context, struct machine_exit *exit)
{
	board_mmio_write(context->board, exit->record.address, exit->record.size, exit->data);
	return OUTCOME_RUN;
}

static enum exit_outcome answer_halt(const struct exit_context *context, struct machine_exit *exit)
{
	(void)context;
	(void)exit;
	return OUTCOME_HALTED;
}

static enum exit_outcome answer_nothing(const struct exit_context *context, struct machine_exit *exit)
{
	(void)context;
	(void)exit;
	return OUTCOME_RUN;
}

static enum exit_outcome answer_msr_read(const struct exit_context *context, struct machine_exit *exit)
{
	switch ((uint32_t)exit->record.address) {
	case MSR_TSC:
		exit->result = board_now(context->board);
		break;
	case MSR_EFER:
		exit->result = context->msrs->efer;
		break;
	case MSR_SYSENTER_ESP:
		exit->result = context->msrs->sysenter_esp;
		break;
	case MSR_SYSENTER_EIP:
		exit->result = context->msrs->sysenter_eip;
		break;
	case MSR_PATCH_LEVEL: /* no microcode was loaded */
	case MSR_HWCR:        /* power-on value */
		exit->result = 0;
		break;
	default:
		exit->refused = true;
	}
	return OUTCOME_RUN;
}

static enum exit_outcome answer_msr_write(const struct exit_context *context, struct machine_exit *exit)
{
	uint64_t value = exit->record.data;
	uint64_t efer = context->msrs->efer;

	switch ((uint32_t)exit->record.address) {
	case MSR_EFER:
		/* Long mode cannot be switched while paging is on (APM vol. 2, 14.6.1), and LMA says that it is. */
		if ((value & ~(EFER_WRITABLE | EFER_LMA)) || ((efer & EFER_LMA) && !(value & EFER_LME)))
			exit->refused = true;
		else
			context->msrs->efer = (value & EFER_WRITABLE) | (efer & EFER_LMA);
		break;
	case MSR_SYSENTER_ESP:
		context->msrs->sysenter_esp = value;
		break;
	case MSR_SYSENTER_EIP:
		context->msrs->sysenter_eip = value;
		break;
	case MSR_PATCH_LEVEL:
	case MSR_HWCR:
		break;
	default: /* the TSC cannot be set either: no guest that was told it has none does */
		exit->refused = true;
	}
	return OUTCOME_RUN;
}

static enum exit_outcome answer_rdtsc(const struct exit_context *context, struct machine_exit *exit)
{
	exit->result = board_now(context->board);
	return OUTCOME_RUN;
}

static enum exit_outcome answer_cpuid(const struct exit_context *context, struct machine_exit *exit)
{
	exit->cpuid = cpu_model_cpuid(context->cpu_model, (uint32_t)exit->record.address,
				      (uint32_t)exit->record.data);
	return OUTCOME_RUN;
}

static enum exit_outcome answer_crash(const struct exit_context *context, struct machine_exit *exit)
{
	(void)context;
	(void)exit;
	return OUTCOME_CRASHED;
}

struct exit_handler {
	const char *name;
	enum exit_outcome (*answer)(const struct exit_context *context, struct machine_exit *exit);
};

static const struct exit_handler handlers[EXIT_REASONS] = {
	[EXIT_PORT_IN] = { "port_in", answer_port_in },
	[EXIT_PORT_OUT] = { "port_out", answer_port_out },
	[EXIT_MMIO_READ] = { "mmio_read", answer_mmio_read },
	[EXIT_MMIO_WRITE] = { "mmio_write", answer_mmio_write },
	[EXIT_HALT] = { "halt", answer_halt },
	[EXIT_INTERRUPT_WINDOW] = { "interrupt_window", answer_nothing },
	[EXIT_MSR_READ] = { "msr_read", answer_msr_read },
	[EXIT_MSR_WRITE] = { "msr_write", answer_msr_write },
	[EXIT_RDTSC] = { "rdtsc", answer_rdtsc },
	[EXIT_CPUID] = { "cpuid", answer_cpuid },
	[EXIT_UNDEFINED] = { "undefined", answer_nothing },
	[EXIT_TASK_PRIORITY] = { "task_priority", answer_nothing },
	[EXIT_SHUTDOWN] = { "shutdown", answer_crash },
	[EXIT_INTERNAL] = { "internal", answer_crash },
	[EXIT_PREEMPTED] = { "preempted", answer_nothing },
};

const char *exit_reason_name(enum exit_reason reason)
{
	return (unsigned)reason < EXIT_REASONS && handlers[reason].name ? handlers[reason].name : "unknown";
}

bool exit_is_timed(const struct board *board, const struct machine_exit *exit)
{
	switch (exit->record.reason) {
	case EXIT_PORT_IN:
		return board_port_is_timed(board, (uint16_t)exit->record.address, false);
	case EXIT_PORT_OUT:
		return board_port_is_timed(board, (uint16_t)exit->record.address, true);
	case EXIT_MSR_READ:
		return exit->record.address == MSR_TSC;
	case EXIT_RDTSC:
		return true;
	default:
		return false;
	}
}

enum exit_outcome exit_answer(const struct exit_context *context, struct machine_exit *exit)
{
	invariant(exit->record.reason < EXIT_REASONS && handlers[exit->record.reason].answer != NULL);
	return handlers[exit->record.reason].answer(context, exit);
}
