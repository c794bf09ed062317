"""Grids of variants that methods declare, in lockstep, and a search over the weights and readings of a recipe."""
