/* A stand-in for libcuda.so.1 with its ABI: the kernel runs on the CPU. Made to see that arguments arrive as cuda.h
   declares them; whatever is wrong with them is an error, and counts. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { SUCCESS = 0, INVALID_VALUE = 1, NOT_INITIALIZED = 3, INVALID_CONTEXT = 201, INVALID_PTX = 218, NOT_FOUND = 500 };

static int initialised, context, module, function, stream;
static uint32_t memory;
static int queued;

int cuInit(unsigned int flags)
{
    initialised = flags == 0;
    return initialised ? SUCCESS : INVALID_VALUE;
}

int cuDeviceGet(int *device, int ordinal)
{
    *device = 7;
    return !initialised ? NOT_INITIALIZED : ordinal == 0 ? SUCCESS : INVALID_VALUE;
}

int cuDeviceGetAttribute(int *value, int attribute, int device)
{
    *value = 132;
    return attribute == 16 && device == 7 ? SUCCESS : INVALID_VALUE;
}

int cuCtxCreate_v2(void **made, unsigned int flags, int device)
{
    *made = &context;
    return flags == 0 && device == 7 ? SUCCESS : INVALID_VALUE;
}

int cuCtxDestroy_v2(void *made)
{
    return made == &context ? SUCCESS : INVALID_CONTEXT;
}

int cuModuleLoadData(void **loaded, const void *image)
{
    *loaded = &module;
    return strstr(image, ".visible .entry spin(") && strstr(image, "ret;\n}\n") ? SUCCESS : INVALID_PTX;
}

int cuModuleGetFunction(void **found, void *of, const char *name)
{
    *found = &function;
    return of == &module && strcmp(name, "spin") == 0 ? SUCCESS : NOT_FOUND;
}

int cuMemAlloc_v2(unsigned long long *pointer, size_t bytes)
{
    *pointer = (uintptr_t)&memory;
    return bytes == sizeof memory ? SUCCESS : INVALID_VALUE;
}

int cuStreamCreate(void **made, unsigned int flags)
{
    *made = &stream;
    return flags == 1 ? SUCCESS : INVALID_VALUE;
}

int cuLaunchKernel(void *of, unsigned int gx, unsigned int gy, unsigned int gz, unsigned int bx, unsigned int by,
                   unsigned int bz, unsigned int shared, void *on, void **parameters, void **extra)
{
    if (of != &function || on != &stream || shared != 0 || extra != NULL)
        return INVALID_VALUE;
    if (gx != 132 || gy != 1 || gz != 1 || bx != 256 || by != 1 || bz != 1)
        return INVALID_VALUE;
    unsigned long long to = *(unsigned long long *)parameters[0];
    uint32_t iterations = *(uint32_t *)parameters[1], value = 0, turn = 0;
    if (to != (uintptr_t)&memory)
        return INVALID_VALUE;
    do
        value = value * 1664525u + 1013904223u;
    while (++turn < iterations);
    *(volatile uint32_t *)(uintptr_t)to = value;
    queued++;
    return SUCCESS;
}

int cuStreamSynchronize(void *on)
{
    queued = 0;
    return on == &stream ? SUCCESS : INVALID_VALUE;
}

int cuGetErrorName(int code, const char **name)
{
    *name = code == INVALID_PTX ? "CUDA_ERROR_INVALID_PTX" : NULL;
    return *name ? SUCCESS : INVALID_VALUE;
}

/* For tests: what the last kernel stored, and how many wait. */
uint32_t fake_result(void) { return memory; }
int fake_queued(void) { return queued; }
