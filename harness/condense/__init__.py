"""`python -m harness.condense`: make memories."""
