package main

import (
	_ "orrery/kernels/libs"  // registers the vendor's libraries
	_ "orrery/kernels/suite" // registers the project's own kernels
)
