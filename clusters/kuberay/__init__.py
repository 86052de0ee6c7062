"""Kubernetes with KubeRay: a RayJob per study."""
