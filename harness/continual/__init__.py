"""`python -m harness.continual`: compare condensers on a class-incremental stream."""
