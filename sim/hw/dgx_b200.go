package hw

func init() {
	registerNode(Node{
		Name:         "dgx-b200",
		Aliases:      []string{"hgx-b200"},
		Title:        "NVIDIA DGX B200: 8 x B200, 8 x 400 Gb/s InfiniBand",
		GPU:          "b200",
		GPUsPerNode:  8,
		NVLinkDomain: 8,
		NICGBps:      50,
		HostGBps:     64, // PCIe 5.0 x16
		Source:       "NVIDIA DGX B200 data sheet: 8 ConnectX-7 ports of 400 Gb/s for compute",
	})
}
