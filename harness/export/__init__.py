"""`python -m harness.export`: memories as other tools read them."""
