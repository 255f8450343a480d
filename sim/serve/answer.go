package serve

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"orrery/scenarios"
)

// Problem is one thing that is wrong with a scenario, in parts that the page shows at
// its line.
type Problem struct {
	File    string `json:"file"` // "--set" for an override
	Line    int    `json:"line"` // from 1; 0 where there is no text
	Col     int    `json:"col"`
	Key     string `json:"key"`
	Msg     string `json:"msg"`
	Found   string `json:"found,omitempty"`
	Allowed string `json:"allowed,omitempty"`
	Nearest string `json:"nearest,omitempty"`
	Text    string `json:"text"` // all of it, as sim check prints it
}

// problems takes an error of a scenario apart.
func problems(err error) []Problem {
	if list, ok := err.(interface{ Unwrap() []error }); ok {
		var out []Problem
		for _, e := range list.Unwrap() {
			out = append(out, problems(e)...)
		}
		return out
	}
	var e *scenarios.Error
	if errors.As(err, &e) {
		return []Problem{{e.File, e.Line, e.Col, e.Key, e.Msg, e.Found, e.Allowed, e.Nearest, err.Error()}}
	}
	return []Problem{{Msg: err.Error(), Text: err.Error()}}
}

// refusal is the body of an answer that is an error.
type refusal struct {
	Error  string    `json:"error"`
	Errors []Problem `json:"errors,omitempty"` // of a scenario
}

func answer(w http.ResponseWriter, status int, v any) {
	body, err := encode(v)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte("{\"error\": \"the answer cannot be written as JSON\"}\n")
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client may be gone
}

// encode writes JSON as `sim run --json` does.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	err := enc.Encode(v)
	return b.Bytes(), err
}

func fail(w http.ResponseWriter, status int, format string, args ...any) {
	answer(w, status, refusal{Error: fmt.Sprintf(format, args...)})
}

// busy asks to come again.
func busy(w http.ResponseWriter, format string, args ...any) {
	w.Header().Set("Retry-After", "2")
	fail(w, http.StatusServiceUnavailable, format+"; try again in a moment", args...)
}

// clip keeps what a request said short in an answer.
func clip(s string) string {
	if r := []rune(s); len(r) > 80 {
		return string(r[:77]) + "..."
	}
	return s
}

func isJSON(contentType string) bool {
	t, _, err := mime.ParseMediaType(contentType)
	return err == nil && t == "application/json"
}

// read reads a request's JSON strictly into v, or answers what is wrong with it.
func read(w http.ResponseWriter, r *http.Request, v any) bool {
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	err := dec.Decode(v)
	if err == nil {
		if _, err = dec.Token(); errors.Is(err, io.EOF) {
			return true
		}
		if err == nil {
			err = errors.New("text follows the document")
		}
	}
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		fail(w, http.StatusRequestEntityTooLarge, "the request has more than %d bytes", large.Limit)
	case errors.Is(err, io.EOF):
		fail(w, http.StatusBadRequest, "the request has no body; it must be one JSON document")
	default:
		fail(w, http.StatusBadRequest, "not the JSON that belongs here: %s", clip(strings.TrimPrefix(err.Error(), "json: ")))
	}
	return false
}
