"""The root of the checkout, from which commits, committed results and the timed sources are read."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
