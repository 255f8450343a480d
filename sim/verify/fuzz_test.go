package verify

import (
	"os"
	"strings"
	"testing"
)

// FuzzRead: any text is rows or one error, and every row is expressed as a
// scenario or says why not.
func FuzzRead(f *testing.F) {
	data, err := os.ReadFile("runs.csv")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(data))
	lines := strings.SplitN(string(data), "\n", 4)
	f.Add(strings.Join(lines[:3], "\n"))
	f.Add(lines[0] + "\n\"")
	f.Fuzz(func(t *testing.T, text string) {
		rows, err := Read("fuzz.csv", strings.NewReader(text))
		if err != nil {
			return
		}
		for i := range rows {
			v, err := Express(rows[i])
			if (v == nil) == (err == nil) {
				t.Fatalf("row %d gives values %v and error %v", i, v, err)
			}
		}
	})
}
