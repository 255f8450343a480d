package sweep

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Job is a sweep to be run in shards by an engine that is there already.
type Job struct {
	Name      string // of the sweep
	Spec, Dir string // paths where the job runs
	Shards    int
	Workers   int    // a shard, a core for each
	Image     string // of a container that has sim
	Claim     string // volume that holds Spec and Dir
}

// jobName makes a text a DNS label (RFC 1123), which every engine takes.
func jobName(text string) string {
	var b strings.Builder
	for _, c := range strings.ToLower(text) {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' {
			b.WriteRune(c)
		} else if s := b.String(); s != "" && !strings.HasSuffix(s, "-") {
			b.WriteByte('-')
		}
	}
	const most = 50 // of 63: pods append to it
	name := b.String()
	return strings.Trim("sweep-"+name[:min(len(name), most)], "-")
}

// quoted is a text for a POSIX shell.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// Slurm is a job array. A task that was killed goes on where it was.
func (j Job) Slurm() string {
	return fmt.Sprintf(`#!/bin/bash
# Submit where the paths below are right, on a file system that all nodes share:
#   job=$(sbatch --parsable THIS_FILE)
#   sbatch --dependency=afterany:"$job" --wrap %s
#SBATCH --job-name=%s
#SBATCH --array=0-%d
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=%d
#SBATCH --requeue
#SBATCH --open-mode=append
exec sim sweep %s --out %s --shards %d --workers %d
`, quoted("sim sweep merge "+quoted(j.Dir)), jobName(j.Name), j.Shards-1, j.Workers, quoted(j.Spec), quoted(j.Dir), j.Shards, j.Workers)
}

// Kubernetes is an indexed job (Kubernetes 1.29 or later) as YAML.
func (j Job) Kubernetes() string {
	args, err := json.Marshal([]string{"sim", "sweep", j.Spec, "--out", j.Dir, "--shards", fmt.Sprint(j.Shards), "--workers", fmt.Sprint(j.Workers)})
	if err != nil { // of texts there is none
		return err.Error()
	}
	return fmt.Sprintf(`# kubectl apply -f THIS_FILE; once it is complete, on the same volume:
#   sim sweep merge %s
apiVersion: batch/v1
kind: Job
metadata:
  name: %s
spec:
  completionMode: Indexed # JOB_COMPLETION_INDEX is the shard
  completions: %d
  parallelism: %d
  backoffLimitPerIndex: 3
  template:
    spec:
      restartPolicy: Never
      containers:
        - name: sim
          image: %q
          command: %s
          workingDir: /sweep # of the paths above
          resources:
            requests: {cpu: %d}
          volumeMounts:
            - {name: sweep, mountPath: /sweep}
      volumes:
        - name: sweep
          persistentVolumeClaim: {claimName: %q}
`, quoted(j.Dir), jobName(j.Name), j.Shards, j.Shards, j.Image, args, j.Workers, j.Claim)
}
