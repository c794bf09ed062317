"""What methods are made of: terms, networks, pixels and their optimisers, and the loops that run them."""
