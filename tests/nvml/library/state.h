/* The state file: what the library answers, written by tests/nvml/layout.py, and after it what the library was asked.
 *
 * Fixed layout, native byte order; a change here is a change there (the size in the file's head must agree). */
#ifndef STATE_H
#define STATE_H

#include "calls.h"

#include <stdatomic.h>
#include <stdint.h>

enum {
    MAX_GPUS = 16,
    MAX_VALUES = 8,
    MAX_FIELDS = 320,
    MAX_SAMPLES = 256,
    MAX_PROCESS_SAMPLES = 2048,
    MAX_PROCESSES = 128,
    MAX_INSTANCES = 7,
    MAX_EVENTS = 64,
    MAX_SINCE = 512,
    MAX_GPM = 384,
    TEXT = 96,
};

#define ABSENT UINT64_MAX /* an answer's value for an argument that the GPU does not support */

/* What one function answers for one GPU: its return code, how long that takes, and its values by argument. */
struct answer {
    int32_t code;
    uint32_t delay_us;
    uint64_t value[MAX_VALUES];
};

/* A field value; the list is sorted by (id, scope). `bits` is an nvmlValue_t of that nvmlValueType_t. */
struct field {
    uint32_t id, scope;
    int32_t code;
    uint32_t type;
    uint64_t bits;
};

struct fields {
    uint32_t count, pad;
    struct field at[MAX_FIELDS];
};

struct sample {
    uint64_t time_us;
    uint32_t percent, pad;
};

struct samples {
    uint32_t count, pad;
    struct sample at[MAX_SAMPLES]; /* oldest first */
};

struct process_sample {
    uint64_t time_us;
    uint32_t pid, percent;
};

struct process_samples {
    uint32_t count, pad;
    struct process_sample at[MAX_PROCESS_SAMPLES]; /* oldest first */
};

enum { KIND_COMPUTE = 1, KIND_GRAPHICS = 2, KIND_MPS = 4 };

struct process {
    uint64_t memory; /* ABSENT: N/A */
    uint32_t pid, kinds, gpu_instance, compute_instance;
};

struct processes {
    uint32_t count, pad;
    struct process at[MAX_PROCESSES];
};

struct instance {
    uint32_t present, gpu_instance, compute_instance, slices, placement_start, placement_size;
    uint64_t total, used;
    char uuid[TEXT], profile[TEXT];
};

enum {
    QUIRK_SIZE_100 = 1,        /* the size query of process utilisation answers 100, and the tail stays as it was */
    QUIRK_EMPTY_SUCCEEDS = 2,  /* with nobody active it answers SUCCESS and no entries instead of NOT_FOUND */
    QUIRK_WIDE_PROCESSES = 4,  /* _v3 process lists have the wider entries of driver 535, which broke the ABI */
};

#define WHOLE_GPU UINT32_MAX

/* A GPM metric of the GPU or a GPU instance as its integral over time, in its unit times seconds. */
struct gpm_metric {
    uint32_t instance, id;
    int32_t code;
    uint32_t pad;
    double total;
};

struct gpm {
    double time;
    uint32_t count, pad;
    struct gpm_metric at[MAX_GPM];
};

struct device {
    uint32_t late, lost, hangs, mig, quirks, pad;
    char uuid[TEXT], name[TEXT], bus_id[TEXT], serial[TEXT];
};

struct gpu {
    struct device device;
    struct answer answers[CALL_COUNT];
    struct instance instances[MAX_INSTANCES];
    struct processes processes;
    struct samples samples;
    struct process_samples process_samples;
    struct fields fields;
    struct gpm gpm;
};

struct event {
    uint64_t type, data;
    uint32_t gpu, pad;
};

struct host {
    uint32_t gpus;
    int32_t init_code;         /* of nvmlInit */
    int32_t call_code;         /* of every other call: what a driver that went away answers */
    uint32_t generation;       /* another one: the driver was loaded anew, and who opened the former must open again */
    uint32_t hangs;            /* every call blocks, nvmlInit too */
    uint32_t enumerates_once;  /* GPUs that come after nvmlInit are seen by the next one */
    int32_t cuda_version;
    uint32_t confidential[4]; /* 1 if known, environment, feature, devtools mode */
    uint32_t accepts_work;
    char driver_version[TEXT];
    uint64_t event_count; /* so far; the last MAX_EVENTS are kept, event n at n % MAX_EVENTS */
    struct event events[MAX_EVENTS];
};

struct state {
    uint32_t size; /* sizeof(struct state) */
    _Atomic uint32_t sequence; /* odd while it is being written */
    struct host host;
    struct gpu gpus[MAX_GPUS];
};

/* The times that callers passed as lastSeenTimeStamp: the last MAX_SINCE, number n at n % MAX_SINCE. */
struct since {
    _Atomic uint64_t count;
    _Atomic uint64_t at[MAX_SINCE];
};

struct journal {
    _Atomic uint64_t calls[MAX_GPUS + 1][CALL_COUNT]; /* the last row: all of them, and those that name no GPU */
    struct since samples[MAX_GPUS], processes[MAX_GPUS];
    _Atomic int64_t races[MAX_GPUS]; /* set by a test: in so many calls a list grows past the caller's array */
    _Atomic int64_t gpm_samples;     /* GPM samples allocated and not freed */
    _Atomic uint64_t blocked;        /* calls that hang now */
    _Atomic uint64_t misused;        /* calls with a handle that failed or that no lookup gave, and shutdowns under a call */
    _Atomic uint64_t misused_call;   /* the last of them */
};

struct file {
    struct state state;
    struct journal journal;
};

#endif
