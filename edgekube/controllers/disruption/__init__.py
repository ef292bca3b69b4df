"""PodDisruptionBudget: how many pods may be taken away on purpose.

Source: k8s.io/kubernetes pkg/controller/disruption; kubernetes.io/docs/tasks/run-application/configure-pdb.
"""
