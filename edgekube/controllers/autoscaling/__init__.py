"""The HorizontalPodAutoscaler: as many replicas as the load asks for.

Next: controllers.autoscaling.plan; reconcile.autoscaling asks for scales and metrics.
"""
