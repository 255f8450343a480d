package scenarios

import "orrery/models"

// towerSizes are the keys of a tower's own figures, which the catalogue knows.
var towerSizes = []string{"layers", "hidden", "ffn", "heads", "gated", "in", "merge"}

// towerName is the catalogue's name of an encoder, or of a generator.
func towerName(generator bool) func(string) string {
	return func(s string) string {
		if t, err := models.LookupTower(s); err == nil && t.Generator == generator {
			return t.Name
		}
		return ""
	}
}

// towerKeys are the keys of a section of an encoder or a generator.
func towerKeys(section string, generator bool, own []*field) []*field {
	at := func(f func(*Tower) any) func(*Scenario) any {
		return func(s *Scenario) any { return f(towerOf(s, section)) }
	}
	body := func(f func(*models.Model) any) func(*Scenario) any {
		return at(func(t *Tower) any { return f(&t.Model.Body) })
	}
	item := "image or clip"
	if generator {
		item = "image"
	}
	keys := []*field{
		{key: "name", required: true, names: func() []string { return models.TowerNames(generator) }, canon: towerName(generator), doc: "Architecture, from the catalogue; further keys override single figures.",
			at: at(func(t *Tower) any { return &t.Model.Name })},
		{key: "layers", min: 1, max: 10000, how: "the catalogue's", doc: "Transformer layers.", at: body(func(m *models.Model) any { return &m.Layers })},
		{key: "hidden", min: 1, max: 1 << 20, how: "the catalogue's", doc: "Hidden size.", at: body(func(m *models.Model) any { return &m.Hidden })},
		{key: "ffn", min: 1, max: 1 << 24, how: "the catalogue's", doc: "Inner width of the MLP.", at: body(func(m *models.Model) any { return &m.FFN })},
		{key: "heads", min: 1, max: 1 << 16, how: "the catalogue's", doc: "Heads of hidden / heads each.", at: body(func(m *models.Model) any { return &m.Attn.Heads })},
		{key: "gated", how: "the catalogue's", doc: "Gated MLP (three matrices) or plain (two).", at: body(func(m *models.Model) any { return &m.Gated })},
		{key: "in", min: 1, max: 1 << 24, how: "the catalogue's", doc: "Channels of one token at the outer end, such as the pixels of a patch.", at: at(func(t *Tower) any { return &t.Model.In })},
		{key: "trained", def: "all", names: fixed("all", "connector", "none"), doc: "What has gradients: all, the connector to the LLM alone, or nothing; the LLM's gradients go through a frozen generator all the same.",
			at: at(func(t *Tower) any { return &t.Trained })},
		{key: "recompute", def: false, doc: "Layers keep only their input, and run forward again before their backward pass.", at: at(func(t *Tower) any { return &t.Recompute })},
		{key: "tp", min: 1, max: maxRanks, def: int64(1), doc: "Tensor parallelism: 1 or parallel.tp.", at: at(func(t *Tower) any { return &t.TP })},
		{key: "cp", auto: true, min: 1, max: maxRanks, how: "parallel.tp x parallel.cp / tp", doc: "Context parallelism of its own: ranks of a stage that pool their items and share the tokens evenly; heads are exchanged for attention. More than the ranks of a microbatch evens out differences between microbatches.",
			at: at(func(t *Tower) any { return &t.CP })},
		{key: "zero", min: 0, max: 3, def: int64(1), doc: "ZeRO stage over all ranks that hold the same: 1 shards optimizer states, 3 also gradients and parameters (FSDP); 2 is not known here.",
			at: at(func(t *Tower) any { return &t.ZeRO })},
		{key: "pull", def: false, doc: "Sharded parameters are pulled one-sidedly; false: gathered by all ranks together, each waiting for the last (BigMac, arXiv:2605.25451).",
			at: at(func(t *Tower) any { return &t.Pull })},
		{key: "devices", min: 1, max: 1 << 10, def: int64(1), doc: "Pipeline ranks that hold nothing else, with encoder_stages.", at: at(func(t *Tower) any { return &t.Devices })},
		{key: "items_min", min: 0, max: 1 << 16, def: int64(1), doc: "Fewest items (" + item + ") of a sample; numbers up to items_max are equally likely.", at: at(func(t *Tower) any { return &t.ItemsMin })},
		{key: "items_max", min: 0, max: 1 << 16, def: int64(1), doc: "Most items of a sample.", at: at(func(t *Tower) any { return &t.ItemsMax })},
		{key: "tokens", min: 1, max: 1 << 24, def: int64(1024), unit: "tokens", doc: "Tokens of the mean item, before any are merged; whole groups of merged tokens.", at: at(func(t *Tower) any { return &t.Tokens })},
		{key: "spread", min: 0, max: 3, def: 0.0, doc: "Standard deviation of the logarithm of an item's tokens, which are log-normal about the mean.", at: at(func(t *Tower) any { return &t.Spread })},
		{key: "seed", min: 0, max: maxInt, def: int64(1), doc: "Seed of what is drawn.", at: at(func(t *Tower) any { return &t.Seed })},
		{key: "file", def: "", doc: "File of samples instead of what is drawn: a line a sample, the tokens of each of its items; samples are taken in turn, from the first again after the last.",
			at: at(func(t *Tower) any { return &t.File })},
	}
	keys = append(keys, own...)
	for _, f := range keys {
		f.key = section + "." + f.key
	}
	return keys
}

var encoderKeys = towerKeys("encoder", false, []*field{
	{key: "merge", min: 1, max: 1 << 10, how: "the catalogue's", doc: "Tokens that the connector makes one token of the LLM.", at: func(s *Scenario) any { return &towerOf(s, "encoder").Model.Merge }},
	{key: "pieces", min: 1, max: 1 << 8, def: int64(8), doc: "Pieces that a pass is cut into to fill bubbles, with optimus.", at: func(s *Scenario) any { return &towerOf(s, "encoder").Pieces }},
	{key: "warmup", min: 1, max: 1 << 16, def: int64(3), doc: "Units of forwards at the start, with bigmac; a unit is one microbatch a pipeline rank.", at: func(s *Scenario) any { return &towerOf(s, "encoder").Warmup }},
})

var generatorKeys = towerKeys("generator", true, []*field{
	{key: "beside", min: 0, max: 1 << 20, def: int64(256), unit: "tokens", doc: "Tokens of the LLM's output that an item attends to; in a model of two streams they go through its layers.", at: func(s *Scenario) any { return &towerOf(s, "generator").Beside }},
})
