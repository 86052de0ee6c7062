"""What a study's search says of hyperparameters: best settings, flatness, importance, curves."""
