"""A Ray cluster on EC2, started by `ray up` for one study."""
