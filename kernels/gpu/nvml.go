package gpu

import (
	"bytes"
	"fmt"
	"os"
	"strings"

	"github.com/ebitengine/purego"

	"orrery/kernels/sample"
)

// NVML by the seven calls that are needed of it, opened at run time like the
// driver: go-nvml needs cgo, and its build prints pages of warnings.

// NVMLEnv names another NVML library than the system's, for tests.
const NVMLEnv = "ORRERY_LIBNVML"

type nvml struct {
	handle   uintptr // of the device
	shutdown func() int32

	clock    func(device uintptr, kind int32, mhz *uint32) int32
	power    func(device uintptr, milliwatts *uint32) int32
	limit    func(device uintptr, milliwatts *uint32) int32
	temp     func(device uintptr, sensor int32, celsius *uint32) int32
	throttle func(device uintptr, reasons *uint64) int32
	driver   func(text *byte, length uint32) int32
}

// OpenTelemetry opens NVML for a GPU. The error says why there is none; nothing
// is called after a failed start.
func OpenTelemetry(ordinal int) (Telemetry, error) {
	library := os.Getenv(NVMLEnv)
	if library == "" {
		library = "libnvidia-ml.so.1"
	}
	lib, err := purego.Dlopen(library, purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		return nil, fmt.Errorf("clocks and power are not recorded: %s, which comes with the driver, cannot be loaded", library)
	}
	var n nvml
	var start func() int32
	var open func(index uint32, device *uintptr) int32
	for _, f := range []struct {
		into any
		name string
	}{
		{&start, "nvmlInit_v2"}, {&n.shutdown, "nvmlShutdown"}, {&open, "nvmlDeviceGetHandleByIndex_v2"},
		{&n.clock, "nvmlDeviceGetClockInfo"}, {&n.power, "nvmlDeviceGetPowerUsage"}, {&n.limit, "nvmlDeviceGetEnforcedPowerLimit"},
		{&n.temp, "nvmlDeviceGetTemperature"}, {&n.throttle, "nvmlDeviceGetCurrentClocksThrottleReasons"}, {&n.driver, "nvmlSystemGetDriverVersion"},
	} {
		at, err := purego.Dlsym(lib, f.name)
		if err != nil {
			return nil, fmt.Errorf("clocks and power are not recorded: %s has no %s", library, f.name)
		}
		purego.RegisterFunc(f.into, at)
	}
	if code := start(); code != 0 {
		return nil, fmt.Errorf("clocks and power are not recorded: nvmlInit fails with %d", code)
	}
	if code := open(uint32(ordinal), &n.handle); code != 0 {
		n.shutdown()
		return nil, fmt.Errorf("clocks and power are not recorded: NVML has no GPU %d (error %d)", ordinal, code)
	}
	return &n, nil
}

// throttles are the reasons worth a word (nvml.h, nvmlClocksEventReason…); idle
// clocks are none.
var throttles = []struct {
	bit  uint64
	name string
}{
	{0x2, "applications_clocks"}, {0x4, "power_cap"}, {0x8, "hw_slowdown"}, {0x10, "sync_boost"},
	{0x20, "sw_thermal"}, {0x40, "hw_thermal"}, {0x80, "power_brake"}, {0x100, "display_clocks"},
}

// State leaves zero what the GPU does not tell.
func (n *nvml) State() sample.State {
	const smClock, memClock, gpuSensor = 1, 2, 0 // nvml.h
	var s sample.State
	var x uint32
	if n.clock(n.handle, smClock, &x) == 0 {
		s.ClockMHz = int(x)
	}
	if n.clock(n.handle, memClock, &x) == 0 {
		s.MemMHz = int(x)
	}
	if n.power(n.handle, &x) == 0 {
		s.PowerW = float64(x) / 1e3
	}
	if n.temp(n.handle, gpuSensor, &x) == 0 {
		s.TempC = int(x)
	}
	var bits uint64
	if n.throttle(n.handle, &bits) == 0 {
		var names []string
		for _, t := range throttles {
			if bits&t.bit != 0 {
				names = append(names, t.name)
			}
		}
		if s.Throttle = strings.Join(names, "+"); s.Throttle == "" {
			s.Throttle = "none"
		}
	}
	return s
}

func (n *nvml) Driver() string {
	text := make([]byte, 96)
	if n.driver(&text[0], uint32(len(text))) != 0 {
		return ""
	}
	return string(text[:max(bytes.IndexByte(text, 0), 0)])
}

func (n *nvml) PowerCapW() float64 {
	var x uint32
	if n.limit(n.handle, &x) != 0 {
		return 0
	}
	return float64(x) / 1e3
}

func (n *nvml) Close() error {
	if code := n.shutdown(); code != 0 {
		return fmt.Errorf("nvmlShutdown: error %d", code)
	}
	return nil
}
