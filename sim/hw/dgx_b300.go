package hw

func init() {
	registerNode(Node{
		Name:         "dgx-b300",
		Aliases:      []string{"hgx-b300"},
		Title:        "NVIDIA DGX B300: 8 x B300, 8 x 800 Gb/s",
		GPU:          "b300",
		GPUsPerNode:  8,
		NVLinkDomain: 8,
		NICGBps:      100,
		HostGBps:     64, // PCIe 5.0 x16
		Source:       "NVIDIA DGX B300 data sheet: 8 ConnectX-8 ports of 800 Gb/s for compute",
	})
}
