package hw

func init() {
	registerNode(Node{
		Name:         "grand-teton",
		Aliases:      []string{},
		Title:        "Meta Grand Teton: 8 x H100 96 GB at 500 W, 400 Gb/s RoCE a GPU",
		GPU:          "h100-96gb-500w",
		GPUsPerNode:  8,
		NVLinkDomain: 8,
		NICGBps:      50,
		HostGBps:     64, // PCIe 5.0 x16
		Source: "pytorch/torchtitan benchmarks/llama3_h100_202412_torchtitan.md: 400 Gb/s RDMA a GPU; " +
			"RoCE: Gangidi et al., RDMA over Ethernet for Distributed AI Training at Meta Scale, SIGCOMM 2024",
	})
}
