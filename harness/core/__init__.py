"""What every command is built from: flags, protocols, seeds, memories, records and the queue."""
