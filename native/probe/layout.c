/* SPDX-License-Identifier: Apache-2.0
 * The layout of the shared header as this compiler sees it, for comparison with the reader.
 */
#include "layout.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "vmjitter_shm.h"

struct field {
	const char *name;
	size_t offset, size;
};

#define FIELD(type, name) { #name, offsetof(struct type, name), sizeof(((struct type *)0)->name) }

static const struct field header_fields[] = {
#define F(name) FIELD(vmj_shm_header, name)
	F(magic), F(version), F(reserved0), F(total_bytes), F(ring_records), { NULL, 0, 0 },
#undef F
};

static const struct field control_fields[] = {
#define F(name) FIELD(vmj_control, name)
	F(stop), F(load_stop), F(agent_state), F(heartbeat), F(cmd_seq), F(cmd_len), F(rep_seq),
	F(rep_len), F(rep_status), F(reserved0), F(init_ns), F(ready_ns), { NULL, 0, 0 },
#undef F
};

static const struct field clock_fields[] = {
#define F(name) FIELD(vmj_clock_cell, name)
	F(clock_req), F(reserved0), F(clock_ack), F(reserved1), F(guest_ns), F(guest_tsc),
	{ NULL, 0, 0 },
#undef F
};

static const struct field probe_fields[] = {
#define F(name) FIELD(vmj_probe_result, name)
	F(state), F(written), F(overruns), F(pid), F(policy), F(priority), F(policy_after),
	F(priority_after), F(affinity), F(affinity_after), F(period_ns), F(loops), F(t0_ns),
	F(end_ns), F(tsc0), F(start_ns), F(tsc1), F(tsc_hz), F(clock_cost_ns), F(clock_res_ns),
	F(minflt), F(majflt), F(nvcsw), F(nivcsw), F(mlocked), F(reserved0),
	F(clocksource_before), F(clocksource_after), F(message), { NULL, 0, 0 },
#undef F
};

static const struct field load_fields[] = {
#define F(name) FIELD(vmj_load_slot, name)
	F(name), F(state), F(pid), F(start_ns), F(rate), F(ops), F(errors), F(second),
	F(exit_status), F(unit), F(message), F(history), { NULL, 0, 0 },
#undef F
};

static const struct field stream_fields[] = {
#define F(name) FIELD(vmj_stream_header, name)
	F(magic), F(version), F(header_bytes), F(record_bytes), F(clock_id), F(period_ns),
	F(t0_ns), F(tsc_hz), F(loops), F(reserved0), { NULL, 0, 0 },
#undef F
};

static const struct field sample_fields[] = {
#define F(name) FIELD(vmj_sample, name)
	F(latency_ns), F(tsc), { NULL, 0, 0 },
#undef F
};

static const struct {
	const char *name;
	size_t size;
	const struct field *fields;
} structs[] = {
	{ "vmj_shm_header", sizeof(struct vmj_shm_header), header_fields },
	{ "vmj_control", sizeof(struct vmj_control), control_fields },
	{ "vmj_clock_cell", sizeof(struct vmj_clock_cell), clock_fields },
	{ "vmj_probe_result", sizeof(struct vmj_probe_result), probe_fields },
	{ "vmj_load_slot", sizeof(struct vmj_load_slot), load_fields },
	{ "vmj_stream_header", sizeof(struct vmj_stream_header), stream_fields },
	{ "vmj_sample", sizeof(struct vmj_sample), sample_fields },
};

static const struct {
	const char *name;
	int64_t value;
} constants[] = {
#define C(name) { #name, name }
	C(VMJ_SHM_VERSION), C(VMJ_STREAM_VERSION), C(VMJ_OFF_HEADER), C(VMJ_OFF_CONTROL),
	C(VMJ_OFF_CLOCK), C(VMJ_OFF_COMMAND), C(VMJ_COMMAND_CAP), C(VMJ_OFF_REPLY),
	C(VMJ_REPLY_CAP), C(VMJ_OFF_PROBE), C(VMJ_OFF_LOADS), C(VMJ_LOAD_SLOTS),
	C(VMJ_LOAD_HISTORY), C(VMJ_OFF_STREAM), C(VMJ_OFF_RING), C(VMJ_MISSED),
	C(VMJ_AGENT_ABSENT), C(VMJ_AGENT_READY), C(VMJ_AGENT_BUSY), C(VMJ_AGENT_CLOCK),
	C(VMJ_RUN_NONE), C(VMJ_RUN_STARTING), C(VMJ_RUN_RUNNING), C(VMJ_RUN_DONE),
	C(VMJ_RUN_FAILED),
#undef C
};

static void print_struct(size_t i)
{
	printf("%s    \"%s\": {\"size\": %zu, \"fields\": {", i ? ",\n" : "\n", structs[i].name,
	       structs[i].size);
	for (const struct field *f = structs[i].fields; f->name; f++)
		printf("%s\"%s\": [%zu, %zu]", f == structs[i].fields ? "" : ", ", f->name,
		       f->offset, f->size);
	fputs("}}", stdout);
}

void probe_print_layout(void)
{
	fputs("{\n  \"structs\": {", stdout);
	for (size_t i = 0; i < sizeof(structs) / sizeof(structs[0]); i++)
		print_struct(i);
	fputs("\n  },\n  \"constants\": {", stdout);
	for (size_t i = 0; i < sizeof(constants) / sizeof(constants[0]); i++)
		printf("%s    \"%s\": %lld", i ? ",\n" : "\n", constants[i].name,
		       (long long)constants[i].value);
	/* The magics hold NUL bytes, as JSON escapes. */
	fputs(",\n    \"VMJ_SHM_MAGIC\": \"VMJSHM\\u0000\\u0000\""
	      ",\n    \"VMJ_STREAM_MAGIC\": \"VMJSTRM\\u0000\"\n  }\n}\n", stdout);
}
