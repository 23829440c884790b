#include "manage/qmp_control.h"

#include "manage/qmp_commands.h"

result qmp_control_stop(void *context, json_t *arguments, struct qmp_answer *answer)
{
	const struct qmp_machine *machine = context;

	(void)arguments;
	(void)answer;
	return machine->control->pause(machine->supervisor);
}

result qmp_control_cont(void *context, json_t *arguments, struct qmp_answer *answer)
{
	const struct qmp_machine *machine = context;

	(void)arguments;
	(void)answer;
	return machine->control->resume(machine->supervisor);
}

result qmp_control_system_reset(void *context, json_t *arguments, struct qmp_answer *answer)
{
	const struct qmp_machine *machine = context;

	(void)arguments;
	(void)answer;
	return machine->control->reset(machine->supervisor);
}

result qmp_control_system_powerdown(void *context, json_t *arguments, struct qmp_answer *answer)
{
	const struct qmp_machine *machine = context;

	(void)arguments;
	(void)answer;
	return machine->control->power_button(machine->supervisor);
}

result qmp_control_quit(void *context, json_t *arguments, struct qmp_answer *answer)
{
	const struct qmp_machine *machine = context;

	(void)arguments;
	(void)answer;
	return machine->control->end(machine->supervisor);
}

result qmp_control_query_status(void *context, json_t *arguments, struct qmp_answer *answer)
{
	const struct qmp_machine *machine = context;
	enum life_state state = machine->control->state(machine->supervisor);
	json_t *value = json_pack("{s:s, s:b, s:b}", "status", life_state_name(state), "running",
				  state == LIFE_RUNNING, "singlestep", 0);

	(void)arguments;
	if (!value)
		return fail(STATUS_FAILED, "no memory for the reply");
	json_decref(answer->value);
	answer->value = value;
	return OK;
}
