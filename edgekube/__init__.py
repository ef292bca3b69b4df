"""edgekube: a Kubernetes cluster for small machines. Start reading at docs/path-of-apply.md."""
