"""Training and evaluation data: reading it from where it is, cleaning, splitting, augmenting, describing it."""
