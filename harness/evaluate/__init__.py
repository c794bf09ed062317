"""`python -m harness.evaluate`: score memories."""
