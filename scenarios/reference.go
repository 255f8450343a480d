package scenarios

// Key is the reference of one key of the language, as docs/scenario.md has it.
type Key struct {
	Key     string `json:"key"`  // path; of a list's entries "expect.metric"
	Kind    string `json:"kind"` // "integer", "list of names", ...
	Unit    string `json:"unit,omitempty"`
	Default string `json:"default"` // "required" where there is none; in words where it depends
	Allowed string `json:"allowed"`
	Doc     string `json:"doc"`
}

// Reference is that of all keys, in the order of the schema.
func Reference() []Key {
	out := make([]Key, len(schema))
	for i, f := range schema {
		out[i] = Key{Key: f.key, Kind: f.kind(), Unit: f.unit, Default: f.defaultText(), Allowed: f.allowedText(), Doc: f.doc + f.ofText()}
	}
	return out
}
