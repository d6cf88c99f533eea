"""The messages of proto/hotctl/v1, as protoc writes them. Not edited: `python -m hotctl.protocol` makes them again."""
