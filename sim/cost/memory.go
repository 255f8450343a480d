package cost

// MemoryModel holds the fitted parameters of its family.
type MemoryModel struct{}
