package main

import (
	"fmt"

	"github.com/jedib0t/go-pretty/v6/table"

	"orrery/schedules/balance"
	"orrery/sim/report"
)

// balanceCmd is `sim balance`: what a balancer makes of one expert load.
type balanceCmd struct {
	Algorithm   string   `required:"" help:"A balancer of sim list balancers, or all to compare them."`
	Ranks       int      `required:"" help:"Ranks of the expert-parallel group."`
	Slots       int      `default:"2" help:"Redundant expert slots on each rank."`
	Loads       string   `placeholder:"FILE" help:"Loads: .json, .csv of counts or .ids of tokens (docs/balance.md)."`
	Generate    string   `placeholder:"KIND" help:"Draw a load, as in zipf:s=0.5; a wrong kind lists them all."`
	Model       string   `default:"qwen3-235b-a22b" help:"Model whose experts these are: their bytes and, of a generated load, their number and top-k."`
	Experts     int      `help:"Experts of a generated load; the model's where absent."`
	TopK        int      `name:"top-k" help:"Experts a token of a generated load; the model's where absent."`
	Tokens      int      `default:"8192" help:"Tokens a rank of a generated load."`
	Seed        uint64   `default:"1" help:"Seed of a generated load."`
	Microbatch  int      `default:"-1" help:"Microbatch of a file with several."`
	Layer       int      `default:"-1" help:"Layer of a file with several."`
	Capacity    float64  `help:"Capacity factor: what is above it is dropped; 0 is dropless."`
	Pad         bool     `help:"Fill every expert up to the capacity."`
	Replicas    int      `help:"Physical experts over all ranks, for EPLB; else experts + ranks x slots."`
	Groups      int      `help:"Groups of experts, for EPLB."`
	Nodes       int      `help:"Nodes of the ranks, for EPLB."`
	Domain      int      `help:"Ranks of an NVLink domain that copies stay within; all where absent."`
	MinReplicas int      `name:"min-replicas" default:"4" help:"Least replicas of an expert whose weights go through relays (6 in UltraEP's figures); 0 is never."`
	TFLOPS      float64  `name:"tflops" help:"Rate of the expert GEMMs for cost models; 1310 (published for UltraEP's testbed)."`
	GBps        float64  `name:"gbps" help:"Bandwidth of a rank for cost models; 733 (fitted to the same)."`
	Param       []string `sep:"none" placeholder:"KEY=VALUE" help:"A parameter of the balancer; a wrong key lists them all."`
	JSON        bool     `name:"json" help:"Print one JSON document and nothing else."`
}

// balanceReport is what `sim balance --json` prints; loads are in tokens.
type balanceReport struct {
	Algorithm string `json:"algorithm"`
	// Plan is [expert, target rank, quota] of every replica, in the order it was
	// planned; absent where every copy gets an even part of Phy2Log's expert.
	Plan            *[][3]float64 `json:"plan,omitempty"`
	Phy2Log         []int32       `json:"phy2log,omitempty"`
	LogCnt          []int         `json:"logcnt,omitempty"`
	LoadsBefore     []float64     `json:"rank_loads_before"`
	LoadsAfter      []float64     `json:"rank_loads_after"`
	ImbalanceBefore float64       `json:"imbalance_before"` // largest over mean
	ImbalanceAfter  float64       `json:"imbalance_after"`
	Replicas        int           `json:"replicas"`
	MaxFanOut       int           `json:"max_fanout"`            // replicas of one expert
	Remote          float64       `json:"remote_token_fraction"` // tokens whose source is another rank
	BytesMoved      int64         `json:"bytes_moved"`           // of expert weights, for this plan
	LowerBound      float64       `json:"lower_bound"`           // on the largest load after
	SolveMicros     float64       `json:"solve_time_us"`         // of this program, measured: the fastest of five
	Relayed         int           `json:"relayed_experts"`

	boundBy string
	most    float64
	copies  []balance.Copy
}

func (c *balanceCmd) Run(std *streams) error {
	q, err := c.request()
	if err != nil {
		return badInput(err)
	}
	if normalAll(c.Algorithm) {
		return c.compare(std, q)
	}
	b, err := balance.Lookup(c.Algorithm)
	if err != nil {
		return badInput(err)
	}
	r, err := q.solve(b)
	if err != nil {
		return badInput(fmt.Errorf("balancer %s: %w", b.Name(), err))
	}
	if c.JSON {
		return writeJSON(std.out, r)
	}
	return r.print(std, q)
}

// compare runs every balancer; those that the setup does not suit say why.
func (c *balanceCmd) compare(std *streams, q *balanceRequest) error {
	var reports []*balanceReport
	var rows []table.Row
	var notes []string
	for _, b := range balance.All() {
		r, err := q.solve(b)
		if err != nil {
			notes = append(notes, fmt.Sprintf("%s does not run here: %v.", b.Name(), err))
			continue
		}
		reports = append(reports, r)
		rows = append(rows, table.Row{r.Algorithm, fmt.Sprintf("%.4f", r.ImbalanceAfter), over(r.most, r.LowerBound), r.Replicas, r.MaxFanOut,
			fmt.Sprintf("%.1f %%", 100*r.Remote), bytesOf(r.BytesMoved), fmt.Sprintf("%.0f", r.SolveMicros)})
	}
	if c.JSON {
		return writeJSON(std.out, reports)
	}
	if _, err := fmt.Fprintln(std.out, q.title()); err != nil {
		return err
	}
	if err := report.Table(std.out, table.Row{"algorithm", "max/mean", "over", "replicas", "fan", "remote", "moved", "us"}, rows); err != nil {
		return err
	}
	notes = append(append([]string{"over: the largest load over its certified lower bound; fan: replicas of one expert; moved: expert weights; us: time to plan, measured."}, q.notes...), notes...)
	for _, note := range notes {
		if err := report.Para(std.out, note); err != nil {
			return err
		}
	}
	return nil
}

// most replicas that are printed one by one.
const shownReplicas = 16

func (r *balanceReport) print(std *streams, q *balanceRequest) error {
	if _, err := fmt.Fprintf(std.out, "%s: %s\n", r.Algorithm, q.title()); err != nil {
		return err
	}
	rows := []table.Row{
		{"imbalance", fmt.Sprintf("%.4f before, %.4f after", r.ImbalanceBefore, r.ImbalanceAfter)},
		{"largest load", fmt.Sprintf("%.6g tokens", r.most)},
		{"lower bound", fmt.Sprintf("%.6g tokens (%s); the plan is %s above it", r.LowerBound, r.boundBy, over(r.most, r.LowerBound))},
		{"replicas", fmt.Sprintf("%d, at most %d of one expert", r.Replicas, r.MaxFanOut)},
		{"remote tokens", fmt.Sprintf("%.1f %%", 100*r.Remote)},
		{"weights moved", fmt.Sprintf("%s, %d experts through relays", bytesOf(r.BytesMoved), r.Relayed)},
		{"solved in", fmt.Sprintf("%.1f us (measured, one core)", r.SolveMicros)},
	}
	if err := report.Table(std.out, table.Row{"", ""}, rows); err != nil {
		return err
	}
	rows = nil
	for _, c := range r.copies[:min(shownReplicas, len(r.copies))] {
		rows = append(rows, table.Row{c.Expert, q.setup.Home(int(c.Expert)), c.Rank, fmt.Sprintf("%.6g", c.Quota)})
	}
	if len(rows) > 0 {
		if err := report.Table(std.out, table.Row{"expert", "home", "replica on", "tokens"}, rows); err != nil {
			return err
		}
	}
	if more := len(r.copies) - len(rows); more > 0 {
		if err := report.Para(std.out, fmt.Sprintf("%d more replicas; --json has all.", more)); err != nil {
			return err
		}
	}
	for _, note := range q.notes {
		if err := report.Para(std.out, note); err != nil {
			return err
		}
	}
	return nil
}
