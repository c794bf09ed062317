"""Analyses of memories: style, diversity, texture, and whether a matching loss predicts accuracy."""
