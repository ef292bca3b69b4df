"""A CSI driver for tests: volumes are directories of this machine, or files behind loop devices. Real gRPC, as any driver's."""
