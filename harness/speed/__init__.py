"""`python -m harness.speed`: measure the core against plain loops."""
