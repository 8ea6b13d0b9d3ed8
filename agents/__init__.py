"""Who decides: heuristics, learners, and the protocol that compares them."""
