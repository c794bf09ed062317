"""Every published number beside what was measured here."""
