package main

import (
	"fmt"
	"io"

	"orrery/sim/sweep"
)

// emit prints the job that runs a sweep's shards elsewhere. The sweep is read
// first: a job for one that is wrong would fail as many times as it has shards.
func (c *sweepRunCmd) emit(std *streams) error {
	if c.Shards < 1 {
		return badInput(fmt.Errorf("--emit %s needs --shards, the number of parts", c.Emit))
	}
	spec, err := sweep.Load(c.File)
	if err != nil {
		return badInput(err)
	}
	if _, err := spec.Points(); err != nil {
		return badInput(fmt.Errorf("%s: %w", c.File, err))
	}
	job := sweep.Job{Name: spec.Name, Spec: c.File, Dir: c.Out, Shards: c.Shards, Workers: max(c.Workers, 1), Image: c.Image, Claim: c.Claim}
	text := job.Slurm
	if c.Emit == "k8s" {
		if c.Image == "" {
			return badInput(fmt.Errorf("--emit k8s needs --image, a container image that has sim"))
		}
		text = job.Kubernetes
	}
	_, err = io.WriteString(std.out, text())
	return err
}
