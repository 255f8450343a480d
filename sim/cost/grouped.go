package cost

// GroupedModel holds the fitted parameters of its family.
type GroupedModel struct{}
