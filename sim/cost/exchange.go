package cost

// ExchangeModel holds the fitted parameters of its family.
type ExchangeModel struct{}
