package report

import (
	_ "embed" // the page's template
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
)

//go:embed points.html
var pointsSource string

var (
	pointsTemplate = template.Must(template.New("points").Parse(pointsSource))
	pointsShell    = newShell("util.js", "front.js", "points.js")
)

// Direction tells which values of a column are better.
type Direction string

// The directions.
const (
	Neither Direction = ""
	Lower   Direction = "lower"
	Higher  Direction = "higher"
)

// Column is a value that points have.
type Column struct {
	Key    string    `json:"key"` // unique: step_time_s
	Name   string    `json:"name"`
	Unit   string    `json:"unit"` // "" for a ratio
	Better Direction `json:"better"`
}

// StatusOK is the status of points that count: fronts are drawn through them.
const StatusOK = "ok"

// Point is one of many ways to run a scenario.
type Point struct {
	Name string // of it among the others: its number
	// Settings are what follows the = of --set for each key that the point sets.
	Settings map[string]string
	Values   []float64 // by column; NaN where the point has none
	Status   string    // StatusOK, or why the point does not count, in few words
	Note     string    // a sentence more, "" for none
}

// PointsPage is what Points shows.
type PointsPage struct {
	Title, About string
	Columns      []Column
	Points       []Point
	X, Y         string // keys of the columns that are the axes at first; "" is the first two
	// Command is what the --set of a point are appended to: "sim run quickstart".
	Command string
}

// check tells what is wrong with a page before any of it is written.
func (p *PointsPage) check() error {
	if len(p.Columns) == 0 {
		return fmt.Errorf("a page of points needs a column of values")
	}
	keys := map[string]bool{}
	for _, c := range p.Columns {
		if c.Key == "" || keys[c.Key] {
			return fmt.Errorf("a page of points has two columns %q, or one without a key", c.Key)
		}
		if c.Better != Neither && c.Better != Lower && c.Better != Higher {
			return fmt.Errorf("column %s: better is %q, must be \"\", %q or %q", c.Key, c.Better, Lower, Higher)
		}
		keys[c.Key] = true
	}
	for _, axis := range []string{p.X, p.Y} {
		if axis != "" && !keys[axis] {
			return fmt.Errorf("a page of points has no column %q for an axis", axis)
		}
	}
	for _, pt := range p.Points {
		if len(pt.Values) != len(p.Columns) {
			return fmt.Errorf("point %s has %d values, the page %d columns", pt.Name, len(pt.Values), len(p.Columns))
		}
	}
	return nil
}

// settingData is one key of the settings: a table of its values, and for each point the
// number of its own in it from 1; 0 where the point does not set it.
type settingData struct {
	Key    string   `json:"key"`
	Values []string `json:"values"`
	At     []int    `json:"at"`
}

type pointsData struct {
	Columns  []Column      `json:"columns"`
	Settings []settingData `json:"settings"`
	Names    []string      `json:"names"`
	Values   [][]figure    `json:"values"` // by column, then point
	Status   settingData   `json:"status"`
	Notes    settingData   `json:"notes"`
	X        string        `json:"x"`
	Y        string        `json:"y"`
	Command  string        `json:"command"`
}

// figure is a number of seven digits in JSON, null where there is none.
type figure float64

// MarshalJSON implements json.Marshaler.
func (f figure) MarshalJSON() ([]byte, error) {
	if x := float64(f); math.IsNaN(x) || math.IsInf(x, 0) {
		return []byte("null"), nil
	}
	return strconv.AppendFloat(nil, float64(f), 'g', 7, 64), nil
}

var _ json.Marshaler = figure(0)

// Points writes a page that compares points: any two columns against each other with
// their Pareto front, filters by setting, a table, and the --set of each point.
func Points(w io.Writer, p PointsPage) error {
	if err := p.check(); err != nil {
		return err
	}
	text, err := inline(pointsOf(&p))
	if err != nil {
		return err
	}
	return pointsTemplate.Execute(w, map[string]any{"CSS": pointsShell.CSS, "Script": pointsShell.Script, "Policy": pointsShell.Policy,
		"Title": p.Title, "About": p.About, "Data": text})
}

func pointsOf(p *PointsPage) *pointsData {
	d := &pointsData{Columns: p.Columns, Settings: []settingData{}, Names: []string{}, X: p.X, Y: p.Y, Command: p.Command}
	keys := map[string]bool{}
	for _, pt := range p.Points {
		for k := range pt.Settings {
			keys[k] = true
		}
		d.Names = append(d.Names, pt.Name)
	}
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		d.Settings = append(d.Settings, tableOf(k, p.Points, func(pt *Point) (string, bool) { v, ok := pt.Settings[k]; return v, ok }))
	}
	d.Status = tableOf("status", p.Points, func(pt *Point) (string, bool) { return pt.Status, true })
	d.Notes = tableOf("note", p.Points, func(pt *Point) (string, bool) { return pt.Note, pt.Note != "" })
	for c := range p.Columns {
		of := make([]figure, len(p.Points))
		for i, pt := range p.Points {
			of[i] = figure(pt.Values[c])
		}
		d.Values = append(d.Values, of)
	}
	return d
}

func tableOf(key string, points []Point, value func(*Point) (string, bool)) settingData {
	s := settingData{Key: key, Values: []string{}, At: make([]int, len(points))}
	number := map[string]int{}
	for i := range points {
		v, ok := value(&points[i])
		if !ok {
			continue
		}
		if number[v] == 0 {
			s.Values = append(s.Values, v)
			number[v] = len(s.Values)
		}
		s.At[i] = number[v]
	}
	return s
}
