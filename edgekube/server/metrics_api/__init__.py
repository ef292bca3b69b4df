"""metrics.k8s.io: what nodes and pods use, measured when somebody asks.

Next: server.metrics_api.api answers requests, server.metrics_api.source an autoscaler's questions.
"""
