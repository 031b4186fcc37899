/* Event sets: what happened on the registered GPUs since they were registered, one event a call. */
#define _GNU_SOURCE
#include "double.h"

#include <pthread.h>
#include <time.h>

enum { MAX_SETS = 16, STEP_US = 20000 };

struct watch {
    uint64_t types, since;
    nvmlDevice_t handle; /* as registered: NVML has one handle per device */
};

static struct set {
    bool used;
    uint64_t next;
    struct watch watches[MAX_GPUS];
} sets[MAX_SETS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

#define SET_HANDLE(index) ((nvmlEventSet_t)(uintptr_t)(0xe0 + (index)))

static struct set *known(nvmlEventSet_t handle)
{
    uintptr_t index = (uintptr_t)handle - 0xe0;
    return index < MAX_SETS && sets[index].used ? &sets[index] : NULL;
}

nvmlReturn_t nvmlEventSetCreate(nvmlEventSet_t *handle)
{
    nvmlReturn_t code = double_enter_host(CALL_nvmlEventSetCreate);
    if (code != NVML_SUCCESS)
        return code;
    code = NVML_ERROR_INSUFFICIENT_RESOURCES;
    pthread_mutex_lock(&lock);
    for (int index = 0; index < MAX_SETS && code != NVML_SUCCESS; index++)
        if (!sets[index].used) {
            sets[index] = (struct set){.used = true};
            *handle = SET_HANDLE(index);
            code = NVML_SUCCESS;
        }
    pthread_mutex_unlock(&lock);
    return code;
}

/* With the library all its sets are gone. */
void double_free_events(void)
{
    pthread_mutex_lock(&lock);
    for (int index = 0; index < MAX_SETS; index++)
        sets[index].used = false;
    pthread_mutex_unlock(&lock);
}

nvmlReturn_t nvmlEventSetFree(nvmlEventSet_t handle)
{
    nvmlReturn_t code = double_enter_host(CALL_nvmlEventSetFree);
    pthread_mutex_lock(&lock);
    struct set *set = known(handle);
    if (set)
        set->used = false;
    pthread_mutex_unlock(&lock);
    return code != NVML_SUCCESS || set ? code : NVML_ERROR_INVALID_ARGUMENT;
}

nvmlReturn_t nvmlDeviceRegisterEvents(nvmlDevice_t device, unsigned long long types, nvmlEventSet_t handle)
{
    struct target target;
    nvmlReturn_t code = double_enter(device, CALL_nvmlDeviceRegisterEvents, WHOLE, &target);
    if (code != NVML_SUCCESS)
        return code;
    if (types & ~target.answer.value[0])
        return NVML_ERROR_NOT_SUPPORTED;
    uint64_t so_far;
    READ_HOST(event_count, &so_far);
    pthread_mutex_lock(&lock);
    struct set *set = known(handle);
    if (set) {
        struct watch *watch = &set->watches[target.gpu];
        if (!watch->types)
            watch->since = so_far;
        watch->types |= types;
        watch->handle = device;
    }
    pthread_mutex_unlock(&lock);
    return set ? NVML_SUCCESS : NVML_ERROR_INVALID_ARGUMENT;
}

/* The next event of the set, or TIMEOUT for none now. A lost GPU is said after its last event. */
static nvmlReturn_t next(struct set *set, nvmlEventData_t *data)
{
    struct host host;
    double_read(&host, offsetof(struct state, host), sizeof host);
    if (host.event_count > MAX_EVENTS && set->next < host.event_count - MAX_EVENTS)
        set->next = host.event_count - MAX_EVENTS;
    for (; set->next < host.event_count; set->next++) {
        const struct event *event = &host.events[set->next % MAX_EVENTS];
        const struct watch *watch = &set->watches[event->gpu % MAX_GPUS];
        if (!(watch->types & event->type) || set->next < watch->since)
            continue;
        *data = (nvmlEventData_t){watch->handle, event->type, event->data, UINT32_MAX, UINT32_MAX};
        set->next++;
        return NVML_SUCCESS;
    }
    for (unsigned int gpu = 0; gpu < MAX_GPUS; gpu++) {
        struct device device;
        if (!set->watches[gpu].types)
            continue;
        READ_GPU(gpu, device, &device);
        if (device.lost)
            return NVML_ERROR_GPU_IS_LOST;
    }
    return NVML_ERROR_TIMEOUT;
}

static nvmlReturn_t look(nvmlEventSet_t handle, nvmlEventData_t *data)
{
    pthread_mutex_lock(&lock);
    struct set *set = known(handle);
    nvmlReturn_t code = set ? next(set, data) : NVML_ERROR_INVALID_ARGUMENT;
    pthread_mutex_unlock(&lock);
    return code;
}

static int64_t milliseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

nvmlReturn_t nvmlEventSetWait_v2(nvmlEventSet_t handle, nvmlEventData_t *data, unsigned int timeout_ms)
{
    int64_t until = milliseconds() + timeout_ms;
    nvmlReturn_t code = double_enter_host(CALL_nvmlEventSetWait_v2);
    if (code == NVML_SUCCESS)
        code = look(handle, data);
    while (code == NVML_ERROR_TIMEOUT && milliseconds() < until) {
        double_pause(STEP_US);
        code = look(handle, data);
    }
    return code;
}
