package hw

func init() {
	registerNode(Node{
		Name:         "dgx-a100-40gb",
		Aliases:      []string{"hgx-a100-40gb"},
		Title:        "NVIDIA DGX A100 320GB: 8 x A100 40 GB, 8 x 200 Gb/s InfiniBand",
		GPU:          "a100-40gb",
		GPUsPerNode:  8,
		NVLinkDomain: 8,
		NICGBps:      25,
		HostGBps:     32, // PCIe 4.0 x16
		Source:       "NVIDIA DGX A100 data sheet (320GB system): 8 ConnectX-6 HDR 200 Gb/s for compute",
	})
}
