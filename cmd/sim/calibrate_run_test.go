package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"orrery/kernels/bench"
	"orrery/kernels/emu"
	"orrery/kernels/gpu"
	"orrery/kernels/gpu/fakecuda"
	"orrery/kernels/sample"
)

// The suite of the fake driver's kernels is registered in programs that scripts
// start with this variable: a factor that makes residual_add slower.
const fakeSuiteEnv = "SIM_TEST_SUITE"

func init() {
	if factor, err := strconv.ParseFloat(os.Getenv(fakeSuiteEnv), 64); err == nil {
		bench.Register(fakeSuite(factor))
	}
}

// fakeSuite has memory-bound kernels over sizes, whose time the fake's clock makes
// of their threads (1 ns each), and launches, which have no prices.
func fakeSuite(slower float64) bench.Suite {
	return bench.Suite{Name: "fake", Cases: func() []bench.Case {
		var cases []bench.Case
		for i := range 24 {
			blocks := 4 << (i / 3)
			blocks += blocks * (i % 3) / 4
			bytes := blocks * 3 << 20
			cases = append(cases, fakeCase("memory_bound", "residual_add", fmt.Sprintf("read=%d write=%d", bytes/3*2, bytes/3), float64(bytes), uint32(slower*float64(blocks)*10)))
		}
		for i := range 3 {
			cases = append(cases, fakeCase("launch", "fake_nothing", fmt.Sprintf("blocks=%d", 1+i), 1, uint32(1+i)))
		}
		return cases
	}}
}

func fakeCase(family, kernel, shape string, bytes float64, blocks uint32) bench.Case {
	return bench.Case{Family: family, Kernel: kernel, Hash: "fa5e", Shape: sample.Shape(shape), DType: "fake", Bytes: bytes, Weight: 1 / bytes,
		Prepare: func(_ context.Context, dev gpu.Device, _ uint64) (bench.Prepared, error) {
			m, err := dev.Load([]byte(fakecuda.PTX))
			if err != nil {
				return nil, err
			}
			f, err := m.Function("fake_nothing")
			return &fakePrepared{m, f, blocks}, err
		}}
}

type fakePrepared struct {
	module gpu.Module
	f      gpu.Function
	blocks uint32
}

func (p *fakePrepared) Enqueue(s gpu.Stream, _ int) error {
	return p.f.Launch(s, gpu.Dim{X: p.blocks, Y: 1, Z: 1}, gpu.Dim{X: 1024, Y: 1, Z: 1}, 0)
}
func (p *fakePrepared) Close() error { return p.module.Unload() }

// The scripts of testdata/gpu measure on a fake driver, which computes the project's
// own kernels on the CPU.
func TestMeasuringScripts(t *testing.T) {
	driver, err := fakecuda.Build(t.TempDir())
	if err != nil {
		t.Skip(err)
	}
	kernels, err := emu.Build(t.TempDir())
	if err != nil {
		t.Skip(err)
	}
	testscript.Run(t, testscript.Params{Dir: "testdata/gpu", UpdateScripts: os.Getenv("UPDATE_SCRIPTS") != "",
		Setup: func(e *testscript.Env) error {
			e.Setenv(gpu.LibraryEnv, driver)
			e.Setenv(emu.LibraryEnv, kernels)
			e.Setenv(fakeSuiteEnv, "1")
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			// chop FILE N cuts N bytes off the end of a file.
			"chop": func(ts *testscript.TestScript, _ bool, args []string) {
				n, err := strconv.Atoi(args[1])
				ts.Check(err)
				data := ts.ReadFile(args[0])
				ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(data[:len(data)-n]), 0o644))
			},
		}})
}

func TestSlug(t *testing.T) {
	require.Equal(t, "h200", slug("NVIDIA H200"))
	require.Equal(t, "a100-sxm4-80gb", slug("NVIDIA A100-SXM4-80GB"))
}

func TestParseShare(t *testing.T) {
	for text, want := range map[string]float64{"3%": 0.03, "0.03": 0.03, "0": 0, "2.5 %": 0.025} {
		got, err := parseShare(text)
		require.NoError(t, err)
		require.InDelta(t, want, got, 1e-12)
	}
	for _, text := range []string{"", "%", "-1%", "three", "NaN"} {
		_, err := parseShare(text)
		require.Error(t, err, text)
	}
}
