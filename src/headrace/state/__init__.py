"""State: where profiles, the identity index, the outbox and everything else durable lie."""
