"""Grids of variants that methods declare, condensed in lockstep and compared."""
