"""Data sets and the class-incremental streams that consume memories."""
