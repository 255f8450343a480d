package hw

func init() {
	registerNode(Node{
		Name:         "hgx-h800",
		Aliases:      []string{"dgx-h800"},
		Title:        "HGX H800: 8 x H800, 8 x 400 Gb/s InfiniBand",
		GPU:          "h800",
		GPUsPerNode:  8,
		NVLinkDomain: 8,
		NICGBps:      50,
		HostGBps:     64, // PCIe 5.0 x16
		Source:       "Insights into DeepSeek-V3, arXiv:2505.09343, section 5: 8 x 400G CX7",
	})
}
