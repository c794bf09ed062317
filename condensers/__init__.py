"""What makes memories: recipes, objective terms, the shared matching loop, and the memory itself."""
