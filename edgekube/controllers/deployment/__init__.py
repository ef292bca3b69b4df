"""Deployment: replace the pods of one template by those of the next, without an outage.

Source: k8s.io/kubernetes pkg/controller/deployment; kubernetes.io/docs/concepts/workloads/controllers/deployment.
"""
