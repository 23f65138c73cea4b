"""The road to Kinesis, for those who write to a stream and those who read from one: one signed request at a time."""
