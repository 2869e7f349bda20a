"""What crosses the network: topics, messages, chunks, trust, the MQTT link."""
