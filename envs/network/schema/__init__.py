"""What a scenario says: its parameters, their ranges, how its files are read and checked."""
