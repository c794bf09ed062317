"""What methods are made of: terms and the matching loop."""
