"""An MLflow server for a team: on this machine, with Docker Compose, and what of it Kubernetes shares."""
