package hw

func init() {
	registerNode(Node{
		Name:         "gb300-nvl72",
		Aliases:      []string{"dgx-gb300"},
		Title:        "NVIDIA GB300 NVL72: trays of 4, one NVLink domain of 72, 800 Gb/s a GPU",
		GPU:          "gb300",
		GPUsPerNode:  4,
		NVLinkDomain: 72,
		NICGBps:      100,
		HostGBps:     225, // NVLink-C2C, 900 GB/s both ways for two GPUs
		Source:       "NVIDIA DGX GB300 data sheet: 18 trays of 4 GPUs and 4 ConnectX-8 of 800 Gb/s",
	})
}
