package hw

func init() {
	registerNode(Node{
		Name:         "gb200-nvl72",
		Aliases:      []string{"dgx-gb200"},
		Title:        "NVIDIA GB200 NVL72: trays of 4, one NVLink domain of 72, 400 Gb/s a GPU",
		GPU:          "gb200",
		GPUsPerNode:  4,
		NVLinkDomain: 72,
		NICGBps:      50,
		HostGBps:     225, // NVLink-C2C, 900 GB/s both ways for two GPUs
		Source:       "NVIDIA DGX GB200 data sheet: 18 trays of 4 GPUs and 4 ConnectX-7 of 400 Gb/s",
	})
}
