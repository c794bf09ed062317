"""One page of everything that has been measured."""
