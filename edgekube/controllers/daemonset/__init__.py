"""DaemonSet: one pod on each node that fits.

Source: k8s.io/kubernetes pkg/controller/daemon; kubernetes.io/docs/concepts/workloads/controllers/daemonset.
"""
