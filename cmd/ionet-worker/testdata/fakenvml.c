/*
 * A library that answers as NVIDIA's management library of a host with two GPUs does, as
 * far as the worker asks. Tests put it where the driver's would be: opening it, the
 * calls and their structures are then real, and only the GPUs are not. It is of an old
 * driver, without nvmlDeviceGetMigMode. FAKE_NVML_HANG=1 lets the second GPU hang.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, INSUFFICIENT_SIZE = 7 };

typedef struct { int index; } *device;
typedef struct { unsigned long long total, free, used; } memory;
typedef struct { unsigned gpu, memory; } utilization;
typedef struct { char legacy[16]; unsigned domain, bus, device, id, subsystem; char text[32]; } pci;
typedef struct { unsigned pid; unsigned long long used; unsigned instance, compute; } process;

static struct { int index; } gpus[2] = { { 0 }, { 1 } };

int nvmlInit_v2(void) { return SUCCESS; }
int nvmlInit(void) { return SUCCESS; }
int nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(int e) { return e == SUCCESS ? "Success" : "Some Error"; }

int nvmlDeviceGetCount_v2(unsigned *n) { *n = 2; return SUCCESS; }
int nvmlSystemGetDriverVersion(char *s, unsigned n) { snprintf(s, n, "440.33.01"); return SUCCESS; }

int nvmlDeviceGetHandleByIndex_v2(unsigned i, device *d)
{
	if (i > 1)
		return INVALID_ARGUMENT;
	*d = (device)&gpus[i];
	return SUCCESS;
}

int nvmlDeviceGetUUID(device d, char *s, unsigned n)
{
	snprintf(s, n, "GPU-0000000%d-1111-4222-8333-444444444444", d->index);
	return SUCCESS;
}
int nvmlDeviceGetName(device d, char *s, unsigned n) { snprintf(s, n, "Tesla V100-SXM2-32GB"); return d ? SUCCESS : INVALID_ARGUMENT; }
int nvmlDeviceGetVbiosVersion(device d, char *s, unsigned n) { snprintf(s, n, "88.00.43.00.03"); return d ? SUCCESS : INVALID_ARGUMENT; }

int nvmlDeviceGetMemoryInfo(device d, memory *m)
{
	m->total = 32510ULL << 20;
	m->used = (unsigned long long)(100 + d->index) << 20;
	m->free = m->total - m->used;
	return SUCCESS;
}

int nvmlDeviceGetPciInfo_v3(device d, pci *p)
{
	memset(p, 0, sizeof *p);
	p->domain = 1;
	p->bus = 0x1a + d->index;
	return SUCCESS;
}
int nvmlDeviceGetPciInfo(device d, pci *p) { return nvmlDeviceGetPciInfo_v3(d, p); }

int nvmlDeviceGetCudaComputeCapability(device d, int *major, int *minor) { *major = 7; *minor = 0; return d ? SUCCESS : INVALID_ARGUMENT; }
int nvmlDeviceGetEccMode(device d, int *now, int *next) { *now = 1; *next = 0; return d ? SUCCESS : INVALID_ARGUMENT; }
int nvmlDeviceGetUtilizationRates(device d, utilization *u) { u->gpu = 30 + d->index; u->memory = 1; return SUCCESS; }
int nvmlDeviceGetTemperature(device d, int sensor, unsigned *c) { *c = 50 + d->index; return sensor == 0 ? SUCCESS : INVALID_ARGUMENT; }

int nvmlDeviceGetPowerUsage(device d, unsigned *mw)
{
	if (d->index == 1 && getenv("FAKE_NVML_HANG"))
		for (;;)
			pause();
	*mw = 120500;
	return SUCCESS;
}

int nvmlDeviceGetClockInfo(device d, int clock, unsigned *mhz)
{
	*mhz = clock == 1 ? 1290 : clock == 2 ? 877 : 0;
	return d && *mhz ? SUCCESS : INVALID_ARGUMENT;
}

int nvmlDeviceGetTotalEccErrors(device d, int kind, int counter, unsigned long long *n)
{
	*n = 0;
	return d && kind == 1 && counter == 0 ? SUCCESS : INVALID_ARGUMENT;
}

int nvmlDeviceGetComputeRunningProcesses_v3(device d, unsigned *n, process *list)
{
	unsigned room = *n;
	*n = 2;
	if (!d || room < 2)
		return INSUFFICIENT_SIZE;
	memset(list, 0, 2 * sizeof *list);
	return SUCCESS;
}
int nvmlDeviceGetComputeRunningProcesses(device d, unsigned *n, process *list) { return nvmlDeviceGetComputeRunningProcesses_v3(d, n, list); }
