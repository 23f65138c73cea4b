"""Writers to Kinesis side by side: records per CPU-second of the client, and what they do to order under faults."""
