package pipeline

// UsualShape is the shape in which schedules are compared at p devices and m
// microbatches: two chunks a device where a schedule takes them, else one, and
// microbatches in p slices where it cuts them. Where it takes no m microbatches it
// is given the next number that it takes, up to 4m. The error is Check's for one
// whole chunk.
func UsualShape(check func(Shape) error, p, m int) (Shape, error) {
	plain := Shape{Devices: p, Virtual: 1, Microbatches: m, Slices: 1}
	if err := plain.check(); err != nil {
		return plain, err
	}
	for mb := m; mb <= 4*m; mb++ {
		for _, v := range []int{2, 1} {
			for _, n := range []int{p, 1} {
				if s := (Shape{Devices: p, Virtual: v, Microbatches: mb, Slices: n}); check(s) == nil {
					return s, nil
				}
			}
		}
	}
	return plain, check(plain)
}
