"""`python -m harness.nas`: rank a search space on memories."""
