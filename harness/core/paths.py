"""Where the checkout lies, for what is read beside the code: commits, committed results, sources that are timed."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
