package cost

// GEMMModel holds the fitted parameters of its family.
type GEMMModel struct{}
