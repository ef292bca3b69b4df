"""StatefulSet: pods with names, storage and an order of their own.

Source: k8s.io/kubernetes pkg/controller/statefulset; kubernetes.io/docs/concepts/workloads/controllers/statefulset.
"""
