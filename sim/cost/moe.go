package cost

// MoEModel holds the fitted parameters of its family.
type MoEModel struct{}
