"""Running trials: Ray Tune over the planner, and what observes it."""
