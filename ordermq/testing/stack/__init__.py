"""Everything that starts servers for a test: brokers, databases, clusters and the processes of a pipeline."""
