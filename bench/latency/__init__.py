"""How long from an update that is posted to its message on the stream, at a steady rate."""
