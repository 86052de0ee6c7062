"""What is to be run: the study file, its cells and trials, and which one is next."""
