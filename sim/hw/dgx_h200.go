package hw

func init() {
	registerNode(Node{
		Name:         "dgx-h200",
		Aliases:      []string{"hgx-h200"},
		Title:        "NVIDIA DGX H200: 8 x H200, 8 x 400 Gb/s InfiniBand",
		GPU:          "h200",
		GPUsPerNode:  8,
		NVLinkDomain: 8,
		NICGBps:      50,
		HostGBps:     64, // PCIe 5.0 x16
		Source:       "NVIDIA DGX H200 data sheet: 8 ConnectX-7 ports of 400 Gb/s for compute",
	})
}
