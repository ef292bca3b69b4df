"""Kubernetes' own end-to-end suite, built from its Go module and run in the lab. Beside the test run: see __main__."""
