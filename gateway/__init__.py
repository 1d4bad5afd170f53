"""A gateway in front of NVIDIA Triton: HTTP in, binary gRPC out."""
