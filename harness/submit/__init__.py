"""Memories of any project, scored under a named protocol, as rows of a leaderboard."""
