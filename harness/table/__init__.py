"""Grids of data sets, condensers, sizes and networks, beside published numbers."""
