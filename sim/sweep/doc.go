// Package sweep runs one scenario at many points: a specification of axes
// becomes points, a pool of workers simulates them, a journal keeps what is done.
//
//	spec (TOML) → points → identities → journal → results
//
// The journal is in the order of completion and survives kill -9; the results
// are in the order of the points, the same bytes for any number of workers or
// shards and after any interruption.
package sweep
