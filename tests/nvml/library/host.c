/* The library as a whole: opening it, the driver's versions, the list of GPUs. */
#include "double.h"

#include <pthread.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned int opened;
static _Atomic unsigned int epoch;
static _Atomic uint32_t generation;
static _Atomic int listed[MAX_GPUS]; /* NVML's indices as of nvmlInit */
static _Atomic bool open_now;

#define HOST_OFFSET(member) (offsetof(struct state, host) + offsetof(struct host, member))

static void count(enum call call)
{
    double_journal()->calls[MAX_GPUS][call]++;
}

/* Where a GPU is late, those after it move up. */
static void list(int *to)
{
    uint32_t gpus;
    READ_HOST(gpus, &gpus);
    unsigned int next = 0;
    for (unsigned int gpu = 0; gpu < MAX_GPUS; gpu++) {
        struct device device = {.late = 1};
        if (gpu < gpus)
            READ_GPU(gpu, device, &device);
        if (!device.late)
            to[next++] = (int)gpu;
    }
    while (next < MAX_GPUS)
        to[next++] = -1;
}

unsigned int double_epoch(void)
{
    return epoch;
}

int double_listed(unsigned int index)
{
    uint32_t once;
    READ_HOST(enumerates_once, &once);
    int now[MAX_GPUS];
    if (once || index >= MAX_GPUS)
        return index < MAX_GPUS ? listed[index] : -1;
    list(now);
    return now[index];
}

/* The beginning of every call but nvmlInit. */
nvmlReturn_t double_enter_host(enum call call)
{
    if (!open_now)
        return NVML_ERROR_UNINITIALIZED;
    count(call);
    double_hang(HOST_OFFSET(hangs));
    int32_t code;
    uint32_t now;
    READ_HOST(call_code, &code);
    READ_HOST(generation, &now);
    if (code != NVML_SUCCESS)
        return (nvmlReturn_t)code;
    return now == generation ? NVML_SUCCESS : NVML_ERROR_UNINITIALIZED;
}

static nvmlReturn_t open_locked(void)
{
    if (!double_map())
        return NVML_ERROR_LIBRARY_NOT_FOUND;
    count(CALL_nvmlInitWithFlags);
    int32_t code;
    READ_HOST(init_code, &code);
    if (code != NVML_SUCCESS)
        return (nvmlReturn_t)code;
    if (opened++ == 0) {
        uint32_t now;
        int indices[MAX_GPUS];
        READ_HOST(generation, &now);
        generation = now;
        list(indices);
        for (int index = 0; index < MAX_GPUS; index++)
            listed[index] = indices[index];
        epoch++;
        open_now = true;
    }
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlInitWithFlags(unsigned int flags)
{
    (void)flags;
    if (!double_map())
        return NVML_ERROR_LIBRARY_NOT_FOUND;
    double_hang(HOST_OFFSET(hangs)); /* outside the lock: whoever closes meanwhile is not to hang as well */
    pthread_mutex_lock(&lock);
    nvmlReturn_t code = open_locked();
    pthread_mutex_unlock(&lock);
    return code;
}

nvmlReturn_t nvmlInit_v2(void)
{
    return nvmlInitWithFlags(0);
}

nvmlReturn_t nvmlShutdown(void)
{
    pthread_mutex_lock(&lock);
    nvmlReturn_t code = opened ? NVML_SUCCESS : NVML_ERROR_UNINITIALIZED;
    if (opened) {
        count(CALL_nvmlShutdown);
        if (opened == 1 && double_blocked())
            double_misuse(CALL_nvmlShutdown); /* what a call in flight uses is freed under it */
        open_now = --opened > 0;
        if (!open_now)
            double_free_events();
    }
    pthread_mutex_unlock(&lock);
    return code;
}

const char *nvmlErrorString(nvmlReturn_t result)
{
    switch (result) {
    case NVML_SUCCESS: return "Success";
    case NVML_ERROR_UNINITIALIZED: return "Uninitialized";
    case NVML_ERROR_NOT_SUPPORTED: return "Not Supported";
    case NVML_ERROR_DRIVER_NOT_LOADED: return "Driver Not Loaded";
    case NVML_ERROR_GPU_IS_LOST: return "GPU is lost";
    case NVML_ERROR_LIB_RM_VERSION_MISMATCH: return "Driver/library version mismatch";
    default: return "Unknown Error";
    }
}

nvmlReturn_t nvmlSystemGetDriverVersion(char *version, unsigned int length)
{
    nvmlReturn_t code = double_enter_host(CALL_nvmlSystemGetDriverVersion);
    if (code != NVML_SUCCESS)
        return code;
    struct { char text[TEXT]; } driver;
    READ_HOST(driver_version, &driver);
    return double_text(version, length, driver.text);
}

nvmlReturn_t nvmlSystemGetNVMLVersion(char *version, unsigned int length)
{
    nvmlReturn_t code = double_enter_host(CALL_nvmlSystemGetNVMLVersion);
    return code != NVML_SUCCESS ? code : double_text(version, length, NVML_API_VERSION_STR ".double");
}

nvmlReturn_t nvmlSystemGetCudaDriverVersion(int *version)
{
    nvmlReturn_t code = double_enter_host(CALL_nvmlSystemGetCudaDriverVersion);
    if (code == NVML_SUCCESS)
        READ_HOST(cuda_version, version);
    return code;
}

nvmlReturn_t nvmlSystemGetCudaDriverVersion_v2(int *version)
{
    return nvmlSystemGetCudaDriverVersion(version); /* the first version differs only where the CUDA driver is missing */
}

nvmlReturn_t nvmlDeviceGetCount_v2(unsigned int *number)
{
    nvmlReturn_t code = double_enter_host(CALL_nvmlDeviceGetCount_v2);
    if (code == NVML_SUCCESS)
        for (*number = 0; *number < MAX_GPUS && double_listed(*number) >= 0;)
            ++*number;
    return code;
}
