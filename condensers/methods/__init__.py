"""The condensers, one file per paper."""
