"""Endpoints of Services: which addresses and ports stand behind a name.

Source: k8s.io/endpointslice; k8s.io/kubernetes pkg/controller/{endpoint,endpointslice,endpointslicemirroring};
kubernetes.io/docs/concepts/services-networking/endpoint-slices.
"""
