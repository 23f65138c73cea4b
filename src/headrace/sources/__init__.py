"""Sources: where profile updates come from."""
