"""Guest kernels, images, and the channel into a running guest."""
