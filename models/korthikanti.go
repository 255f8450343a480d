package models

import "fmt"

// Korthikanti is the activation memory of a GPT layer with dropout and unfused
// attention, in the paper's closed forms (Korthikanti et al., Reducing
// Activation Recomputation in Large Transformer Models, arXiv:2205.05198,
// equations 1 to 4 and table 2). MLP width is 4 x hidden, heads cover hidden.
type Korthikanti struct {
	Seq, MicroBatch, Hidden, Heads int64
	TP                             int64
}

// CoreAttnRatio is 5as/h, the part of 34 + 5as/h that softmax, its dropout and
// the mask take: what selective recomputation saves.
func (k Korthikanti) CoreAttnRatio() float64 {
	return 5 * float64(k.Heads) * float64(k.Seq) / float64(k.Hidden)
}

// LayerBytes is what one layer keeps on each tensor-parallel rank, in bytes. The
// mode is one of table 2's rows: no_parallel, tp, tp_sp, tp_selective,
// tp_sp_selective, full.
func (k Korthikanti) LayerBytes(mode string) (float64, error) {
	sb, t := float64(k.Seq)*float64(k.MicroBatch), float64(k.TP)
	sbh, core := sb*float64(k.Hidden), 5*sb*float64(k.Heads)*float64(k.Seq)
	switch mode {
	case "no_parallel":
		return 34*sbh + core, nil
	case "tp":
		return 10*sbh + (24*sbh+core)/t, nil
	case "tp_sp":
		return (34*sbh + core) / t, nil
	case "tp_selective":
		return 10*sbh + 24*sbh/t, nil
	case "tp_sp_selective":
		return 34 * sbh / t, nil
	case "full":
		return 2 * sbh, nil
	}
	return 0, fmt.Errorf("models: no activation mode is called %q; want no_parallel, tp, tp_sp, tp_selective, tp_sp_selective or full", mode)
}

// FirstStageBytes is what the first stage of 1F1B keeps for the layers' sake:
// its layers/pp layers times pp microbatches in flight, so that of all layers.
func (k Korthikanti) FirstStageBytes(mode string, layers int64) (float64, error) {
	b, err := k.LayerBytes(mode)
	return b * float64(layers), err
}
