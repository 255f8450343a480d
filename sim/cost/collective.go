package cost

// CollectiveModel holds the fitted parameters of its family.
type CollectiveModel struct{}
