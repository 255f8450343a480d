package cost

// AttentionModel holds the fitted parameters of its family.
type AttentionModel struct{}
