// A stand-in for libnvidia-ml.so.1, for tests: one GPU that draws 350 of 700 W at
// 1,755 MHz, 60 degrees, under its power cap.
#include <stdint.h>
#include <string.h>
typedef int Return;
Return nvmlInit_v2(void) { return 0; }
Return nvmlShutdown(void) { return 0; }
Return nvmlDeviceGetHandleByIndex_v2(unsigned i, void **d) { *d = (void *)1; return i ? 6 : 0; }
Return nvmlDeviceGetClockInfo(void *d, int kind, unsigned *mhz) { (void)d; *mhz = kind == 1 ? 1755 : 2619; return 0; }
Return nvmlDeviceGetPowerUsage(void *d, unsigned *mw) { (void)d; *mw = 350000; return 0; }
Return nvmlDeviceGetEnforcedPowerLimit(void *d, unsigned *mw) { (void)d; *mw = 700000; return 0; }
Return nvmlDeviceGetTemperature(void *d, int sensor, unsigned *c) { (void)d; *c = 60; return sensor; }
Return nvmlDeviceGetCurrentClocksThrottleReasons(void *d, unsigned long long *bits) { (void)d; *bits = 0x5; return 0; }
Return nvmlSystemGetDriverVersion(char *text, unsigned n) { strncpy(text, "999.99.99", n); return 0; }
