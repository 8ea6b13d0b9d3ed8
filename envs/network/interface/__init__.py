"""What agents may do and see, by name: components of actions and features of observations."""
