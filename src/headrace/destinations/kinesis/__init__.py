"""The Amazon Kinesis destination."""
