"""Commands (`python -m harness.X`) and what they share: seeds, records, devices, plots."""
