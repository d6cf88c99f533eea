"""Research beside the path: what the features mean, written to be read, and the kernels over whole arrays."""
