"""What `make bench` measures, and the reference implementations that it and the tests compare with."""
