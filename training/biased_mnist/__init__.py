"""The Biased MNIST benchmark: one protocol, every method, a record of every run, the table."""
