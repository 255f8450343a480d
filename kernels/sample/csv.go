package sample

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Magic is the first line of every file of samples.
const Magic = "# orrery samples v1"

// columns of a row, in order.
var columns = []string{"family", "kernel", "hash", "shape", "dtype", "unit", "n", "median", "low", "high", "within",
	"clock_mhz", "mem_mhz", "power_w", "temp_c", "throttle", "samples"}

// Units that samples may have.
var units = []string{"us", "mhz", "watt"}

// Write writes a whole file.
func Write(w io.Writer, h Header, rows []Row) error {
	head, err := encodeHeader(h)
	if err != nil {
		return err
	}
	if _, err := w.Write(head); err != nil {
		return err
	}
	for _, r := range rows {
		line, err := encodeRow(r)
		if err != nil {
			return err
		}
		if _, err := w.Write(line); err != nil {
			return err
		}
	}
	return nil
}

// headerField reads and writes one key of the header block.
type headerField struct {
	key string
	get func(*Header) string
	set func(*Header, string) error
}

var headerFields = []headerField{
	textField("gpu", func(h *Header) *string { return &h.GPU }),
	textField("driver", func(h *Header) *string { return &h.Driver }),
	textField("cuda", func(h *Header) *string { return &h.CUDA }),
	countField("sms", func(h *Header) *int { return &h.SMs }),
	countField("clock_mhz", func(h *Header) *int { return &h.ClockMHz }),
	countField("mem_mhz", func(h *Header) *int { return &h.MemMHz }),
	{"power_cap_w", func(h *Header) string { return shortest(h.PowerCapW) }, func(h *Header, s string) (err error) {
		h.PowerCapW, err = parseFloat(orZero(s))
		return err
	}},
	{"date", func(h *Header) string { return h.Date }, func(h *Header, s string) error {
		if s != "" {
			if _, err := time.Parse(time.RFC3339, s); err != nil {
				return fmt.Errorf("%q is no RFC 3339 date (2026-01-31T12:00:00Z)", s)
			}
		}
		h.Date = s
		return nil
	}},
	textField("launcher", func(h *Header) *string { return &h.Launcher }),
	textField("host", func(h *Header) *string { return &h.Host }),
	{"synthetic", func(h *Header) string { return strconv.FormatBool(h.Synthetic) }, func(h *Header, s string) (err error) {
		h.Synthetic, err = parseBool(s)
		return err
	}},
}

func textField(key string, at func(*Header) *string) headerField {
	return headerField{key, func(h *Header) string { return *at(h) }, func(h *Header, s string) error {
		*at(h) = s
		return nil
	}}
}

func countField(key string, at func(*Header) *int) headerField {
	return headerField{key, func(h *Header) string { return strconv.Itoa(*at(h)) }, func(h *Header, s string) (err error) {
		*at(h), err = parseCount(orZero(s))
		return err
	}}
}

// orZero reads what a tool did not know, and left empty, as 0.
func orZero(s string) string {
	if s == "" {
		return "0"
	}
	return s
}

func encodeHeader(h Header) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(Magic + "\n")
	for _, f := range headerFields {
		value := f.get(&h)
		if err := oneLine(value); err != nil {
			return nil, fmt.Errorf("header %s: %w", f.key, err)
		}
		var again Header
		if err := f.set(&again, value); err != nil {
			return nil, fmt.Errorf("header %s: %w", f.key, err)
		}
		b.WriteString(strings.TrimRight("# "+f.key+": "+value, " ") + "\n")
	}
	b.WriteString(strings.Join(columns, ",") + "\n")
	return b.Bytes(), nil
}

func encodeRow(r Row) ([]byte, error) {
	if err := r.valid(); err != nil {
		return nil, fmt.Errorf("row %s: %w", r.ID(), err)
	}
	samples := make([]string, len(r.Samples))
	for i, x := range r.Samples {
		samples[i] = shortest(x)
	}
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	err := w.Write([]string{r.Family, r.Kernel, r.Hash, string(r.Shape), r.DType, r.Unit, strconv.Itoa(r.N), shortest(r.Median), shortest(r.Low),
		shortest(r.High), strconv.FormatBool(r.Within), strconv.Itoa(r.ClockMHz), strconv.Itoa(r.MemMHz), shortest(r.PowerW),
		strconv.Itoa(r.TempC), r.Throttle, strings.Join(samples, " ")})
	w.Flush()
	return b.Bytes(), errors.Join(err, w.Error())
}

// valid refuses what could not be read back, and sums that are not those of the samples.
func (r Row) valid() error {
	for _, f := range []struct{ name, value string }{{"family", r.Family}, {"kernel", r.Kernel}, {"unit", r.Unit}} {
		if f.value == "" {
			return fmt.Errorf("no %s", f.name)
		}
	}
	for i, s := range []string{r.Family, r.Kernel, r.Hash, string(r.Shape), r.DType, r.Unit, r.Throttle} {
		if err := oneLine(s); err != nil {
			return fmt.Errorf("%s: %w", [...]string{"family", "kernel", "hash", "shape", "dtype", "unit", "throttle"}[i], err)
		}
	}
	if err := validShape(r.Shape); err != nil {
		return err
	}
	if err := oneOf(r.Unit, units); err != nil {
		return fmt.Errorf("unit: %w", err)
	}
	for _, x := range append([]float64{r.Median, r.Low, r.High, r.PowerW}, r.Samples...) {
		if !(x >= 0) || math.IsInf(x, 0) {
			return fmt.Errorf("%v is no measurement: samples and their sums are finite and not negative", x)
		}
	}
	if r.ClockMHz < 0 || r.MemMHz < 0 {
		return errors.New("a clock below 0 MHz")
	}
	return r.checkSums()
}

// checkSums recomputes what a row says of its samples. The interval may be a rank
// wider or tighter than Interval's at either end: tools round the tail of the
// binomial in different ways.
func (r Row) checkSums() error {
	if r.N != len(r.Samples) {
		return fmt.Errorf("n is %d, but there are %d samples", r.N, len(r.Samples))
	}
	if r.N == 0 {
		return errors.New("no samples")
	}
	median, _, _ := Interval(r.Samples)
	if !near(median, r.Median) {
		return fmt.Errorf("median is %s, but that of the samples is %s", shortest(r.Median), shortest(median))
	}
	if wide, tight := ranksAround(r.Samples, false); r.Low < wide && !near(r.Low, wide) || r.Low > tight && !near(r.Low, tight) {
		return fmt.Errorf("low is %s, but the samples give %s to %s", shortest(r.Low), shortest(wide), shortest(tight))
	}
	if wide, tight := ranksAround(r.Samples, true); r.High > wide && !near(r.High, wide) || r.High < tight && !near(r.High, tight) {
		return fmt.Errorf("high is %s, but the samples give %s to %s", shortest(r.High), shortest(tight), shortest(wide))
	}
	if width := max(r.High-r.Median, r.Median-r.Low); r.Within && width > closeEnough*r.Median*(1+1e-9) {
		return fmt.Errorf("within is true, but the interval is %s wide around a median of %s", shortest(width), shortest(r.Median))
	}
	return nil
}

// ranksAround are the order statistics one rank outside and one inside an end of
// the interval.
func ranksAround(samples []float64, high bool) (wide, tight float64) {
	x := sorted(samples)
	k := max(intervalRank(len(x)), 1) - 1
	outer, inner := max(k-1, 0), min(k+1, (len(x)-1)/2)
	if high {
		return x[len(x)-1-outer], x[len(x)-1-inner]
	}
	return x[outer], x[inner]
}

// near allows for sums in another order.
func near(a, b float64) bool { return math.Abs(a-b) <= 1e-9*max(math.Abs(a), math.Abs(b)) }

func validShape(s Shape) error {
	seen := map[string]bool{}
	if s == "" {
		return nil
	}
	for _, pair := range strings.Split(string(s), " ") {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" || value == "" {
			return fmt.Errorf("shape: %q is not key=value; pairs are parted by one blank", pair)
		}
		if seen[key] {
			return fmt.Errorf("shape: key %q is there twice", key)
		}
		seen[key] = true
	}
	return nil
}

// oneLine refuses text that would not come back as it was written.
func oneLine(s string) error {
	if strings.TrimSpace(s) != s || strings.ContainsFunc(s, unicode.IsControl) || strings.ContainsRune(s, unicode.ReplacementChar) {
		return fmt.Errorf("%q has blanks at an end, or control characters", s)
	}
	return nil
}

func shortest(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }
